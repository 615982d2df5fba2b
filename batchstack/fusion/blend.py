"""Blending one level of a stack: frames in one after another, one fused band out.

A blend sees every frame in each of its sweeps and keeps only running results, so that
its memory does not depend on the number of frames.  A sweep is one visit of all frames
from back to front; what a sweep needs to know of the whole stack, an earlier one has
found out.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from batchstack.fusion import consistency
from batchstack.fusion.activity import ACTIVITY_REACH, box_reach, gaussian_reach, smoothed
from batchstack.fusion.bands import Band, Bands, Measure

Image = npt.NDArray[np.float32]
# What a blend takes of a frame: a band of its pyramid, or the frame itself.
Source = Callable[[Bands], Band]

# A frame this many code values of activity below the sharpest one gets no less weight.
MAX_DIFFERENCE = 50.0


class Blend(Protocol):
    """What fuses one level of a stack."""

    sweeps: int

    def add(self, sweep: int, index: int, frame: Bands) -> None:
        """Take in frame `index` (0 = back) in sweep `sweep`."""

    def result(self) -> Image:
        """The fused band over the analysed box, once every frame was added in every sweep."""


def soft_reach(kernel: int, sigma: float = 0.0) -> int:
    """How many pixels away a `SoftBlend` looks."""
    return ACTIVITY_REACH + box_reach(kernel) + gaussian_reach(sigma)


def hard_reach(kernel: int, median_size: int) -> int:
    """How many pixels away a `HardBlend` looks."""
    return ACTIVITY_REACH + box_reach(kernel) + consistency.median_reach(median_size)


class SoftBlend:
    """Mean of the frames, weighted by w_i ~ exp(beta max(S_i - max_j S_j, -50)).

    For a pair this is the logistic function of beta (S_back - S_front).

    Parameters
    ----------
    source : callable
        Takes from a frame what is blended.
    measure : callable
        The measure S is summed from.
    beta : float
        Slope of the weights, per 8-bit code value of activity.
    by_channel : bool
        Weigh each channel on its own instead of all together.
    sigma : float
        Smooth the weights by a Gaussian of this standard deviation, in pixels.
    """

    def __init__(
        self,
        source: Source,
        measure: Measure,
        beta: float,
        *,
        by_channel: bool = False,
        sigma: float = 0.0,
    ) -> None:
        self._source = source
        self._measure = measure
        self._beta = np.float32(beta)
        self._by_channel = by_channel
        self._sigma = sigma
        # Smoothing is linear only in weights that already add up to one, so their
        # total must be known a sweep earlier.
        self.sweeps = 3 if sigma else 2
        self._peak: Image | None = None
        self._total: Image | None = None
        self._sum: Image | None = None

    def add(self, sweep: int, index: int, frame: Bands) -> None:
        band = self._source(frame)
        if sweep == 0:
            summed = self._summed(band)
            self._peak = summed.copy() if self._peak is None else np.maximum(self._peak, summed)
            return
        weight = self._unscaled_weight(band)
        if sweep == self.sweeps - 1:
            self._blend(weight, band.values)
        if sweep == 1:
            self._total = weight if self._total is None else self._total + weight

    def result(self) -> Image:
        assert self._sum is not None
        assert self._total is not None
        if self._sigma:
            return self._sum
        return self._sum / like(self._total, self._sum)

    def _summed(self, band: Band) -> Image:
        if self._by_channel:
            return band.activity_by_channel(self._measure)
        return band.activity(self._measure)

    def _unscaled_weight(self, band: Band) -> Image:
        assert self._peak is not None
        difference = self._summed(band) - self._peak
        np.maximum(difference, np.float32(-MAX_DIFFERENCE), out=difference)
        difference *= self._beta
        return np.exp(difference, out=difference)  # type: ignore[no-any-return]

    def _blend(self, weight: Image, values: Image) -> None:
        if self._sigma:
            assert self._total is not None
            weight = smoothed(weight / self._total, self._sigma)
        term = values * like(weight, values)
        self._sum = term if self._sum is None else np.add(self._sum, term, out=self._sum)


class HardBlend:
    """Each coefficient from one frame: the sharpest, after a median of the decisions.

    Parameters
    ----------
    source : callable
        Takes from a frame what is blended.
    measure : callable
        The measure S is summed from.
    median_size : int
        Side of the median filter of the decision map, in pixels.

    Attributes
    ----------
    decision : ndarray of uint16, shape (H, W)
        Index of the winning frame, after the first sweep; ties go to the back.
    """

    sweeps = 2

    def __init__(self, source: Source, measure: Measure, median_size: int) -> None:
        self._source = source
        self._measure = measure
        self._median_size = median_size
        self._best: Image | None = None
        self._cleaned = False
        self._fused: Image | None = None
        self.decision: npt.NDArray[np.uint16]

    def add(self, sweep: int, index: int, frame: Bands) -> None:
        band = self._source(frame)
        if sweep == 0:
            self._decide(index, band.activity(self._measure))
            return
        if not self._cleaned:
            self.decision = consistency.median(self.decision, self._median_size)
            self._cleaned = True
        if self._fused is None:
            self._fused = band.values.copy()
        else:
            wins = self.decision == index
            self._fused[wins] = band.values[wins]

    def result(self) -> Image:
        assert self._fused is not None
        return self._fused

    def _decide(self, index: int, summed: Image) -> None:
        if self._best is None:
            self._best = summed.copy()
            self.decision = np.zeros(summed.shape, np.uint16)
        else:
            wins = summed > self._best
            self.decision[wins] = index
            np.maximum(self._best, summed, out=self._best)


def like(weight: Image, values: Image) -> Image:
    """A weight of shape (H, W) made to multiply values of shape (H, W, C)."""
    return weight[..., np.newaxis] if weight.ndim < values.ndim else weight
