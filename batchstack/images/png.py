"""PNG: libpng decodes and encodes, the chunks round the pixels are walked here.

Pillow would do for the headers but loads all pixels to find an EXIF chunk behind them.
"""

import json
import re
import shlex
import struct
import textwrap
import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import imagecodecs

from batchstack.errors import DamagedError, ImageError, PageStackError
from batchstack.formats import FORMATS
from batchstack.images import exif, iptc
from batchstack.images.claims import DEFLATE, check_claim, file_size
from batchstack.images.colour import CHUNKS, key
from batchstack.images.colour import is_sound as is_sound_chunk
from batchstack.images.exif_block import parse
from batchstack.images.icc import FAULT, is_sound
from batchstack.images.info import Empty, Encoding, ImageInfo, Metadata, Pixels, uneven
from batchstack.images.orientation import exif_orientation, oriented_size
from batchstack.images.shots import shot
from batchstack.images.white import of_bits

Counts = tuple[float, float]
(_SIGNATURE,) = FORMATS["png"].magic
_ANCILLARY = 0x20  # in the first letter of a chunk's type: it is a small one
_END = bytes(4) + FORMATS["png"].end
_HEADER_END = 33  # signature and IHDR, always the first chunk
_CHANNELS = {0: 1, 2: 3, 3: 3}  # grey, RGB, palette
# Bits of a sample, and samples of a stored pixel.
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8)}
_SAMPLES = {0: 1, 2: 3, 3: 1}
_METHODS = ((0, 0, 0), (0, 0, 1))  # of compression, filters and interlacing
_XMP_KEY = b"XML:com.adobe.xmp"
_SOFTWARE_KEY = b"Software"
# How programs keep what PNG had no chunk for: as text, in lines of hexadecimal.
_RAW_KEY = b"Raw profile type "
_RAW_LINES = re.compile(rb"\s*[^\n]*\n\s*\d+\s+(.*)", re.DOTALL)
_XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_LOST = {
    b"sCAL": "the scale of its subject (sCAL)",
    b"mDCV": "the colours of the screen that it was made on (mDCV)",
    b"cLLI": "the light of its brightest places (cLLI)",
}
_METRES_PER_INCH = 0.0254
_TEXT_ROOM = 2**24  # bytes that a profile or an XMP packet may have when it is inflated
_WRONG_SUM = "incorrect data check"  # of libpng, about the sum behind all pixels
_ALPHA_HINT = "remove it, e.g. convert in.png -alpha off out.png"


def _heads(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield type and length of every chunk, the file at its payload, up to what is no chunk."""
    place, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        if not kind.isalpha():
            return
        yield kind, length
        place += 12 + length


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and payload of every chunk that holds no pixels."""
    for kind, length in _heads(file):
        if kind != b"IDAT":
            yield kind, file.read(length)


def read_header(path: Path, file: BinaryIO) -> ImageInfo:
    """Return what the chunks say; the pixels are not touched."""
    held, pieces = file_size(file), [*_chunks(file)]
    chunks = dict(pieces)
    ihdr = chunks.get(b"IHDR", b"")
    if len(ihdr) != 13:
        raise DamagedError(path, "has a broken PNG header; copy it again from the source")
    width, height, depth, colour, *methods = struct.unpack(">IIBBBBB", ihdr)
    if colour in (4, 6):
        raise ImageError(f"{path}: has an alpha channel; {_ALPHA_HINT}")
    if b"tRNS" in chunks:
        raise ImageError(f"{path}: has transparent colours (tRNS); {_ALPHA_HINT}")
    is_known = depth in _DEPTHS.get(colour, ()) and tuple(methods) in _METHODS
    if not is_known or not width or not height:
        raise DamagedError(path, "has a broken PNG header; copy it again from the source")
    # A byte before every row names its filter.
    stored = height * (1 + -(-width * depth * _SAMPLES[colour] // 8))
    check_claim(path, (height, width), stored, held, DEFLATE)
    _refuse_films(path, chunks.get(b"acTL", b""))
    metadata = _metadata(pieces)
    orientation = exif_orientation(metadata.exif)
    height, width = oriented_size(height, width, orientation)
    return ImageInfo(
        path,
        "png",
        height,
        width,
        _CHANNELS[colour],
        "uint16" if depth == 16 else "uint8",
        orientation,
        data_range=of_bits(max(chunks.get(b"sBIT", b"\0"))) if depth == 16 else None,
        shot=shot(metadata.exif, metadata.xmp),
        notes=_notes(pieces, metadata),
        colours=key(metadata),
    )


def _refuse_films(path: Path, control: bytes) -> None:
    """Refuse what holds several pictures (APNG), of which others are shown than the first."""
    count = int.from_bytes(control[:4])
    if count > 1:
        stem = str(path.with_suffix(""))
        split = (
            "from PIL import Image, ImageSequence as s; "
            f'[one.convert("RGB").save({json.dumps(stem)} + f"-{{n:04}}.png") '
            f"for n, one in enumerate(s.Iterator(Image.open({json.dumps(str(path))})))]"
        )
        raise PageStackError(
            f"{path}: holds {count} pages, a frame must be one image; split it, e.g. "
            f"python -c {shlex.quote(split)}, and give {stem + '-*.png'!r}"
        )


def _notes(pieces: Iterable[tuple[bytes, bytes]], metadata: Metadata) -> tuple[str, ...]:
    profiles = [payload for kind, payload in pieces if kind == b"iCCP"]
    faults = [FAULT] if profiles and _profile(profiles[0]) is None else []
    odd = [kind for kind, data in pieces if kind in CHUNKS and not is_sound_chunk(kind, data)]
    faults += [exif.FAULT.format(kind.decode("ascii")) for kind in dict.fromkeys(odd)]
    return (*faults, *exif.notes(metadata.exif))


def _profile(payload: bytes) -> bytes | None:
    """The colour profile of an iCCP chunk, None if it is damaged."""
    profile = _inflate(payload.partition(b"\0")[2][1:])
    return profile if is_sound(profile) else None


def read_pieces(info: ImageInfo, file: BinaryIO, empty: Empty) -> Iterator[Pixels]:
    """Yield all pixels as stored at once, after every checksum was compared.

    Palettes become RGB, grey of 1, 2 or 4 bits is spread over 8.
    """
    data = critical_chunks(info.path, file)
    try:
        yield imagecodecs.png_decode(data)
    except imagecodecs.PngError as error:
        if _WRONG_SUM not in str(error):
            raise
        yield imagecodecs.png_decode(_summed(data))


def _summed(data: bytearray) -> bytes:
    """The same PNG with the right sum behind all pixels; each chunk vouches for its own."""
    kept, packed = bytearray(data[:_HEADER_END]), b""
    chunks = BytesIO(data)
    for kind, length in _heads(chunks):
        if kind == b"IDAT":
            packed += chunks.read(length)
        elif kind == b"PLTE":
            kept += _chunk(kind, chunks.read(length))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    pixels = inflater.decompress(packed[2:])
    end = len(packed) - len(inflater.unused_data)
    return (
        bytes(kept) + _chunk(b"IDAT", packed[:end] + struct.pack(">I", zlib.adler32(pixels))) + _END
    )


def critical_chunks(path: Path, file: BinaryIO) -> bytearray:
    """The file without chunks that the pixels do not depend on.

    libpng prints what it dislikes about these, and about pixels with a wrong checksum.
    """
    data = bytearray(_SIGNATURE)
    for kind, length in _heads(file):
        if kind[0] & _ANCILLARY:
            continue
        if kind == b"IEND":  # holds nothing that could be wrong
            return data + _END
        payload, checksum = file.read(length), file.read(4)
        found = imagecodecs.deflate_crc32(payload, zlib.crc32(kind))
        if len(payload) != length or struct.pack(">I", found) != checksum:
            raise DamagedError(
                path,
                f"is damaged or incomplete, the checksum of its {kind!r} chunk is wrong; "
                "copy it again from the source",
            )
        data += struct.pack(">I4s", length, kind)
        data += payload
        data += checksum
    return data


def read_metadata(path: Path, file: BinaryIO) -> tuple[Metadata, int]:
    """Return the metadata as stored, the orientation not yet reset, and that."""
    metadata = _metadata(_chunks(file))
    return metadata, exif_orientation(metadata.exif)


def _metadata(chunks: Iterable[tuple[bytes, bytes]]) -> Metadata:
    found: dict[bytes, bytes] = {}
    raw: dict[bytes, bytes] = {}
    lost: dict[str, None] = {}
    for kind, payload in chunks:
        name, text = _text(kind, payload) if kind in _TEXTS else (kind, payload)
        if name.startswith(_RAW_KEY):
            raw |= _raw(name.removeprefix(_RAW_KEY), text)
        elif kind in _TEXTS and name not in (_XMP_KEY, _SOFTWARE_KEY):
            lost |= {"texts in chunks of their own": None}
        elif kind not in CHUNKS or is_sound_chunk(kind, payload):
            found.setdefault(name, text)  # as libpng, which other programs read with
            lost |= {_LOST[name]: None} if name in _LOST else {}
    block = found.get(b"eXIf", raw.get(b"exif", b"")).removeprefix(b"Exif\0\0")
    resolution, aspect = _physical(found.get(b"pHYs", b""))
    resolution = resolution or parse(block).resolution
    return Metadata(
        exif=block or None,
        xmp=found.get(_XMP_KEY) or raw.get(b"xmp"),
        icc=_profile(found.get(b"iCCP", b"")) or raw.get(b"icc") or raw.get(b"icm"),
        resolution=resolution or aspect,
        has_unit=resolution is not None or aspect is None,
        iptc=iptc.either(raw.get(b"iptc", b"")),
        chunks=tuple((kind, found[kind]) for kind in CHUNKS if kind in found),
        lost=tuple(lost),
    )


def _text(kind: bytes, payload: bytes) -> tuple[bytes, bytes]:
    """The name of a text and the text, empty if it is damaged."""
    name, _, rest = payload.partition(b"\0")
    if kind == b"iTXt":
        packed, rest = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
        return name, (_inflate(rest) or b"") if packed else rest
    return name, (_inflate(rest[1:]) or b"") if kind == b"zTXt" else rest


def _raw(name: bytes, text: bytes) -> dict[bytes, bytes]:
    """A block of this name in lines: what it is, how many bytes, and these in hexadecimal."""
    lines = _RAW_LINES.match(text)
    try:
        block = bytes.fromhex(lines[1].decode("ascii")) if lines else b""
    except ValueError:
        return {}
    if name == b"APP1":
        name = b"xmp" if block.startswith(_XMP_PREFIX) else b"exif"
    return {name: block.removeprefix(_XMP_PREFIX)}


def _inflate(data: bytes) -> bytes | None:
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(data, _TEXT_ROOM)
    except zlib.error:
        return None
    return text if inflater.eof else None


def _physical(payload: bytes) -> tuple[Counts | None, Counts | None]:
    """Pixels along x and y per inch, or per some length if that is not known and they differ."""
    x, y, unit = struct.unpack(">IIB", payload) if len(payload) == 9 else (0, 0, 0)
    if not x or not y:
        return None, None
    if unit == 1:
        return (x * _METRES_PER_INCH, y * _METRES_PER_INCH), None
    return None, uneven((x, y)) if unit == 0 else None


def write_rows(
    file: BinaryIO, info: ImageInfo, blocks: Iterator[Pixels], encoding: Encoding
) -> None:
    """Write fast: level 1 with the "sub" filter (twice the speed for 3 % more bytes)."""
    (pixels,) = blocks
    encoded = imagecodecs.png_encode(pixels, level=1, filter=imagecodecs.PNG.FILTER.SUB)
    data = memoryview(encoded)
    file.write(data[:_HEADER_END])
    file.writelines(_metadata_chunks(encoding.metadata))
    if encoding.software:
        file.write(_chunk(b"tEXt", _SOFTWARE_KEY + b"\0" + encoding.software.encode("ascii")))
    file.write(data[_HEADER_END:])


def _metadata_chunks(metadata: Metadata) -> Iterator[bytes]:
    for kind, payload in metadata.chunks:
        yield _chunk(kind, payload)
    if metadata.icc:
        yield _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.icc))
    if metadata.aspect:
        yield _chunk(b"pHYs", struct.pack(">IIB", *metadata.aspect, 0))
    elif metadata.resolution:
        x, y = (round(value / _METRES_PER_INCH) for value in metadata.resolution)
        if 0 < x < 2**31 and 0 < y < 2**31:
            yield _chunk(b"pHYs", struct.pack(">IIB", x, y, 1))
    if metadata.exif:
        yield _chunk(b"eXIf", metadata.exif)
    if metadata.xmp:
        yield _chunk(b"iTXt", _XMP_KEY + b"\0\0\0\0\0" + metadata.xmp)
    if metadata.iptc:
        lines = b"\niptc\n%8d\n%s\n"
        resource = iptc.as_resource(metadata.iptc)
        digits = textwrap.fill(resource.hex(), 72).encode("ascii")
        text = lines % (len(resource), digits)
        yield _chunk(b"zTXt", _RAW_KEY + b"iptc\0\0" + zlib.compress(text))


def _chunk(kind: bytes, payload: bytes) -> bytes:
    checksum = zlib.crc32(kind + payload)
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", checksum)
