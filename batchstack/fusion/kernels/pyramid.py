"""Compiled Gaussian levels of a stack, row by row.

The rules are those of `compiled`.
"""

import numpy as np
import numpy.typing as npt

from batchstack.compiled import Pixels, Planes, kernel, mirror_ends, mirrored, routine
from batchstack.fusion.kernels.pixels import apart

Places = npt.NDArray[np.int64]


@routine
def widen(
    plane: Planes,
    height: int,
    y: int,
    column: int,
    columns: int,
    wide: Planes,
    held: Places,
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


@kernel
def unpack(pixels: Pixels, scale: float, top: int, bottom: int, out: Planes, lines: Pixels) -> None:
    """Rows of the first frame, and of the others minus it, in code values; both are rings."""
    channels, kept, rows, factor = out.shape[1], pixels.shape[1], out.shape[2], np.float32(scale)
    for i in range(len(pixels)):
        for y in range(top, bottom):
            apart(pixels[i, y % kept], lines, 0)
            for channel in range(channels):
                stored, base, line = (
                    lines[channel],
                    out[0, channel, y % rows],
                    out[i, channel, y % rows],
                )
                if i == 0:
                    for j in range(line.size):
                        line[j] = np.float32(stored[j]) * factor
                else:
                    for j in range(line.size):
                        line[j] = np.float32(stored[j]) * factor - base[j]


@kernel
def reduce_pixels(
    pixels: Pixels,
    height: int,
    scale: float,
    top: int,
    bottom: int,
    half: Planes,
    line: Planes,
    lines: Planes,
) -> None:
    """Rows of the first coarser level, smoothed and halved straight from pixels.

    `pixels` is a ring, `height` the rows that it stands for; `line` and `lines` have room for a
    row as it is stored and with its channels apart, four pixels wider.
    """
    channels, kept, rows = half.shape[1], pixels.shape[1], half.shape[2]
    width = pixels.shape[2] // channels
    four, six, share = np.float32(4), np.float32(6), np.float32(scale / 256)
    line = line[: pixels.shape[2]]
    for i in range(len(pixels)):
        frame = pixels[i]
        for y in range(top, bottom):
            a = frame[mirrored(2 * y - 2, height) % kept]
            b = frame[mirrored(2 * y - 1, height) % kept]
            c = frame[2 * y % kept]
            d = frame[mirrored(2 * y + 1, height) % kept]
            e = frame[mirrored(2 * y + 2, height) % kept]
            for j in range(line.size):
                ends, near = (
                    np.float32(a[j]) + np.float32(e[j]),
                    np.float32(b[j]) + np.float32(d[j]),
                )
                line[j] = ends + four * near + six * np.float32(c[j])
            apart(line, lines, 2)
            for channel in range(channels):
                x, out = lines[channel, : width + 5], half[i, channel, y % rows]
                mirror_ends(x, -2, width)
                if i == 0:
                    for j in range(out.size):
                        ends, near = x[2 * j] + x[2 * j + 4], x[2 * j + 1] + x[2 * j + 3]
                        out[j] = share * (ends + four * near + six * x[2 * j + 2])
                else:
                    base = half[0, channel, y % rows]
                    for j in range(out.size):
                        ends, near = x[2 * j] + x[2 * j + 4], x[2 * j + 1] + x[2 * j + 3]
                        out[j] = share * (ends + four * near + six * x[2 * j + 2]) - base[j]


@kernel
def reduce(level: Planes, height: int, top: int, bottom: int, half: Planes, line: Planes) -> None:
    """Rows of a level, smoothed and halved; both are rings, `line` has room for a row of it."""
    kept, rows, width = level.shape[1], half.shape[1], level.shape[2]
    four, six, share = np.float32(4), np.float32(6), np.float32(1 / 256)
    line = line[: width + 5]
    inner = line[2:]
    for p in range(len(level)):
        plane = level[p]
        for y in range(top, bottom):
            a = plane[mirrored(2 * y - 2, height) % kept]
            b = plane[mirrored(2 * y - 1, height) % kept]
            c = plane[2 * y % kept]
            d = plane[mirrored(2 * y + 1, height) % kept]
            e = plane[mirrored(2 * y + 2, height) % kept]
            for j in range(width):
                inner[j] = (a[j] + e[j]) + four * (b[j] + d[j]) + six * c[j]
            mirror_ends(line, -2, width)
            out = half[p, y % rows]
            for j in range(out.size):
                ends, near = line[2 * j] + line[2 * j + 4], line[2 * j + 1] + line[2 * j + 3]
                out[j] = (ends + four * near + six * line[2 * j + 2]) * share


@kernel
def expand(
    coarse: Planes, height: int, top: int, bottom: int, fine: Planes, wide: Planes, held: Places
) -> None:
    """Rows of planes twice as large; both are rings, `wide` and `held` those of `widen`."""
    for p in range(len(coarse)):
        held[:] = -1
        for y in range(top, bottom):
            line = fine[p, y % fine.shape[1]]
            rows = widen(coarse[p], height, y, 0, line.size, wide, held)
            expanded_row(wide, rows, y, line)


@routine
def expanded_row(wide: Planes, rows: tuple[int, int, int], y: int, out: Planes) -> None:
    """Row `y`, made of the rows of `widen`."""
    above, here, below = wide[rows[0], 1:], wide[rows[1], 1:], wide[rows[2], 1:]
    a, b, c = shares(y)
    for j in range(out.size):
        out[j] = (a * above[j] + c * below[j]) + b * here[j]


@routine
def band_row(
    source: Planes,
    coarse: Planes,
    height: int,
    y: int,
    column: int,
    wide: Planes,
    held: Places,
    out: Planes,
) -> None:
    """A part of row `y` of a band, from `column` on; `coarse` is a ring for `height` rows."""
    rows = widen(coarse, height, y, column, out.size, wide, held)
    above, here, below = wide[rows[0], 1:], wide[rows[1], 1:], wide[rows[2], 1:]
    a, b, c = shares(y)
    if y % 2:  # the row above has no share; not to look at it saves a tenth
        for j in range(out.size):
            out[j] = source[j] - (c * below[j] + b * here[j])
    else:
        for j in range(out.size):
            out[j] = source[j] - ((a * above[j] + c * below[j]) + b * here[j])
