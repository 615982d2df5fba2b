"""The pixels of a TIFF page: its strips and tiles checked, and decoded band by band.

A band is as many full-width rows as one row of tiles or a few strips hold, so that a
file of any size is read in bounded memory.
"""

import math
from collections.abc import Iterator
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from batchstack.errors import DamagedError, ImageError
from batchstack.formats import FORMATS
from batchstack.images.claims import check_claim, tiff_expansion
from batchstack.images.info import BAND_BYTES, Pixels
from batchstack.images.source import is_damage
from batchstack.images.tiff_tags import JPEG, MIN_IS_WHITE

_BAND = FORMATS["tiff"].rows_read
_PNG = 34933  # a compression
# Bytes of pixels that a strip of doubtful length is decoded to already with the header.
_TRIED = 2**28


def refuse_claims(path: Path, page: Any) -> None:
    """Every strip and tile must lie in the file, and have the bytes that its pixels need."""
    height, width, size = page.imagelength, page.imagewidth, page.parent.filehandle.size
    rows, columns = _segment_size(page)
    if not (height and width and page.imagedepth and rows and columns):
        raise DamagedError(
            path,
            f"is damaged, its header claims {width} x {height} pixels in strips or tiles "
            f"of {columns} x {rows}; copy it again from the source",
        )
    expansion, sample = tiff_expansion(page.compression), np.dtype(page.dtype).itemsize
    pixel = page.samplesperpixel * sample
    check_claim(path, (height, width), height * width * pixel, size, expansion)
    _refuse_missing(path, page, size)
    separate, down, across = _segments(page)
    counts, pixel = page.databytecounts[: separate * down * across], page.shaped[-1] * sample
    if rows * columns * pixel <= min(counts) * expansion:
        return
    for index, count in enumerate(counts):
        # The last strip is shorter, a tile is not.
        last = index % down == down - 1 and not page.is_tiled
        shape = (height - (down - 1) * rows if last else rows, columns)
        needed = shape[0] * shape[1] * pixel
        check_claim(path, shape, needed, count, expansion, of="a strip or tile")


def mend_counts(path: Path, page: Any) -> None:
    """Have strips and tiles end before the next one, or where the file does, if they say wrong.

    Some programs leave out how many bytes they have, or round it up.  Where that could also
    be the end of a file that is cut off, they must decode.
    """
    height, size = page.imagelength, page.parent.filehandle.size
    rows, columns = _segment_size(page)
    if not (height and rows and columns):
        return
    offsets, (_, down, _) = page.dataoffsets, _segments(page)
    row = columns * page.shaped[-1] * np.dtype(page.dtype).itemsize
    counts = list(page.databytecounts)
    for index, (offset, count) in enumerate(zip(offsets, counts, strict=False)):
        is_last = index % down == down - 1 and not page.is_tiled
        needed = row * (height - (down - 1) * rows if is_last else rows)
        if page.compression == 1:
            if 0 < offset <= size - needed and (count == 0 or count > needed):
                counts[index] = needed
        elif 0 < offset < size and (count == 0 or offset + count > size):
            places = (size, page.offset, *offsets, *(tag.valueoffset for tag in page.tags))
            counts[index] = min(place for place in places if place > offset) - offset
            page.databytecounts = tuple(counts)
            if page.offset < offset and not _decodes(path, page, index, needed):
                counts[index] = count
    page.databytecounts = tuple(counts)


def _decodes(path: Path, page: Any, index: int, needed: int) -> bool:
    if needed > min(_TRIED, page.databytecounts[index] * tiff_expansion(page.compression)):
        return False
    try:
        _decode(path, page, index)
    except Exception as error:
        if not isinstance(error, ImageError) and not is_damage(error):
            raise
        return False
    return True


def _segment_size(page: Any) -> tuple[int, int]:
    """Rows and columns of a strip or tile."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def _segments(page: Any) -> tuple[int, int, int]:
    """How many planes there are, and strips or tiles down and across each of them."""
    rows, columns = _segment_size(page)
    return page.shaped[0], -(-page.imagelength // rows), -(-page.imagewidth // columns)


def _refuse_missing(path: Path, page: Any, size: int) -> None:
    offsets, counts = page.dataoffsets, page.databytecounts
    wanted = math.prod(_segments(page))
    held = sum(
        offset > 0 and count > 0 and offset + count <= size
        for offset, count in zip(offsets[:wanted], counts[:wanted], strict=False)
    )
    if held < wanted:
        raise DamagedError(
            path,
            f"is incomplete, {wanted - held} of {wanted} strips or tiles are missing "
            "or lie behind the end of the file; copy it again from the source",
        )


def pieces(path: Path, page: Any) -> Iterator[Pixels]:
    """Yield the pixels of a page as stored, each piece in new memory.

    Grey where 0 is white is inverted.
    """
    decode = _stored_rows if _is_plain(page) else _decoded_pieces
    for piece in decode(path, page):
        upright = np.bitwise_not(piece) if page.photometric == MIN_IS_WHITE else piece
        yield upright[..., 0] if page.samplesperpixel == 1 else upright


def _pixel_bytes(page: Any) -> int:
    return int(page.samplesperpixel * np.dtype(page.dtype).itemsize)


def _is_plain(page: Any) -> bool:
    """Uncompressed strips one behind the other: any row can be read by itself."""
    raw = page.compression == 1 and page.predictor == 1 and page.fillorder == 1
    whole = sum(page.databytecounts) == page.nbytes
    return bool(raw and whole and _follow(page))


def _follow(page: Any) -> bool:
    ends = np.add(page.dataoffsets, page.databytecounts)
    return not page.is_tiled and np.array_equal(ends[:-1], page.dataoffsets[1:])


def _stored_rows(path: Path, page: Any) -> Iterator[Pixels]:
    separate, _, height, width, contiguous = page.shaped
    dtype = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
    row = width * contiguous
    step = min(_BAND, max(BAND_BYTES // (width * _pixel_bytes(page)), 1))
    for top in range(0, height, step):
        count = min(step, height - top)
        band = np.empty((count, width, page.samplesperpixel), page.dtype)
        for plane in range(separate):
            start = page.dataoffsets[0] + (plane * height + top) * row * dtype.itemsize
            part = np.frombuffer(_read(path, page, start, count * row * dtype.itemsize), dtype)
            band[..., plane : plane + contiguous] = part.reshape(count, width, contiguous)
        yield band


def _decoded_pieces(path: Path, page: Any) -> Iterator[Pixels]:
    """Several rows of tiles or strips together, or parts of one where that is too much."""
    _, down, across = _segments(page)
    length, breadth = _segment_size(page)
    segment = length * breadth * _pixel_bytes(page)
    columns = max(1, min(across, BAND_BYTES // segment))
    rows = max(1, min(_BAND // length, BAND_BYTES // (segment * across)))
    for top, left in product(range(0, down, rows), range(0, across, columns)):
        at = slice(top, min(top + rows, down)), slice(left, min(left + columns, across))
        yield _decoded(path, page, *at)


def _decoded(path: Path, page: Any, rows: slice, columns: slice) -> Pixels:
    """The pixels of some rows and columns of strips or tiles."""
    _, _, height, width, contiguous = page.shaped
    separate, down, across = _segments(page)
    length, breadth = _segment_size(page)
    top, left = rows.start * length, columns.start * breadth
    bottom, right = min(height, rows.stop * length), min(width, columns.stop * breadth)
    pixels = np.empty((bottom - top, right - left, page.samplesperpixel), page.dtype)
    for plane, down_at, across_at in product(
        range(separate), range(rows.start, rows.stop), range(columns.start, columns.stop)
    ):
        target = pixels[..., plane : plane + contiguous]
        index = (plane * down + down_at) * across + across_at
        segment, row, column = _decode(path, page, index)
        _paste(target[row - top :, column - left :], segment)
    return pixels


def _paste(target: Pixels, segment: Pixels) -> None:
    """Copy a segment, without its padding, to the upper left of `target`."""
    rows, columns = min(len(target), len(segment)), min(target.shape[1], segment.shape[1])
    target[:rows, :columns] = segment[:rows, :columns]


def _decode(path: Path, page: Any, index: int) -> tuple[Pixels, int, int]:
    """Return strip or tile `index` and the row and column of its upper left pixel."""
    data = _read(path, page, page.dataoffsets[index], page.databytecounts[index])
    tables = {}
    if page.compression == _PNG:
        data = _checked_png(path, data)
    elif page.compression == JPEG:
        _refuse_odd_jpeg(path, page, data, index)
        tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
    decoded, (_, _, row, column, _), _ = page.decode(data, index, **tables)
    if decoded.dtype != page.dtype:
        _refuse_segment(path, index, f"decodes to {decoded.dtype} instead of {page.dtype}")
    return decoded[0], row, column


def _checked_png(path: Path, data: bytes) -> bytes:
    from batchstack.images import png

    stream = BytesIO(data)
    png.read_header(path, stream)
    return bytes(png.critical_chunks(path, stream))


def _refuse_odd_jpeg(path: Path, page: Any, data: bytes, index: int) -> None:
    """The decoder fills what is missing with grey, and makes room for what a stream claims."""
    from batchstack.images.jpeg import has_end, stream_size

    if not has_end(data):
        _refuse_segment(path, index, "ends too early")
    claimed, room = stream_size(data), _segment_size(page)
    if math.prod(claimed) > 2 * math.prod(room):  # it may be padded to whole blocks
        _refuse_segment(path, index, f"claims {claimed[1]} x {claimed[0]} pixels")


def _refuse_segment(path: Path, index: int, what: str) -> None:
    raise DamagedError(
        path, f"is damaged, strip or tile {index} {what}; copy it again from the source"
    )


def _read(path: Path, page: Any, offset: int, count: int) -> bytes:
    file = page.parent.filehandle
    file.seek(offset)
    data: bytes = file.read(count)
    if len(data) != count:
        raise ImageError(f"{path}: became shorter while it was read; run again when it is complete")
    return data
