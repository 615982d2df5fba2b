"""The one place that knows EXIF orientation: find it, apply it.

An orientation says which side of the scene the first row and the first column show
(EXIF 2.32, tag 0x0112).
"""

import struct

import numpy as np

from batchstack.images.info import ImageInfo, Pixels

_TAG = 0x0112
_SHORT = 3


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
    return (*oriented_size(info.height, info.width, info.orientation), *info.shape[2:])


def exif_orientation(exif: bytes | None) -> int:
    """Return the orientation an EXIF block states, 1 where it states none that is valid."""
    place = _find(exif or b"")
    if place is None:
        return 1
    order, offset, _ = place
    (value,) = struct.unpack_from(order + "H", exif or b"", offset)
    return value if 1 <= value <= 8 else 1


def _find(exif: bytes) -> tuple[str, int, int] | None:
    """Return byte order, offset of the value and offset of the link to the thumbnail."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        link = start + 2 + 12 * count
        for entry in range(start + 2, link, 12):
            if struct.unpack_from(order + "HHI", exif, entry) == (_TAG, _SHORT, 1):
                struct.unpack_from(order + "H", exif, entry + 8)
                return order, entry + 8, link
    except struct.error:
        return None
    return None
