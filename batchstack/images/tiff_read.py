"""TIFF in: headers, metadata, and pixels band by band (tifffile, imagecodecs).

A band is as many full-width rows as one row of tiles or a few strips hold, so that a
file of any size is read in bounded memory.
"""

import json
import math
import re
import reprlib
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import islice, product
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from tifffile import TIFF, TiffFile

from batchstack.errors import DamagedError, ImageError, PageStackError
from batchstack.formats import DEVELOP, DTYPES, FORMATS, RAW_SUFFIXES
from batchstack.images import descriptions, exif, exif_block, iptc, xmp
from batchstack.images.claims import check_claim, tiff_expansion
from batchstack.images.colour import key
from batchstack.images.icc import FAULT, is_sound
from batchstack.images.info import BAND_BYTES, Empty, ImageInfo, Metadata, Pixels, Shot, uneven
from batchstack.images.orientation import oriented_size
from batchstack.images.shots import made_of, time_of
from batchstack.images.source import is_damage
from batchstack.images.white import of_largest, of_text

_BAND = FORMATS["tiff"].rows_read
_IPTC, _PHOTOSHOP, _MICRO_MANAGER = 33723, 34377, 51123
_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _YCBCR = 0, 1, 2, 6
_LIGHT = (_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB)
_COLOURS = ((1, _MIN_IS_WHITE), (1, _MIN_IS_BLACK), (3, _RGB))
_JPEG, _PNG = 7, 34933
# Photometric types of sensor data, and what says that there are some (DNG, CR2, IIQ).
_SENSOR, _DNG_VERSION = (32803, 34892), 50706
_HEADER_END, _RAW_MARK = 8, re.compile(rb"CR\x02\x00.{4}|IIII.waR|MMMMRaw.", re.DOTALL)
_ICC, _LARGEST = 34675, (281, 341)  # MaxSampleValue, SMaxSampleValue
_EXIF, _XMP, _PLANES = 34665, 700, 33629  # UIC2 of MetaMorph has an entry for each plane
_CENTIMETRES = 2.54  # of an inch
_DESCRIBING = {_EXIF: "EXIF", 34853: "GPS", _IPTC: "IPTC", _XMP: "XMP"}
# Bytes of pixels that a strip of doubtful length is decoded to already with the header.
_TRIED = 2**28
_SIDES = ("imagewidth", "imagelength")
_NUMBERS = (
    "imagedepth",
    "samplesperpixel",
    "compression",
    "predictor",
    "photometric",
    "planarconfig",
    "fillorder",
    "rowsperstrip",
    "tilewidth",
    "tilelength",
)
# Pages that are looked at; a damaged chain of them may have no end.
_MOST_PAGES = 1000
_MOST_BELOW = 8


@contextmanager
def open_page(path: Path, file: BinaryIO) -> Iterator[Any]:
    """Give the first page of an open file, whose numbers can be relied on to be numbers."""
    with np.errstate(all="ignore"):  # damaged numbers overflow anywhere
        # The name tells one vendor's files of more than 4 GB.
        tiff = TiffFile(file, name=path.name)
    with tiff:
        page = tiff.pages.first
        _refuse_wrong_numbers(path, page, _SIDES + _NUMBERS)
        yield page


def read_header(path: Path, file: BinaryIO) -> ImageInfo:
    """Return what the tags say; the pixels are not touched."""
    with open_page(path, file) as page:
        return _header(path, page)


def _header(path: Path, page: Any) -> ImageInfo:
    """Return what the tags say, after checking that every segment lies in the file."""
    _refuse_raw(path, page)
    _refuse_unsupported(path, page)
    _refuse_stacks(path, page)
    _mend_counts(path, page)
    _refuse_claims(path, page)
    turned = _orientation(page)
    height, width = oriented_size(page.imagelength, page.imagewidth, turned)
    dtype = str(np.dtype(page.dtype))
    return ImageInfo(
        path,
        "tiff",
        height,
        width,
        page.samplesperpixel,
        dtype,
        turned,
        data_range=_white(page.tags, dtype),
        shot=_shot(page),
        notes=_notes(page),
        colours=key(_colours(page)),
    )


def _colours(page: Any) -> Metadata:
    """What is said of the meaning of colours: by a profile, or by EXIF alone."""
    said_by_exif = exif_block.read(page.parent.filehandle, ()) if _EXIF in page.tags else None
    return Metadata(
        exif=said_by_exif.block() if said_by_exif else None,
        icc=_icc(page),
    )


def _notes(page: Any) -> tuple[str, ...]:
    """What is ignored of the metadata: tags that lead out of the file, or to nothing."""
    tags, stated = page.tags, exif_block.first_tags(page.parent.filehandle)
    faults = [FAULT] if _ICC in stated and _icc(page) is None else []
    lost = [
        name for tag, name in _DESCRIBING.items() if tag in stated and _is_empty(tags.valueof(tag))
    ]
    return (*faults, *(exif.FAULT.format(name) for name in lost))


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, (bytes, str, dict)) and not value)


def _white(tags: Any, dtype: str) -> float | None:
    """The value for white that tags state: the largest that was used, or the bits of the camera."""
    if dtype == "uint8":
        return None
    stated = (of_largest(tags.valueof(tag), dtype) for tag in _LARGEST if tag in tags)
    described = of_text(str(tags.valueof(270) or "")) if dtype == "uint16" else None
    return next(filter(None, stated), described)


def _shot(page: Any) -> Shot:
    taking, software = page.tags.valueof(_EXIF), page.tags.valueof(305)
    packet = _raw_bytes(page, _XMP, xmp.is_begun)
    taking = taking if isinstance(taking, dict) else {}
    composite, note = taking.get("CompositeImage"), taking.get("MakerNote")
    return Shot(
        time_of(str(taking.get("DateTimeOriginal", "")), str(taking.get("SubsecTimeOriginal", ""))),
        made_of(
            (software if isinstance(software, str) else "", *xmp.programs(packet)),
            composite if isinstance(composite, int) else None,
            note if isinstance(note, bytes) else b"",
        ),
    )


def _orientation(page: Any) -> int:
    """Return the orientation that the tags state, 1 where they state none that is valid."""
    value = _number(page.tags, 274)
    return value if 1 <= value <= 8 else 1


def _number(tags: Any, tag: int) -> int:
    """The value of a tag, 0 if it is missing or anything but a number."""
    value = tags.valueof(tag)
    if isinstance(value, bytes) and len(value) == 1:  # of type BYTE
        return value[0]
    return int(value) if isinstance(value, int) else 0


def _refuse_wrong_numbers(path: Path, page: Any, names: Iterable[str]) -> None:
    """tifffile gives the values of damaged tags as it finds them: texts, fractions, lists, ..."""
    for name in names:
        value = getattr(page, name)
        if not isinstance(value, int) or value < 0:
            _refuse_tag(path, name, value, "a number")
    for name in ("dataoffsets", "databytecounts"):
        value = getattr(page, name)
        if not isinstance(value, tuple) or not all(isinstance(one, int) for one in value):
            _refuse_tag(path, name, value, "a list of numbers")


def _refuse_tag(path: Path, name: str, value: Any, wanted: str) -> None:
    raise DamagedError(
        path,
        f"is damaged, its TIFF tag {name} is {reprlib.repr(value)} instead of {wanted}; "
        "copy it again from the source",
    )


def _refuse_raw(path: Path, page: Any) -> None:
    """Camera raw is a TIFF of which the first image is a thumbnail, or sensor data."""
    is_marked = _has_raw_mark(page) or _DNG_VERSION in page.tags
    below = _pages_below(page)
    suffix = path.suffix[1:].lower()
    if is_marked or any(other.photometric in _SENSOR for other in (page, *below)):
        name = suffix if suffix in RAW_SUFFIXES else "dng"
        kind = f" ({name.upper()})" if suffix in RAW_SUFFIXES else ""
        raise ImageError(f"{path}: is camera raw{kind}, which is not read; {DEVELOP.format(name)}")
    _refuse_wrong_numbers(path, page, ("subfiletype",))
    if int(page.subfiletype) & 1 and any(_is_larger(other, page) for other in below):
        raise ImageError(
            f"{path}: begins with a thumbnail and has its image in a directory below it, which is "
            "not read; save it as TIFF of one image"
        )


def _has_raw_mark(page: Any) -> bool:
    """Whether a mark of camera raw follows the header, where many programs put pixels."""
    if _HEADER_END in (page.offset, *page.dataoffsets):
        return False
    file = page.parent.filehandle
    file.seek(_HEADER_END)
    return _RAW_MARK.match(file.read(8)) is not None


def _pages_below(page: Any) -> list[Any]:
    """Images of the directories below the first one, and of those behind it."""
    try:
        with np.errstate(all="ignore"):
            below = islice(page.pages or (), _MOST_BELOW)
            return [*below, *islice(_pages_behind(page), _MOST_BELOW)]
    except Exception:  # they can be damaged in any way, and mostly do not matter
        return []


def _pages_behind(page: Any) -> Iterator[Any]:
    """The pages that follow the first one, each once: a damaged chain can lead back."""
    known = {page.offset}
    for other in islice(page.parent.pages, 1, _MOST_PAGES):
        if other.offset in known:
            return
        known.add(other.offset)
        yield other


def _is_larger(other: Any, page: Any) -> bool:
    sides = [(getattr(other, name), getattr(page, name)) for name in _SIDES]
    return all(isinstance(one, int) and one > two for one, two in sides)


def _refuse_unsupported(path: Path, page: Any) -> None:
    samples, photometric = page.samplesperpixel, int(page.photometric)
    is_held = _is_held(page)
    if (page.extrasamples or samples in (2, 4)) and photometric in _LIGHT:
        found = f"{samples} channels, alpha or extra ones among them"
        plain = is_held and page.dtype != np.float32 and samples in (2, 4)
        hint = "keep grey or RGB" + (
            ", e.g. convert in.tif -alpha off out.tif" if plain else _rewriting(page)
        )
    elif (samples, photometric) not in _COLOURS and not _is_jpeg_colour(page):
        found = f"{samples} channels of photometric type {_name(page.photometric)}"
        hint = (
            "convert it to grey or RGB, e.g. convert in.tif -colorspace sRGB -type TrueColor "
            "-alpha off out.tif"
        )
    elif not is_held:
        found = f"{page.bitspersample}-bit samples ({_name(page.sampleformat)})"
        hint = "convert it to 8 or 16 bit unsigned or 32 bit float" + _rewriting(page)
    elif photometric == _MIN_IS_WHITE and page.dtype == np.float32:
        found = "float samples where 0 is white"
        hint = "convert it to 0 is black" + _rewriting(page)
    elif page.compression != 1 and page.compression not in TIFF.DECOMPRESSORS:
        found = f"a compression ({_name(page.compression)})"
        hint = "rewrite it with another, e.g. convert in.tif -compress zip out.tif"
    else:
        return
    raise ImageError(f"{path}: has {found}, which is not supported; {hint}")


def _is_held(page: Any) -> bool:
    """Whether samples have a type that pixels may have, and use all of it."""
    return page.dtype is not None and str(np.dtype(page.dtype)) in DTYPES and _full_depth(page)


def _rewriting(page: Any) -> str:
    """A command that rewrites pixels as those that are read, to follow what it does.

    It keeps no metadata but the profile; ImageMagick makes whole numbers of floats.  Empty for
    samples that are not known.
    """
    bits, tag = page.bitspersample, ""
    if page.dtype is None or not isinstance(bits, int):
        return ""
    pixels, kind = _channels_kept(page), np.dtype(page.dtype)
    is_inverted = page.photometric == _MIN_IS_WHITE
    if kind.kind == "u" and bits < 8:
        pixels = f"{pixels} * n.uint8({255 // (2**bits - 1)})"
    elif kind.kind == "b":
        pixels = f"{pixels} * n.uint8(255)"
    elif kind.kind == "u" and bits <= 16:
        tag = f', extratags=[(281, "H", 1, {2**bits - 1}, True)]' if 8 < bits < 16 else ""
    else:
        pixels = f'{f"abs({pixels})" if kind.kind == "c" else pixels}.astype("float32")'
        if is_inverted:
            pixels = f"{1 if kind.kind in 'fc' else 2**bits - 1} - {pixels}"
            is_inverted = False
    colour = "rgb" if page.photometric == _RGB else "miniswhite" if is_inverted else "minisblack"
    lines = (
        'import tifffile as t, numpy as n; p = t.TiffFile("in.tif").pages[0]; x = p.asarray(); '
        f't.imwrite("out.tif", {pixels}, photometric="{colour}", metadata=None, '
        f"iccprofile=p.iccprofile{tag})"
    )
    return f", e.g. python -c {shlex.quote(lines)}"


def _channels_kept(page: Any) -> str:
    """What takes grey or RGB out of the pixels `x` of a page, in Python."""
    wanted = 3 if page.photometric == _RGB else 1
    if page.samplesperpixel == wanted and page.planarconfig == 1:
        return "x"
    if page.planarconfig == 1:
        return "x[..., :3]" if wanted == 3 else "x[..., 0]"
    return "n.moveaxis(x[:3], 0, -1)" if wanted == 3 else "x[0]"


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
    with np.errstate(all="ignore"):
        others = list(_pages_behind(page))
    for other in others:
        _refuse_wrong_numbers(path, other, (*_SIDES, "subfiletype"))
        smaller = other.imagelength < page.imagelength or other.imagewidth < page.imagewidth
        pages += not (int(other.subfiletype) & 0b101 or smaller)
    count = max(pages, page.imagedepth, _planes_behind(page))
    if count > 1:
        stem = str(path.with_suffix(""))
        raise PageStackError(
            f"{path}: holds {count} pages, a frame must be one image; split it, e.g. "
            f"python -c {shlex.quote(_splitting(path, stem, page, pages))}, "
            f"and give {stem + '-*.tif'!r}"
        )


def _planes_behind(page: Any) -> int:
    """How many images lie one behind the other in the place of the first, if the file has them.

    ImageJ, MetaMorph and tifffile say so beside the tags, and what they say may be left over.
    """
    said, stated = page.parent.imagej_metadata or {}, page.tags.get(_PLANES)
    shape = descriptions.stated_shape(page.description)
    one = page.imagelength * page.imagewidth * page.samplesperpixel
    planes = max(
        *(_whole(said.get("images")), stated.count if stated else 1),
        math.prod(shape) // one if one and shape[-len(page.shape) :] == page.shape else 1,
    )
    if planes < 2 or not page.dataoffsets:
        return 1
    size = page.nbytes if page.compression == 1 else sum(page.databytecounts)
    return planes if page.dataoffsets[0] + planes * size <= page.parent.filehandle.size else 1


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 1


def _splitting(path: Path, stem: str, page: Any, pages: int) -> str:
    """Lines of Python that save each page, with the size of its pixels, to a file of its own."""
    name, file = f'{json.dumps(stem)} + f"-{{n:04}}.tif"', json.dumps(str(path))
    kind = "rgb" if page.samplesperpixel == 3 else "minisblack"
    how = f'photometric="{kind}", metadata=None'
    text = exif_block.read(page.parent.filehandle, (exif_block.DESCRIPTION,))
    stated = _stated_resolution(page.tags, text.text(exif_block.DESCRIPTION))
    if stated:
        x, y = (f"{value / _CENTIMETRES:.9g}" for value in stated)
        how += f', resolution=({x}, {y}), resolutionunit="CENTIMETER"'
    each = f"t.imread({file}).reshape(-1, *{page.shape})"
    if pages > 1:
        each = f"(one.asarray() for one in t.TiffFile({file}).pages)"
    return (
        f"import tifffile as t; [t.imwrite({name}, page, {how}) for n, page in enumerate({each})]"
    )


def _refuse_claims(path: Path, page: Any) -> None:
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


def _mend_counts(path: Path, page: Any) -> None:
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


def read_pieces(info: ImageInfo, file: BinaryIO, empty: Empty) -> Iterator[Pixels]:
    """Yield the pixels as stored, in pieces of about `BAND_BYTES` or one tile or strip.

    Every piece is new memory; grey where 0 is white is inverted.
    The header is checked once more: the file may be another one since it was probed.
    """
    with open_page(info.path, file) as page:
        _header(info.path, page)
        decode = _stored_rows if _is_plain(page) else _decoded_pieces
        for piece in decode(info.path, page):
            upright = np.bitwise_not(piece) if page.photometric == _MIN_IS_WHITE else piece
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
    elif page.compression == _JPEG:
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


def read_metadata(path: Path, file: BinaryIO) -> tuple[Metadata, int]:
    """Return the metadata as stored, and the orientation.

    EXIF is what describes the picture in the directory of the image, and the directories of
    EXIF and GPS that it leads to.
    """
    stored = exif_block.read(file, exif_block.DESCRIPTIVE | exif_block.TAKING | exif_block.MAP)
    file.seek(0)
    with open_page(path, file) as page:
        tags = page.tags
        resources = _bytes(tags.valueof(_PHOTOSHOP)) or b""
        resolution = _stated_resolution(tags, stored.text(exif_block.DESCRIPTION))
        no_unit = resolution is None and _number(tags, 296) == exif_block.NO_UNIT
        aspect = uneven(_counts(tags)) if no_unit else None
        metadata = Metadata(
            exif=stored.block() if stored else None,
            xmp=_raw_bytes(page, _XMP, xmp.is_begun) or None,
            icc=_icc(page),
            resolution=resolution or aspect,
            has_unit=aspect is None,
            iptc=iptc.trimmed(_raw_bytes(page, _IPTC, iptc.trimmed))
            or iptc.of_resources(resources),
            lost=("resources of Photoshop",) if iptc.has_others(resources) else (),
        )
        return metadata, _orientation(page)


def _icc(page: Any) -> bytes | None:
    profile = _raw_bytes(page, _ICC, is_sound)
    return profile if is_sound(profile) else None


def _bytes(value: Any) -> bytes | None:
    return value if isinstance(value, bytes) else None


def _raw_bytes(page: Any, number: int, is_right: Callable[[bytes], object]) -> bytes:
    """The bytes of a tag, whatever its type says of them.

    Programs that give them as numbers of two or four bytes may have their order changed on the
    way to the file; then it is changed back.
    """
    tag = page.tags.get(number)
    if tag is None:
        return b""
    file = page.parent.filehandle
    file.seek(tag.valueoffset)
    data: bytes = file.read(min(tag.valuebytecount, file.size))  # of which more may be claimed
    size = np.dtype({3: "H", 4: "I", 8: "h", 9: "i"}.get(int(tag.dtype), "B")).itemsize
    if size > 1 and not is_right(data):
        whole = data[: len(data) // size * size]
        swapped = np.frombuffer(whole, f"u{size}").byteswap().tobytes()
        return swapped if is_right(swapped) else data
    return data


def _resolution(tags: Any) -> tuple[float, float] | None:
    per_inch = {0: 1.0, 2: 1.0, 3: 2.54}.get(_number(tags, 296))
    counts = _counts(tags)
    return (counts[0] * per_inch, counts[1] * per_inch) if per_inch and counts else None


def _counts(tags: Any) -> tuple[float, float] | None:
    """Pixels per unit along x and y."""
    try:
        x, y = (top / bottom for top, bottom in (tags.valueof(282), tags.valueof(283)))
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if x > 0 and y > 0 else None


def _stated_resolution(tags: Any, description: str) -> tuple[float, float] | None:
    """Pixels per inch, by the description or the tags."""
    return _described_resolution(tags, description) or _resolution(tags)


def _described_resolution(tags: Any, text: str) -> tuple[float, float] | None:
    """Pixels per inch, as a program describes them that has tags of its own or none."""
    per_unit = _counts(tags) if _number(tags, 296) in (0, 1) else None
    of_text = descriptions.of_text(text, per_unit)
    return of_text or descriptions.of_facts(tags.valueof(_MICRO_MANAGER))
