"""Compiled inner loops between stored pixels and pairs.

The rules are those of `compiled`.
"""

import numpy as np

from batchstack.fusion.compiled import Pixels, Planes, kernel, mirror_ends, mirrored, routine
from batchstack.fusion.kernels import shares, widen


@kernel
def unpack(back: Pixels, front: Pixels, row: int, column: int, scale: float, block: Planes) -> None:
    """Pixels of shape (rows, columns * channels), times `scale`, as a pair."""
    factor, channels = np.float32(scale), block.shape[0] // 2
    height, width = back.shape[0], back.shape[1] // channels
    first, last = max(0, -column), min(block.shape[2], width - column)
    columns, start, stop = last - first, (column + first) * channels, (column + last) * channels
    backs, fronts = np.empty((2, channels, columns), back.dtype)
    for i in range(block.shape[1]):
        y = mirrored(row + i, height)
        apart(back[y, start:stop], backs, 0)
        apart(front[y, start:stop], fronts, 0)
        for channel in range(channels):
            stored, other = backs[channel], fronts[channel]
            mean, half = block[channel, i, first:last], block[channels + channel, i, first:last]
            _halve(stored, other, factor, mean, half)
            mirror_ends(block[channel, i], column, width)
            mirror_ends(block[channels + channel, i], column, width)


@routine
def unpack_row(
    back: Pixels, front: Pixels, column: int, scale: float, lines: Pixels, row: Planes
) -> None:
    """`unpack` of one row of pixels, from `column` on, into a row of shape (planes, columns).

    `lines`, of the type of the pixels, has room for 2 x channels x columns.
    """
    channels, factor = row.shape[0] // 2, np.float32(scale)
    width = back.size // channels
    first, last = max(0, -column), min(row.shape[1], width - column)
    start, stop = (column + first) * channels, (column + last) * channels
    apart(back[start:stop], lines[0], 0)
    apart(front[start:stop], lines[1], 0)
    for channel in range(channels):
        mean, half = row[channel, first:last], row[channels + channel, first:last]
        _halve(lines[0, channel], lines[1, channel], factor, mean, half)
        mirror_ends(row[channel], column, width)
        mirror_ends(row[channels + channel], column, width)


@routine
def _halve(back: Pixels, front: Pixels, factor: np.float32, mean: Planes, half: Planes) -> None:
    part = np.float32(0.5)
    for j in range(mean.size):
        here, there = np.float32(back[j]) * factor, np.float32(front[j]) * factor
        mean[j] = part * (here + there)
        half[j] = part * (here - there)


@routine
def apart(stored: Pixels, lines: Pixels, first: int) -> None:
    """The channels of a row of pixels, each in a line of its own from `first` on."""
    channels = lines.shape[0]
    columns = stored.size // channels
    if channels == 3:
        # Whole pixels at once are vectorised only if the number of channels is known.
        red, green, blue = lines[0, first:], lines[1, first:], lines[2, first:]
        for j in range(columns):
            red[j] = stored[3 * j]
            green[j] = stored[3 * j + 1]
            blue[j] = stored[3 * j + 2]
    else:
        for channel in range(channels):
            line = lines[channel, first:]
            for j in range(columns):
                line[j] = stored[channels * j + channel]


@routine
def together(lines: Pixels, stored: Pixels) -> None:
    """The reverse of `apart`."""
    channels, columns = lines.shape
    if channels == 3:
        red, green, blue = lines[0], lines[1], lines[2]
        for j in range(columns):
            stored[3 * j] = red[j]
            stored[3 * j + 1] = green[j]
            stored[3 * j + 2] = blue[j]
    else:
        for channel in range(channels):
            line = lines[channel]
            for j in range(columns):
                stored[channels * j + channel] = line[j]


@kernel
def reduce_pixels(
    back: Pixels,
    front: Pixels,
    scale: float,
    row: int,
    column: int,
    rows: int,
    columns: int,
    half: Planes,
) -> None:
    """`reduce` of what `unpack` gives, straight from pixels of shape (rows, columns * channels).

    `half` is all of level 1; filled of it are `rows` and `columns` from `row` and `column` on.
    """
    channels = half.shape[0] // 2
    width = back.shape[1] // channels
    left, size = 2 * column - 2, 2 * columns + 3
    first, last = max(0, -left), min(size, width - left)
    start, stop = (left + first) * channels, (left + last) * channels
    line, lines = np.empty(stop - start, np.float32), np.empty((2, channels, size), np.float32)
    four, six, share = np.float32(4), np.float32(6), np.float32(scale / 512)
    for i in range(row, row + rows):
        _reduce_down(back, 2 * i, start, line)
        apart(line, lines[0], first)
        _reduce_down(front, 2 * i, start, line)
        apart(line, lines[1], first)
        for channel in range(channels):
            one, other = lines[0, channel], lines[1, channel]
            mirror_ends(one, left, width)
            mirror_ends(other, left, width)
            mean, difference = half[channel, i, column:], half[channels + channel, i, column:]
            for j in range(columns):
                ends, near = one[2 * j] + one[2 * j + 4], one[2 * j + 1] + one[2 * j + 3]
                here = ends + four * near + six * one[2 * j + 2]
                ends, near = other[2 * j] + other[2 * j + 4], other[2 * j + 1] + other[2 * j + 3]
                there = ends + four * near + six * other[2 * j + 2]
                mean[j] = share * (here + there)
                difference[j] = share * (here - there)


@routine
def _reduce_down(stored: Pixels, y: int, start: int, line: Planes) -> None:
    """Rows of pixels round row `y` under the filter of `reduce`, times 16."""
    height, stop = stored.shape[0], start + line.size
    a, e = stored[mirrored(y - 2, height), start:stop], stored[mirrored(y + 2, height), start:stop]
    b, d = stored[mirrored(y - 1, height), start:stop], stored[mirrored(y + 1, height), start:stop]
    c = stored[y, start:stop]
    four, six = np.float32(4), np.float32(6)
    for j in range(line.size):
        ends, near = np.float32(a[j]) + np.float32(e[j]), np.float32(b[j]) + np.float32(d[j])
        line[j] = ends + four * near + six * np.float32(c[j])


@routine
def pack_row(
    mean: Planes,
    half: Planes,
    lean: Planes,
    wide: Planes,
    rows: tuple[int, int, int],
    y: int,
    factor: np.float32,
    white: np.float32,
    line: Pixels,
) -> None:
    """One channel of a row of fused pixels: mean plus deviation, times `factor`, rounded.

    `wide`, `rows` and `y` are those of `deviate_row`; values are clipped to 0..`white`, or neither
    clipped nor rounded if `white` is 0.
    """
    above, here, below = wide[rows[0], 1:], wide[rows[1], 1:], wide[rows[2], 1:]
    a, b, c = shares(y)
    least = np.float32(0)
    if white == 0:
        for j in range(line.size):
            expanded = (a * above[j] + c * below[j]) + b * here[j]
            line[j] = ((mean[j] + expanded) + lean[j] * half[j]) * factor
    elif y % 2:
        for j in range(line.size):
            expanded = c * below[j] + b * here[j]
            value = (mean[j] + expanded) + lean[j] * half[j]
            line[j] = np.int32(min(max(np.rint(value * factor), least), white))
    else:
        for j in range(line.size):
            expanded = (a * above[j] + c * below[j]) + b * here[j]
            value = (mean[j] + expanded) + lean[j] * half[j]
            line[j] = np.int32(min(max(np.rint(value * factor), least), white))


@kernel
def pack(
    frames: Planes,
    halves: Planes,
    margin: int,
    leans: Planes,
    coarse: Planes,
    coarse_height: int,
    coarse_row: int,
    coarse_column: int,
    hard: Planes,
    shrink: float,
    scale: float,
    white: float,
    row: int,
    column: int,
    pixels: Pixels,
) -> None:
    """Write the fused block to `row`, `column` of pixels of shape (rows, columns * channels).

    Its values are the means of `frames` plus the deviation (`deviate`), times `scale`; they are
    rounded and clipped to 0..`white`, or kept as they are if `white` is 0.
    Unless `hard` is empty, they are first drawn by at most `shrink` to the frame that `hard`
    leans to.
    """
    close, factor, most = np.float32(shrink), np.float32(scale), np.float32(white)
    channels, (rows, columns) = halves.shape[0], leans.shape[1:]
    lines, value = np.empty((channels, columns), pixels.dtype), np.empty(columns, np.float32)
    wide, held = np.zeros((channels, 3, columns + 5), np.float32), np.full((channels, 3), -1)
    one = np.float32(1)
    for i in range(rows):
        for channel in range(channels):
            y, places, line = coarse_row + i, (0, 1, 2), lines[channel]
            if coarse.size:
                plane, known = coarse[channel], held[channel]
                places = widen(
                    plane, coarse_height, y, coarse_column, columns, wide[channel], known
                )
            mean = frames[channel, margin + i, margin : margin + columns]
            half = halves[channel, margin + i, margin : margin + columns]
            lean = leans[min(channel, leans.shape[0] - 1), i]
            if hard.size == 0:
                pack_row(mean, half, lean, wide[channel], places, y, factor, most, line)
                continue
            pack_row(mean, half, lean, wide[channel], places, y, one, np.float32(0), value)
            side, whole = hard[0, i], frames[channels + channel, margin + i, margin:]
            for j in range(columns):
                away = value[j] - (mean[j] + side[j] * whole[j])
                value[j] -= min(max(away, -close), close)
            _round_row(value, factor, most, line)
        start = column * channels
        together(lines, pixels[row + i, start : start + columns * channels])


@routine
def _round_row(value: Planes, factor: np.float32, white: np.float32, line: Pixels) -> None:
    least = np.float32(0)
    if white == 0:
        for j in range(line.size):
            line[j] = value[j] * factor
    else:
        for j in range(line.size):
            line[j] = np.int32(min(max(np.rint(value[j] * factor), least), white))
