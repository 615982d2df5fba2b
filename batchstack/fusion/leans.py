"""Compiled inner loops of the fusion of pairs: activities and the leans they lead to.

The rules are those of `compiled`.  An activity here is that of the back minus that of the
front frame: no kernel needs them singly.

A lean says how far a pixel is drawn to the back frame: 1 back alone, 0 the mean of both,
-1 front alone.  It is 2 w - 1 for a weight w of the back frame.
"""

from functools import lru_cache

import numpy as np

from batchstack.fusion.activity import gaussian_reach
from batchstack.fusion.compiled import Counts, Planes, kernel, mirror_ends, mirrored, routine


@routine
def _second(
    left: np.float32, here: np.float32, right: np.float32, up: np.float32, down: np.float32
) -> tuple[np.float32, np.float32]:
    """Second differences across and down."""
    twice = np.float32(2) * here
    return twice - (left + right), twice - (up + down)


@routine
def modified_row(above: Planes, here: Planes, below: Planes, total: Planes) -> None:
    """Sum over the channels of |[-1 2 -1] * x| + |[-1 2 -1]^T * x| in a row.

    The rows of the pair, (planes, columns), have one column more on each side.
    """
    channels = here.shape[0] // 2
    for channel in range(channels):
        up, x, down = above[channel, 1:], here[channel], below[channel, 1:]
        half_up, half_x, half_down = (
            above[channels + channel, 1:],
            here[channels + channel],
            below[channels + channel, 1:],
        )
        if channel == 0:
            for j in range(total.size):
                total[j] = np.float32(0)
        for j in range(total.size):
            across, vertical = _second(x[j], x[j + 1], x[j + 2], up[j], down[j])
            half_across, half_vertical = _second(
                half_x[j], half_x[j + 1], half_x[j + 2], half_up[j], half_down[j]
            )
            back = abs(across + half_across) + abs(vertical + half_vertical)
            front = abs(across - half_across) + abs(vertical - half_vertical)
            total[j] += back - front


@routine
def activity_row(
    above: Planes, here: Planes, below: Planes, each: Planes, row: int, around: Planes
) -> None:
    """`modified_row` of every channel, and the sum of |4 x - x_up - x_down - x_left - x_right|.

    `each` has a plane per channel, which are filled in their row `row`.
    """
    channels = here.shape[0] // 2
    for j in range(around.size):
        around[j] = np.float32(0)
    for channel in range(channels):
        up, x, down = above[channel, 1:], here[channel], below[channel, 1:]
        half_up, half_x, half_down = (
            above[channels + channel, 1:],
            here[channels + channel],
            below[channels + channel, 1:],
        )
        out = each[channel, row]
        for j in range(around.size):
            across, vertical = _second(x[j], x[j + 1], x[j + 2], up[j], down[j])
            half_across, half_vertical = _second(
                half_x[j], half_x[j + 1], half_x[j + 2], half_up[j], half_down[j]
            )
            back = abs(across + half_across) + abs(vertical + half_vertical)
            front = abs(across - half_across) + abs(vertical - half_vertical)
            out[j] = back - front
            whole, half_whole = across + vertical, half_across + half_vertical
            around[j] += abs(whole + half_whole) - abs(whole - half_whole)


@routine
def add_channels(each: Planes, row: int, total: Planes) -> None:
    """The sum of the planes in a row."""
    for j in range(total.size):
        total[j] = each[0, row, j]
    for channel in range(1, each.shape[0]):
        line = each[channel, row]
        for j in range(total.size):
            total[j] += line[j]


@routine
def vote_row(sums: Planes, votes: Counts) -> None:
    """One where the back frame is at least as active, else zero."""
    for j in range(votes.size):
        votes[j] = sums[j] >= 0


@routine
def mask_row(leans: Planes, mask: Counts) -> None:
    """255 where a lean is to the back, else 0."""
    for j in range(mask.size):
        mask[j] = np.uint8(255) if leans[j] > 0 else np.uint8(0)


@routine
def box_row(ring: Planes, top: int, tall: Planes, out: Planes) -> None:
    """Sums over squares of an odd number of pixels, the first of them in row `top`.

    `ring` has as many rows; `tall` has room for one.
    """
    side = len(ring)
    first = ring[top % side]
    if side == 1:
        for j in range(out.size):
            out[j] = first[j]
        return
    second, third = ring[(top + 1) % side], ring[(top + 2) % side]
    for j in range(tall.size):
        tall[j] = first[j] + (second[j] + third[j])
    for k in range(3, side, 2):
        second, third = ring[(top + k) % side], ring[(top + k + 1) % side]
        for j in range(tall.size):
            tall[j] += second[j] + third[j]
    for j in range(out.size):
        out[j] = tall[j] + (tall[j + 1] + tall[j + 2])
    for k in range(3, side, 2):
        shifted = tall[k:]
        for j in range(out.size):
            out[j] += shifted[j] + shifted[j + 1]


_TANH_END = np.float32(7.9053)  # from here on tanh is 1 in float32


@routine
def lean_row(sums: Planes, slope: float, limit: float, out: Planes) -> None:
    """tanh(slope * clip(sums, +-limit)): 1 all back, -1 all front.

    The weight of the back frame, the logistic function of twice the argument, is
    (1 + lean) / 2.
    The rational function is the nearest of its degrees to tanh, 4e-7 off at most.
    """
    factor = np.float32(slope)
    most = min(np.float32(limit) * factor, _TANH_END)
    for j in range(out.size):
        x = min(max(sums[j] * factor, -most), most)
        y = x * x
        above = np.float32(1.140902102e-05) * y + np.float32(2.947989370e-03)
        above = above * y + np.float32(1.292219854e-01)
        above = above * y + np.float32(9.999994225e-01)
        below = np.float32(2.455426274e-07) * y + np.float32(2.383215610e-04)
        below = below * y + np.float32(2.380137424e-02)
        below = below * y + np.float32(4.625531797e-01)
        below = below * y + np.float32(1)
        out[j] = x * above / below


@lru_cache
def gaussian_taps(sigma: float) -> Planes:
    """Weights of a Gaussian from its centre outwards; on both sides they add up to one."""
    taps = np.exp(-0.5 * (np.arange(gaussian_reach(sigma) + 1) / sigma) ** 2)
    weights: Planes = (taps / (2 * taps.sum() - taps[0])).astype(np.float32)
    return weights


@kernel
def smooth(plane: Planes, height: int, taps: Planes, row: int, column: int, block: Planes) -> None:
    """A block of a plane, filtered both ways by a symmetric filter.

    `plane`, a ring, and `block` have one plane; `taps`, 3 n + 1 in all, run from the centre
    outwards.
    """
    kept, width = plane.shape[1:]
    rows = block.shape[1]
    reach, columns = taps.size - 1, block.shape[2]
    tall = np.empty((2, columns + 2 * reach), np.float32)
    first, last = max(0, reach - column), min(tall.shape[1], width - column + reach)
    start, stop = column - reach + first, column - reach + last
    for i in range(0, rows, 2):
        # Two rows at once look at almost the same rows of the plane.
        upper, lower = tall[0, first:last], tall[1, first:last]
        here = plane[0, _at(row + i, height, kept), start:stop]
        under = plane[0, _at(row + i + 1, height, kept), start:stop]
        for j in range(upper.size):
            upper[j] = taps[0] * here[j]
            lower[j] = taps[0] * under[j]
        for k in range(1, reach, 3):
            a, b, c = taps[k], taps[k + 1], taps[k + 2]
            y = row + i - k
            up3 = plane[0, _at(y - 2, height, kept), start:stop]
            up2 = plane[0, _at(y - 1, height, kept), start:stop]
            up = plane[0, _at(y, height, kept), start:stop]
            up0 = plane[0, _at(y + 1, height, kept), start:stop]
            y = row + i + k
            down = plane[0, _at(y, height, kept), start:stop]
            down2 = plane[0, _at(y + 1, height, kept), start:stop]
            down3 = plane[0, _at(y + 2, height, kept), start:stop]
            down4 = plane[0, _at(y + 3, height, kept), start:stop]
            for j in range(upper.size):
                near = a * (up[j] + down[j]) + b * (up2[j] + down2[j])
                upper[j] += near + c * (up3[j] + down3[j])
                near = a * (up0[j] + down2[j]) + b * (up[j] + down3[j])
                lower[j] += near + c * (up2[j] + down4[j])
        for n in range(min(2, rows - i)):
            mirror_ends(tall[n], column - reach, width)
            out, middle = block[0, i + n], tall[n, reach:]
            for j in range(columns):
                out[j] = taps[0] * middle[j]
            for k in range(1, reach, 3):
                a, b, c = taps[k], taps[k + 1], taps[k + 2]
                left, right = tall[n, reach - k - 2 :], tall[n, reach + k :]
                for j in range(columns):
                    near = a * (left[j + 2] + right[j]) + b * (left[j + 1] + right[j + 1])
                    out[j] += near + c * (left[j] + right[j + 2])


@routine
def _at(y: int, height: int, rows: int) -> int:
    """Where a ring of `rows` has row `y`, mirrored beyond the `height` that it stands for."""
    return mirrored(y, height) % rows


@kernel
def count_across(votes: Counts, top: int, bottom: int, size: int) -> None:
    """Replace rows of a ring of zeros and ones by sums of `size` pixels round each (odd).

    Rows are mirrored at their ends.
    """
    width, reach = votes.shape[1], size // 2
    line = np.empty(width + 2 * reach, np.uint8)
    total, doubled = np.empty(line.size, np.uint8), np.empty(line.size, np.uint8)
    for i in range(top, bottom):
        stored, inner = votes[i % votes.shape[0]], line[reach : reach + width]
        for j in range(width):
            inner[j] = stored[j]
        mirror_ends(line, -reach, width)
        for j in range(line.size):
            total[j] = line[j]
        # A window of n pixels is made twice as wide, or one more, until it has all.
        window = 1
        while window < size:
            bits = size
            while bits >= 4 * window:
                bits //= 2
            ahead, last = total[window:], line[2 * window :]
            if bits % 2:
                for j in range(last.size):
                    doubled[j] = total[j] + ahead[j] + last[j]
            else:
                for j in range(ahead.size):
                    doubled[j] = total[j] + ahead[j]
            for j in range(line.size - bits + 1):
                total[j] = doubled[j]
            window = bits
        for j in range(width):
            stored[j] = total[j]


@kernel
def majority(counts: Counts, height: int, size: int, row: int, column: int, leans: Planes) -> None:
    """Median of a two-valued map over a square of `size` pixels (odd): 1 for true, else -1.

    `counts`, a ring, comes from `count_across`.  Columns are summed as they go: whole numbers are
    exact, wherever a sum starts.
    """
    kept, reach, half = counts.shape[0], size // 2, np.uint16(size * size // 2)
    columns = leans.shape[2]
    total = np.zeros(columns, np.uint16)
    for i in range(row - reach, row + reach):
        entering = counts[mirrored(i, height) % kept, column:]
        for j in range(columns):
            total[j] += entering[j]
    for i in range(leans.shape[1]):
        entering = counts[mirrored(row + i + reach, height) % kept, column:]
        leaving = counts[mirrored(row + i - reach, height) % kept, column:]
        line = leans[0, i]
        for j in range(columns):
            total[j] += entering[j]
        for j in range(columns):
            line[j] = np.float32(1) if total[j] > half else np.float32(-1)
        for j in range(columns):
            total[j] -= leaving[j]
