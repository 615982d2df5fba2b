"""Activity: how sharp a band or a frame is at each pixel.

Every measure is one small filter per channel; `summed` adds it over a box.
Each has a `*_REACH`: how many pixels away it looks.
The filters are plain correlations, never running sums, so that a value does not
depend on where the array starts (a tile equals the whole image bit for bit).
"""

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]

ACTIVITY_REACH = 1

# Of the standard deviation; further out a Gaussian is cut off.
_GAUSSIAN_CUT = 4
# Pixels; OpenCV's vector code leaves fewer than this many at the end of a row.
_VECTOR_TAIL = 64

_ONE = np.ones(1, np.float32)
_FOUR_NEIGHBOURS = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float32)


def second_difference(image: Image) -> Image:
    """|[-1 2 -1] * x| + |[-1 2 -1]^T * x|, the modified Laplacian of Nayar [1]_.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W) or (H, W, C)
        In 8-bit code values; borders are reflect-101.

    Returns
    -------
    ndarray of float32, the same shape, 0 or more

    References
    ----------
    .. [1] S. K. Nayar and Y. Nakagawa, "Shape from focus", IEEE Trans. Pattern Anal.
       Mach. Intell. 16(8), 1994. :DOI:`10.1109/34.308479`
    """
    return spaced_difference(image, 1)


def spaced_difference(image: Image, spacing: int) -> Image:
    """`second_difference` of pixels `spacing` apart."""
    taps = np.zeros(2 * spacing + 1, np.float32)
    taps[[0, spacing, -1]] = -1, 2, -1
    across = cv2.sepFilter2D(image, cv2.CV_32F, taps, _ONE)
    down = cv2.sepFilter2D(image, cv2.CV_32F, _ONE, taps)
    np.abs(across, out=across)
    np.abs(down, out=down)
    across += down
    return across  # type: ignore[no-any-return]


def four_neighbour(image: Image) -> Image:
    """|x_up + x_down + x_left + x_right - 4 x|, the magnitude of the Laplacian.

    Parameters and result are those of `second_difference`.
    """
    result = cv2.filter2D(image, cv2.CV_32F, _FOUR_NEIGHBOURS)
    return np.abs(result, out=result)  # type: ignore[no-any-return]


def box_reach(kernel: int) -> int:
    """How many pixels away a box of side `kernel` looks."""
    return kernel // 2


def summed(activity: Image, kernel: int) -> Image:
    """Sum over a box of side `kernel` pixels round each pixel, per channel."""
    ones = np.ones(kernel, np.float32)
    return cv2.sepFilter2D(activity, cv2.CV_32F, ones, ones)  # type: ignore[no-any-return]


def channel_mean(activity: Image) -> Image:
    """Mean over the channels: (H, W, C) to (H, W); a grey array is returned as it is."""
    if activity.ndim == 2:
        return activity
    channels = activity.shape[2]
    return cv2.transform(activity, np.full((1, channels), 1 / channels, np.float32))  # type: ignore[no-any-return]


def channel_sum(activity: Image) -> Image:
    """Sum over the channels: (H, W, C) to (H, W); a grey array is returned as it is."""
    if activity.ndim == 2:
        return activity
    return cv2.transform(activity, np.ones((1, activity.shape[2]), np.float32))  # type: ignore[no-any-return]


def gaussian_reach(sigma: float) -> int:
    """How many pixels away `smoothed` looks."""
    return round(_GAUSSIAN_CUT * sigma)


def smoothed(plane: Image, sigma: float) -> Image:
    """Gaussian of a plane, the same wherever a tile starts.

    Parameters
    ----------
    plane : ndarray of float32, shape (H, W)
        Borders are reflect-101.
    sigma : float
        Standard deviation in pixels; 0 returns the plane as it is.

    Returns
    -------
    ndarray of float32, shape (H, W)
    """
    reach = gaussian_reach(sigma)
    if not reach:
        return plane
    # The last pixels of a row are computed in another way than the others and round
    # differently, so no wanted pixel may be among them.
    right = reach + _VECTOR_TAIL
    padded = cv2.copyMakeBorder(plane, reach, reach, reach, right, cv2.BORDER_REFLECT_101)
    size = 2 * reach + 1
    smooth = cv2.GaussianBlur(padded, (size, size), sigma)
    return np.ascontiguousarray(smooth[reach:-reach, reach:-right])
