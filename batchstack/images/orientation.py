"""The one place that knows EXIF orientation: find it, apply it.

An orientation says which side of the scene the first row and the first column show
(EXIF 2.32, tag 0x0112).
"""

import numpy as np

from batchstack.images.exif import Entry, first_directory, whole_number
from batchstack.images.info import ImageInfo, Pixels

_TAG = 0x0112


def orient(pixels: Pixels, orientation: int) -> Pixels:
    """Turn stored pixels the right way up.

    Parameters
    ----------
    pixels : ndarray, (H, W) or (H, W, 3)
        Pixels as stored.
    orientation : int
        1 to 8.

    Returns
    -------
    ndarray
        C-contiguous; height and width are exchanged for 5 to 8.
    """
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def oriented_size(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Return height and width after `orient`."""
    return (width, height) if orientation >= 5 else (height, width)


def stored_shape(info: ImageInfo) -> tuple[int, ...]:
    """Return the shape of an image before `orient`."""
    return (*info.stored_size, *info.shape[2:])


def exif_orientation(exif: bytes | None) -> int:
    """Return the orientation an EXIF block states, 1 where it states none that is valid.

    It may be a whole number of any type, though only SHORT is in order.
    """
    return _valid(whole_number(exif or b"", _entry(exif or b"")))


def _valid(value: int | None) -> int:
    return value if value and 1 <= value <= 8 else 1


def _entry(exif: bytes) -> Entry | None:
    return first_directory(exif).get(_TAG)
