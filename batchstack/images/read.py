"""Whole images and what belongs to them."""

import hashlib
import os
from dataclasses import replace
from io import SEEK_CUR, SEEK_END, SEEK_SET, BufferedReader, RawIOBase
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from batchstack.errors import ImageError
from batchstack.images.info import Empty, ImageInfo, Metadata, Pixels
from batchstack.images.orientation import exif_orientation, orient, upright
from batchstack.images.probe import kind_of, open_image, probe_file


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
    ImageError
        Also for a file that is cut off or damaged: no pixel is ever made up.
    """
    path = Path(path)
    with open_image(path) as file:
        return _read(path, file)


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
    """
    path = Path(path)
    with open_image(path) as file:
        data = _held(file, room)
    pixels = _read(path, BufferedReader(_HeldFile(data)), empty)
    return pixels, _shortened(hashlib.sha256(data))


def _held(file: BufferedReader, room: Empty) -> memoryview:
    """All of a file, in memory that it is given: new memory takes longer than reading."""
    size = os.fstat(file.fileno()).st_size
    data = room((size,), np.uint8).data
    length = file.readinto(data)
    rest = file.read()
    # A file that has grown or shrunk since is what it is now.
    return data[:length] if not rest else memoryview(bytes(data[:length]) + rest)


class _HeldFile(RawIOBase):
    """A file whose content is held in memory, which is not copied as `BytesIO` would."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._place = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        start = {SEEK_SET: 0, SEEK_CUR: self._place, SEEK_END: len(self._data)}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        piece = self._data[self._place : self._place + len(buffer)]
        buffer[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)


def file_digest(path: Path | str) -> str:
    """Return the first 16 bytes of the SHA-256 of a file's content, in hexadecimal.

    Processors of today compute it twice as fast as BLAKE2b.
    """
    with open_image(Path(path)) as file:
        return stream_digest(file)


def stream_digest(file: BufferedReader) -> str:
    """Return the same of an open file, from its position on."""
    return _shortened(hashlib.file_digest(file, "sha256"))


def _shortened(digest: "hashlib._Hash") -> str:
    return digest.hexdigest()[:32]


def read_metadata(path: Path | str) -> Metadata:
    """Read what an output inherits from this frame.

    Orientation is reset to 1 in EXIF and XMP, the resolution follows the turned axes.

    Raises
    ------
    ImageError
        The file cannot be read as an image.
    """
    path = Path(path)
    with open_image(path) as file:
        stored, orientation = _stored_metadata(path, file)
    if stored.resolution and orientation >= 5:
        stored = replace(stored, resolution=stored.resolution[::-1])
    return upright(stored)


def _stored_metadata(path: Path, file: BinaryIO) -> tuple[Metadata, int]:
    kind = kind_of(path, file)
    if kind == "tiff":
        from batchstack.images import tiff

        with tiff.open_tiff(path, file) as page:
            return tiff.read_metadata(page), int(page.tags.valueof(274, 1))
    if kind == "png":
        from batchstack.images import png

        metadata = png.read_metadata(path, file)
    else:
        from batchstack.images import jpeg

        metadata = jpeg.read_metadata(path, file)
    return metadata, exif_orientation(metadata.exif)


def _read(path: Path, file: BinaryIO, empty: Empty = np.empty) -> Pixels:
    info = probe_file(path, file)
    file.seek(0)
    if info.format == "tiff":
        stored = _read_tiff(info, file, empty)
    elif info.format == "png":
        from batchstack.images import png

        stored = png.read_pixels(path, file.read())
    else:
        from batchstack.images import jpeg

        stored = jpeg.read_pixels(path, file.read(), empty(info.shape, info.dtype))
    return _as_promised(info, orient(stored, info.orientation))


def _read_tiff(info: ImageInfo, file: BinaryIO, empty: Empty) -> Pixels:
    from batchstack.images import tiff

    with tiff.open_tiff(info.path, file) as page:
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
