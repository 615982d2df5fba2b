"""Windows of detail that are followed from one image to the other and back.

Near a blurred foreground the gradients of a block tell of what lies in front as surely as of what
lies behind.
A window that is followed there and back, and comes home, shows one thing; that takes longer than
the sums of blocks, so it is done where their fit is not sure of itself.
"""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from batchstack.registration.blocks import Blocks, Points
from batchstack.registration.fits import Fit, fitted
from batchstack.registration.views import Pair, aligned, boxes, factor_for
from batchstack.registration.warp import Matrix, Values

# Side of a window, windows that are followed each way, how near to home they have to come, and
# windows that a fit needs.
_SIDE, _COUNT, _HOME, _LEAST = 31, 400, 0.5, 20

# Pixels of the coarsest level that windows are followed on.
_COARSEST = 25_000


def followed_fit(pair: Pair, fit: Fit) -> Fit:
    """A fit of blocks made better by windows; as it was where too few come home.

    They are followed on the next coarser level, where blur matters less, then on that of the fit,
    and the fit that predicts the smaller error is taken.
    """
    start, overlap = fit.homogeneous, 1.0
    best: Fit | None = None
    for factor in (2 * fit.factor, fit.factor):
        if factor > factor_for(pair.shape, _COARSEST):
            continue
        windows = _followed(pair, start, factor)
        if len(windows.points) < _LEAST:
            continue
        found = fitted(windows, start, pair.shape, fit.model)
        if best and found.error > best.error:
            break
        best, start = found, found.homogeneous
        # Windows that overlap see the same pixels: only what they cover counts.
        cells = len(np.unique(windows.points // (_SIDE * factor), axis=0))
        overlap = len(windows.points) / cells
    if best is None:
        return fit
    return replace(fit, matrix=best.matrix, error=best.error * overlap**0.5)


def _followed(pair: Pair, start: Matrix, factor: int) -> Blocks:
    """Windows of a level, with the frame moved by `start`, as blocks that tell x and y alike."""
    places = boxes(pair.shape, factor)
    parts = []
    for box in places:
        one, other = (_bytes(image) for image in aligned(pair, box, start, factor))
        here, there = _forth_and_back(one, other, _COUNT // len(places))
        back, forth = _forth_and_back(other, one, _COUNT // len(places))
        points = np.concatenate([here, back])
        moves = np.concatenate([there - here, back - forth])
        parts.append((points * factor + [box.left, box.top] + (factor - 1) / 2, moves))
    points, moves = (np.concatenate(part) for part in zip(*parts, strict=True))
    there = points @ start[:2, :2].T + start[:2, 2]
    room, limit = _SIDE / 2 * factor, np.array(pair.shape[::-1])
    inside = ((there >= room) & (there <= limit - room)).all(axis=1)
    points, moves = points[inside], moves[inside]
    even = np.ones(len(points))
    gradients = np.tile(np.eye(2), (len(points), 1, 1))
    return Blocks(points, gradients, moves, even, factor, even, even)


def _bytes(detail: Values) -> npt.NDArray[np.uint8]:
    return np.clip(np.rint(detail * 40 + 128), 0, 255).astype(np.uint8)


def _forth_and_back(
    one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8], count: int
) -> tuple[Points, Points]:
    """Points of detail in `one` and their places in `other`, where forth and back agree [1]_.

    References
    ----------
    .. [1] Z. Kalal, K. Mikolajczyk and J. Matas, "Forward-backward error: automatic detection of
       tracking failures", ICPR 2010, 2756-2759. :doi:`10.1109/ICPR.2010.675`
    """
    spacing = max(4.0, 0.6 * (one.size / count) ** 0.5)
    inside = np.zeros_like(one)
    inside[_SIDE // 2 : -(_SIDE // 2), _SIDE // 2 : -(_SIDE // 2)] = 255
    start = cv2.goodFeaturesToTrack(one, count, 0.005, spacing, mask=inside, blockSize=15)
    if start is None:
        return np.empty((0, 2)), np.empty((0, 2))
    how: dict[str, Any] = {
        "winSize": (_SIDE, _SIDE),
        "maxLevel": 1,
        "criteria": (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 15, 0.003),
    }
    end, there, _ = cv2.calcOpticalFlowPyrLK(one, other, start, None, **how)
    again, back, _ = cv2.calcOpticalFlowPyrLK(other, one, end, None, **how)
    agree = np.linalg.norm(again - start, axis=2) < _HOME
    good = (agree & (there == 1) & (back == 1)).ravel()
    return start[good, 0].astype(np.float64), end[good, 0].astype(np.float64)
