"""Compiled inner loops of the fusion of pairs: activities and the leans they lead to.

The rules are those of `kernels`.  An activity here is that of the back minus that of the
front frame: no kernel needs them singly.

A lean says how far a pixel is drawn to the back frame: 1 back alone, 0 the mean of both,
-1 front alone.  It is 2 w - 1 for a weight w of the back frame.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from batchstack.fusion.activity import gaussian_reach
from batchstack.fusion.kernels import Planes, kernel, mirror_ends, mirrored, part

Counts = npt.NDArray[np.uint8]


@kernel
def differences(pair: Planes, margin: int, channels: Planes, total: Planes, around: Planes) -> None:
    """Activities of the back minus those of the front frame.

    `channels` has |[-1 2 -1] * x| + |[-1 2 -1]^T * x| in a plane per channel, `total` its sum;
    `around` has the sum of |4 x - x_up - x_down - x_left - x_right|.
    `pair` is `margin` pixels, 1 or more, wider on each side.  Whoever does not want one of the
    others gives one row of it: they are rings.
    """
    count, rows, columns = pair.shape[0] // 2, pair.shape[1] - 2 * margin, total.shape[2]
    rim, two = margin - 1, np.float32(2)
    for i in range(rows):
        y = rim + i
        summed, laplacian = total[0, i % total.shape[1]], around[0, i % around.shape[1]]
        summed[:] = 0
        laplacian[:] = 0
        for channel in range(count):
            mean, half = pair[channel], pair[count + channel]
            above, here, below = mean[y, rim:], mean[y + 1, rim:], mean[y + 2, rim:]
            half_above, half_here = half[y, rim:], half[y + 1, rim:]
            half_below = half[y + 2, rim:]
            out = channels[channel, i % channels.shape[1]]
            for j in range(columns):
                twice, half_twice = two * here[j + 1], two * half_here[j + 1]
                across = twice - (here[j] + here[j + 2])
                down = twice - (above[j + 1] + below[j + 1])
                half_across = half_twice - (half_here[j] + half_here[j + 2])
                half_down = half_twice - (half_above[j + 1] + half_below[j + 1])
                back = abs(across + half_across) + abs(down + half_down)
                front = abs(across - half_across) + abs(down - half_down)
                out[j] = back - front
                summed[j] += back - front
                x, half_x = across + down, half_across + half_down
                laplacian[j] += abs(x + half_x) - abs(x - half_x)


@part
def _box_row(plane: Planes, i: int, side: int, tall: Planes, out: Planes) -> None:
    """Sums over squares of `side` pixels (odd), the first of them in row `i` of a plane."""
    first = plane[i]
    if side == 1:
        for j in range(out.size):
            out[j] = first[j]
        return
    second, third = plane[i + 1], plane[i + 2]
    for j in range(tall.size):
        tall[j] = first[j] + (second[j] + third[j])
    for k in range(3, side, 2):
        second, third = plane[i + k], plane[i + k + 1]
        for j in range(tall.size):
            tall[j] += second[j] + third[j]
    for j in range(out.size):
        out[j] = tall[j] + (tall[j + 1] + tall[j + 2])
    for k in range(3, side, 2):
        shifted = tall[k:]
        for j in range(out.size):
            out[j] += shifted[j] + shifted[j + 1]


_TANH_END = np.float32(7.9053)  # from here on tanh is 1 in float32


@kernel
def lean(
    activity: Planes, side: int, limit: float, slope: float, row: int, column: int, out: Planes
) -> None:
    """tanh(slope * clip(S, +-limit)), from `row`, `column` on: 1 all back, -1 all front.

    S is the sum of the activity over a square of `side` pixels, by which less one `activity` is
    larger than what is filled of `out`, a ring.
    The weight of the back frame, the logistic function of twice the argument, is
    (1 + lean) / 2.
    The rational function is the nearest of its degrees to tanh, 4e-7 off at most.
    """
    factor = np.float32(slope)
    most = min(np.float32(limit) * factor, _TANH_END)
    columns = activity.shape[2] - side + 1
    tall, line = np.empty(activity.shape[2], np.float32), np.empty(columns, np.float32)
    for p in range(activity.shape[0]):
        for i in range(activity.shape[1] - side + 1):
            _box_row(activity[p], i, side, tall, line)
            result = out[p, (row + i) % out.shape[1], column:]
            for j in range(columns):
                x = min(max(line[j] * factor, -most), most)
                y = x * x
                above = np.float32(1.140902102e-05) * y + np.float32(2.947989370e-03)
                above = above * y + np.float32(1.292219854e-01)
                above = above * y + np.float32(9.999994225e-01)
                below = np.float32(2.455426274e-07) * y + np.float32(2.383215610e-04)
                below = below * y + np.float32(2.380137424e-02)
                below = below * y + np.float32(4.625531797e-01)
                below = below * y + np.float32(1)
                result[j] = x * above / below


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
    width, rows = plane.shape[2], block.shape[1]
    reach, columns = taps.size - 1, block.shape[2]
    tall = np.empty((2, columns + 2 * reach), np.float32)
    first, last = max(0, reach - column), min(tall.shape[1], width - column + reach)
    start, stop = column - reach + first, column - reach + last
    for i in range(0, rows, 2):
        # Two rows at once look at almost the same rows of the plane.
        upper, lower = tall[0, first:last], tall[1, first:last]
        here = _ring_row(plane, row + i, height)[start:stop]
        under = _ring_row(plane, row + i + 1, height)[start:stop]
        for j in range(upper.size):
            upper[j] = taps[0] * here[j]
            lower[j] = taps[0] * under[j]
        for k in range(1, reach, 3):
            a, b, c = taps[k], taps[k + 1], taps[k + 2]
            y = row + i - k
            up3 = _ring_row(plane, y - 2, height)[start:stop]
            up2 = _ring_row(plane, y - 1, height)[start:stop]
            up = _ring_row(plane, y, height)[start:stop]
            up0 = _ring_row(plane, y + 1, height)[start:stop]
            y = row + i + k
            down = _ring_row(plane, y, height)[start:stop]
            down2 = _ring_row(plane, y + 1, height)[start:stop]
            down3 = _ring_row(plane, y + 2, height)[start:stop]
            down4 = _ring_row(plane, y + 3, height)[start:stop]
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


@part
def _ring_row(plane: Planes, y: int, height: int) -> Planes:
    """Row `y` of a ring, mirrored beyond the `height` that it stands for."""
    return plane[0, mirrored(y, height) % plane.shape[1]]  # type: ignore[no-any-return]


@kernel
def vote(activity: Planes, side: int, row: int, column: int, votes: Counts) -> None:
    """One where the back frame is at least as active over a square, else zero, in a ring."""
    columns = activity.shape[2] - side + 1
    tall, line = np.empty(activity.shape[2], np.float32), np.empty(columns, np.float32)
    for i in range(activity.shape[1] - side + 1):
        _box_row(activity[0], i, side, tall, line)
        out = votes[(row + i) % votes.shape[0], column:]
        for j in range(columns):
            out[j] = line[j] >= 0


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
