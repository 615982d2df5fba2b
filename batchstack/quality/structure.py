"""QY: is every window like that of a frame?"""

from collections.abc import Iterable

import cv2
import numpy as np

from batchstack.quality.luma import Grey, bell
from batchstack.quality.measure import over

_RADIUS, _SIGMA = 3, 1.5  # pixels
_ALIKE = 0.75
_MID = 128.0


def qy(frames: Iterable[Grey], fused: Grey) -> float:
    """Structural similarity with the frames after Yang et al. [1]_.

    In windows of 7 x 7 px (Gaussian of sigma 1.5 px) where the frames resemble each other
    (SSIM of 0.75 or more) the similarities with the frames are averaged by the frames' variances;
    elsewhere the best similarity counts.
    For N frames 'resemble' means that every frame does so with the next one, and the last with the
    first: the ends of a stack differ most, and N comparisons suffice instead of N squared.

    Parameters
    ----------
    frames : iterable of (H, W) float64 arrays
        Grey frames on 0..255.
        A side of less than 7 px is continued by reflection.
    fused : (H, W) float64 array
        Grey fused image on 0..255.

    Returns
    -------
    float
        At most 1, reached when every window equals that of the best frame; above 0 in practice.

    References
    ----------
    .. [1] C. Yang, J.-Q. Zhang, X.-R. Wang and X. Liu, "A novel similarity based quality metric
       for image fusion", Information Fusion 9(2), 156-160, 2008.
       :doi:`10.1016/j.inffus.2006.09.001`
    """
    return over(frames, Structure(fused))


_Moments = tuple[Grey, Grey, Grey]


class Structure:
    """Running sums over the frames so far, and the frames that are still to be compared."""

    def __init__(self, fused: Grey) -> None:
        self._target = _local_moments(fused)
        nothing = np.zeros_like(self._target[1])
        self._alike = np.ones_like(nothing)
        self._best = np.full_like(nothing, -np.inf)
        self._sum, self._weighted, self._variance = nothing, nothing.copy(), nothing.copy()
        self._first: _Moments | None = None
        self._last: _Moments | None = None
        self._count = 0

    def add(self, frame: Grey) -> None:
        moments = _local_moments(frame)
        similarity = _similarity(moments, self._target)
        np.maximum(self._best, similarity, out=self._best)
        self._sum += similarity
        self._weighted += moments[1] * similarity
        self._variance += moments[1]
        if self._last is not None:
            self._alike = np.minimum(self._alike, _similarity(self._last, moments))
        self._first, self._last = self._first or moments, moments
        self._count += 1

    def result(self) -> float:
        alike = self._alike
        if self._count > 2 and self._first and self._last:
            alike = np.minimum(alike, _similarity(self._last, self._first))
        flat = self._variance == 0
        mean = np.where(flat, self._sum, self._weighted)
        mean /= np.where(flat, self._count, self._variance)
        return float(np.where(alike >= _ALIKE, mean, self._best).mean())


def _local_moments(image: Grey) -> _Moments:
    """Local mean, local variance (exactly 0 where flat) and the image about mid-grey."""
    # About mid-grey the variance of flat saturated areas does not drown in rounding.
    centred = image - _MID
    mean = _window_mean(centred)
    variance = _window_mean(centred * centred) - mean * mean
    return mean + _MID, np.where(variance < 1e-9, 0.0, variance), centred


def _similarity(left: _Moments, right: _Moments) -> Grey:
    """Map of SSIM with constants that only keep 0 / 0 away, as QY defines it."""
    tiny = 2e-16
    mean_left, variance_left, centred_left = left
    mean_right, variance_right, centred_right = right
    product = _window_mean(centred_left * centred_right)
    covariance = product - (mean_left - _MID) * (mean_right - _MID)
    covariance = np.where((variance_left == 0) | (variance_right == 0), 0.0, covariance)
    light = (2 * mean_left * mean_right + tiny) / (mean_left**2 + mean_right**2 + tiny)
    return np.asarray(light * (2 * covariance + tiny) / (variance_left + variance_right + tiny))


def _window_mean(image: Grey) -> Grey:
    """Gaussian mean over 7 x 7 px, at the pixels whose window lies inside the image."""
    window = bell(_RADIUS, _SIGMA)
    window /= window.sum()
    mean = cv2.sepFilter2D(image, cv2.CV_64F, window, window)
    return np.asarray(mean[_inside(image.shape[0]), _inside(image.shape[1])])


def _inside(side: int) -> slice:
    return slice(_RADIUS, -_RADIUS) if side > 2 * _RADIUS else slice(None)
