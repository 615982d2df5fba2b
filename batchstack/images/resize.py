"""Frames in the size of others: resized, as the original script did, or cropped."""

import numpy as np

from batchstack.images.info import Pixels


def resized(pixels: Pixels, shape: tuple[int, int]) -> Pixels:
    """Resize bilinearly.

    Parameters
    ----------
    pixels : ndarray, shape (H, W) or (H, W, 3)
    shape : (int, int)
        Rows and columns of the result.

    Returns
    -------
    ndarray, shape (h, w) or (h, w, 3), of the same type
    """
    import cv2  # here, so that importing the room loads no codec

    size = (shape[1], shape[0])
    result: Pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
    return result


def cropped(pixels: Pixels, shape: tuple[int, int]) -> Pixels:
    """Take the middle; of an odd number of pixels too many, one more from the end.

    Parameters
    ----------
    pixels : ndarray, shape (H, W) or (H, W, 3)
    shape : (int, int)
        Rows and columns of the result, no more than there are.

    Returns
    -------
    ndarray, shape (h, w) or (h, w, 3), of the same type
        New memory, contiguous: that of `pixels` may be used for something else.
    """
    top, left = ((have - want) // 2 for have, want in zip(pixels.shape, shape, strict=False))
    result: Pixels = np.array(pixels[top : top + shape[0], left : left + shape[1]], order="C")
    return result
