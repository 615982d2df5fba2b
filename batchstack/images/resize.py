"""Resizing a frame to the size of another, as the original script did."""

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
