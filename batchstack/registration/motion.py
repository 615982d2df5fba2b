"""How a frame lies relative to another: first guess, then windows of detail that are followed.

Out of focus the fine detail is lost or even inverted, and at depth edges a blurred foreground
pulls windows along, so the finest level is seldom the best and the fit has to be robust.
"""

from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from batchstack.geometry import Box
from batchstack.registration.fits import Fit, Freedoms, Points, Windows, corner_distance, fitted
from batchstack.registration.views import Pair, aligned, boxes, normalised, to_full, whole_box
from batchstack.registration.warp import Matrix, Values

# Side of a window, points that are followed each way, and independent windows that a fit needs.
_WINDOW, _POINTS, _LEAST_CELLS = 31, 1000, 8


def first_guess(pair: Pair, factor: int) -> Matrix:
    """Phase correlation, then affine ECC [1]_, on images reduced to a few hundred pixels a side.

    References
    ----------
    .. [1] G. D. Evangelidis and E. Z. Psarakis, "Parametric image alignment using enhanced
       correlation coefficient maximization", IEEE Transactions on Pattern Analysis and Machine
       Intelligence 30(10), 1858-1865, 2008. :doi:`10.1109/TPAMI.2008.113`
    """
    box = whole_box(pair.shape, factor)
    levels = [(pair.reference.light(box, factor), pair.frame.light(box, factor))]
    while min(levels[-1][0].shape) > 128:
        one, other = levels[-1]
        levels.append((cv2.pyrDown(one), cv2.pyrDown(other)))
    matrix = np.eye(2, 3, dtype=np.float32)
    for depth, images in reversed(list(enumerate(levels))):
        one, other = (normalised(image) for image in images)
        if depth == len(levels) - 1:
            hanning = cv2.createHanningWindow(one.shape[::-1], cv2.CV_32F)
            matrix[:, 2] = cv2.phaseCorrelate(one, other, hanning)[0]
        matrix = _ecc(one, other, matrix)
        if depth:
            matrix[:, 2] *= 2  # pyrDown keeps the even pixels
    scale = to_full(box, factor)
    return cast(Matrix, scale @ np.vstack([matrix, [0, 0, 1]]) @ np.linalg.inv(scale))


def _ecc(fixed: Values, moving: Values, matrix: Values) -> Values:
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-5)
    try:
        start = matrix.copy()
        return cast(
            Values,
            cv2.findTransformECC(fixed, moving, start, cv2.MOTION_AFFINE, stop, None, 1)[1],
        )
    except cv2.error:  # no convergence: images without common detail
        return matrix


def measured(pair: Pair, start: Matrix, factor: int, model: Freedoms) -> Fit | None:
    """Fit through windows on the level reduced by `factor`, or None if they are few."""
    fit = None
    for _ in range(2):  # the second time from nearby, where windows see the same pixels
        windows = _follow(pair, start, factor)
        if windows is None:
            return None
        fit = fitted(windows, pair.shape, model)
        near = corner_distance(start, fit.homogeneous, pair.shape) < factor / 4
        start = fit.homogeneous
        if near:
            break
    return fit


def _follow(pair: Pair, start: Matrix, factor: int) -> Windows | None:
    places = boxes(pair.shape, factor)
    seen = [_displacements(pair, box, start, factor, _POINTS // len(places)) for box in places]
    points, moves = (np.concatenate(part) for part in zip(*seen, strict=True))
    cells = len(np.unique(points // (_WINDOW * factor), axis=0))
    return Windows(points, moves, start, factor, cells) if cells >= _LEAST_CELLS else None


def _displacements(
    pair: Pair, box: Box, start: Matrix, factor: int, count: int
) -> tuple[Points, Points]:
    """Points (x, y) of the reference and how far what they show lies off in the moved frame."""
    fixed, moved, valid = aligned(pair, box, start, factor)
    one, other = (_bytes(normalised(image)) for image in (fixed, moved))
    inside = cv2.erode(valid, np.ones((_WINDOW, _WINDOW), np.uint8), borderValue=0)
    here, there = _followed(one, other, inside, count)
    back, forth = _followed(other, one, inside, count)  # detail that only the frame has
    points = np.concatenate([here, back])
    moves = np.concatenate([there - here, back - forth])
    offset = np.array([box.left, box.top]) + (factor - 1) / 2
    return points * factor + offset, moves * factor


def _bytes(normalised: Values) -> npt.NDArray[np.uint8]:
    return np.clip(np.rint(normalised * 40 + 128), 0, 255).astype(np.uint8)


def _followed(
    one: npt.NDArray[np.uint8],
    other: npt.NDArray[np.uint8],
    inside: npt.NDArray[np.uint8],
    count: int,
) -> tuple[Points, Points]:
    """Points of detail in `one` and their places in `other`, where forth and back agree [1]_.

    References
    ----------
    .. [1] Z. Kalal, K. Mikolajczyk and J. Matas, "Forward-backward error: automatic detection of
       tracking failures", ICPR 2010, 2756-2759. :doi:`10.1109/ICPR.2010.675`
    """
    spacing = max(4.0, 0.6 * (one.size / count) ** 0.5)
    start = cv2.goodFeaturesToTrack(one, count, 0.005, spacing, mask=inside, blockSize=15)
    if start is None:
        return np.empty((0, 2)), np.empty((0, 2))
    how: dict[str, Any] = {
        "winSize": (_WINDOW, _WINDOW),
        "maxLevel": 1,
        "criteria": (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 15, 0.003),
    }
    end, there, _ = cv2.calcOpticalFlowPyrLK(one, other, start, None, **how)
    again, back, _ = cv2.calcOpticalFlowPyrLK(other, one, end, None, **how)
    agree = np.linalg.norm(again - start, axis=2) < 0.5
    good = (agree & (there == 1) & (back == 1)).ravel()
    return start[good, 0].astype(np.float64), end[good, 0].astype(np.float64)
