"""Blocks of a pair that fit the processor's cache: frames, Gaussian levels and bands.

Blocks are boxes in pixels of a level of the whole image; they may reach beyond the
window of the tile, where everything is mirrored.
Planes are those of `compiled`: the means of both frames, then their half differences.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack.fusion import kernels, pixels
from batchstack.fusion.codes import CODE_MAX, DATA_RANGES
from batchstack.fusion.compiled import Counts, Pixels, Planes
from batchstack.fusion.levels import NAMES, Rows, Source
from batchstack.fusion.pyramid import REDUCE_REACH, level_shape
from batchstack.fusion.tiles import Box, TilePlan
from batchstack.options import FusionOptions

# Rows of a strip on level 0 and at least.  More rows take more memory, fewer are computed too
# often, where strips look at their neighbours.
STRIP, LEAST = 64, 32
# Rows and columns of a block, which is held whole: more do not fit the cache, fewer have too
# much round them.  Columns of a panel, which passes stream through.
BLOCK, PANEL = (24, 4096), 4096
_VIEWS = 1000  # that are remembered; pairs of one size need about a hundred
NOTHING: Planes = np.empty((0, 0, 0), np.float32)
NO_COUNTS: Counts = np.empty((0, 0), np.uint8)


def strips(region: Box, core: Box, level: int) -> Iterator[Box]:
    """Strips of a region from top to bottom, each of them beside its core or not."""
    cuts = region.top, core.top, core.bottom, region.bottom
    for top, bottom in _spans(cuts, strip_rows(level)):
        yield Box(top, region.left, bottom, region.right)


def strip_rows(level: int) -> int:
    """Rows of a strip of a level, at most: those of the finer level halved."""
    return max(STRIP >> level, LEAST)


def panels(strip: Box, core: Box) -> Iterator[Box]:
    """Panels of a strip from left to right, each of them inside of the core or outside."""
    for left, right in _spans((strip.left, core.left, core.right, strip.right), PANEL):
        yield Box(strip.top, left, strip.bottom, right)


def blocks(box: Box) -> Iterator[Box]:
    """Blocks of a box in reading order."""
    for top, bottom in _spans((box.top, box.bottom), BLOCK[0]):
        for left, right in _spans((box.left, box.right), BLOCK[1]):
            yield Box(top, left, bottom, right)


def ring_rows(level: int, around: int) -> int:
    """Rows of a level that are held at once, if a second pass looks `around` rows away.

    That pass is at most two strips and `around` rows behind the first, and looks as far
    behind itself.  A coarser level is at most two strips and `around` rows ahead of what
    is asked of it, and asked of it is half of the rows from the second pass of the finer level
    to its first with what it takes to expand them.
    """
    return 2 * strip_rows(level) + strip_rows(max(level - 1, 0)) + 2 * around + 8


def _spans(cuts: Sequence[int], length: int) -> Iterator[tuple[int, int]]:
    """Spans of at most `length`, alike as far as possible, that end at every cut."""
    for first, last in pairwise(cuts):
        count = -(-(last - first) // length)
        for number in range(count):
            size = last - first
            yield first + size * number // count, first + size * (number + 1) // count


class Scratch:
    """Working arrays that are used again: for every block, and for the next pair."""

    def __init__(self) -> None:
        self._held: dict[str, Counts] = {}  # their bytes
        self._views: dict[tuple[Any, ...], npt.NDArray[Any]] = {}

    def planes(self, name: str, *shape: int) -> Planes:
        """The float32 array of that name, of any content."""
        return self.array(name, shape, np.float32)

    def counts(self, name: str, *shape: int) -> Counts:
        """The uint8 array of that name, of any content."""
        return self.array(name, shape, np.uint8)

    def array(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """The array of that name, of any content."""
        key = name, shape, dtype
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = self._view(name, shape, np.dtype(dtype))
        return view

    def _view(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        size = prod(shape) * dtype.itemsize
        held = self._held.get(name)
        if held is None or held.size < size:
            held = self._held[name] = np.empty(size, np.uint8)
            self._views.clear()  # those of what was held before would keep it
        if len(self._views) >= _VIEWS:
            self._views.clear()
        return held[:size].view(dtype).reshape(shape)


class Pair:
    """Both frames over the guard of a tile.

    Parameters
    ----------
    back, front : ndarray, shape (H, W) or (H, W, C)
    plan : TilePlan
    options : FusionOptions
    levels : int
        Of the pyramid; may be fewer than those of the plan.
    scratch : Scratch
    """

    def __init__(
        self,
        back: Pixels,
        front: Pixels,
        plan: TilePlan,
        options: FusionOptions,
        levels: int,
        scratch: Scratch,
    ) -> None:
        self.plan, self.options, self.levels, self.scratch = plan, options, levels, scratch
        self.channels = prod(back.shape[2:])
        self.dtype = back.dtype
        self.data_range = options.data_range or DATA_RANGES[back.dtype.name]
        self._scale = CODE_MAX / self.data_range
        # The largest value that a fused pixel may have; 0 if it is not rounded either.
        self.white = 0.0
        if back.dtype.kind != "f":
            self.white = min(self.data_range, float(np.iinfo(back.dtype).max))
        self._back, self._front = (
            np.ascontiguousarray(frame).reshape(len(frame), -1) for frame in (back, front)
        )
        self._windows = [_window(plan.guard, level) for level in range(levels)]
        self._gaussian = [
            scratch.planes(f"gaussian {level}", 2 * self.channels, *window.shape)
            if level
            else NOTHING
            for level, window in enumerate(self._windows)
        ]
        self._coming = [strips(window, window, level) for level, window in enumerate(self._windows)]
        self._reduced = [window.top for window in self._windows]
        self._rows: dict[tuple[int, int], Rows] = {}

    def window(self, level: int) -> Box:
        """What is held of a level."""
        return self._windows[level]

    def frames(self, level: int, block: Box, name: str = "frames") -> Planes:
        """A block of the frames, or of one of their Gaussian levels, in scratch of that name."""
        if level:
            self._reduce_until(level, block.bottom)
        planes = self.scratch.planes(name, 2 * self.channels, *block.shape)
        window = self._windows[level]
        row, column = block.top - window.top, block.left - window.left
        if level:
            kernels.crop(self._gaussian[level], row, column, planes)
        else:
            pixels.unpack(self._back, self._front, row, column, self._scale, planes)
        return planes

    def bands(self, level: int, block: Box, frames: Planes) -> Planes:
        """A block of the bands; on level 0 they are made of these `frames`."""
        self._reduce_until(level + 1, block.bottom // 2 + 2)
        bands = self.scratch.planes("bands", 2 * self.channels, *block.shape)
        window = self._windows[level]
        row, column = block.top - window.top, block.left - window.left
        coarse = self._gaussian[level + 1]
        if level:
            self._reduce_until(level, block.bottom)
            kernels.band_of(self._gaussian[level], coarse, row, column, bands)
        else:
            kernels.subtract_expanded(frames, coarse, row, column, *window.shape, bands)
        return bands

    def rows(self, columns: int, side: int) -> Rows:
        """Room for the rows of a pass over `columns` that sums activities over squares of `side`.

        With a `side` of 0 it looks around in nothing and blends half differences alone.
        """
        rows = self._rows.get((columns, side))
        if rows is None:
            rows = self._rows[columns, side] = self._new_rows(columns, side)
        return rows

    def _new_rows(self, columns: int, side: int) -> Rows:
        scratch, channels = self.scratch, self.channels
        margin = side // 2 + 1 if side else 0
        near, far = max(columns + 2 * margin - 2, 0), columns + 2 * margin
        # An activity is of three rows, and what is blended waits for those of `margin` rows more.
        kept, planes = max(margin + 1, 3) if side else 1, 2 * channels if side else channels
        return Rows(
            scratch.planes("frame rows", kept, 2 * channels, far),
            scratch.planes("value rows", kept, planes, far),
            scratch.planes("channel rows", channels, side, near),
            scratch.planes("total rows", side, near),
            scratch.planes("around rows", side, near),
            scratch.planes("direct rows", side, near),
            scratch.planes("lean rows", channels, columns),
            scratch.planes("sum row", columns),
            scratch.planes("tall row", near),
            scratch.array("apart rows", (2, channels, far), self.dtype),
            scratch.array("packed rows", (channels, columns), self.dtype),
            scratch.planes("wide rows", 2 * channels, 3, far + 5),
            scratch.array("held rows", (2 * channels, 3), np.int64),
            scratch.planes("coarse wide rows", len(NAMES), channels, 3, columns + 5),
            scratch.array("coarse held rows", (len(NAMES), channels, 3), np.int64),
        )

    def source(self, level: int, bottom: int, *, residual: bool) -> Source:
        """What compiled passes read of a level, made down to `bottom`."""
        if level:
            self._reduce_until(level, bottom)
        coarse = NOTHING
        if not residual:
            self._reduce_until(level + 1, bottom // 2 + 2)
            coarse = self._gaussian[level + 1]
        return Source(
            self._back, self._front, self._scale, self._gaussian[level], coarse, self.channels
        )

    def _reduce_until(self, level: int, bottom: int) -> None:
        """Gaussian levels are made strip by strip, shortly before they are used."""
        window = self._windows[level]
        while self._reduced[level] < min(bottom, window.bottom):
            strip = next(self._coming[level])
            for block in blocks(strip):
                row, column = block.top - window.top, block.left - window.left
                if level == 1:
                    place = row, column, *block.shape
                    pixels.reduce_pixels(
                        self._back, self._front, self._scale, *place, self._gaussian[1]
                    )
                    continue
                finer = self.frames(level - 1, block.doubled().grown(REDUCE_REACH), "reducing")
                kernels.reduce(finer, row, column, self._gaussian[level])
            self._reduced[level] = strip.bottom


def _window(guard: Box, level: int) -> Box:
    """What a window over the guard holds of a level."""
    rows, columns = level_shape(guard.shape, level)
    top, left = guard.top >> level, guard.left >> level
    return Box(top, left, top + rows, left + columns)
