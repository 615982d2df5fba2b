"""TIFF out, streamed: deflated tiles of 512 x 512, or plain strips of 512 rows.

Of images so wide that those are too many bytes, tiles and strips are lower.

Deflate is read by everything that reads TIFF; level 1 with a predictor is four times
as fast as level 6 for a few percent more bytes.
Pixels that it does not make much smaller are stored as they are, in strips, which need no
copy: the lower bits of 16-bit photographs are noise, and to compress them would take six times
as long as to write them.
Below two fifths of the size deflate is fast enough for a run to take less than twice the
time that it takes with JPEG.
"""

import math
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from tifffile import TIFF, TiffWriter

from batchstack.formats import FORMATS
from batchstack.images.exif_block import DESCRIPTIVE, NO_UNIT, Exif, density_of, parse
from batchstack.images.info import Encoding, ImageInfo, Metadata, Pixels

_TILE = FORMATS["tiff"].rows_written
_ORIENTATION, _FRACTIONS = 274, (5, 10)
_XMP, _IPTC = 700, 33723
# Share of the size that deflate must get below, in a sample of as many rows of a tile.
_WORTH, _SAMPLE = 0.4, 128
# Classic TIFF addresses 4 GiB; what deflate and the tags may add stays far below the rest.
CLASSIC_BYTES = 3_900_000_000


def write_rows(
    file: BinaryIO, info: ImageInfo, blocks: Iterator[Pixels], encoding: Encoding
) -> None:
    """Write a TIFF from blocks of rows, used up one by one.

    EXIF goes to where TIFF has it: what describes the picture to the directory of the image,
    the rest to directories of their own, which lie between the header and all else, so that
    maker notes can keep their place.
    """
    shape, dtype = info.shape, np.dtype(info.dtype)
    first = next(blocks)
    blocks = chain([first], blocks)
    rows, side = _side(len(first)), _side(shape[1])
    # Without pixels, room is left for them, that they are written to below: tifffile would do
    # so through another file of the system, whose errors it does not tell.
    layout: dict[str, Any] = {"rowsperstrip": rows, "returnoffset": True}
    pixels: Iterator[Pixels] | None = None
    if _shrinks(first[:_SAMPLE, :side]):
        layout = {"tile": (rows, side), "compression": "adobe_deflate"}
        layout |= {"compressionargs": {"level": 1}, "predictor": 3 if dtype == np.float32 else 2}
        pixels = _tiles(blocks, side)
    big = math.prod(shape) * dtype.itemsize > CLASSIC_BYTES
    exif = parse(encoding.metadata.exif)
    order, (beside, places) = exif.order_in_tiff, exif.beside(big=big)
    with TiffWriter(file, bigtiff=big, byteorder=order) as writer:
        file.write(beside)
        place = writer.write(
            pixels,
            shape=shape,
            dtype=dtype,
            photometric="rgb" if len(shape) == 3 else "minisblack",
            planarconfig="contig" if len(shape) == 3 else None,
            **layout,
            maxworkers=1,
            metadata=None,
            software=False,
            **_tags(encoding.metadata, exif, places, big=big),
        )
    if place is not None:
        file.seek(place[0])
        stored = np.dtype(order + dtype.str[1:])
        for block in blocks:
            file.write(block.astype(stored, copy=False).data)


def _shrinks(pixels: Pixels) -> bool:
    """Whether deflate makes pixels much smaller."""
    if pixels.dtype.kind != "f" and pixels.shape[1] > 1:
        pixels = pixels[:, 1:] - pixels[:, :-1]
    stored = np.ascontiguousarray(pixels)
    return len(imagecodecs.deflate_encode(stored.tobytes(), level=1)) < _WORTH * stored.nbytes


def _side(length: int) -> int:
    """Of a tile, or rows of a strip: a multiple of 16."""
    return min(_TILE, -(-length // 16) * 16)


def _tiles(blocks: Iterator[Pixels], width: int) -> Iterator[Pixels]:
    for block in blocks:
        for left in range(0, block.shape[1], width):
            tile = block[:, left : left + width]
            yield tile if tile.ndim == 3 else tile[..., np.newaxis]


def _tags(
    metadata: Metadata, exif: Exif, places: Mapping[int, int], *, big: bool
) -> dict[str, Any]:
    """What tifffile is to write besides the pixels."""
    tags: dict[str, Any] = {}
    extra: list[tuple[int | str, int | str, int, Any, bool]] = [(_ORIENTATION, "H", 1, 1, True)]
    # Codes of tags that lead to directories are taken in words only.
    extra += [
        (TIFF.TAGS[tag], "Q" if big else "I", 1, place, True) for tag, place in places.items()
    ]
    extra += [
        (tag, value.kind, value.values, value.data, True)
        for tag, value in exif.in_order(exif.order_in_tiff).main.items()
        # tifffile counts fractions that are given as bytes twice; those tags hold none.
        if tag in DESCRIPTIVE and value.kind not in _FRACTIONS
    ]
    if metadata.xmp:
        extra.append((_XMP, "B", len(metadata.xmp), metadata.xmp, True))
    if metadata.iptc:
        # As Photoshop writes it, and libtiff expects it: numbers of four bytes.
        block = metadata.iptc + bytes(-len(metadata.iptc) % 4)
        extra.append((_IPTC, "I", len(block) // 4, block, True))
    if metadata.icc:
        tags["iccprofile"] = metadata.icc
    density = density_of(metadata.resolution)
    if aspect := metadata.aspect:
        density = NO_UNIT, (aspect[0], 1), (aspect[1], 1)
    if density:
        tags["resolutionunit"], *tags["resolution"] = density
    return tags | {"extratags": extra}
