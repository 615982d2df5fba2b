"""Compiled inner loops of the fusion of pairs, one kernel per idea: pixels and pyramids.

Arrays are planar, (planes, rows, columns), C-contiguous and float32 unless said
otherwise; a kernel fills its last array.
A pair is held as the mean of both frames, plane after plane of its channels, and half
their difference, back minus front, in as many planes more: frames, Gaussian levels and
bands alike, for all of them are linear.
A kernel works on a block that fits the processor's cache.  `row` and `column` say where
in a larger array a block begins; beyond that array's edges it is mirrored (reflect-101).
An array may be a *ring* that holds the latest rows only: row y is at y modulo its rows, and
the `height` that it stands for is given beside it.

Every value is computed from its own neighbours in one fixed order, without fused or
reordered arithmetic: it does not depend on where a block, a row or an array begins.

Rows are cut out once, before the loop over them, and never chosen by a condition: this
is what lets the compiler vectorise a loop and keeps reference counting out of it.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit

# Numba would load SciPy's matrix routines, a fifth of what it takes to load the kernels;
# none of them multiplies matrices.
_BLAS = "scipy.linalg.cython_blas"
if _BLAS not in sys.modules:
    sys.modules[_BLAS] = None  # type: ignore[assignment]
    try:
        import_module("numba.np.arraymath")
    finally:
        del sys.modules[_BLAS]

Pixels = npt.NDArray[Any]
Planes = npt.NDArray[np.float32]
_Function = TypeVar("_Function", bound=Callable[..., Any])


# For each kernel whether it can be kept on disk.
KEPT: list[bool] = []


def kernel(function: _Function) -> _Function:
    """A function compiled when first called and kept on disk; it does not hold the GIL."""
    compiled = njit(nogil=True, error_model="numpy")(function)
    try:
        compiled.enable_caching()
    except RuntimeError:  # neither the package's folder nor the user's can be written
        KEPT.append(False)
    else:
        KEPT.append(True)
    return cast(_Function, compiled)


def part(function: _Function) -> _Function:
    """A piece of kernels, compiled into each of them.

    The kept kernels of another file do not notice that a part has changed: save that
    file anew too.
    """
    return cast(_Function, njit(error_model="numpy", forceinline=True)(function))


# --- places


@part
def mirrored(index: int, size: int) -> int:
    """An index of any value folded into 0 to size - 1."""
    if 0 <= index < size:
        return index
    if size == 1:
        return 0
    folded = index % (2 * size - 2)
    return folded if folded < size else 2 * size - 2 - folded


@part
def mirror_ends(line: Planes, column: int, width: int) -> None:
    """Fill the columns of a line outside an image of `width` from those inside."""
    for j in range(-column):
        line[j] = line[mirrored(column + j, width) - column]
    for j in range(width - column, line.size):
        line[j] = line[mirrored(column + j, width) - column]


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


# --- between stored pixels and pairs


@kernel
def unpack(back: Pixels, front: Pixels, row: int, column: int, scale: float, block: Planes) -> None:
    """Pixels of shape (rows, columns * channels), times `scale`, as a pair."""
    factor, part, channels = np.float32(scale), np.float32(0.5), block.shape[0] // 2
    height, width = back.shape[0], back.shape[1] // channels
    first, last = max(0, -column), min(block.shape[2], width - column)
    columns, start, stop = last - first, (column + first) * channels, (column + last) * channels
    backs, fronts = np.empty((2, channels, columns), back.dtype)
    for i in range(block.shape[1]):
        y = mirrored(row + i, height)
        _apart(back[y, start:stop], backs, 0)
        _apart(front[y, start:stop], fronts, 0)
        for channel in range(channels):
            stored, other = backs[channel], fronts[channel]
            mean, half = block[channel, i, first:last], block[channels + channel, i, first:last]
            for j in range(columns):
                here, there = np.float32(stored[j]) * factor, np.float32(other[j]) * factor
                mean[j] = part * (here + there)
                half[j] = part * (here - there)
            mirror_ends(block[channel, i], column, width)
            mirror_ends(block[channels + channel, i], column, width)


@part
def _apart(stored: Pixels, lines: Pixels, first: int) -> None:
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


@part
def _together(lines: Pixels, stored: Pixels) -> None:
    """The reverse of `_apart`."""
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
    close = np.float32(shrink)
    factor, most, least = np.float32(scale), np.float32(white), np.float32(0)
    channels, (rows, columns) = halves.shape[0], leans.shape[1:]
    lines, values = np.empty((channels, columns), pixels.dtype), np.empty(columns, np.float32)
    wide, held = np.zeros((channels, 3, columns + 4), np.float32), np.full((channels, 3), -1)
    for i in range(rows):
        for channel in range(channels):
            y, window = coarse_row + i, wide[channel]
            above, here, below = window[0], window[1], window[2]
            if coarse.size:
                plane, known = coarse[channel], held[channel]
                above, here, below = _widen(
                    plane, coarse_height, y, coarse_column, columns, window, known
                )
            a, b, c = _shares(y)
            line, mean = lines[channel], frames[channel, margin + i, margin:]
            half = halves[channel, margin + i, margin:]
            lean = leans[min(channel, leans.shape[0] - 1), i]
            if hard.size == 0 and white > 0:
                for j in range(columns):
                    expanded = (a * above[j] + c * below[j]) + b * here[j]
                    value = (mean[j] + expanded) + lean[j] * half[j]
                    line[j] = np.int32(min(max(np.rint(value * factor), least), most))
                continue
            for j in range(columns):
                expanded = (a * above[j] + c * below[j]) + b * here[j]
                values[j] = (mean[j] + expanded) + lean[j] * half[j]
            if hard.size:
                side, whole = hard[0, i], frames[channels + channel, margin + i, margin:]
                for j in range(columns):
                    away = values[j] - (mean[j] + side[j] * whole[j])
                    values[j] -= min(max(away, -close), close)
            if white > 0:
                for j in range(columns):
                    line[j] = np.int32(min(max(np.rint(values[j] * factor), least), most))
            else:
                for j in range(columns):
                    line[j] = values[j] * factor
        _together(lines, pixels[row + i, column * channels :])


# --- pyramids


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
        _apart(line, lines[0], first)
        _reduce_down(front, 2 * i, start, line)
        _apart(line, lines[1], first)
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


@part
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


@part
def _widen(
    plane: Planes,
    height: int,
    y: int,
    column: int,
    columns: int,
    wide: Planes,
    held: npt.NDArray[np.int64],
) -> tuple[Planes, Planes, Planes]:
    """The rows above, at and below that row `y` of a twice larger plane is made of.

    They are expanded across, from `column` on.  `plane` is a ring.  As OpenCV does it, it is
    mirrored before its first sample and its last one is repeated.
    `wide` has room for three rows of 4 values more than the columns; `held` says which rows of
    the plane it holds.
    """
    k = y // 2
    rows = mirrored(k - 1, height), k, min(k + 1, height - 1)
    for row in rows:
        if held[row % 3] != row:
            _expand_across(plane[row % plane.shape[0]], column, columns, wide[row % 3])
            held[row % 3] = row
    odd = column % 2
    return wide[rows[0] % 3, odd:], wide[rows[1] % 3, odd:], wide[rows[2] % 3, odd:]


@part
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


@part
def _shares(y: int) -> tuple[np.float32, np.float32, np.float32]:
    """What the three rows of `_widen` are multiplied by, from above to below.

    An odd row lies between two rows, an even one on a row between two others.
    """
    if y % 2:
        return np.float32(0), np.float32(4 / 64), np.float32(4 / 64)
    return np.float32(1 / 64), np.float32(6 / 64), np.float32(1 / 64)


@kernel
def subtract_expanded(
    block: Planes, coarse: Planes, row: int, column: int, height: int, width: int, band: Planes
) -> None:
    """The band of a block: what is left after taking the expanded coarser level away.

    `row`, `column` is where the block begins in a level of `height` and `width`.
    """
    first, last = max(0, -column), min(block.shape[2], width - column)
    wide, held = np.empty((3, last - first + 4), np.float32), np.empty(3, np.int64)
    for p in range(block.shape[0]):
        held[:] = -1
        for i in range(block.shape[1]):
            y, source, out = mirrored(row + i, height), block[p, i, first:last], band[p, i]
            _band_row(source, coarse[p], y, column + first, wide, held, out[first:last])
            mirror_ends(out, column, width)


@kernel
def band_of(level: Planes, coarse: Planes, row: int, column: int, band: Planes) -> None:
    """`subtract_expanded` of the block of a level that begins at `row` and `column`."""
    height, width = level.shape[1:]
    first, last = max(0, -column), min(band.shape[2], width - column)
    wide, held = np.empty((3, last - first + 4), np.float32), np.empty(3, np.int64)
    for p in range(band.shape[0]):
        held[:] = -1
        for i in range(band.shape[1]):
            y, out = mirrored(row + i, height), band[p, i]
            source = level[p, y, column + first : column + last]
            _band_row(source, coarse[p], y, column + first, wide, held, out[first:last])
            mirror_ends(out, column, width)


@part
def _band_row(
    source: Planes,
    coarse: Planes,
    y: int,
    column: int,
    wide: Planes,
    held: npt.NDArray[np.int64],
    out: Planes,
) -> None:
    """A part of row `y` of a band, from `column` on."""
    above, here, below = _widen(coarse, coarse.shape[0], y, column, out.size, wide, held)
    a, b, c = _shares(y)
    if y % 2:  # the row above has no share; not to look at it saves a tenth
        for j in range(out.size):
            out[j] = source[j] - (c * below[j] + b * here[j])
    else:
        for j in range(out.size):
            out[j] = source[j] - ((a * above[j] + c * below[j]) + b * here[j])


@kernel
def expand(coarse: Planes, row: int, column: int, block: Planes) -> None:
    """The block that begins at `row`, `column` of planes twice as large."""
    columns = block.shape[2]
    wide, held = np.empty((3, columns + 4), np.float32), np.empty(3, np.int64)
    for p in range(block.shape[0]):
        held[:] = -1
        for i in range(block.shape[1]):
            y, line = row + i, block[p, i]
            plane, height = coarse[p], coarse.shape[1]
            above, here, below = _widen(plane, height, y, column, columns, wide, held)
            a, b, c = _shares(y)
            for j in range(columns):
                line[j] = (a * above[j] + c * below[j]) + b * here[j]


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
    wide, held = np.zeros((3, columns + 4), np.float32), np.empty(3, np.int64)
    for channel in range(out.shape[0]):
        held[:] = -1
        for i in range(rows):
            y, above, here, below = coarse_row + i, wide[0], wide[1], wide[2]
            if coarse.size:
                plane = coarse[channel]
                above, here, below = _widen(
                    plane, coarse_height, y, coarse_column, columns, wide, held
                )
            a, b, c = _shares(y)
            line = out[channel, (row + i) % out.shape[1], column:]
            half = halves[channel, margin + i, margin:]
            lean = leans[min(channel, leans.shape[0] - 1), i]
            for j in range(columns):
                expanded = (a * above[j] + c * below[j]) + b * here[j]
                line[j] = expanded + lean[j] * half[j]
