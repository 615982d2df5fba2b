"""Whole images and what belongs to them."""

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import xxhash

from batchstack import files
from batchstack.errors import ImageError
from batchstack.images.claims import file_size
from batchstack.images.info import Empty, ImageInfo, Metadata, Pixels
from batchstack.images.orientation import exif_orientation, orient, upright
from batchstack.images.probe import probe_file
from batchstack.images.source import image_file, image_in


def read_image(path: Path | str) -> Pixels:
    """Read a whole image.

    Parameters
    ----------
    path : Path
        A JPEG, PNG or TIFF file.

    Returns
    -------
    ndarray, (H, W) or (H, W, 3)
        uint8, uint16 or float32 as stored, RGB, the right way up, C-contiguous.

    Raises
    ------
    FileError
        The system does not let it be read.
    ImageError
        Also for a file that is cut off or damaged: no pixel is ever made up.
    """
    path = Path(path)
    with image_file(path) as (kind, file):
        return _read(path, kind, file)


def read_image_and_digest(
    path: Path | str, empty: Empty = np.empty, room: Empty = np.empty
) -> tuple[Pixels, str]:
    """Read a whole image and the digest of the very bytes it is decoded from.

    Parameters
    ----------
    path : Path
        A JPEG, PNG or TIFF file.
    empty : callable
        Gives an array of a shape and type, of any content, that pixels may be decoded to.
    room : callable
        Gives another that the file may be held in, until it is decoded.

    Returns
    -------
    pixels : ndarray
        As `read_image`.
    digest : str
        As `file_digest`.

    Raises
    ------
    FileError, ImageError
        As `read_image`.
    """
    path = Path(path)
    with files.read_file(path) as file:
        data = _held(file, room)
    # Not BytesIO, which would copy all.
    held = files.random_access(len(data), partial(_copy, data))
    with image_in(path, held) as kind:
        return _read(path, kind, held, empty), _shortened(hashlib.sha256(data))


def _held(file: BinaryIO, room: Empty) -> memoryview:
    """All of a file, in memory that it is given: new memory takes longer than reading."""
    data = room((file_size(file),), np.uint8).data
    return data[: file.readinto(data)]  # type: ignore[attr-defined]


def _copy(data: memoryview, place: int, buffer: memoryview) -> int:
    piece = data[place : place + len(buffer)]
    buffer[: len(piece)] = piece
    return len(piece)


def file_digest(path: Path | str) -> str:
    """Return the first 16 bytes of the SHA-256 of a file's content, in hexadecimal.

    Processors of today compute it twice as fast as BLAKE2b.

    Raises
    ------
    FileError
        The system does not let it be read.
    """
    with files.read_file(Path(path)) as file:
        return stream_digest(file)


def stream_digest(file: BinaryIO) -> str:
    """Return the same of an open file, from its position on."""
    return _shortened(hashlib.file_digest(file, "sha256"))  # type: ignore[arg-type]


def checksum(file: BinaryIO) -> str:
    """Return the 128-bit XXH3 of an open file, in hexadecimal.

    It tells an output from what has become of it.  SHA-256, as for frames, would take as long
    as writing plain pixels; this takes a tenth of that.
    """
    return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()  # type: ignore[arg-type]


def _shortened(digest: "hashlib._Hash") -> str:
    return digest.hexdigest()[:32]


def read_metadata(path: Path | str) -> Metadata:
    """Read what an output inherits from this frame.

    Orientation is reset to 1 in EXIF and XMP, the resolution follows the turned axes.

    Raises
    ------
    FileError, ImageError
        The file cannot be read, or not as an image.
    """
    path = Path(path)
    with image_file(path) as (kind, file):
        stored, orientation = _stored_metadata(path, kind, file)
    if stored.resolution and orientation >= 5:
        stored = replace(stored, resolution=stored.resolution[::-1])
    return upright(stored)


def _stored_metadata(path: Path, kind: str, file: BinaryIO) -> tuple[Metadata, int]:
    if kind == "tiff":
        from batchstack.images import tiff

        with tiff.open_page(path, file) as page:
            return tiff.read_metadata(page), tiff.orientation(page)
    if kind == "png":
        from batchstack.images import png

        metadata = png.read_metadata(file)
    else:
        from batchstack.images import jpeg

        metadata = jpeg.read_metadata(file)
    return metadata, exif_orientation(metadata.exif)


def _read(path: Path, kind: str, file: BinaryIO, empty: Empty = np.empty) -> Pixels:
    info = probe_file(path, kind, file)
    file.seek(0)
    if info.format == "tiff":
        stored = _read_tiff(info, file, empty)
    elif info.format == "png":
        from batchstack.images import png

        stored = png.read_pixels(path, file)
    else:
        from batchstack.images import jpeg

        stored = jpeg.read_pixels(_held(file, np.empty), empty(info.shape, info.dtype))
    return _as_promised(info, orient(stored, info.orientation))


def _read_tiff(info: ImageInfo, file: BinaryIO, empty: Empty) -> Pixels:
    from batchstack.images import tiff

    with tiff.open_page(info.path, file) as page:
        size = (page.imagelength, page.imagewidth, *info.shape[2:])
        pixels = empty(size, info.dtype)
        top = 0
        for band in tiff.read_bands(info.path, page):
            pixels[top : top + len(band)] = band
            top += len(band)
    return pixels


def _as_promised(info: ImageInfo, pixels: Pixels) -> Pixels:
    if (pixels.shape, str(pixels.dtype)) != (info.shape, info.dtype):
        raise ImageError(
            f"{info.path}: is damaged, its header says {info.shape} {info.dtype} but "
            f"{pixels.shape} {pixels.dtype} was decoded; copy it again from the source"
        )
    return pixels
