"""Compiled sums, Gaussians and medians over windows.

The rules are those of `compiled`.
"""

import numpy as np
import numpy.typing as npt

from batchstack.compiled import Counts, Planes, kernel, mirror_ends, mirrored, routine

Index = npt.NDArray[np.uint16]


@routine
def box_row(
    ring: Planes, kept: int, side: int, top: int, column: int, tall: Planes, out: Planes
) -> None:
    """Sums over squares of `side` (odd) pixels, the first of them at row `top` and `column`.

    The ring keeps `kept` rows; `tall` has room for one.
    """
    size = out.size + side - 1
    first, total = ring[top % kept, column : column + size], tall[:size]
    if side == 1:
        for j in range(out.size):
            out[j] = first[j]
        return
    second = ring[(top + 1) % kept, column : column + size]
    third = ring[(top + 2) % kept, column : column + size]
    for j in range(size):
        total[j] = first[j] + (second[j] + third[j])
    for k in range(3, side, 2):
        second = ring[(top + k) % kept, column : column + size]
        third = ring[(top + k + 1) % kept, column : column + size]
        for j in range(size):
            total[j] += second[j] + third[j]
    for j in range(out.size):
        out[j] = total[j] + (total[j + 1] + total[j + 2])
    for k in range(3, side, 2):
        shifted = total[k:]
        for j in range(out.size):
            out[j] += shifted[j] + shifted[j + 1]


@routine
def filter_row(
    ring: Planes,
    kept: int,
    taps: Planes,
    reach: int,
    row: int,
    column: int,
    tall: Planes,
    out: Planes,
) -> None:
    """A symmetric filter both ways round row `row`; the first pixel is `reach` past `column`.

    `taps` run from the centre outwards.
    """
    size, odd = out.size + 2 * reach, reach % 2
    middle, total = ring[row % kept, column : column + size], tall[:size]
    # Two taps at once, so that sums are stored and fetched half as often.
    if odd:
        up = ring[(row - 1) % kept, column : column + size]
        down = ring[(row + 1) % kept, column : column + size]
        for j in range(size):
            total[j] = taps[0] * middle[j] + taps[1] * (up[j] + down[j])
    else:
        for j in range(size):
            total[j] = taps[0] * middle[j]
    for k in range(1 + odd, reach, 2):
        near, far = taps[k], taps[k + 1]
        up = ring[(row - k) % kept, column : column + size]
        down = ring[(row + k) % kept, column : column + size]
        up2 = ring[(row - k - 1) % kept, column : column + size]
        down2 = ring[(row + k + 1) % kept, column : column + size]
        for j in range(size):
            sums = total[j] + near * (up[j] + down[j])
            total[j] = sums + far * (up2[j] + down2[j])
    centre = total[reach:]
    if odd:
        left, right = total[reach - 1 :], total[reach + 1 :]
        for j in range(out.size):
            out[j] = taps[0] * centre[j] + taps[1] * (left[j] + right[j])
    else:
        for j in range(out.size):
            out[j] = taps[0] * centre[j]
    for k in range(1 + odd, reach, 2):
        near, far = taps[k], taps[k + 1]
        left, right = total[reach - k - 1 :], total[reach + k :]
        for j in range(out.size):
            sums = out[j] + near * (left[j + 1] + right[j])
            out[j] = sums + far * (left[j] + right[j + 1])


@kernel
def smooth(
    planes: Planes,
    height: int,
    taps: Planes,
    row: int,
    column: int,
    rows: int,
    tall: Planes,
    block: Planes,
) -> None:
    """Fill `rows` of blocks of planes, which are rings, filtered both ways by a symmetric filter.

    `taps`, `filled`, run from the centre outwards; `tall` has room
    for two rows, as much wider than the block on each side as the filter looks.
    """
    kept, width = planes.shape[1:]
    reach, columns = taps.size - 1, block.shape[2]
    first, last = max(0, reach - column), min(columns + 2 * reach, width - column + reach)
    start, stop = column - reach + first, column - reach + last
    for p in range(len(planes)):
        plane = planes[p]
        for i in range(0, rows, 2):
            # Two rows at once look at almost the same rows of the plane.
            upper, lower = tall[0, first:last], tall[1, first:last]
            here = plane[_at(row + i, height, kept), start:stop]
            under = plane[_at(row + i + 1, height, kept), start:stop]
            for j in range(upper.size):
                upper[j] = taps[0] * here[j]
                lower[j] = taps[0] * under[j]
            for k in range(1, reach, 3):
                a, b, c = taps[k], taps[k + 1], taps[k + 2]
                y = row + i - k
                up3 = plane[_at(y - 2, height, kept), start:stop]
                up2 = plane[_at(y - 1, height, kept), start:stop]
                up = plane[_at(y, height, kept), start:stop]
                up0 = plane[_at(y + 1, height, kept), start:stop]
                y = row + i + k
                down = plane[_at(y, height, kept), start:stop]
                down2 = plane[_at(y + 1, height, kept), start:stop]
                down3 = plane[_at(y + 2, height, kept), start:stop]
                down4 = plane[_at(y + 3, height, kept), start:stop]
                for j in range(upper.size):
                    near = a * (up[j] + down[j]) + b * (up2[j] + down2[j])
                    upper[j] += near + c * (up3[j] + down3[j])
                    near = a * (up0[j] + down2[j]) + b * (up[j] + down3[j])
                    lower[j] += near + c * (up2[j] + down4[j])
            for n in range(min(2, rows - i)):
                line = tall[n, : columns + 2 * reach]
                mirror_ends(line, column - reach, width)
                out, middle = block[p, i + n], line[reach:]
                for j in range(columns):
                    out[j] = taps[0] * middle[j]
                for k in range(1, reach, 3):
                    a, b, c = taps[k], taps[k + 1], taps[k + 2]
                    left, right = line[reach - k - 2 :], line[reach + k :]
                    for j in range(columns):
                        near = a * (left[j + 2] + right[j]) + b * (left[j + 1] + right[j + 1])
                        out[j] += near + c * (left[j] + right[j + 2])


def filled(taps: Planes) -> Planes:
    """Taps as `smooth` wants them: 3 n + 1, those at the end zeros."""
    return np.pad(taps, (0, -(taps.size - 1) % 3))


@routine
def _at(y: int, height: int, rows: int) -> int:
    """Where a ring of `rows` has row `y`, mirrored beyond the `height` that it stands for."""
    return mirrored(y, height) % rows


@kernel
def count_across(votes: Counts, top: int, bottom: int, size: int, spare: Counts) -> None:
    """Replace rows of rings of zeros and ones by sums of `size` pixels round each (odd).

    Rows are mirrored at their ends; `spare` has room for three of them and `size` pixels more.
    """
    width, reach = votes.shape[2], size // 2
    line, total, doubled = spare[0], spare[1], spare[2]
    line, total = line[: width + 2 * reach], total[: width + 2 * reach]
    for p in range(len(votes)):
        for i in range(top, bottom):
            stored, inner = votes[p, i % votes.shape[1]], line[reach : reach + width]
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
def median(
    counts: Counts,
    height: int,
    size: int,
    row: int,
    column: int,
    rows: int,
    total: Index,
    index: Index,
) -> None:
    """Median of an index over a square of `size` pixels (odd): how many votes most of it has.

    `rows` of it are filled.
    `counts`, rings of one plane for each vote, come from `count_across`.  Columns are summed as
    they go: whole numbers are exact, wherever a sum starts.
    """
    kept, reach, half = counts.shape[1], size // 2, np.uint16(size * size // 2)
    columns = index.shape[1]
    for p in range(len(counts)):
        plane = counts[p]
        for j in range(columns):
            total[j] = np.uint16(0)
        for i in range(row - reach, row + reach):
            entering = plane[mirrored(i, height) % kept, column:]
            for j in range(columns):
                total[j] += entering[j]
        for i in range(rows):
            entering = plane[mirrored(row + i + reach, height) % kept, column:]
            leaving = plane[mirrored(row + i - reach, height) % kept, column:]
            line = index[i]
            if p == 0:
                for j in range(columns):
                    total[j] += entering[j]
                    line[j] = np.uint16(total[j] > half)
            else:
                for j in range(columns):
                    total[j] += entering[j]
                    line[j] += np.uint16(total[j] > half)
            for j in range(columns):
                total[j] -= leaving[j]
