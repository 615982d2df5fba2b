"""Outputs: encoded, checked, and only then under their final name."""

from collections.abc import Callable, Iterable, Iterator
from io import SEEK_END
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack import files
from batchstack.errors import FileError, ImageError
from batchstack.images.info import DTYPES, Empty, ImageInfo, Metadata, Piece, Pixels, Written
from batchstack.images.orientation import upright
from batchstack.images.probe import probe
from batchstack.images.read import checksum

_FORMATS = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".png": "png",
    ".tif": "tiff",
    ".tiff": "tiff",
}
_ENDS = {"jpeg": b"\xff\xd9", "png": b"IEND\xaeB`\x82", "tiff": b""}
_RETRY = "only a part may have been written; make room, check the disk and run again"
_MAX_SIDES = {"jpeg": 65_500, "png": 1_000_000}  # of libjpeg and libpng
_DEPTHS = {"jpeg": DTYPES[:1], "png": DTYPES[:2], "tiff": DTYPES}


def write_image(
    path: Path | str,
    pixels: Pixels,
    *,
    quality: int = 95,
    metadata: Metadata | None = None,
    empty: Empty = np.empty,
    durable: bool = True,
    publish: Callable[[], None] = lambda: None,
) -> Written:
    """Write an image under a name that decides the format.

    Parameters
    ----------
    path : Path
        Ends in .jpg, .jpeg, .png, .tif or .tiff; an existing file is replaced.
    pixels : ndarray, (H, W) or (H, W, 3)
        Grey or RGB; uint8 for JPEG, uint8 or uint16 for PNG, also float32 for TIFF.
    quality : int
        JPEG quality, 1 to 100.
    metadata : Metadata, optional
        What the output inherits, its orientation reset to 1; a colour profile made for
        other channels is left out.
    empty : callable
        Gives an array of a shape and type, of any content, that a file may be encoded in.

    durable : bool
        Have the data on the disk before the name; `files.sync_names` does it for the name.
    publish : callable
        Called just before the file gets its name; what it raises leaves what was there.

    Returns
    -------
    Written
        The size and digest of the file, as they are read back.

    Raises
    ------
    FileError
        The file cannot be written, such as on a full disk.
    ImageError
        The format cannot hold the pixels, or the file does not read back.
        Whatever is raised, the name then holds what it held before.
    """
    pixels = np.asarray(pixels)
    return write_image_rows(
        path,
        pixels.shape,
        pixels.dtype,
        (pixels,),
        quality=quality,
        metadata=metadata,
        empty=empty,
        durable=durable,
        publish=publish,
    )


def write_image_rows(
    path: Path | str,
    shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    bands: Iterable[Pixels],
    *,
    quality: int = 95,
    metadata: Metadata | None = None,
    empty: Empty = np.empty,
    durable: bool = True,
    publish: Callable[[], None] = lambda: None,
) -> Written:
    """Write an image from successive bands of rows, as `write_image` would the whole.

    TIFF is streamed: memory holds one band and one row of tiles. JPEG and PNG are
    assembled first, their encoders need all rows.

    Parameters
    ----------
    path, quality, metadata, empty, durable, publish
        As for `write_image`.
    shape : tuple of int
        (H, W) or (H, W, 3) of the whole image.
    dtype : dtype
        Of every band.
    bands : iterable of ndarray, (rows, W) or (rows, W, 3)
        From top to bottom, any number of rows each.

    Returns
    -------
    Written
        As for `write_image`.

    Raises
    ------
    FileError
        As for `write_image`.
    ImageError
        As for `write_image`, or the bands do not add up to `shape`.
    """
    path, dtype = Path(path), np.dtype(dtype)
    kind = output_format(path)
    _refuse_unfit(path, kind, shape, dtype)
    channels = shape[2] if len(shape) == 3 else 1
    metadata = upright(metadata or Metadata()).for_channels(channels)
    wanted = ImageInfo(path, kind, shape[0], shape[1], channels, str(dtype))
    written: list[Written] = []
    with files.part_file(
        path,
        durable=durable,
        check=lambda part: written.append(_read_back(part, wanted)),
        publish=publish,
    ) as (_, file):
        if kind == "tiff":
            from batchstack.images import tiff_write

            blocks = regroup(path, shape, dtype, bands, tiff_write.tile_height(shape, dtype))
            tiff_write.write_tiff(file, shape, dtype, blocks, metadata)
            next(blocks, None)  # notices a band too many
        else:
            (whole,) = regroup(path, shape, dtype, bands, shape[0])
            for piece in _encode(kind, whole, quality, metadata, empty):
                file.write(piece)
    return written[0]


def output_format(path: Path | str) -> str:
    """Return "jpeg", "png" or "tiff" by the suffix."""
    suffix = Path(path).suffix
    try:
        return _FORMATS[suffix.lower()]
    except KeyError:
        raise ImageError(
            f"{path}: no format is known for {suffix!r}; end the name in {', '.join(_FORMATS)}"
        ) from None


def _refuse_unfit(path: Path, kind: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if len(shape) not in (2, 3) or shape[2:] not in ((), (3,)) or 0 in shape:
        raise ImageError(f"{path}: pixels of shape {shape} are no image; give (H, W) or (H, W, 3)")
    if str(dtype) not in _DEPTHS[kind]:
        raise ImageError(
            f"{path}: {kind.upper()} cannot hold {dtype}, only {' and '.join(_DEPTHS[kind])}; "
            f"write {'PNG or TIFF' if dtype == np.uint16 else 'TIFF'} instead"
        )
    limit = _MAX_SIDES.get(kind, max(shape))
    if max(shape) > limit:
        raise ImageError(
            f"{path}: {shape[1]} x {shape[0]} pixels are too many for {kind.upper()}, which ends "
            f"at {limit} a side; write TIFF instead"
        )


def regroup(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], bands: Iterable[Pixels], rows: int
) -> Iterator[Pixels]:
    """Cut bands of any height into blocks of `rows` rows, the last one shorter.

    A block is valid until the next one is asked for.
    """
    rows = min(rows, shape[0])
    buffer = np.empty((rows, *shape[1:]), dtype)
    filled = seen = 0
    for band in bands:
        seen += len(band)
        _refuse_stray(path, shape, dtype, band, seen)
        while len(band):
            if not filled and len(band) >= rows:
                yield band[:rows]
                band = band[rows:]
                continue
            taken = min(rows - filled, len(band))
            buffer[filled : filled + taken] = band[:taken]
            filled, band = filled + taken, band[taken:]
            if filled == rows:
                yield buffer
                filled = 0
    if seen != shape[0]:
        raise ImageError(f"{path}: got {seen} rows of {shape[0]}; give bands that add up")
    if filled:
        yield buffer[:filled]


def _refuse_stray(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], band: Pixels, seen: int
) -> None:
    if band.shape[1:] != shape[1:] or band.dtype != dtype or seen > shape[0]:
        raise ImageError(
            f"{path}: a band of shape {band.shape} and type {band.dtype} that ends at row {seen} "
            f"does not fit an image of shape {shape} and type {dtype}; give bands that add up"
        )


def _encode(
    kind: str, pixels: Pixels, quality: int, metadata: Metadata, empty: Empty
) -> list[Piece]:
    # A side of 1 may hide strides that imagecodecs refuses; a copy has plain ones.
    pixels = pixels.copy() if 1 in pixels.shape else np.ascontiguousarray(pixels)
    if kind == "png":
        from batchstack.images import png

        return png.encode(pixels, metadata)
    from batchstack.images import jpeg

    return jpeg.encode(pixels, quality, metadata, empty)


def _read_back(part: Path, wanted: ImageInfo) -> Written:
    """The size and digest of a closed file that has the right headers and a complete end.

    A TIFF is complete when every tile or strip lies inside the file, which `probe` checks.
    """
    try:
        found = probe(part)
        with files.read_file(part) as file:
            digest, size = checksum(file), file.tell()
            file.seek(-len(_ENDS[wanted.format]), SEEK_END)
            complete = file.read() == _ENDS[wanted.format]
    except (FileError, ImageError) as error:
        raise type(error)(
            f"{wanted.path}: does not read back after writing ({error}); {_RETRY}"
        ) from error
    if found != wanted or not complete:
        raise ImageError(f"{wanted.path}: is not what was written when read back; {_RETRY}")
    return Written(size, digest)
