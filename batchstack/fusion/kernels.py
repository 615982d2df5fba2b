"""Compiled inner loops of pyramids: reduced and expanded levels, bands, deviations.

The rules are those of `compiled`.
"""

import numpy as np
import numpy.typing as npt

from batchstack.fusion.compiled import Planes, kernel, mirror_ends, mirrored, routine


@kernel
def crop(planes: Planes, row: int, column: int, block: Planes) -> None:
    """The block of planes that begins at `row` and `column`."""
    height, width = planes.shape[1:]
    first, last = max(0, -column), min(block.shape[2], width - column)
    for p in range(block.shape[0]):
        for i in range(block.shape[1]):
            source = planes[p, mirrored(row + i, height), column + first : column + last]
            line = block[p, i, first:last]
            for j in range(last - first):
                line[j] = source[j]
            mirror_ends(block[p, i], column, width)


@kernel
def reduce(block: Planes, row: int, column: int, half: Planes) -> None:
    """Smooth and halve a block, into the place that begins at `row`, `column`.

    The result is centred on every second sample of the block from its third on.
    """
    rows, columns = (block.shape[1] - 3) // 2, (block.shape[2] - 3) // 2
    four, six, share = np.float32(4), np.float32(6), np.float32(1 / 256)
    line = np.empty(block.shape[2], np.float32)
    for p in range(block.shape[0]):
        plane = block[p]
        for i in range(rows):
            a, b, c = plane[2 * i], plane[2 * i + 1], plane[2 * i + 2]
            d, e = plane[2 * i + 3], plane[2 * i + 4]
            for j in range(line.size):
                line[j] = (a[j] + e[j]) + four * (b[j] + d[j]) + six * c[j]
            out = half[p, row + i, column : column + columns]
            for j in range(columns):
                ends = line[2 * j] + line[2 * j + 4]
                near = line[2 * j + 1] + line[2 * j + 3]
                out[j] = (ends + four * near + six * line[2 * j + 2]) * share


@routine
def widen(
    plane: Planes,
    height: int,
    y: int,
    column: int,
    columns: int,
    wide: Planes,
    held: npt.NDArray[np.int64],
) -> tuple[int, int, int]:
    """Where in `wide` the rows above, at and below are that row `y` of a larger plane is made of.

    They are expanded across; `column` is at index 1 of them.  `plane` is a ring.  As OpenCV does
    it, it is mirrored before its first sample and its last one is repeated.
    `wide` has room for three rows of 5 values more than the columns; `held` says which rows of
    the plane it holds.
    """
    k = y // 2
    above, below = mirrored(k - 1, height), min(k + 1, height - 1)
    for row in (above, k, below):
        if held[row % 3] != row:
            line = wide[row % 3, 1 - column % 2 :]
            _expand_across(plane[row % plane.shape[0]], column, columns, line)
            held[row % 3] = row
    return above % 3, k % 3, below % 3


@routine
def _expand_across(line: Planes, column: int, columns: int, wide: Planes) -> None:
    """A row twice as wide, times 8, from the even column at or before `column` on."""
    first, last, width = column // 2, (column + columns + 1) // 2, line.size
    low, high = max(first, 1), min(last, width - 1)
    left, here, right = line[low - 1 :], line[low:], line[low + 1 :]
    inner = wide[2 * (low - first) :]
    four, six = np.float32(4), np.float32(6)
    for j in range(high - low):
        inner[2 * j] = (left[j] + right[j]) + six * here[j]
        inner[2 * j + 1] = four * (here[j] + right[j])
    if first == 0:
        after = line[min(1, width - 1)]
        wide[0] = (after + after) + six * line[0]
        wide[1] = four * (line[0] + after)
    if last == width > 1:
        end = wide[2 * (width - 1 - first) :]
        end[0] = (line[width - 2] + line[width - 1]) + six * line[width - 1]
        end[1] = four * (line[width - 1] + line[width - 1])


@routine
def shares(y: int) -> tuple[np.float32, np.float32, np.float32]:
    """What the three rows of `widen` are multiplied by, from above to below.

    An odd row lies between two rows, an even one on a row between two others.
    """
    if y % 2:
        return np.float32(0), np.float32(4 / 64), np.float32(4 / 64)
    return np.float32(1 / 64), np.float32(6 / 64), np.float32(1 / 64)


@routine
def band_row(
    source: Planes,
    coarse: Planes,
    y: int,
    column: int,
    wide: Planes,
    held: npt.NDArray[np.int64],
    out: Planes,
) -> None:
    """A part of row `y` of a band, from `column` on."""
    rows = widen(coarse, coarse.shape[0], y, column, out.size, wide, held)
    above, here, below = wide[rows[0], 1:], wide[rows[1], 1:], wide[rows[2], 1:]
    a, b, c = shares(y)
    if y % 2:  # the row above has no share; not to look at it saves a tenth
        for j in range(out.size):
            out[j] = source[j] - (c * below[j] + b * here[j])
    else:
        for j in range(out.size):
            out[j] = source[j] - ((a * above[j] + c * below[j]) + b * here[j])


@kernel
def subtract_expanded(
    block: Planes, coarse: Planes, row: int, column: int, height: int, width: int, band: Planes
) -> None:
    """The band of a block: what is left after taking the expanded coarser level away.

    `row`, `column` is where the block begins in a level of `height` and `width`.
    """
    first, last = max(0, -column), min(block.shape[2], width - column)
    wide, held = np.empty((3, last - first + 5), np.float32), np.empty(3, np.int64)
    for p in range(block.shape[0]):
        held[:] = -1
        for i in range(block.shape[1]):
            y, source, out = mirrored(row + i, height), block[p, i, first:last], band[p, i]
            band_row(source, coarse[p], y, column + first, wide, held, out[first:last])
            mirror_ends(out, column, width)


@kernel
def band_of(level: Planes, coarse: Planes, row: int, column: int, band: Planes) -> None:
    """`subtract_expanded` of the block of a level that begins at `row` and `column`."""
    height, width = level.shape[1:]
    first, last = max(0, -column), min(band.shape[2], width - column)
    wide, held = np.empty((3, last - first + 5), np.float32), np.empty(3, np.int64)
    for p in range(band.shape[0]):
        held[:] = -1
        for i in range(band.shape[1]):
            y, out = mirrored(row + i, height), band[p, i]
            source = level[p, y, column + first : column + last]
            band_row(source, coarse[p], y, column + first, wide, held, out[first:last])
            mirror_ends(out, column, width)


@kernel
def expand(coarse: Planes, row: int, column: int, block: Planes) -> None:
    """The block that begins at `row`, `column` of planes twice as large."""
    columns = block.shape[2]
    wide, held = np.empty((3, columns + 5), np.float32), np.empty(3, np.int64)
    for p in range(block.shape[0]):
        held[:] = -1
        for i in range(block.shape[1]):
            y, line = row + i, block[p, i]
            plane, height = coarse[p], coarse.shape[1]
            rows = widen(plane, height, y, column, columns, wide, held)
            above, here, below = wide[rows[0], 1:], wide[rows[1], 1:], wide[rows[2], 1:]
            a, b, c = shares(y)
            for j in range(columns):
                line[j] = (a * above[j] + c * below[j]) + b * here[j]


@routine
def deviate_row(
    half: Planes, lean: Planes, wide: Planes, rows: tuple[int, int, int], y: int, out: Planes
) -> None:
    """One channel of a row of a deviation: lean times half difference, and what is coarser.

    `rows` of `wide` are what `widen` gives for row `y`.
    """
    above, here, below = wide[rows[0], 1:], wide[rows[1], 1:], wide[rows[2], 1:]
    a, b, c = shares(y)
    if y % 2:
        for j in range(out.size):
            out[j] = (c * below[j] + b * here[j]) + lean[j] * half[j]
    else:
        for j in range(out.size):
            out[j] = ((a * above[j] + c * below[j]) + b * here[j]) + lean[j] * half[j]


@kernel
def deviate(
    halves: Planes,
    margin: int,
    leans: Planes,
    coarse: Planes,
    coarse_height: int,
    coarse_row: int,
    coarse_column: int,
    row: int,
    column: int,
    out: Planes,
) -> None:
    """How far a blend is off the mean: lean times half the difference of both frames.

    `leans` has one plane for all channels or one each; `halves` is `margin` pixels wider
    on each side.  The expanded deviation of the coarser level is added, unless `coarse`
    is empty; the block begins at `coarse_row`, `coarse_column` of that, at `row`,
    `column` of `out`.  Both are rings.
    """
    rows, columns = leans.shape[1:]
    wide, held = np.zeros((3, columns + 5), np.float32), np.empty(3, np.int64)
    for channel in range(out.shape[0]):
        held[:] = -1
        for i in range(rows):
            y, places = coarse_row + i, (0, 1, 2)
            if coarse.size:
                plane = coarse[channel]
                places = widen(plane, coarse_height, y, coarse_column, columns, wide, held)
            line = out[channel, (row + i) % out.shape[1], column : column + columns]
            half = halves[channel, margin + i, margin : margin + columns]
            lean = leans[min(channel, leans.shape[0] - 1), i]
            deviate_row(half, lean, wide, places, y, line)
