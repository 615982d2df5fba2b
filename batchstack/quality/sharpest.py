"""Qsharp and artefacts: does the fused image equal the sharpest frame, and has it edges of its own?

Both look at levels of a Gaussian pyramid, because large images are often soft at the size of
their pixels, and because halos and seams between frames are wider than a pixel.
What frames say is found once for all fused images of a stack.
"""

from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt

from batchstack.quality.luma import PEAK, Grey

Values = npt.NDArray[np.float32]

# Levels that are compared; edges are looked for on two more, where wide seams are.
SIMILAR_LEVELS, EDGE_LEVELS = 3, 5
# The window of sharpness is wide: a pixel of noise must not choose its own frame.
_SHARPNESS_SIDE = 21
_SIMILAR_RADIUS, _SIMILAR_SIGMA = 3, 1.5
_C1, _C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
# An edge is the fused image's own if it is so many times as steep as any of the frames within a
# pixel of it, and by so many code values a pixel besides.
_STEEPER, _CODES = 1.25, 2.0


def qsharp(frames: Iterable[Grey], fused: Grey) -> float:
    """Structural similarity with the frame that is sharpest at each place.

    At each pixel the frame counts whose Laplacian is largest in the mean of 21 x 21 px; the
    picture that is put together of them is what the fused image is compared with, by the
    structural similarity of Wang et al. [1]_ in windows of 7 x 7 px (Gaussian of sigma 1.5 px).
    The mean is taken over the pixels, and over three levels of a Gaussian pyramid.
    That is the index of Piella and Heijmans [2]_ with their weights made decisions, and with the
    Laplacian for the saliency of a frame, which Nayar and Nakagawa found to tell focus [3]_.

    Parameters
    ----------
    frames : iterable of (H, W) float arrays
        Grey frames on 0..255.
    fused : (H, W) float array
        Grey fused image on 0..255.

    Returns
    -------
    float
        From -1 to 1 for an image that equals the sharpest frame everywhere.

    References
    ----------
    .. [1] Z. Wang, A. C. Bovik, H. R. Sheikh and E. P. Simoncelli, "Image quality assessment: from
       error visibility to structural similarity", IEEE Transactions on Image Processing 13(4),
       600-612, 2004. :doi:`10.1109/TIP.2003.819861`
    .. [2] G. Piella and H. Heijmans, "A new quality metric for image fusion", ICIP 2003, III-173.
       :doi:`10.1109/ICIP.2003.1247209`
    .. [3] S. K. Nayar and Y. Nakagawa, "Shape from focus", IEEE Transactions on Pattern Analysis
       and Machine Intelligence 16(8), 824-831, 1994. :doi:`10.1109/34.308479`
    """
    return _together(frames).compare(fused.astype(np.float32))[0]


def artefacts(frames: Iterable[Grey], fused: Grey) -> float:
    """How much of the fused image are edges that no frame has: seams, halos, double contours.

    Petrovic and Xydeas [1]_ call fusion artefacts what edges the fused image has above those of
    all frames, and weigh them by the frames' edges, so that those in flat areas do not count.
    Here each pixel counts the same: the share of them where the Sobel gradient is more than 1.25
    times that of all frames within a pixel, and two code values a pixel, on the level of a
    Gaussian pyramid of five that has most of them.

    Parameters
    ----------
    frames : iterable of (H, W) float arrays
        Grey frames on 0..255.
    fused : (H, W) float array
        Grey fused image on 0..255.

    Returns
    -------
    float
        Percent, from 0 to 100; lower is better.

    References
    ----------
    .. [1] V. Petrovic and C. Xydeas, "Objective image fusion performance characterisation",
       ICCV 2005, 1866-1871. :doi:`10.1109/ICCV.2005.175`
    """
    return max(_together(frames).compare(fused.astype(np.float32))[1])


class SharpestFrames:
    """The sharpest frame of each pixel so far, and the steepest edge, on every level."""

    def __init__(self) -> None:
        self._sharpness: list[Values] = []
        self._sharpest: list[Values] = []
        self._steepest: list[Values] = []

    def add(self, frame: Values) -> None:
        """Take the next frame into account, (H, W) float32 on 0..255."""
        for level, image in enumerate(_pyramid(frame)):
            steepness = _steepness(image)
            if len(self._steepest) == level:
                self._steepest.append(steepness)
            else:
                np.maximum(self._steepest[level], steepness, out=self._steepest[level])
            if level < SIMILAR_LEVELS:
                self._choose(level, image)

    def _choose(self, level: int, image: Values) -> None:
        sharpness = _sharpness(image)
        if len(self._sharpest) == level:
            self._sharpness.append(sharpness)
            self._sharpest.append(image.copy())
            return
        best, chosen = self._sharpness[level], self._sharpest[level]
        # With ties decided, the order of frames has no influence.
        leads = (sharpness > best) | ((sharpness == best) & (image > chosen))
        np.copyto(chosen, image, where=leads)
        np.maximum(self._sharpness[level], sharpness, out=self._sharpness[level])

    def together(self) -> "Reference":
        """What fused images are compared with."""
        around = np.ones((3, 3), np.uint8)
        return Reference(
            [_Moments(image) for image in self._sharpest],
            [_STEEPER * cv2.dilate(steepest, around) + _CODES for steepest in self._steepest],
        )


class Reference:
    """What all frames together say; any number of fused images are compared with it.

    Parameters
    ----------
    sharpest : list of _Moments
        Of the picture put together of the sharpest frames, on every level that is compared.
    steepest : list of (H, W) float32 arrays
        How steep an edge may be, on every level that edges are looked for.
    """

    def __init__(self, sharpest: "list[_Moments]", steepest: list[Values]) -> None:
        self._sharpest, self._steepest = sharpest, steepest

    def compare(self, fused: Values) -> tuple[float, list[float]]:
        """`qsharp` of one fused image, and `artefacts` of each level.

        Parameters
        ----------
        fused : (H, W) float32 array
            Grey, on 0..255.
        """
        levels = _pyramid(fused)
        alike = [one.similarity(level) for one, level in zip(self._sharpest, levels, strict=False)]
        own = [
            100 * cv2.countNonZero(cv2.compare(_steepness(level), limit, cv2.CMP_GT)) / level.size
            for level, limit in zip(levels, self._steepest, strict=True)
        ]
        return float(np.mean(alike)), own


class _Moments:
    """Local mean and square mean of an image, for its similarity with others."""

    def __init__(self, image: Values) -> None:
        self._image = image
        self._mean = _local(image)
        self._square = np.square(self._mean)
        self._variance = _variance(image, self._square)

    def similarity(self, other: Values) -> float:
        """Mean structural similarity."""
        mean = _local(other)
        square, product = np.square(mean), self._mean * mean
        covariance = _local(self._image * other)
        covariance -= product
        top = (2 * product + _C1) * (2 * covariance + _C2)
        top /= (self._square + square + _C1) * (self._variance + _variance(other, square) + _C2)
        return float(cv2.mean(top)[0])


def _variance(image: Values, square: Values) -> Values:
    """Local variance, from the square of the local mean."""
    variance = _local(np.square(image))
    variance -= square
    return np.asarray(np.maximum(variance, 0, out=variance))  # not below by rounding


def _local(image: Values) -> Values:
    side = 2 * _SIMILAR_RADIUS + 1
    return np.asarray(cv2.GaussianBlur(image, (side, side), _SIMILAR_SIGMA))


def _together(frames: Iterable[Grey]) -> Reference:
    sharpest = SharpestFrames()
    for frame in frames:
        sharpest.add(frame.astype(np.float32))
    return sharpest.together()


def _pyramid(image: Values) -> list[Values]:
    levels = [image]
    while len(levels) < EDGE_LEVELS:
        levels.append(cv2.pyrDown(levels[-1]))
    return levels


def _sharpness(image: Values) -> Values:
    response = np.abs(cv2.Laplacian(image, cv2.CV_32F))
    return np.asarray(cv2.blur(response, (_SHARPNESS_SIDE, _SHARPNESS_SIDE)))


def _steepness(image: Values) -> Values:
    """Length of the gradient in code values a pixel."""
    across = cv2.Sobel(image, cv2.CV_32F, 1, 0, scale=0.125)
    down = cv2.Sobel(image, cv2.CV_32F, 0, 1, scale=0.125)
    return np.asarray(cv2.magnitude(across, down))
