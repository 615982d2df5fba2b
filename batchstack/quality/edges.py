"""Qabf: do the edges of the frames survive?"""

from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt

from batchstack.quality.luma import Grey
from batchstack.quality.measure import over


def qabf(frames: Iterable[Grey], fused: Grey) -> float:
    """How well the edges of the frames survive, after Xydeas and Petrovic [1]_.

    Strength and direction of Sobel edges in the fused image are compared with those of every
    frame; each comparison counts by the strength of the frame's edge.
    For N frames the two strongest edges of each pixel count, as if the frames were two.
    (Sums over all frames would prefer the mean of a deep stack to the sharp image, because each
    part is blurred in most of its frames.)

    Parameters
    ----------
    frames : iterable of (H, W) float64 arrays
        Grey frames on 0..255.
    fused : (H, W) float64 array
        Grey fused image on 0..255.

    Returns
    -------
    float
        From 0 to 0.975, reached when the fused image has the edges of all frames.

    References
    ----------
    .. [1] C. S. Xydeas and V. Petrovic, "Objective image fusion performance measure",
       Electronics Letters 36(4), 308-309, 2000. :doi:`10.1049/el:20000267`
    """
    return over(frames, Edges(fused))


class Edges:
    """The two strongest edges of each pixel so far, and how much of them is kept."""

    def __init__(self, fused: Grey) -> None:
        self._target = _edges(fused)
        # Strength and preservation of the strongest edge and of the one after it.
        self._first = self._second = np.zeros((2, *fused.shape))

    def add(self, frame: Grey) -> None:
        source = _edges(frame)
        edge = np.stack([source[0], _edge_preservation(source, self._target)])
        leads, follows = _is_stronger(edge, self._first), _is_stronger(edge, self._second)
        self._second = np.where(leads, self._first, np.where(follows, edge, self._second))
        self._first = np.where(leads, edge, self._first)

    def result(self) -> float:
        kept = self._first.prod(axis=0).sum() + self._second.prod(axis=0).sum()
        return float(kept / (self._first[0].sum() + self._second[0].sum()))


def _is_stronger(edge: Grey, other: Grey) -> npt.NDArray[np.bool_]:
    """Compare (strength, preservation): with ties decided, the order of frames has no influence."""
    return np.asarray((edge[0] > other[0]) | ((edge[0] == other[0]) & (edge[1] > other[1])))


def _edges(image: Grey) -> tuple[Grey, Grey]:
    """Strength (never 0) and direction in radians (-pi/2..pi/2) of the Sobel gradient."""
    smooth, slope = np.array([1.0, 2.0, 1.0]), np.array([-1.0, 0.0, 1.0])
    across = cv2.sepFilter2D(image, cv2.CV_64F, slope, smooth, borderType=cv2.BORDER_CONSTANT)
    down = cv2.sepFilter2D(image, cv2.CV_64F, smooth, slope, borderType=cv2.BORDER_CONSTANT)
    strength = np.sqrt(across * across + down * down)
    direction = np.arctan(down / np.where(across == 0, 1e-5, across))
    return np.where(strength == 0, 1e-5, strength), direction


def _edge_preservation(source: tuple[Grey, Grey], target: tuple[Grey, Grey]) -> Grey:
    """Per pixel product of kept strength and kept direction, each through its sigmoid."""
    strength = np.minimum(source[0], target[0]) / np.maximum(source[0], target[0])
    direction = 1 - np.abs(source[1] - target[1]) * (2 / np.pi)
    kept_strength = 0.9994 / (1 + np.exp(-15 * (strength - 0.5)))
    kept_direction = 0.9879 / (1 + np.exp(-22 * (direction - 0.8)))
    return np.asarray(kept_strength * kept_direction)
