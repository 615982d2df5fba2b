"""One frame of a tile, taken apart: its bands and their activities.

Everything here is computed at most once and shared by all methods that ask for it.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import numpy.typing as npt

from batchstack.fusion import activity
from batchstack.fusion.pyramid import expand, gaussian_pyramid
from batchstack.fusion.tiles import LevelPlan, TilePlan

Image = npt.NDArray[np.float32]
Measure = Callable[[Image], Image]


class Band:
    """Coefficients of one frame on one level, over the analysed box of that level.

    Parameters
    ----------
    values : ndarray of float32, shape (H, W) or (H, W, C)
        In 8-bit code values.
    kernel : int
        Side of the box that activities are summed over, in pixels.
    """

    def __init__(self, values: Image, kernel: int) -> None:
        self.values = values
        self._kernel = kernel
        self._each: dict[Measure, Image] = {}
        self._joint: dict[Measure, Image] = {}

    def activity_by_channel(self, measure: Measure) -> Image:
        """Summed activity of every channel, the shape of `values`."""
        if measure not in self._each:
            self._each[measure] = activity.summed(measure(self.values), self._kernel)
        return self._each[measure]

    def activity(self, measure: Measure) -> Image:
        """Summed activity of all channels together, shape (H, W)."""
        if measure not in self._joint:
            self._joint[measure] = activity.channel_sum(self.activity_by_channel(measure))
        return self._joint[measure]


class Bands:
    """One frame of one tile and its pyramid, each part made when first asked for.

    Parameters
    ----------
    window : ndarray of float32, shape (H, W) or (H, W, C)
        The frame over the guard of the tile, in 8-bit code values.
    plan : TilePlan
    kernel : int
        Side of the box that activities are summed over, in pixels.
    """

    def __init__(self, window: Image, plan: TilePlan, kernel: int) -> None:
        self._window = window
        self._plan = plan
        self._kernel = kernel
        self._key: tuple[int, bool] | None = None
        self._band: Band

    @cached_property
    def _gaussian(self) -> list[Image]:
        return gaussian_pyramid(self._window, len(self._plan.levels))

    @cached_property
    def frame(self) -> Band:
        """The frame itself, over the analysed box of the finest level."""
        return Band(np.ascontiguousarray(self._crop(self._window, 0)), self._kernel)

    def gaussian(self, level: int) -> Image:
        """The frame reduced to a level, over the analysed box of that level."""
        return np.ascontiguousarray(self._crop(self._gaussian[level], level))

    def guarded(self, level: int) -> Image:
        """The frame reduced to a level, over the whole guard."""
        return self._gaussian[level]

    def band(self, level: int, levels: int) -> Band:
        """The band of a level of a pyramid of `levels`, or the residual on the last."""
        key = level, level + 1 == levels
        # Methods ask for one level after the other, so the last one is enough to keep.
        if key != self._key:
            self._key, self._band = key, self._make_band(*key)
        return self._band

    def _make_band(self, level: int, residual: bool) -> Band:
        values = self._crop(self._gaussian[level], level)
        if not residual:
            fine = self._gaussian[level].shape
            # Expanded whole and cropped after: the crop then starts where it would in
            # the whole image.
            coarse = expand(self._gaussian[level + 1], (fine[0], fine[1]))
            values = values - self._crop(coarse, level)
        return Band(np.ascontiguousarray(values), self._kernel)

    def _crop(self, image: Image, level: int) -> Image:
        guard, analysed = self._plan.guard, self._plan.levels[level].analysed
        step = 1 << level
        top, left = analysed.top - guard.top // step, analysed.left - guard.left // step
        rows, columns = analysed.shape
        return image[top : top + rows, left : left + columns]


def expand_held(coarse: Image, below: LevelPlan, above: LevelPlan) -> Image:
    """Expand what a level holds to what the next finer level holds.

    Parameters
    ----------
    coarse : ndarray of float32
        Over `below.held`.
    below, above : LevelPlan
        Of the coarser and of the finer level.

    Returns
    -------
    ndarray of float32
        Over `above.held`.
    """
    box = below.held.expanded(above.shape)
    return expand(coarse, box.shape)[above.held.within(box).slices]
