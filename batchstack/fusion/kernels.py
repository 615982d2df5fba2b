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

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit

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
    half, channels = np.float32(0.5), block.shape[0] // 2
    height, width = back.shape[0], back.shape[1] // channels
    first, last = max(0, -column), min(block.shape[2], width - column)
    start, stop = (column + first) * channels, (column + last) * channels
    for i in range(block.shape[1]):
        y = mirrored(row + i, height)
        _unpack_row(back[y, start:stop], scale, block, 0, i, first)
        _unpack_row(front[y, start:stop], scale, block, channels, i, first)
        for channel in range(channels):
            mean = block[channel, i, first:last]
            difference = block[channels + channel, i, first:last]
            for j in range(last - first):
                here, there = mean[j], difference[j]
                mean[j] = half * (here + there)
                difference[j] = half * (here - there)
            mirror_ends(block[channel, i], column, width)
            mirror_ends(block[channels + channel, i], column, width)


@part
def _unpack_row(stored: Pixels, scale: float, block: Planes, p: int, i: int, first: int) -> None:
    factor, channels = np.float32(scale), block.shape[0] // 2
    columns = stored.size // channels
    if channels == 3:
        # Whole pixels at once are vectorised only if the number of channels is known.
        red, green, blue = block[p, i, first:], block[p + 1, i, first:], block[p + 2, i, first:]
        for j in range(columns):
            red[j] = np.float32(stored[3 * j]) * factor
            green[j] = np.float32(stored[3 * j + 1]) * factor
            blue[j] = np.float32(stored[3 * j + 2]) * factor
    else:
        for channel in range(channels):
            line = block[p + channel, i, first:]
            for j in range(columns):
                line[j] = np.float32(stored[channels * j + channel]) * factor


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
    tall, wide = np.empty(columns + 4, np.float32), np.zeros(columns + 4, np.float32)
    expanded = wide[coarse_column % 2 :]
    for i in range(rows):
        for channel in range(channels):
            if coarse.size:
                y, plane = coarse_row + i, coarse[channel]
                _expand_row(plane, coarse_height, y, coarse_column, columns, tall, wide)
            line, mean = lines[channel], frames[channel, margin + i, margin:]
            half = halves[channel, margin + i, margin:]
            lean = leans[min(channel, leans.shape[0] - 1), i]
            for j in range(columns):
                values[j] = (mean[j] + expanded[j]) + lean[j] * half[j]
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
        stored = pixels[row + i, column * channels :]
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


@part
def _expand_row(
    plane: Planes, height: int, y: int, column: int, columns: int, tall: Planes, wide: Planes
) -> None:
    """Part of row `y` of a plane twice as large, from the even column at or before `column`.

    `plane` is a ring.  As OpenCV does it, it is mirrored before its first sample and its last
    one is repeated.  `tall` and `wide` have room for 4 values more than the columns.
    """
    kept, width = plane.shape
    first, last = column // 2, (column + columns + 1) // 2
    low, high = max(first - 1, 0), min(last + 1, width)
    k = y // 2
    # An odd row lies between two rows, an even one on a row between two others.
    if y % 2:
        other, a, b, c = k, np.float32(0), np.float32(4), np.float32(4)
    else:
        other, a, b, c = mirrored(k - 1, height), np.float32(1), np.float32(6), np.float32(1)
    above, here = plane[other % kept, low:high], plane[k % kept, low:high]
    below, inner = plane[min(k + 1, height - 1) % kept, low:high], tall[low - (first - 1) :]
    for j in range(high - low):
        inner[j] = (a * above[j] + c * below[j]) + b * here[j]
    if first == 0:
        tall[0] = tall[min(2, width)]
    if last == width:
        tall[last - first + 1] = tall[last - first]
    four, six, part = np.float32(4), np.float32(6), np.float32(1 / 64)
    for j in range(last - first):
        wide[2 * j] = ((tall[j] + tall[j + 2]) + six * tall[j + 1]) * part
        wide[2 * j + 1] = four * (tall[j + 1] + tall[j + 2]) * part


@kernel
def subtract_expanded(
    block: Planes, coarse: Planes, row: int, column: int, height: int, width: int, band: Planes
) -> None:
    """The band of a block: what is left after taking the expanded coarser level away.

    `row`, `column` is where the block begins in a level of `height` and `width`.
    """
    first, last = max(0, -column), min(block.shape[2], width - column)
    columns = last - first
    tall, wide = np.empty(columns + 4, np.float32), np.empty(columns + 4, np.float32)
    expanded = wide[(column + first) % 2 :]
    for p in range(block.shape[0]):
        for i in range(block.shape[1]):
            y, plane = mirrored(row + i, height), coarse[p]
            _expand_row(plane, coarse.shape[1], y, column + first, columns, tall, wide)
            source, out = block[p, i, first:last], band[p, i, first:last]
            for j in range(columns):
                out[j] = source[j] - expanded[j]
            mirror_ends(band[p, i], column, width)


@kernel
def expand(coarse: Planes, row: int, column: int, block: Planes) -> None:
    """The block that begins at `row`, `column` of planes twice as large."""
    columns = block.shape[2]
    tall, wide = np.empty(columns + 4, np.float32), np.empty(columns + 4, np.float32)
    expanded = wide[column % 2 :]
    for p in range(block.shape[0]):
        for i in range(block.shape[1]):
            _expand_row(coarse[p], coarse.shape[1], row + i, column, columns, tall, wide)
            line = block[p, i]
            for j in range(columns):
                line[j] = expanded[j]


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
    tall, wide = np.empty(columns + 4, np.float32), np.zeros(columns + 4, np.float32)
    expanded = wide[coarse_column % 2 :]
    for channel in range(out.shape[0]):
        for i in range(rows):
            if coarse.size:
                y, plane = coarse_row + i, coarse[channel]
                _expand_row(plane, coarse_height, y, coarse_column, columns, tall, wide)
            line = out[channel, (row + i) % out.shape[1], column:]
            half = halves[channel, margin + i, margin:]
            lean = leans[min(channel, leans.shape[0] - 1), i]
            for j in range(columns):
                line[j] = expanded[j] + lean[j] * half[j]
