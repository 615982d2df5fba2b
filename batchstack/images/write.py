"""Outputs: encoded, checked, and only then under their final name."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack import files
from batchstack.errors import FileError, ImageError
from batchstack.formats import FORMATS, Format, by_rows, either, holding, of_suffix
from batchstack.images.codecs import codec
from batchstack.images.info import BAND_BYTES, Encoding, ImageInfo, Pixels, Written
from batchstack.images.inherit import inherited
from batchstack.images.probe import probe
from batchstack.images.read import checksum

_RETRY = "only a part may have been written; make room, check the disk and run again"
_PLAIN = Encoding()


def write_image(
    path: Path | str,
    pixels: Pixels,
    encoding: Encoding = _PLAIN,
    *,
    durable: bool = True,
    publish: Callable[[], None] = lambda: None,
    finish: Callable[[Callable[[], None]], None] = files.at_once,
) -> Written:
    """Write an image under a name that decides the format.

    Parameters
    ----------
    path : Path
        Ends in a suffix of one of `FORMATS`; an existing file is replaced.
    pixels : ndarray, (H, W) or (H, W, 3)
        Grey or RGB, of a type that the format holds.
    encoding : Encoding
    durable : bool
        Have the data on the disk before the name; `files.sync_names` does it for the name.
    publish : callable
        Called just before the file gets its name; what it raises leaves what was there.
    finish : callable
        Waits for the disk and gives the file its name, at once or behind (`files.Behind`).

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
        encoding,
        durable=durable,
        publish=publish,
        finish=finish,
    )


def write_image_rows(
    path: Path | str,
    shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    bands: Iterable[Pixels],
    encoding: Encoding = _PLAIN,
    *,
    durable: bool = True,
    publish: Callable[[], None] = lambda: None,
    finish: Callable[[Callable[[], None]], None] = files.at_once,
) -> Written:
    """Write an image from successive bands of rows, as `write_image` would the whole.

    A format that is written by rows is streamed: memory holds one band and as many rows as
    are encoded at once. Others are assembled first, their encoders need all rows.

    Parameters
    ----------
    path, encoding, durable, publish, finish
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
    row = FORMATS[output_format(path)]
    _refuse_unfit(path, row, shape, dtype)
    channels = shape[2] if len(shape) == 3 else 1
    wanted = ImageInfo(path, row.name, shape[0], shape[1], channels, str(dtype))
    metadata = inherited(encoding.metadata, wanted, encoding.software)
    written: list[Written] = []
    with files.part_file(
        path,
        durable=durable,
        check=lambda part: written.append(_read_back(part, wanted)),
        publish=publish,
        finish=finish,
    ) as (_, file):
        blocks = regroup(path, shape, dtype, bands, _block_rows(row, wanted))
        codec(row.name).write_rows(file, wanted, blocks, replace(encoding, metadata=metadata))
        next(blocks, None)  # notices a band too many
    return written[0]._replace(lost=metadata.lost)


def output_format(path: Path | str) -> str:
    """Return the key of `FORMATS` that the suffix stands for."""
    suffix = Path(path).suffix
    try:
        return of_suffix(suffix).name
    except KeyError:
        known = ", ".join(one for row in FORMATS.values() for one in row.suffixes)
        raise ImageError(
            f"{path}: no format is known for {suffix!r}; end the name in {known}"
        ) from None


def _refuse_unfit(path: Path, row: Format, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if len(shape) not in (2, 3) or shape[2:] not in ((), (3,)) or 0 in shape:
        raise ImageError(f"{path}: pixels of shape {shape} are no image; give (H, W) or (H, W, 3)")
    pixels = str(dtype), 3 if len(shape) == 3 else 1
    if not row.holds(*pixels):
        held = f"{dtype}, only {' and '.join(row.dtypes)}"
        if str(dtype) in row.dtypes:
            held = "grey pixels" if len(shape) == 2 else "colour"
        able = [other.label for other in holding(*pixels)]
        remedy = f"write {either(able)} instead" if able else "convert the pixels"
        raise ImageError(f"{path}: {row.label} cannot hold {held}; {remedy}")
    if max(shape) > row.largest_side:
        raise ImageError(
            f"{path}: {shape[1]} x {shape[0]} pixels are too many for {row.label}, which ends "
            f"at {row.largest_side} a side; write {either(one.label for one in by_rows(*pixels))} "
            "instead"
        )


def encoded(name: str, pixels: Pixels, encoding: Encoding = _PLAIN) -> bytes:
    """Encode an image as the content of a file, whose name decides the format.

    For pictures that may get lost: nothing is read back.

    Raises
    ------
    ImageError
        The format cannot hold the pixels.
    """
    path, shape = Path(name), pixels.shape
    row = FORMATS[output_format(path)]
    _refuse_unfit(path, row, shape, pixels.dtype)
    channels = shape[2] if len(shape) == 3 else 1
    info = ImageInfo(path, row.name, shape[0], shape[1], channels, str(pixels.dtype))
    blocks = regroup(path, shape, pixels.dtype, (pixels,), _block_rows(row, info))
    file = BytesIO()
    codec(row.name).write_rows(file, info, blocks, encoding)
    return file.getvalue()


def _block_rows(row: Format, wanted: ImageInfo) -> int:
    """Rows that are encoded at once: of very wide images fewer, but a multiple of 16."""
    if not row.written_by_rows:
        return row.rows_written
    fit = BAND_BYTES // (wanted.nbytes // wanted.height)
    return min(row.rows_written, max(fit // 16 * 16, 16))


def regroup(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], bands: Iterable[Pixels], rows: int
) -> Iterator[Pixels]:
    """Cut bands of any height into contiguous blocks of `rows` rows, the last one shorter.

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
                yield _plain(band[:rows])
                band = band[rows:]
                continue
            taken = min(rows - filled, len(band))
            buffer[filled : filled + taken] = band[:taken]
            filled, band = filled + taken, band[taken:]
            if filled == rows:
                yield _plain(buffer)
                filled = 0
    if seen != shape[0]:
        raise ImageError(f"{path}: got {seen} rows of {shape[0]}; give bands that add up")
    if filled:
        yield _plain(buffer[:filled])


def _plain(pixels: Pixels) -> Pixels:
    # A side of 1 may hide strides that encoders refuse; a copy has plain ones.
    return pixels.copy() if 1 in pixels.shape else np.ascontiguousarray(pixels)


def _refuse_stray(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], band: Pixels, seen: int
) -> None:
    if band.shape[1:] != shape[1:] or band.dtype != dtype or seen > shape[0]:
        raise ImageError(
            f"{path}: a band of shape {band.shape} and type {band.dtype} that ends at row {seen} "
            f"does not fit an image of shape {shape} and type {dtype}; give bands that add up"
        )


def _read_back(part: Path, wanted: ImageInfo) -> Written:
    """The size and digest of a written file that has the right headers and a complete end.

    Where a format has no end, `probe` checks that all its parts lie inside the file.
    """
    end = FORMATS[wanted.format].end
    try:
        found = probe(part)
        with files.read_file(part) as file:
            digest, size = checksum(file), file.tell()
            file.seek(-len(end), SEEK_END)
            complete = file.read() == end
    except (FileError, ImageError) as error:
        kind = FileError if isinstance(error, FileError) else ImageError
        raise kind(
            f"{wanted.path}: does not read back after writing ({error}); {_RETRY}"
        ) from error
    if found != wanted or not complete:
        raise ImageError(f"{wanted.path}: is not what was written when read back; {_RETRY}")
    return Written(size, digest)
