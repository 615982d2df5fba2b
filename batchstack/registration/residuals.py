"""Residuals: how far what frames show still lies apart once they are moved.

A camera that moved sideways shifts near things by more than far ones, and some lenses breathe in
ways that no affine transform follows.
Windows of detail are followed from each frame to the next, which differs least in focus, and back
(forward-backward check [1]_); what the best affine transform leaves of their moves is the residual.

References
----------
.. [1] Z. Kalal, K. Mikolajczyk and J. Matas, "Forward-backward error: automatic detection of
   tracking failures", ICPR 2010, 2756-2759. :doi:`10.1109/ICPR.2010.675`
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from batchstack.registration.light import Numbers, white_of
from batchstack.registration.warp import Matrix, Pixels, Transform

Bytes = npt.NDArray[np.uint8]

# Pixels of the images that are compared, neighbours that are looked at, windows that are followed
# of each, and how many of them tell something.
_PIXELS, _NEIGHBOURS, _WINDOWS, _LEAST_WINDOWS = 100_000, 4, 150, 30
_SIDE, _NEAREST, _PERCENTILE = 21, 7, 95
# Steps in which a window is followed at most, and the one that ends it, in pixels.
_STEPS, _STILL = 10, 0.03


def residual(
    frames: Sequence[Pixels], transforms: Sequence[Transform], *, data_range: float | None = None
) -> float | None:
    """What the best affine transform between neighbours leaves, in pixels.

    Parameters
    ----------
    frames : sequence of (H, W) or (H, W, C) arrays
        Anything that can be sliced into arrays works; each is read in bands.
    transforms : sequence of Transform
        Where they were found.
    data_range : float, optional
        The stored value that means 1.0; by default 255, 65535 or 1.0 by data type.

    Returns
    -------
    float or None
        The 95th percentile over windows of neighbours, of four pairs of them at most; None if
        too few windows could be followed.
    """
    rows, columns = frames[0].shape[:2]
    factor = max(1, int(np.ceil(np.sqrt(rows * columns / _PIXELS))))
    if min(rows, columns) < 4 * _SIDE * factor:
        return None
    count = min(len(frames) - 1, _NEIGHBOURS)
    view = cache(lambda index: _view(frames[index], factor, data_range))
    left = []
    for index in np.linspace(0, len(frames) - 2, count).round().astype(int):
        step = _between(transforms[index], transforms[index + 1], factor)
        left.append(_left(view(index), view(index + 1), step))
    known = np.concatenate(left)
    if known.size < _LEAST_WINDOWS:
        return None
    return factor * float(np.percentile(known, _PERCENTILE))


def _between(one: Transform, other: Transform, factor: int) -> Matrix:
    """From the pixels of one reduced frame to those of the next."""
    whole = [np.vstack([transform.array, [0.0, 0.0, 1.0]]) for transform in (one, other)]
    middle = (factor - 1) / 2
    scale = np.array([[factor, 0, middle], [0, factor, middle], [0, 0, 1.0]])
    return cast(Matrix, np.linalg.inv(scale) @ whole[1] @ np.linalg.inv(whole[0]) @ scale)


def _view(frame: Pixels, factor: int, data_range: float | None) -> Bytes:
    """A frame reduced, grey, and divided by its local contrast."""
    rows, columns = (side // factor * factor for side in frame.shape[:2])
    band = max(1, 4_000_000 // (columns * factor)) * factor
    parts = [
        cv2.resize(
            np.ascontiguousarray(frame[top : min(top + band, rows), 0:columns]),
            (columns // factor, (min(top + band, rows) - top) // factor),
            interpolation=cv2.INTER_AREA,
        )
        for top in range(0, rows, band)
    ]
    reduced = np.concatenate(parts)
    white = data_range or white_of(reduced.dtype)
    values = reduced.astype(np.float32) * np.float32(255 / white)
    grey = cv2.cvtColor(values, cv2.COLOR_RGB2GRAY) if values.ndim == 3 else values
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.0)
    detail = smooth - cv2.blur(cv2.blur(smooth, (19, 19)), (19, 19))
    contrast = cv2.blur(detail * detail, (31, 31))
    scaled = np.clip(detail / np.sqrt(contrast + 1) * 40 + 128, 0, 255)
    return np.asarray(np.rint(scaled), np.uint8)


def _left(one: Bytes, other: Bytes, step: Matrix) -> Numbers:
    """How far windows lie from where the best affine transform has them.

    What counts is the median of a window and its nearest: windows that were mistaken, at the rim
    of a blurred thing for example, scatter, where geometry moves neighbours alike.
    """
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (one.shape[1], one.shape[0])
    moved = cv2.warpAffine(other, step[:2], size, flags=how)
    inside = cv2.warpAffine(np.full(other.shape, 255, np.uint8), step[:2], size, flags=how)
    inside = cv2.erode(inside, np.ones((_SIDE, _SIDE), np.uint8), borderValue=0)
    points, moves = _followed(one, cast(Bytes, moved), cast(Bytes, inside))
    if len(points) < _LEAST_WINDOWS:
        return np.empty(0)
    design = np.column_stack([np.ones(len(points)), points / max(one.shape)])
    weights = np.ones(len(points))
    for _ in range(10):
        root = np.sqrt(weights)[:, None]
        found = np.linalg.lstsq(design * root, moves * root, rcond=None)[0]
        missed = moves - design @ found
        distance = np.hypot(*missed.T)
        weights = 1 / (1 + (distance / max(float(np.median(distance)), 0.02)) ** 2)
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    nearest = np.argsort(apart, axis=1, kind="stable")[:, :_NEAREST]
    return np.asarray(np.hypot(*np.median(missed[nearest], axis=1).T), np.float64)


def _followed(one: Bytes, other: Bytes, inside: Bytes) -> tuple[Numbers, Numbers]:
    """Windows (x, y) and how far what they show lies off in the other image."""
    spacing = max(6.0, 0.6 * (one.size / _WINDOWS) ** 0.5)
    start = cv2.goodFeaturesToTrack(one, _WINDOWS, 0.02, spacing, mask=inside, blockSize=11)
    if start is None:
        return np.empty((0, 2)), np.empty((0, 2))
    until = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, _STEPS, _STILL)
    how: dict[str, Any] = {"winSize": (_SIDE, _SIDE), "maxLevel": 1, "criteria": until}
    end, there, _ = cv2.calcOpticalFlowPyrLK(one, other, start, None, **how)
    again, back, _ = cv2.calcOpticalFlowPyrLK(other, one, end, None, **how)
    agree = np.linalg.norm(again - start, axis=2) < 0.3
    good = (agree & (there == 1) & (back == 1)).ravel()
    here = start[good, 0].astype(np.float64)
    return here, end[good, 0].astype(np.float64) - here
