"""TIFF in: headers, metadata, and pixels band by band (tifffile, imagecodecs)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from tifffile import TiffFile

from batchstack.images import exif, exif_block, iptc, xmp
from batchstack.images.colour import key
from batchstack.images.icc import FAULT, is_sound
from batchstack.images.info import Empty, ImageInfo, Metadata, Pixels, Shot, uneven
from batchstack.images.orientation import oriented_size
from batchstack.images.shots import made_of, time_of
from batchstack.images.tiff_pixels import mend_counts, pieces, refuse_claims
from batchstack.images.tiff_refused import refuse_raw, refuse_stacks, refuse_unsupported
from batchstack.images.tiff_tags import (
    SIDES,
    counts_of,
    number,
    raw_bytes,
    refuse_wrong_numbers,
    stated_resolution,
    stated_white,
)

_EXIF, _XMP, _IPTC, _PHOTOSHOP = 34665, 700, 33723, 34377
_ICC = 34675
_DESCRIBING = {_EXIF: "EXIF", 34853: "GPS", _IPTC: "IPTC", _XMP: "XMP"}
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


@contextmanager
def open_page(path: Path, file: BinaryIO) -> Iterator[Any]:
    """Give the first page of an open file, whose numbers can be relied on to be numbers."""
    with np.errstate(all="ignore"):  # damaged numbers overflow anywhere
        # The name tells one vendor's files of more than 4 GB.
        tiff = TiffFile(file, name=path.name)
    with tiff:
        page = tiff.pages.first
        refuse_wrong_numbers(path, page, SIDES + _NUMBERS)
        yield page


def read_header(path: Path, file: BinaryIO) -> ImageInfo:
    """Return what the tags say; the pixels are not touched."""
    with open_page(path, file) as page:
        return _header(path, page)


def _header(path: Path, page: Any) -> ImageInfo:
    """Return what the tags say, after checking that every segment lies in the file."""
    refuse_raw(path, page)
    refuse_unsupported(path, page)
    refuse_stacks(path, page)
    mend_counts(path, page)
    refuse_claims(path, page)
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
        data_range=stated_white(page.tags, dtype),
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


def _shot(page: Any) -> Shot:
    taking, software = page.tags.valueof(_EXIF), page.tags.valueof(305)
    packet = raw_bytes(page, _XMP, xmp.is_begun)
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
    value = number(page.tags, 274)
    return value if 1 <= value <= 8 else 1


def read_pieces(info: ImageInfo, file: BinaryIO, empty: Empty) -> Iterator[Pixels]:
    """Yield the pixels as stored, in pieces of about `BAND_BYTES` or one tile or strip.

    Every piece is new memory; grey where 0 is white is inverted.
    The header is checked once more: the file may be another one since it was probed.
    """
    with open_page(info.path, file) as page:
        _header(info.path, page)
        yield from pieces(info.path, page)


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
        resolution = stated_resolution(tags, stored.text(exif_block.DESCRIPTION))
        no_unit = resolution is None and number(tags, 296) == exif_block.NO_UNIT
        aspect = uneven(counts_of(tags)) if no_unit else None
        metadata = Metadata(
            exif=stored.block() if stored else None,
            xmp=raw_bytes(page, _XMP, xmp.is_begun) or None,
            icc=_icc(page),
            resolution=resolution or aspect,
            has_unit=aspect is None,
            iptc=iptc.trimmed(raw_bytes(page, _IPTC, iptc.trimmed)) or iptc.of_resources(resources),
            lost=("resources of Photoshop",) if iptc.has_others(resources) else (),
        )
        return metadata, _orientation(page)


def _icc(page: Any) -> bytes | None:
    profile = raw_bytes(page, _ICC, is_sound)
    return profile if is_sound(profile) else None


def _bytes(value: Any) -> bytes | None:
    return value if isinstance(value, bytes) else None
