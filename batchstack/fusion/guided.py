"""Blending frames by a decision map whose edges follow the edges of the scene."""

import cv2
import numpy as np
import numpy.typing as npt

from batchstack.fusion.bands import Bands, expand_held
from batchstack.fusion.blend import like
from batchstack.fusion.decision import TileDecision, luma
from batchstack.fusion.tiles import TilePlan
from batchstack.options import FusionOptions

Image = npt.NDArray[np.float32]

# Filtered weights are stretched by this round 1/2, which narrows the seam.
GAIN = 2.0
WHITE = 255.0


def guided_reach(radius: int) -> int:
    """How many cells away a `GuidedBlend` looks: two boxes, one after the other."""
    return 2 * radius


class GuidedBlend:
    """Mean of the frames, weighted by a decision map under a guided filter [1]_.

    The guide is the brightness of the image that the bare map would compose, so the seams
    between frames settle on edges of the scene.  Where cells are larger than pixels, the filter's
    coefficients are found on the cells and applied to the pixels [2]_.

    Parameters
    ----------
    options : FusionOptions
    decision : TileDecision
    plan : TilePlan

    References
    ----------
    .. [1] K. He, J. Sun and X. Tang, "Guided image filtering", IEEE Trans. Pattern Anal. Mach.
       Intell. 35(6), 2013. :DOI:`10.1109/TPAMI.2012.213`
    .. [2] K. He and J. Sun, "Fast guided filter", arXiv:1505.00996, 2015.
    """

    sweeps = 2

    def __init__(self, options: FusionOptions, decision: TileDecision, plan: TilePlan) -> None:
        self._radius = options.guide_radius
        self._epsilon = options.guide_epsilon
        self._decision = decision
        self._plan = plan
        self._guide = np.zeros(decision.index.shape, np.float32)
        self._cell_guide = np.zeros(decision.cells.shape, np.float32)
        self._moments: tuple[Image, Image] | None = None
        self._sum: Image | None = None
        self._total = np.zeros(decision.index.shape, np.float32)

    def add(self, sweep: int, index: int, frame: Bands) -> None:
        values = frame.frame.values
        if self._sum is None:
            self._sum = np.zeros_like(values)
        wins = self._decision.index == index
        cell_wins = self._decision.cells == index
        if not cell_wins.any():
            return
        if sweep == 0:
            np.copyto(self._guide, luma(values) / np.float32(WHITE), where=wins)
            cells = luma(frame.gaussian(self._decision.level)) / np.float32(WHITE)
            np.copyto(self._cell_guide, cells, where=cell_wins)
            return
        weight = self._weight(wins, cell_wins)
        self._total += weight
        self._sum += values * like(weight, values)

    def result(self) -> Image:
        assert self._sum is not None
        return self._sum / like(self._total, self._sum)

    def _weight(self, wins: npt.NDArray[np.bool_], cell_wins: npt.NDArray[np.bool_]) -> Image:
        if not self._radius:
            return wins.astype(np.float32)
        if self._moments is None:
            self._moments = moments(self._cell_guide, self._radius)
        slope, offset = guided_lines(
            self._cell_guide,
            cell_wins.astype(np.float32),
            self._moments,
            self._radius,
            self._epsilon,
        )
        filtered = self._to_pixels(slope) * self._guide + self._to_pixels(offset)
        half = np.float32(0.5)
        weight: Image = np.clip((filtered - half) * np.float32(GAIN) + half, 0, 1)
        # Where no frame has weight the map alone decides.
        weight += np.float32(1e-6) * wins
        return weight

    def _to_pixels(self, plane: Image) -> Image:
        """Expand a plane of the cells to pixels; what the tile does not hold stays 0."""
        level, plans = self._decision.level, self._plan.levels
        if level == 0:
            return plane
        plane = plane[plans[level].held.within(plans[level].analysed).slices]
        for finer in reversed(range(level)):
            plane = expand_held(plane, plans[finer + 1], plans[finer])
        pixels = np.zeros(plans[0].analysed.shape, np.float32)
        pixels[plans[0].held.within(plans[0].analysed).slices] = plane
        return pixels


def moments(guide: Image, radius: int) -> tuple[Image, Image]:
    """Mean and variance of a guide round each cell."""
    mean = _box_mean(guide, radius)
    return mean, _box_mean(guide * guide, radius) - mean * mean


def guided_lines(
    guide: Image, target: Image, of_guide: tuple[Image, Image], radius: int, epsilon: float
) -> tuple[Image, Image]:
    """Slope and offset, for each cell, of the line from the guide to the filtered target.

    Parameters
    ----------
    guide, target : ndarray of float32, shape (H, W)
    of_guide : tuple of ndarray
        Its `moments`.
    radius : int
        Half the side of the window, in cells.
    epsilon : float
        Variance that counts as an edge.

    Returns
    -------
    slope, offset : ndarray of float32, shape (H, W)
    """
    guide_mean, variance = of_guide
    mean = _box_mean(target, radius)
    covariance = _box_mean(guide * target, radius) - guide_mean * mean
    slope = covariance / (variance + np.float32(epsilon))
    return _box_mean(slope, radius), _box_mean(mean - slope * guide_mean, radius)


def _box_mean(plane: Image, radius: int) -> Image:
    # No running sums: a value must not depend on where the tile starts.
    side = 2 * radius + 1
    ones = np.full(side, 1 / side, np.float32)
    return cv2.sepFilter2D(plane, cv2.CV_32F, ones, ones)  # type: ignore[no-any-return]
