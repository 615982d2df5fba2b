"""PNG: libpng decodes and encodes, the chunks round the pixels are walked here.

Pillow would do for the headers but loads all pixels to find an EXIF chunk behind them.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import imagecodecs

from batchstack.errors import ImageError
from batchstack.formats import FORMATS
from batchstack.images.claims import DEFLATE, check_claim, file_size
from batchstack.images.icc import FAULT, is_sound
from batchstack.images.info import Empty, Encoding, ImageInfo, Metadata, Pixels
from batchstack.images.orientation import exif_orientation, oriented_size
from batchstack.images.shots import shot
from batchstack.images.white import of_bits

(_SIGNATURE,) = FORMATS["png"].magic
_ANCILLARY = 0x20  # in the first letter of a chunk's type: it is a small one
_HEADER_END = 33  # signature and IHDR, always the first chunk
_CHANNELS = {0: 1, 2: 3, 3: 3}  # grey, RGB, palette
# Bits of a sample, and samples of a stored pixel.
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8)}
_SAMPLES = {0: 1, 2: 3, 3: 1}
_METHODS = ((0, 0, 0), (0, 0, 1))  # of compression, filters and interlacing
_XMP_KEY = b"XML:com.adobe.xmp"
_METRES_PER_INCH = 0.0254
_TEXT_ROOM = 2**24  # bytes that a profile or an XMP packet may have when it is inflated
_ALPHA_HINT = "remove it, e.g. magick in.png -alpha off out.png"


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
    held, chunks = file_size(file), dict(_chunks(file))
    ihdr = chunks.get(b"IHDR", b"")
    if len(ihdr) != 13:
        raise ImageError(f"{path}: has a broken PNG header; copy it again from the source")
    width, height, depth, colour, *methods = struct.unpack(">IIBBBBB", ihdr)
    if colour in (4, 6):
        raise ImageError(f"{path}: has an alpha channel; {_ALPHA_HINT}")
    if b"tRNS" in chunks:
        raise ImageError(f"{path}: has transparent colours (tRNS); {_ALPHA_HINT}")
    is_known = depth in _DEPTHS.get(colour, ()) and tuple(methods) in _METHODS
    if not is_known or not width or not height:
        raise ImageError(f"{path}: has a broken PNG header; copy it again from the source")
    # A byte before every row names its filter.
    stored = height * (1 + -(-width * depth * _SAMPLES[colour] // 8))
    check_claim(path, (height, width), stored, held, DEFLATE)
    exif = _exif(chunks.get(b"eXIf"))
    orientation = exif_orientation(exif)
    height, width = oriented_size(height, width, orientation)
    faulty = b"iCCP" in chunks and _profile(chunks[b"iCCP"]) is None
    return ImageInfo(
        path,
        "png",
        height,
        width,
        _CHANNELS[colour],
        "uint16" if depth == 16 else "uint8",
        orientation,
        data_range=of_bits(max(chunks.get(b"sBIT", b"\0"))) if depth == 16 else None,
        shot=shot(exif),
        notes=(FAULT,) if faulty else (),
    )


def _exif(payload: bytes | None) -> bytes | None:
    return payload and payload.removeprefix(b"Exif\0\0")


def _profile(payload: bytes) -> bytes | None:
    """The colour profile of an iCCP chunk, None if it is damaged."""
    profile = _inflate(payload.partition(b"\0")[2][1:])
    return profile if is_sound(profile) else None


def read_pieces(info: ImageInfo, file: BinaryIO, empty: Empty) -> Iterator[Pixels]:
    """Yield all pixels as stored at once, after every checksum was compared.

    Palettes become RGB, grey of 1, 2 or 4 bits is spread over 8.
    """
    yield imagecodecs.png_decode(critical_chunks(info.path, file))


def critical_chunks(path: Path, file: BinaryIO) -> bytearray:
    """The file without chunks that the pixels do not depend on.

    libpng prints what it dislikes about these, and about pixels with a wrong checksum.
    """
    data = bytearray(_SIGNATURE)
    for kind, length in _heads(file):
        if kind[0] & _ANCILLARY:
            continue
        payload, checksum = file.read(length), file.read(4)
        found = imagecodecs.deflate_crc32(payload, zlib.crc32(kind))
        if len(payload) != length or struct.pack(">I", found) != checksum:
            raise ImageError(
                f"{path}: is damaged or incomplete, the checksum of its {kind!r} chunk is wrong; "
                "copy it again from the source"
            )
        data += struct.pack(">I4s", length, kind)
        data += payload
        data += checksum
    return data


def read_metadata(path: Path, file: BinaryIO) -> tuple[Metadata, int]:
    """Return the metadata as stored, the orientation not yet reset, and that."""
    exif = xmp = icc = resolution = None
    for kind, payload in _chunks(file):
        if kind == b"eXIf":
            exif = _exif(payload)
        elif kind == b"iCCP":
            icc = _profile(payload)
        elif kind == b"iTXt" and payload.startswith(_XMP_KEY + b"\0"):
            xmp = _international_text(payload)
        elif kind == b"pHYs" and len(payload) == 9:
            resolution = _physical(payload)
    return Metadata(exif, xmp, icc, resolution), exif_orientation(exif)


def _inflate(data: bytes) -> bytes | None:
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(data, _TEXT_ROOM)
    except zlib.error:
        return None
    return text if inflater.eof else None


def _international_text(payload: bytes) -> bytes | None:
    rest = payload.partition(b"\0")[2]
    compressed, text = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
    return _inflate(text) if compressed else text


def _physical(payload: bytes) -> tuple[float, float] | None:
    x, y, unit = struct.unpack(">IIB", payload)
    return (x * _METRES_PER_INCH, y * _METRES_PER_INCH) if unit == 1 and x and y else None


def write_rows(
    file: BinaryIO, info: ImageInfo, blocks: Iterator[Pixels], encoding: Encoding
) -> None:
    """Write fast: level 1 with the "sub" filter (twice the speed for 3 % more bytes)."""
    (pixels,) = blocks
    encoded = imagecodecs.png_encode(pixels, level=1, filter=imagecodecs.PNG.FILTER.SUB)
    data = memoryview(encoded)
    file.write(data[:_HEADER_END])
    file.writelines(_metadata_chunks(encoding.metadata))
    file.write(data[_HEADER_END:])


def _metadata_chunks(metadata: Metadata) -> Iterator[bytes]:
    if metadata.icc:
        yield _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.icc))
    if metadata.resolution:
        x, y = (round(value / _METRES_PER_INCH) for value in metadata.resolution)
        if 0 < x < 2**31 and 0 < y < 2**31:
            yield _chunk(b"pHYs", struct.pack(">IIB", x, y, 1))
    if metadata.exif:
        yield _chunk(b"eXIf", metadata.exif)
    if metadata.xmp:
        yield _chunk(b"iTXt", _XMP_KEY + b"\0\0\0\0\0" + metadata.xmp)


def _chunk(kind: bytes, payload: bytes) -> bytes:
    checksum = zlib.crc32(kind + payload)
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", checksum)
