"""Consistency: cleaning a decision map of isolated decisions."""

import cv2
import numpy as np
import numpy.typing as npt

# OpenCV's median of a large window exists for 8-bit values only.
_MAX_OPENCV_INDEX = 255


def median_reach(size: int) -> int:
    """How many pixels away a median of side `size` looks."""
    return size // 2


def median(decision: npt.NDArray[np.uint16], size: int) -> npt.NDArray[np.uint16]:
    """Median of the frame index over a square window.

    Parameters
    ----------
    decision : ndarray of uint16, shape (H, W)
        Index of the winning frame; borders are reflect-101.
    size : int
        Side of the window in pixels (odd).

    Returns
    -------
    ndarray of uint16, shape (H, W)
    """
    if size == 1:
        return decision
    if decision.max(initial=0) > _MAX_OPENCV_INDEX:
        from scipy.ndimage import median_filter

        return median_filter(decision, size=size, mode="mirror")  # type: ignore[no-any-return]
    reach = median_reach(size)
    # medianBlur replicates borders; every other filter here reflects them.
    padded = cv2.copyMakeBorder(
        decision.astype(np.uint8), reach, reach, reach, reach, cv2.BORDER_REFLECT_101
    )
    inner = cv2.medianBlur(padded, size)[reach:-reach, reach:-reach]
    return inner.astype(np.uint16)  # type: ignore[no-any-return]


def default_median_sizes(levels: int) -> tuple[int, ...]:
    """Sides of the median filter, finest level first, of the original script.

    Its five levels have 35, 19, 9, 5, 3; for any other number the sizes are 3, 5 and
    then each twice the one before plus one, counted from the coarsest level up.
    """
    if levels == 5:
        return (35, 19, 9, 5, 3)
    sizes = [3, 5]
    while len(sizes) < levels:
        sizes.append(2 * sizes[-1] + 1)
    return tuple(reversed(sizes[:levels]))
