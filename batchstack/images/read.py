"""Whole images and what belongs to them."""

import hashlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import xxhash

from batchstack import files
from batchstack.errors import DamagedError, ImageError
from batchstack.images.codecs import codec
from batchstack.images.colour import agree
from batchstack.images.info import Empty, ImageInfo, Metadata, Pixels
from batchstack.images.inherit import inheritable
from batchstack.images.orientation import orient, stored_shape
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
    path: Path | str, empty: Empty = np.empty, room: Empty = np.empty, *, wanted: bool = True
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
    wanted : bool
        Whether the digest is, which takes a tenth of the time.

    Returns
    -------
    pixels : ndarray
        As `read_image`.
    digest : str
        As `file_digest`; empty if it is not wanted.

    Raises
    ------
    FileError, ImageError
        As `read_image`.
    """
    path = Path(path)
    with files.read_file(path) as file:
        data = held(file, room)
    # Before codecs change what they do not want to see.
    digest = _shortened(hashlib.sha256(data)) if wanted else ""
    copy = files.in_memory(data)
    with image_in(path, copy) as kind:
        return _read(path, kind, copy, empty), digest


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


def damaged_digest(path: Path) -> str:
    """Return `file_digest` of a file that cannot be read as an image for damage.

    Raises
    ------
    FileError
        The system does not let it be read.
    ImageError
        It can be read by now, or changes: somebody is still writing it.
    """
    before, digest = state(path), file_digest(path)
    try:
        with image_file(path) as (kind, file):
            for _ in stored_pieces(codec(kind).read_header(path, file), file):
                pass
    except DamagedError:
        if state(path) == before:
            return digest
    raise changed(path)


def changed(path: Path) -> ImageError:
    """What to say of a file that somebody is still writing."""
    return ImageError(f"{path}: changed while it was read; run again when it is complete")


def state(path: Path) -> tuple[int, int]:
    """Size and time of a file, which change with its content.

    Raises
    ------
    FileError
    """
    with files.told(path, "cannot be read"):
        status = files.status(path)
    return status.st_size, status.st_mtime_ns


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


def read_metadata(path: Path | str, *, strip_gps: bool = False) -> Metadata:
    """Read what an output inherits from this frame.

    Orientation is reset to 1 in EXIF and XMP, the resolution follows the turned axes.
    What holds for the frame's file only is left out (`inherit.inheritable`).

    Parameters
    ----------
    path : Path
        A file of one of `FORMATS`.
    strip_gps : bool
        Whether places on the earth are left out too.

    Raises
    ------
    FileError, ImageError
        The file cannot be read, or not as an image.
    """
    path = Path(path)
    with image_file(path) as (kind, file):
        stored, orientation = codec(kind).read_metadata(path, file)
    return inheritable(stored, orientation, strip_gps=strip_gps)


def same_colours(one: ImageInfo, other: ImageInfo) -> bool:
    """Whether the same pixels have the same colours in two files, as their profiles and tags say.

    Colours of which nothing is said are taken for sRGB.

    Raises
    ------
    FileError, ImageError
        As `read_metadata`.
    """
    return agree(read_metadata(one.path), read_metadata(other.path), one.channels)


def _read(path: Path, kind: str, file: BinaryIO, empty: Empty = np.empty) -> Pixels:
    info = codec(kind).read_header(path, file)
    file.seek(0)
    pieces, shape = stored_pieces(info, file, empty), stored_shape(info)
    first = next(pieces)
    if first[2].shape == shape:
        next(pieces, None)  # notices a piece too many
        return orient(first[2], info.orientation)
    pixels = empty(shape, info.dtype)
    for top, left, piece in chain([first], pieces):
        pixels[top : top + piece.shape[0], left : left + piece.shape[1]] = piece
    return orient(pixels, info.orientation)


def stored_pieces(
    info: ImageInfo, file: BinaryIO, empty: Empty = np.empty
) -> Iterator[tuple[int, int, Pixels]]:
    """Yield the pixels of an open file as stored, in pieces from top to bottom.

    Yields
    ------
    int, int, ndarray
        Row and column of the upper left pixel, and the pixels.

    Raises
    ------
    ImageError
        As `read_image`; also when they do not add up to what the header says.
    """
    height, width, *channels = stored_shape(info)
    top = left = rows = 0
    for piece in codec(info.format).read_pieces(info, file, empty):
        down, across, *rest = piece.shape
        rows = rows if left else down
        fits = (down, rest, str(piece.dtype)) == (rows, channels, info.dtype)
        if not fits or top + down > height or left + across > width:
            raise _broken_promise(info, (top + down, left + across, *rest), piece.dtype)
        yield top, left, piece
        left += across
        if left == width:
            top, left = top + rows, 0
    if top < height:
        raise _broken_promise(info, (top, width, *channels), info.dtype)


def _broken_promise(info: ImageInfo, shape: tuple[int, ...], dtype: npt.DTypeLike) -> ImageError:
    return DamagedError(
        info.path,
        f"is damaged, its header says {stored_shape(info)} {info.dtype} but "
        f"{shape} {dtype} was decoded; copy it again from the source",
    )
