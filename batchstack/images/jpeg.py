"""JPEG: libjpeg-turbo decodes and encodes, Pillow reads the headers.

A JPEG carries no checksum: a flipped bit inside the entropy-coded data that libjpeg
does not notice changes pixels silently, whoever reads the file.
A missing end is always noticed.
"""

import re
import shlex
import struct
import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import imagecodecs
import numpy as np
import simplejpeg
from PIL.JpegImagePlugin import JpegImageFile

from batchstack.errors import ImageError
from batchstack.formats import FORMATS
from batchstack.images import exif, iptc
from batchstack.images.claims import JPEG, check_claim, file_size
from batchstack.images.colour import key
from batchstack.images.exif_block import parse
from batchstack.images.icc import FAULT, joined
from batchstack.images.info import Empty, Encoding, ImageInfo, Metadata, Pixels, uneven
from batchstack.images.orientation import exif_orientation, oriented_size, stored_shape
from batchstack.images.shots import shot
from batchstack.images.source import to_change

_EXIF_PREFIX = b"Exif\0\0"
_XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED_PREFIX = b"http://ns.adobe.com/xmp/extension/\0"
_ICC_PREFIX = b"ICC_PROFILE\0"
_PHOTOSHOP_PREFIX = b"Photoshop 3.0\0"
# How segments begin whose loss is no news, or told by itself: MPF and JFXX hold previews.
_KNOWN = (
    *(_EXIF_PREFIX, _XMP_PREFIX, _EXTENDED_PREFIX, _ICC_PREFIX, _PHOTOSHOP_PREFIX),
    *(b"JFIF", b"JFXX", b"MPF\0", b"Adobe", b"Exif"),
)
_NO_RESOLUTION = (72.0, 72.0)
_NOT_PLAIN = (_EXIF_PREFIX, _ICC_PREFIX, _XMP_PREFIX)
_SEGMENT_ROOM = 65533
# Bytes that are read to find the size of an ordinary file, and the segments before it:
# tables, restart interval, application data, comment.
_HEAD = 16384
_SCAN, _END = 0xDA, 0xD9  # pixels follow, or nothing
_LS = 0xF7  # the frame of JPEG-LS
_FRAMES = {*range(0xC0, 0xD0), _LS} - {0xC4, 0xC8, 0xCC}
_HEADER_MARKERS = {0xC4, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE}
_COMMENT, _JFIF, _ADOBE, _PROFILE = 0xFE, 0xE0, 0xEE, 0xE2
_MARKER = re.compile(rb"\xff+[^\0\xff]", re.DOTALL)
_SCAN_END = re.compile(rb"\xff[^\0\xd0-\xd7\xff]", re.DOTALL)  # not of a part of a scan
# What libjpeg says of bytes behind the pixels; how often it is tried without them.
_STRAY, _TRIES = re.compile(r"(\d+) extraneous bytes before marker 0xd9"), 8


def _open(file: BinaryIO) -> JpegImageFile:
    # The class itself, not Image.open: that limits the number of pixels.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return JpegImageFile(file)
        except SyntaxError:
            # Which bytes between segments make of a file that libjpeg reads.
            file.seek(0)
            data = bytearray(file.read())
            _fill_gaps(data)
            file = BytesIO(data)
            return JpegImageFile(file)


def read_header(path: Path, file: BinaryIO) -> ImageInfo:
    """Return what the headers say; the pixels are not touched."""
    head = file.read(_HEAD)
    info = _header(path, file, head)
    # What was read is mostly enough.
    size = len(head) if info.pixels <= JPEG * len(head) else file_size(file)
    check_claim(path, (info.height, info.width), info.pixels, size, JPEG)
    return info


def _header(path: Path, file: BinaryIO, head: bytes) -> ImageInfo:
    plain = _plain_header(head)
    if plain is not None:
        height, width, channels = plain
        return ImageInfo(path, "jpeg", height, width, channels, "uint8")
    head = _whole_head(file)
    _refuse_other_coding(path, head)
    file.seek(0)
    image = _open(file)
    if image.mode not in ("L", "RGB"):
        raise ImageError(
            f"{path}: is a {image.mode} JPEG, only grey and RGB are supported; "
            "convert it, e.g. convert in.jpg -colorspace sRGB out.jpg"
        )
    pieces = _profile_pieces(head)
    stated = Metadata(exif=_exif(image), icc=joined(pieces))
    orientation = exif_orientation(stated.exif)
    height, width = oriented_size(image.height, image.width, orientation)
    channels = 1 if image.mode == "L" else 3
    return ImageInfo(
        path,
        "jpeg",
        height,
        width,
        channels,
        "uint8",
        orientation,
        shot=shot(stated.exif, image.info.get("xmp")),
        notes=(*([FAULT] if pieces and stated.icc is None else []), *exif.notes(stated.exif)),
        colours=key(stated),
    )


def _refuse_other_coding(path: Path, head: bytes) -> None:
    """Refuse JPEG-LS, and samples of more than 8 bits."""
    for marker, place in _markers(head):
        if marker not in _FRAMES:
            continue
        bits, *_, channels = _frame(head, place)
        if channels in (1, 3) and (marker == _LS or bits > 8):
            found = "is JPEG-LS" if marker == _LS else f"has {bits}-bit samples"
            raise ImageError(
                f"{path}: {found}, which is not supported; rewrite its pixels, e.g. "
                f"{_rewriting(marker, bits, channels)}"
            )


def _rewriting(marker: int, bits: int, channels: int) -> str:
    """A command that rewrites pixels, and no metadata, as a TIFF."""
    decode = "jpegls_decode" if marker == _LS else "jpeg8_decode"
    colour = "rgb" if channels == 3 else "minisblack"
    tag = f', extratags=[(281, "H", 1, {2**bits - 1}, True)]' if 8 < bits < 16 else ""
    lines = (
        f"import imagecodecs as i, tifffile as t; "
        f't.imwrite("out.tif", i.{decode}(open("in.jpg", "rb").read()), '
        f'photometric="{colour}", metadata=None{tag})'
    )
    return f"python -c {shlex.quote(lines)}"


def _whole_head(file: BinaryIO) -> bytes:
    """What stands before the pixels, and perhaps more."""
    file.seek(0)
    head = file.read(_HEAD)
    while _SCAN not in (marker for marker, _ in _markers(head)) and (more := file.read(len(head))):
        head += more
    return head


def _profile_pieces(head: bytes) -> list[bytes]:
    """The parts of a colour profile, in the order of the file."""
    return [
        head[place + len(_ICC_PREFIX) : place - 2 + int.from_bytes(head[place - 2 : place])]
        for marker, place in _markers(head)
        if marker == _PROFILE and head.startswith(_ICC_PREFIX, place)
    ]


def _plain_header(head: bytes) -> tuple[int, int, int] | None:
    """Height, width and channels of an ordinary JPEG; None where Pillow has to look.

    Ordinary is 8 bit, grey or of three channels, without EXIF, which may turn the image, or
    XMP, which may tell that it is made of others, and without a colour profile, which may be
    damaged.
    Checking a long manifest is mostly this, and Pillow takes eight times as long.
    """
    size = None
    for marker, place in _markers(head):
        if marker == _SCAN:
            return size
        if marker in (0xC0, 0xC1, 0xC2):  # baseline, extended, progressive
            bits, height, width, channels = _frame(head, place)
            if bits != 8 or not height or not width or channels not in (1, 3):
                return None
            size = height, width, channels
        elif marker not in _HEADER_MARKERS or head.startswith(_NOT_PLAIN, place):
            return None
    return None


def stream_size(data: bytes) -> tuple[int, int]:
    """Rows and columns that a JPEG stream inside another file claims, 0 if it claims none."""
    for marker, place in _markers(data):
        if marker in _FRAMES:
            return _frame(data, place)[1:3]
    return 0, 0


def _markers(data: bytes | bytearray | memoryview) -> Iterator[tuple[int, int]]:
    """Yield the marker and the place of the content of every segment up to the first pixels.

    Bytes between segments are passed over, as libjpeg does.
    """
    at, marker = 2, 0
    while marker != _SCAN and (found := _MARKER.search(data, at)) and found.end() + 2 <= len(data):
        marker, place = data[found.end() - 1], found.end() + 2
        yield marker, place
        at = place - 2 + int.from_bytes(data[place - 2 : place])


def has_end(data: bytes | memoryview) -> bool:
    """Whether the pixels of a JPEG stream inside another file have their end, whatever follows."""
    return _end(data) is not None


def _end(data: bytes | memoryview) -> int | None:
    """The place of the marker behind the pixels, None if there is none."""
    at = max((place for _, place in _markers(data)), default=0)
    while found := _SCAN_END.search(data, at):
        if data[found.end() - 1] == _END:
            return found.start()
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
    return None


def _frame(data: bytes, place: int) -> tuple[int, int, int, int]:
    """Bits, rows, columns and channels of a frame header; all 0 if it is cut off."""
    header = data[place : place + 6]
    bits, height, width, channels = struct.unpack(">BHHB", header.ljust(6, b"\0"))
    return (bits, height, width, channels) if len(header) == 6 else (0, 0, 0, 0)


def read_pieces(info: ImageInfo, file: BinaryIO, empty: Empty) -> Iterator[Pixels]:
    """Yield all pixels as stored at once, or raise; never grey filling for a missing part.

    Every warning of libjpeg refuses the file: it reports only the last one, so that a
    harmless oddity cannot be told from damage before it.
    So what is harmless is taken out of its sight.
    """
    data, room = to_change(file), empty(stored_shape(info), info.dtype)
    _hide_oddities(data)
    for _ in range(_TRIES):
        try:
            decoded = _decoded(data, info, room)
            break
        except ValueError as error:
            stray, end = _STRAY.search(str(error)), _end(data)
            if stray is None or end is None or end < int(stray[1]):
                raise
            # If some of these bytes are of the pixels, it is found that those are cut off.
            end -= int(stray[1])
            data[end : end + 2] = FORMATS["jpeg"].end
            data = data[: end + 2]
    else:
        decoded = _decoded(data, info, room)
    yield decoded[..., 0] if info.channels == 1 else decoded


def _decoded(data: memoryview, info: ImageInfo, room: Pixels) -> Pixels:
    decoded: Pixels = simplejpeg.decode_jpeg(
        data,
        "GRAY" if info.channels == 1 else "RGB",
        fastdct=False,
        fastupsample=False,
        strict=True,
        buffer=room,
    )
    return decoded


def _hide_oddities(data: memoryview) -> None:
    """Change in place what libjpeg warns of in headers, and pixels do not depend on.

    Application data but that which tells the colour space become comments.
    """
    _fill_gaps(data)
    frame = 0
    for marker, place in _markers(data):
        if marker in _FRAMES:
            frame = marker
        if marker == _JFIF and bytes(data[place : place + 5]) == b"JFIF\0":
            data[place + 5] = 1  # the version
        elif marker in range(0xE1, 0xF0) and marker != _ADOBE:
            data[place - 3] = _COMMENT
        elif marker == _SCAN and frame in (0xC0, 0xC1):
            end = place - 2 + int.from_bytes(data[place - 2 : place])
            if end <= len(data):
                data[end - 3 : end] = b"\0\x3f\0"  # all frequencies, the only choice


def _fill_gaps(data: bytearray | memoryview) -> None:
    """Replace bytes between segments by those that may stand before a marker."""
    at = 2
    for _, place in _markers(data):
        data[at : place - 3] = b"\xff" * (place - 3 - at)
        at = place - 2 + int.from_bytes(data[place - 2 : place])


def read_reduced(info: ImageInfo, file: BinaryIO, least: tuple[int, int]) -> Pixels:
    """Return the pixels as stored, at the smallest size that the decoder has and is enough.

    For previews: speed counts more than the last bit.
    """
    decoded: Pixels = simplejpeg.decode_jpeg(
        to_change(file),
        "GRAY" if info.channels == 1 else "RGB",
        fastdct=True,
        min_height=least[0],
        min_width=least[1],
    )
    return decoded[..., 0] if info.channels == 1 else decoded


def _exif(image: JpegImageFile) -> bytes | None:
    exif: bytes | None = image.info.get("exif")
    return exif and exif.removeprefix(_EXIF_PREFIX)


def read_metadata(path: Path, file: BinaryIO) -> tuple[Metadata, int]:
    """Return the metadata as stored, the orientation not yet reset, and that."""
    image = _open(file)
    exif = _exif(image)
    resolution = _resolution(_jfif_resolution(image), parse(exif).resolution)
    aspect = None if resolution else _jfif_aspect(image)
    metadata = Metadata(
        exif=exif,
        xmp=image.info.get("xmp"),
        icc=joined(_profile_pieces(_whole_head(file))),
        resolution=resolution or aspect,
        has_unit=aspect is None,
        iptc=iptc.of_resources(_resources(image)),
        lost=_lost(image),
    )
    return metadata, exif_orientation(exif)


def _resources(image: JpegImageFile) -> bytes:
    """The resources of Photoshop, which may be too long for one segment."""
    pieces = (data for kind, data in image.applist if kind == "APP13")
    return b"".join(
        data.removeprefix(_PHOTOSHOP_PREFIX)
        for data in pieces
        if data.startswith(_PHOTOSHOP_PREFIX)
    )


def _resolution(
    jfif: tuple[float, float] | None, exif: tuple[float, float] | None
) -> tuple[float, float] | None:
    """That of JFIF, unless it is what programs write that know of none."""
    return exif if jfif is None or (exif and jfif == _NO_RESOLUTION) else jfif


def _lost(image: JpegImageFile) -> tuple[str, ...]:
    others = iptc.has_others(_resources(image))
    extended = [data for _, data in image.applist if data.startswith(_EXTENDED_PREFIX)]
    unknown = [one for one in image.applist if not one[1].startswith(_KNOWN)]
    found = {
        "resources of Photoshop": others,
        "a comment": image.info.get("comment"),
        "extended XMP": extended,
        "segments that only its maker knows": [one for one in unknown if one[0] != "COM"],
    }
    return tuple(what for what, is_there in found.items() if is_there)


def _jfif_resolution(image: JpegImageFile) -> tuple[float, float] | None:
    per_inch = {1: 1.0, 2: 2.54}.get(image.info.get("jfif_unit", 0))
    x, y = image.info.get("jfif_density", (0, 0))
    return (x * per_inch, y * per_inch) if per_inch and x and y else None


def _jfif_aspect(image: JpegImageFile) -> tuple[float, float] | None:
    """Pixels per some length along x and y, if they are not square."""
    x, y = image.info.get("jfif_density", (0, 0))
    return uneven((x, y)) if image.info.get("jfif_unit") == 0 and x and y else None


def write_rows(
    file: BinaryIO, info: ImageInfo, blocks: Iterator[Pixels], encoding: Encoding
) -> None:
    """Write as baseline 4:2:0, byte for byte what `cv2.imwrite` gives, plus metadata.

    EXIF and XMP fit a segment (`Format.block_room`): most readers could not join several.
    """
    (pixels,) = blocks
    # What does not fit would come in new memory.
    room = encoding.empty((pixels.nbytes,), np.uint8)
    encoded = imagecodecs.jpeg8_encode(
        pixels,
        level=encoding.quality,
        subsampling=None if info.channels == 1 else "420",
        out=room,  # type: ignore[arg-type]
    )
    data = memoryview(encoded)
    (length,) = struct.unpack_from(">H", data, 4)
    jfif_end = 4 + length
    file.write(_with_density(bytes(data[:jfif_end]), encoding.metadata))
    file.write(_segments(encoding.metadata))
    file.write(data[jfif_end:])


def _with_density(jfif: bytes, metadata: Metadata) -> bytes:
    if metadata.aspect:
        return jfif[:13] + struct.pack(">BHH", 0, *metadata.aspect) + jfif[18:]
    for unit, per_inch in ((1, 1.0), (2, 2.54)):
        counts = [round(value / per_inch) for value in metadata.resolution or ()]
        if counts and all(1 <= count <= 65535 for count in counts):
            return jfif[:13] + struct.pack(">BHH", unit, *counts) + jfif[18:]
    return jfif


def _segments(metadata: Metadata) -> bytes:
    parts = b""
    if metadata.exif:
        parts += _segment(0xE1, _EXIF_PREFIX + metadata.exif)
    if metadata.xmp:
        parts += _segment(0xE1, _XMP_PREFIX + metadata.xmp)
    if metadata.icc:
        pieces = _pieces(metadata.icc, _SEGMENT_ROOM - len(_ICC_PREFIX) - 2)
        for number, piece in enumerate(pieces, start=1):
            parts += _segment(0xE2, _ICC_PREFIX + bytes((number, len(pieces))) + piece)
    if metadata.iptc:
        resource = iptc.as_resource(metadata.iptc)
        for piece in _pieces(resource, _SEGMENT_ROOM - len(_PHOTOSHOP_PREFIX)):
            parts += _segment(0xED, _PHOTOSHOP_PREFIX + piece)
    return parts


def _pieces(data: bytes, room: int) -> list[bytes]:
    return [data[at : at + room] for at in range(0, len(data), room)]


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload
