"""The one place that knows EXIF orientation: find it, apply it, reset it.

An orientation says which side of the scene the first row and the first column show
(EXIF 2.32, tag 0x0112).
"""

import re
import struct
from dataclasses import replace

import numpy as np

from batchstack.images.exif import Entry, byte_order, first_directory, whole_number
from batchstack.images.info import ImageInfo, Metadata, Pixels

_TAG = 0x0112
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:>|\s*=\s*[\"']))[1-8](?=[<\"'])")


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


def upright_exif(exif: bytes) -> bytes:
    """Return an EXIF block that says orientation 1, every other tag in place.

    The thumbnail is unlinked where the orientation changes: it shows the old one.
    """
    entry, order = _entry(exif), byte_order(exif)
    if entry is None or order is None or exif_orientation(exif) == 1:
        return exif
    block = bytearray(exif)
    struct.pack_into(entry.format, block, entry.place, 1)
    (start,) = struct.unpack_from(order + "I", exif, 4)
    (count,) = struct.unpack_from(order + "H", exif, start)
    link = start + 2 + 12 * count
    if link + 4 <= len(block):
        struct.pack_into(order + "I", block, link, 0)
    return bytes(block)


def _entry(exif: bytes) -> Entry | None:
    return first_directory(exif).get(_TAG)


def upright(metadata: Metadata) -> Metadata:
    """Return metadata that says orientation 1 wherever it says one."""
    exif, xmp = metadata.exif, metadata.xmp
    return replace(metadata, exif=exif and upright_exif(exif), xmp=xmp and upright_xmp(xmp))


def upright_xmp(xmp: bytes) -> bytes:
    """Return an XMP packet that says orientation 1, of the same length."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)
