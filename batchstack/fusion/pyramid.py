"""Gaussian and Laplacian pyramids.

The pyramid is that of Burt and Adelson [1]_ as OpenCV computes it: a 5-tap binomial
filter, reflect-101 borders, and side lengths halved upwards, so that every size from
1x1 up can be reduced and collapses back to exactly its own size.

References
----------
.. [1] P. J. Burt and E. H. Adelson, "The Laplacian pyramid as a compact image code",
   IEEE Trans. Commun. 31(4), 1983. :DOI:`10.1109/TCOM.1983.1095851`
"""

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]

# Pixels of a level on either side that one pixel of the neighbouring level depends on.
REDUCE_REACH = 2
EXPAND_REACH = 1


def level_shape(shape: tuple[int, int], level: int) -> tuple[int, int]:
    """Rows and columns of a pyramid level of an image of `shape` (rows, columns)."""
    step = 1 << level
    return -(-shape[0] // step), -(-shape[1] // step)


def reduce(image: Image) -> Image:
    """Smooth and halve an image.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W) or (H, W, C)

    Returns
    -------
    ndarray of float32, shape (ceil(H / 2), ceil(W / 2)) or the same with C
    """
    return cv2.pyrDown(image)  # type: ignore[no-any-return]


def expand(image: Image, shape: tuple[int, int]) -> Image:
    """Double an image to a given size.

    Parameters
    ----------
    image : ndarray of float32, shape (h, w) or (h, w, C)
    shape : (int, int)
        Rows and columns of the result; h and w must be their halves, rounded up.

    Returns
    -------
    ndarray of float32, shape (H, W) or (H, W, C)
    """
    return cv2.pyrUp(image, dstsize=(shape[1], shape[0]))  # type: ignore[no-any-return]


def gaussian_pyramid(image: Image, levels: int) -> list[Image]:
    """The image and its successive reductions, finest first, `levels` in all."""
    pyramid = [image]
    while len(pyramid) < levels:
        pyramid.append(reduce(pyramid[-1]))
    return pyramid
