"""TIFF in: headers, metadata, and pixels band by band (tifffile, imagecodecs).

A band is as many full-width rows as one row of tiles or a few strips hold, so that a
file of any size is read in bounded memory.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL.Image import Exif
from tifffile import TiffFile

from batchstack.errors import BatchstackError, ImageError
from batchstack.images.info import DTYPES, ImageInfo, Metadata, Pixels
from batchstack.images.orientation import oriented_size

BAND_ROWS = 256
TEXT_TAGS = (270, 271, 272, 305, 306, 315, 33432)  # description, make, model, ... copyright
_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _YCBCR = 0, 1, 2, 6
_COLOURS = ((1, _MIN_IS_WHITE), (1, _MIN_IS_BLACK), (3, _RGB))
_JPEG = 7


@contextmanager
def open_tiff(path: Path, file: BinaryIO) -> Iterator[Any]:
    """Give the first page of an open file; any failure of tifffile becomes `ImageError`."""
    try:
        with TiffFile(file) as tiff:
            yield tiff.pages.first
    except (BatchstackError, MemoryError):
        raise
    except Exception as error:  # a damaged tag can fail anywhere in tifffile
        raise ImageError(
            f"{path}: is damaged or of an unsupported kind of TIFF ({error}); "
            "copy it again from the source or rewrite it, e.g. magick in.tif out.tif"
        ) from error


def read_header(path: Path, page: Any) -> ImageInfo:
    """Return what the tags say, after checking that every segment lies in the file."""
    _refuse_unsupported(path, page)
    _refuse_stacks(path, page)
    _refuse_missing(path, page)
    orientation = int(page.tags.valueof(274, 1))
    orientation = orientation if 1 <= orientation <= 8 else 1
    height, width = oriented_size(page.imagelength, page.imagewidth, orientation)
    dtype = str(np.dtype(page.dtype))
    return ImageInfo(path, "tiff", height, width, page.samplesperpixel, dtype, orientation)


def _refuse_unsupported(path: Path, page: Any) -> None:
    samples, photometric = page.samplesperpixel, int(page.photometric)
    if page.extrasamples or samples in (2, 4):
        found = f"{samples} channels, alpha or extra ones among them"
        hint = "keep grey or RGB, e.g. magick in.tif -alpha off out.tif"
    elif (samples, photometric) not in _COLOURS and not _is_jpeg_colour(page):
        found = f"{samples} channels of photometric type {_name(page.photometric)}"
        hint = (
            "convert it to grey or RGB, e.g. magick in.tif -colorspace sRGB -type TrueColor out.tif"
        )
    elif page.dtype is None or str(np.dtype(page.dtype)) not in DTYPES or not _full_depth(page):
        found = f"{page.bitspersample}-bit samples ({_name(page.sampleformat)})"
        hint = "convert it to 8 or 16 bit unsigned or 32 bit float"
    elif photometric == _MIN_IS_WHITE and page.dtype == np.float32:
        found, hint = "float samples where 0 is white", "convert it to 0 is black"
    else:
        return
    raise ImageError(f"{path}: has {found}, which is not supported; {hint}")


def _is_jpeg_colour(page: Any) -> bool:
    """YCbCr that the JPEG decoder turns into RGB."""
    return bool(page.photometric == _YCBCR and page.compression == _JPEG)


def _name(tag: Any) -> str:
    return str(getattr(tag, "name", tag))


def _full_depth(page: Any) -> bool:
    return bool(page.bitspersample == 8 * np.dtype(page.dtype).itemsize)


def _refuse_stacks(path: Path, page: Any) -> None:
    """One image per file; thumbnails, reduced copies and masks beside it do not matter."""
    pages = 1
    for other in page.parent.pages[1:]:
        smaller = other.imagelength < page.imagelength or other.imagewidth < page.imagewidth
        pages += not (int(other.subfiletype) & 0b101 or smaller)
    planes = (page.parent.imagej_metadata or {}).get("images", 1)
    count = max(pages, page.imagedepth, planes)
    if count > 1:
        raise ImageError(
            f"{path}: holds {count} pages, a frame must be one image; "
            "split it, e.g. magick in.tif out-%03d.tif"
        )


def _refuse_missing(path: Path, page: Any) -> None:
    offsets, counts = page.dataoffsets, page.databytecounts
    wanted = int(np.prod(page.chunked))
    size = page.parent.filehandle.size
    held = sum(
        offset > 0 and count > 0 and offset + count <= size
        for offset, count in zip(offsets[:wanted], counts[:wanted], strict=False)
    )
    if held < wanted:
        raise ImageError(
            f"{path}: is incomplete, {wanted - held} of {wanted} strips or tiles are missing "
            "or lie behind the end of the file; copy it again from the source"
        )


def read_bands(path: Path, page: Any) -> Iterator[Pixels]:
    """Yield the rows as stored from top to bottom, (rows, W) or (rows, W, 3).

    Every band is new memory; grey where 0 is white is inverted.
    """
    rows = _stored_rows(page) if _is_plain(page) else _decoded_rows(path, page)
    for band in rows:
        upright = np.bitwise_not(band) if page.photometric == _MIN_IS_WHITE else band
        yield upright[..., 0] if page.samplesperpixel == 1 else upright


def _is_plain(page: Any) -> bool:
    """Uncompressed strips one behind the other: any row can be read by itself."""
    raw = page.compression == 1 and page.predictor == 1 and page.fillorder == 1
    whole = sum(page.databytecounts) == page.nbytes
    return bool(raw and whole and _follow(page))


def _follow(page: Any) -> bool:
    ends = np.add(page.dataoffsets, page.databytecounts)
    return not page.is_tiled and np.array_equal(ends[:-1], page.dataoffsets[1:])


def _stored_rows(page: Any) -> Iterator[Pixels]:
    separate, _, height, width, contiguous = page.shaped
    dtype = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
    row = width * contiguous
    for top in range(0, height, BAND_ROWS):
        count = min(BAND_ROWS, height - top)
        band = np.empty((count, width, page.samplesperpixel), page.dtype)
        for plane in range(separate):
            start = page.dataoffsets[0] + (plane * height + top) * row * dtype.itemsize
            part = np.frombuffer(_read(page, start, count * row * dtype.itemsize), dtype)
            band[..., plane : plane + contiguous] = part.reshape(count, width, contiguous)
        yield band


def _decoded_rows(path: Path, page: Any) -> Iterator[Pixels]:
    separate, _, height, width, contiguous = page.shaped
    length = page.tilelength if page.is_tiled else min(page.rowsperstrip, height)
    across = -(-width // page.tilewidth) if page.is_tiled else 1
    down = -(-height // length)
    step = max(1, BAND_ROWS // length)
    for first in range(0, down, step):
        last = min(down, first + step)
        top, bottom = first * length, min(height, last * length)
        band = np.empty((bottom - top, width, page.samplesperpixel), page.dtype)
        for plane in range(separate):
            planes = band[..., plane : plane + contiguous]
            for index in range(first * across, last * across):
                segment, row, column = _decode(path, page, plane * down * across + index)
                _paste(planes[row - top :, column:], segment)
        yield band


def _paste(target: Pixels, segment: Pixels) -> None:
    """Copy a segment, without its padding, to the upper left of `target`."""
    rows, columns = min(len(target), len(segment)), min(target.shape[1], segment.shape[1])
    target[:rows, :columns] = segment[:rows, :columns]


def _decode(path: Path, page: Any, index: int) -> tuple[Pixels, int, int]:
    """Return strip or tile `index` and the row and column of its upper left pixel."""
    data = _read(page, page.dataoffsets[index], page.databytecounts[index])
    tables = {}
    if page.compression == _JPEG:
        # The decoder fills what is missing with grey; only a segment with an end is whole.
        if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
            raise ImageError(
                f"{path}: is damaged, strip or tile {index} ends too early; "
                "copy it again from the source"
            )
        tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
    decoded, (_, _, row, column, _), _ = page.decode(data, index, **tables)
    return decoded[0], row, column


def _read(page: Any, offset: int, count: int) -> bytes:
    file = page.parent.filehandle
    file.seek(offset)
    data: bytes = file.read(count)
    if len(data) != count:
        raise EOFError(f"the file ends {count - len(data)} bytes too early")
    return data


def read_metadata(page: Any) -> Metadata:
    """Return the metadata as stored; the text tags (make, model, ...) become an EXIF block.

    The EXIF sub-directory (exposure, lens) of a TIFF is not carried on.
    """
    tags = page.tags
    return Metadata(
        exif=_exif(tags),
        xmp=_bytes(tags.valueof(700)),
        icc=_bytes(tags.valueof(34675)),
        resolution=_resolution(tags),
    )


def _exif(tags: Any) -> bytes | None:
    block = Exif()
    for tag in TEXT_TAGS:
        text = tags.valueof(tag)
        if isinstance(text, str) and text:
            block[tag] = text
    return block.tobytes().removeprefix(b"Exif\0\0") if len(block) else None


def _bytes(value: Any) -> bytes | None:
    return bytes(value) if value is not None and not isinstance(value, str) else None


def _resolution(tags: Any) -> tuple[float, float] | None:
    per_inch = {2: 1.0, 3: 2.54}.get(int(tags.valueof(296, 2)))
    try:
        x, y = (top / bottom for top, bottom in (tags.valueof(282), tags.valueof(283)))
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x * per_inch, y * per_inch) if per_inch and x and y else None


def text_tags(exif: bytes | None) -> dict[int, str]:
    """Return the text tags of an EXIF block that a TIFF keeps in its own directory."""
    block = Exif()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            block.load(b"Exif\0\0" + (exif or b""))
            found = {tag: block.get(tag) for tag in TEXT_TAGS}
        except Exception:  # a damaged block can fail anywhere in Pillow; it is not vital
            return {}
    return {tag: text for tag, text in found.items() if isinstance(text, str) and text}
