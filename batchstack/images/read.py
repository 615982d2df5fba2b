"""Whole images and what belongs to them."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import xxhash

from batchstack import files
from batchstack.errors import ImageError
from batchstack.images.codecs import codec
from batchstack.images.info import Empty, ImageInfo, Metadata, Pixels
from batchstack.images.orientation import orient, stored_shape, upright
from batchstack.images.source import held, image_file, image_in


def read_image(path: Path | str) -> Pixels:
    """Read a whole image.

    Parameters
    ----------
    path : Path
        A file of one of `FORMATS`.

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
        A file of one of `FORMATS`.
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
        data = held(file, room)
    # Not BytesIO, which would copy all.
    copy = files.random_access(len(data), partial(_copy, data))
    with image_in(path, copy) as kind:
        return _read(path, kind, copy, empty), _shortened(hashlib.sha256(data))


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
        stored, orientation = codec(kind).read_metadata(path, file)
    if stored.resolution and orientation >= 5:
        stored = replace(stored, resolution=stored.resolution[::-1])
    return upright(stored)


def _read(path: Path, kind: str, file: BinaryIO, empty: Empty = np.empty) -> Pixels:
    info = codec(kind).read_header(path, file)
    file.seek(0)
    bands = stored_rows(info, file, empty)
    pixels, shape = next(bands), stored_shape(info)
    if len(pixels) < shape[0]:
        pixels = _joined(pixels, bands, empty(shape, info.dtype))
    return orient(pixels, info.orientation)


def _joined(first: Pixels, others: Iterator[Pixels], pixels: Pixels) -> Pixels:
    top = 0
    for band in chain([first], others):
        pixels[top : top + len(band)] = band
        top += len(band)
    return pixels


def stored_rows(info: ImageInfo, file: BinaryIO, empty: Empty = np.empty) -> Iterator[Pixels]:
    """Yield the pixels of an open file as stored, in bands of full rows from top to bottom.

    Raises
    ------
    ImageError
        As `read_image`; also when they do not add up to what the header says.
    """
    height, *row = stored_shape(info)
    seen = 0
    for band in codec(info.format).read_rows(info, file, empty):
        seen += len(band)
        if (*band.shape[1:], str(band.dtype)) != (*row, info.dtype) or seen > height:
            raise _broken_promise(info, (seen, *band.shape[1:]), band.dtype)
        yield band
    if seen < height:
        raise _broken_promise(info, (seen, *row), info.dtype)


def _broken_promise(info: ImageInfo, shape: tuple[int, ...], dtype: npt.DTypeLike) -> ImageError:
    return ImageError(
        f"{info.path}: is damaged, its header says {stored_shape(info)} {info.dtype} but "
        f"{shape} {dtype} was decoded; copy it again from the source"
    )
