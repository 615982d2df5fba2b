"""Blocks of a pair that fit the processor's cache: frames, Gaussian levels and bands.

Blocks are boxes in pixels of a level of the whole image; they may reach beyond the
window of the tile, where everything is mirrored.
Planes are those of `kernels`: the means of both frames, then their half differences.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack.fusion import kernels
from batchstack.fusion.codes import CODE_MAX, DATA_RANGES
from batchstack.fusion.pyramid import REDUCE_REACH, level_shape
from batchstack.fusion.tiles import Box, TilePlan
from batchstack.options import FusionOptions

Pixels = npt.NDArray[Any]
Planes = npt.NDArray[np.float32]
Counts = npt.NDArray[np.uint8]

# Rows and columns.  More rows do not fit the cache, fewer compute their margins too often.
BLOCK = (24, 4096)
_VIEWS = 1000  # that are remembered; pairs of one size need about a hundred
NOTHING: Planes = np.empty((0, 0, 0), np.float32)


def strips(region: Box, core: Box) -> Iterator[Box]:
    """Strips of a region from top to bottom, each of them beside its core or not."""
    for top, bottom in _spans((region.top, core.top, core.bottom, region.bottom), BLOCK[0]):
        yield Box(top, region.left, bottom, region.right)


def blocks(strip: Box, core: Box) -> Iterator[Box]:
    """Blocks of a strip from left to right, each of them inside of the core or outside."""
    for left, right in _spans((strip.left, core.left, core.right, strip.right), BLOCK[1]):
        yield Box(strip.top, left, strip.bottom, right)


def ring_rows(around: int) -> int:
    """Rows of a level that are held at once, if a second pass looks `around` rows away.

    That pass is at most two strips and `around` rows behind the first, and looks as far
    behind itself.  A coarser level is at most two strips and `around` rows ahead of what
    is asked of it, and asked of it is half of the rows from the second pass to the first
    with what it takes to expand them.
    """
    return 4 * BLOCK[0] + 3 * around + 8


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
        self._coming = [strips(window, window) for window in self._windows]
        self._reduced = [window.top for window in self._windows]

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
            kernels.unpack(self._back, self._front, row, column, self._scale, planes)
        return planes

    def bands(self, level: int, block: Box, planes: int, frames: Planes) -> Planes:
        """A block of the bands, or of the last `planes` of them.

        On level 0 they are made of these `frames`, of as many planes.
        """
        self._reduce_until(level + 1, block.bottom // 2 + 2)
        bands = self.scratch.planes("bands", planes, *block.shape)
        window = self._windows[level]
        row, column = block.top - window.top, block.left - window.left
        coarse = self._gaussian[level + 1][-planes:]
        if level:
            self._reduce_until(level, block.bottom)
            kernels.band_of(self._gaussian[level][-planes:], coarse, row, column, bands)
        else:
            frames = frames[-planes:]
            kernels.subtract_expanded(frames, coarse, row, column, *window.shape, bands)
        return bands

    def _reduce_until(self, level: int, bottom: int) -> None:
        """Gaussian levels are made strip by strip, shortly before they are used."""
        window = self._windows[level]
        while self._reduced[level] < min(bottom, window.bottom):
            strip = next(self._coming[level])
            for block in blocks(strip, window):
                row, column = block.top - window.top, block.left - window.left
                if level == 1:
                    pixels, place = (self._back, self._front), (row, column, *block.shape)
                    kernels.reduce_pixels(*pixels, self._scale, *place, self._gaussian[1])
                    continue
                finer = self.frames(level - 1, block.doubled().grown(REDUCE_REACH), "reducing")
                kernels.reduce(finer, row, column, self._gaussian[level])
            self._reduced[level] = strip.bottom


def _window(guard: Box, level: int) -> Box:
    """What a window over the guard holds of a level."""
    rows, columns = level_shape(guard.shape, level)
    top, left = guard.top >> level, guard.left >> level
    return Box(top, left, top + rows, left + columns)
