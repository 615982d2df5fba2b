"""QCB: does the contrast that people perceive survive?"""

from collections.abc import Iterable

import cv2
import numpy as np

from batchstack.quality.luma import Grey, bell, stretched
from batchstack.quality.measure import over


def qcb(frames: Iterable[Grey], fused: Grey) -> float:
    """How well the contrast that people perceive survives, after Chen and Blum [1]_.

    Images are filtered by the contrast sensitivity of the eye (difference of Gaussians), local
    contrast is masked, and the preserved share of each frame's contrast counts by the square of
    that contrast.
    For N frames the weights run over all of them: c_i^2 / sum_j c_j^2.

    Parameters
    ----------
    frames : iterable of (H, W) float64 arrays
        Grey frames on 0..255.
    fused : (H, W) float64 array
        Grey fused image on 0..255.

    Returns
    -------
    float
        From 0 to 1, reached when the fused image has the contrast of every frame.
        Pixels without any contrast do not count; if no frame has contrast anywhere, the result is
        1 for a flat fused image and 0 for one that is not.

    References
    ----------
    .. [1] Y. Chen and R. S. Blum, "A new automated quality assessment algorithm for image fusion",
       Image and Vision Computing 27(10), 1421-1432, 2009. :doi:`10.1016/j.imavis.2007.12.002`
    """
    return over(frames, Perception(fused))


class Perception:
    """Kept and total squared contrast of the frames so far."""

    def __init__(self, fused: Grey) -> None:
        self._target = _masked_contrast(fused)
        self._kept, self._total = np.zeros_like(self._target), np.zeros_like(self._target)
        self._defined = np.ones(self._target.shape, dtype=bool)

    def add(self, frame: Grey) -> None:
        contrast = _masked_contrast(frame)
        strongest = np.maximum(contrast, self._target)
        self._defined &= strongest > 0
        share = np.minimum(contrast, self._target) / np.where(strongest > 0, strongest, 1.0)
        self._kept += contrast**2 * share
        self._total += contrast**2

    def result(self) -> float:
        defined = self._defined & (self._total > 0)
        if not defined.any():
            return 0.0 if self._target.any() else 1.0
        return float((self._kept[defined] / self._total[defined]).mean())


def _masked_contrast(image: Grey) -> Grey:
    """Local contrast as the eye sees it: c^3 / (c^2 + 0.0001) of Peli's contrast c."""
    spectrum = np.fft.rfft2(stretched(image)) * _contrast_sensitivity(image.shape)
    seen = np.fft.irfft2(spectrum, s=image.shape)
    fine, coarse = _blur(seen, 2.0), _blur(seen, 4.0)
    ratio = np.divide(fine, coarse, out=np.ones_like(fine), where=coarse != 0)
    contrast = np.abs(ratio - 1)
    squared = contrast * contrast
    return np.asarray(contrast * squared / (squared + 1e-4))


def _contrast_sensitivity(shape: tuple[int, ...]) -> Grey:
    """Transfer of the eye on the half plane of rfft2, the image taken to span 15 degrees."""
    height, width = shape
    down = np.fft.fftfreq(height)[:, None] * (2 * height / 30.0)
    across = np.fft.rfftfreq(width)[None, :] * (2 * width / 30.0)
    squared = down**2 + across**2
    return np.asarray(np.exp(-squared / 15.3870**2) - 0.7622 * np.exp(-squared / 1.3456**2))


def _blur(image: Grey, sigma: float) -> Grey:
    # As published: cut off at 15 px, not normalised after that, zeros beyond the image.
    kernel = bell(15, sigma) / (np.sqrt(2 * np.pi) * sigma)
    return np.asarray(
        cv2.sepFilter2D(image, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
    )
