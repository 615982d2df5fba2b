"""TIFF files that hold no image that is read: what they are, and a remedy that makes one of it."""

import json
import math
import re
import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tifffile import TIFF

from batchstack.errors import ImageError, PageStackError
from batchstack.formats import DEVELOP, DTYPES, RAW_SUFFIXES
from batchstack.images import descriptions, exif_block
from batchstack.images.tiff_tags import (
    CENTIMETRES,
    JPEG,
    MIN_IS_WHITE,
    SIDES,
    refuse_wrong_numbers,
    stated_resolution,
    stated_white,
)

_MIN_IS_BLACK, _RGB, _YCBCR = 1, 2, 6
_FULL = 2**16 - 1
_LIGHT = (MIN_IS_WHITE, _MIN_IS_BLACK, _RGB)
_COLOURS = ((1, MIN_IS_WHITE), (1, _MIN_IS_BLACK), (3, _RGB))
# Photometric types of sensor data, and what says that there are some (DNG, CR2, IIQ).
_SENSOR, _DNG_VERSION = (32803, 34892), 50706
_HEADER_END, _RAW_MARK = 8, re.compile(rb"CR\x02\x00.{4}|IIII.waR|MMMMRaw.", re.DOTALL)
_PLANES = 33629  # UIC2 of MetaMorph has an entry for each plane
# Pages that are looked at; a damaged chain of them may have no end.
_MOST_PAGES = 1000
_MOST_BELOW = 8


def refuse_raw(path: Path, page: Any) -> None:
    """Camera raw is a TIFF of which the first image is a thumbnail, or sensor data."""
    is_marked = _has_raw_mark(page) or _DNG_VERSION in page.tags
    below = _pages_below(page)
    suffix = path.suffix[1:].lower()
    if is_marked or any(other.photometric in _SENSOR for other in (page, *below)):
        name = suffix if suffix in RAW_SUFFIXES else "dng"
        kind = f" ({name.upper()})" if suffix in RAW_SUFFIXES else ""
        raise ImageError(f"{path}: is camera raw{kind}, which is not read; {DEVELOP.format(name)}")
    refuse_wrong_numbers(path, page, ("subfiletype",))
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
    sides = [(getattr(other, name), getattr(page, name)) for name in SIDES]
    return all(isinstance(one, int) and one > two for one, two in sides)


def refuse_unsupported(path: Path, page: Any) -> None:
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
    elif photometric == MIN_IS_WHITE and page.dtype == np.float32:
        found = "float samples where 0 is white"
        hint = "convert it to 0 is black" + _rewriting(page)
    elif photometric == MIN_IS_WHITE and page.dtype == np.uint16 and _last(page) < _FULL:
        found = f"16-bit samples where 0 is white and {_last(page)} black"
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
    is_inverted = page.photometric == MIN_IS_WHITE
    if kind.kind == "u" and bits < 8:
        pixels = f"{pixels} * n.uint8({255 // (2**bits - 1)})"
    elif kind.kind == "b":
        pixels = f"{pixels} * n.uint8(255)"
    elif kind.kind == "u" and bits <= 16:
        top = _last(page)
        if bits > 8 and top < _FULL:
            tag = f', extratags=[(281, "H", 1, {top}, True)]'
            if is_inverted:
                pixels, is_inverted = f"n.uint16(max({top}, x.max())) - {pixels}", False
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


def _last(page: Any) -> int:
    """The stored value of samples of up to 16 bits that is the end of their range."""
    bits = page.bitspersample
    return int(2**bits - 1 if bits < 16 else stated_white(page.tags, "uint16") or _FULL)


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
    return bool(page.photometric == _YCBCR and page.compression == JPEG)


def _name(tag: Any) -> str:
    return str(getattr(tag, "name", tag))


def _full_depth(page: Any) -> bool:
    return bool(page.bitspersample == 8 * np.dtype(page.dtype).itemsize)


def refuse_stacks(path: Path, page: Any) -> None:
    """One image per file; thumbnails, reduced copies and masks beside it do not matter."""
    pages = 1
    with np.errstate(all="ignore"):
        others = list(_pages_behind(page))
    for other in others:
        refuse_wrong_numbers(path, other, (*SIDES, "subfiletype"))
        smaller = other.imagelength < page.imagelength or other.imagewidth < page.imagewidth
        pages += not (int(other.subfiletype) & 0b101 or smaller)
    count = max(pages, page.imagedepth, _planes_behind(page))
    if count > 1:
        stem = str(path.with_suffix(""))
        channels = descriptions.stated_channels(page.description) // page.samplesperpixel
        told = f" of {channels} channels, each a stack of its own" if channels > 1 else ""
        raise PageStackError(
            f"{path}: holds {count} pages{told}, a frame must be one image; split it, e.g. "
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
    stated = stated_resolution(page.tags, text.text(exif_block.DESCRIPTION))
    if stated:
        x, y = (f"{value / CENTIMETRES:.9g}" for value in stated)
        how += f', resolution=({x}, {y}), resolutionunit="CENTIMETER"'
    each = f"t.imread({file}).reshape(-1, *{page.shape})"
    if pages > 1:
        each = f"(one.asarray() for one in t.TiffFile({file}).pages)"
    return (
        f"import tifffile as t; [t.imwrite({name}, page, {how}) for n, page in enumerate({each})]"
    )
