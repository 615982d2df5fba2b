"""Blending pyramids with the decision map as a prior: the map rules but where it is unsure."""

import numpy as np
import numpy.typing as npt

from batchstack.fusion.activity import (
    ACTIVITY_REACH,
    channel_mean,
    gaussian_reach,
    second_difference,
    smoothed,
)
from batchstack.fusion.bands import Bands
from batchstack.fusion.blend import like
from batchstack.fusion.decision import TileDecision
from batchstack.options import FusionOptions

Image = npt.NDArray[np.float32]

# The likelihood is the fifth power of the strength: the window it is summed over, in pixels of
# the level, what is added to it, and what it is divided by to stay small, in 8-bit code values.
STRENGTH_SIGMA = 1.0
STRENGTH_FLOOR, _SCALE = 5.0, 100.0
# What the smoothed detail is multiplied by, and the share of the coefficient itself in it.
STRENGTH_GAIN, STRENGTH_SHARE = 3.0, 3.0


def prior_reach() -> int:
    """How many pixels of its level away a `PriorBlend` looks."""
    return ACTIVITY_REACH + gaussian_reach(STRENGTH_SIGMA)


class PriorBlend:
    """Mean of the bands, weighted by likelihood times prior.

    The likelihood of a frame is the fifth power of its `strength`.  Its prior is exp(prior c): c
    is 1 within `prior_radius` cells of where the decision map has the frame or the frame is sharp
    in itself, 0 elsewhere, and reduced with the pyramid.  So the map rules where only one frame
    can be right, and the bands decide where several can: at seams, and at structures too thin for
    the map.

    Parameters
    ----------
    options : FusionOptions
    decision : TileDecision
    level, levels : int
        Of the pyramid.
    """

    sweeps = 1

    def __init__(
        self, options: FusionOptions, decision: TileDecision, level: int, levels: int
    ) -> None:
        self._prior = np.float32(options.prior)
        self._decision = decision
        self._level, self._levels = level, levels
        self._sum: Image | None = None
        self._total: Image

    def add(self, sweep: int, index: int, frame: Bands) -> None:
        values = frame.band(self._level, self._levels).values
        ratio = strength(values, residual=self._level + 1 == self._levels) / _SCALE
        square = ratio * ratio
        weight = square * square * ratio
        weight *= np.exp(self._prior * self._decision.near(index, frame, self._level))
        if self._sum is None:
            self._sum, self._total = values * like(weight, values), weight
        else:
            self._sum += values * like(weight, values)
            self._total += weight

    def result(self) -> Image:
        assert self._sum is not None
        return self._sum / like(self._total, self._sum)


def strength(values: Image, *, residual: bool) -> Image:
    """How much detail of a frame a coefficient carries.

    Parameters
    ----------
    values : ndarray of float32, shape (H, W) or (H, W, C)
        A band in 8-bit code values.
    residual : bool
        The coarsest level is no band: only its curvature is detail.

    Returns
    -------
    ndarray of float32, shape (H, W), in code values, above 0
    """
    detail = second_difference(values)
    if not residual:
        detail += STRENGTH_SHARE * np.abs(values)
    return STRENGTH_GAIN * smoothed(channel_mean(detail), STRENGTH_SIGMA) + STRENGTH_FLOOR


class CompositeBlend:
    """Each pixel from the frame that the decision map names."""

    sweeps = 1

    def __init__(self, decision: TileDecision) -> None:
        self._decision = decision
        self._image: Image | None = None

    def add(self, sweep: int, index: int, frame: Bands) -> None:
        values = frame.frame.values
        if self._image is None:
            self._image = values.copy()
        else:
            wins = self._decision.index == index
            self._image[wins] = values[wins]

    def result(self) -> Image:
        assert self._image is not None
        return self._image


def drawn_to(image: Image, composite: Image, by: float) -> Image:
    """Move values towards those of the composite by at most `by` code values.

    The soft threshold of a Laplace prior on the departure: what differs by less than the noise
    of a frame is the frame's own value.
    """
    away = image - composite
    size = np.maximum(np.abs(away) - np.float32(by), 0)
    return composite + np.copysign(size, away)  # type: ignore[no-any-return]
