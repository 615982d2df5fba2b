"""Showing the frames of a tile to blends, and collapsing what they make of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack.fusion.bands import Bands, expand_held
from batchstack.fusion.blend import Blend
from batchstack.fusion.codes import to_code_values
from batchstack.fusion.tiles import Box, TilePlan
from batchstack.options import FusionOptions

Pixels = npt.NDArray[Any]
Image = npt.NDArray[np.float32]
ReadWindow = Callable[[int, Box], Pixels]


class Stack:
    """The frames of one tile, taken apart one at a time."""

    def __init__(
        self, read: ReadWindow, n_frames: int, plan: TilePlan, options: FusionOptions
    ) -> None:
        self._read = read
        self._options = options
        self.n_frames = n_frames
        self.plan = plan
        self.dtype: np.dtype[np.generic] = np.dtype(np.uint8)

    def frame(self, index: int) -> Bands:
        pixels = self._read(index, self.plan.guard)
        self.dtype = pixels.dtype
        window = to_code_values(pixels, self._options)
        return Bands(window, self.plan, self._options.kernel)


def show(stack: Stack, blends: dict[tuple[str, int], Blend]) -> None:
    """Show every frame to every blend, as often as it wants; one frame is held at a time."""
    # Level by level: what the methods share of a level is computed once and then dropped.
    order = sorted(blends, key=lambda key: key[1])
    for sweep in range(max((blend.sweeps for blend in blends.values()), default=0)):
        for index in range(stack.n_frames):
            frame = stack.frame(index)
            for key in order:
                if sweep < blends[key].sweeps:
                    blends[key].add(sweep, index, frame)


class Collapse:
    """Collapses a pyramid level by level, coarsest first, as its bands arrive."""

    def __init__(self, plan: TilePlan) -> None:
        self._plan = plan
        self._image: Image | None = None

    def add(self, level: int, band: Image) -> None:
        here = self._plan.levels[level]
        band = band[here.held.within(here.analysed).slices]
        if self._image is None:
            self._image = band
        else:
            self._image = expand_held(self._image, self._plan.levels[level + 1], here) + band

    @property
    def image(self) -> Image:
        assert self._image is not None
        return self._image[self._plan.tile.within(self._plan.levels[0].held).slices]
