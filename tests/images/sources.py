"""Files full of metadata, made by Pillow and by hand."""

import struct
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational

from batchstack.formats import FORMATS
from tests.images.samples import SRGB, photo, png_chunk

NOTE = b"Maker of notes\0" + bytes(range(200))
IPTC = b"\x1c\x02\x05\0\x06beetle" + b"\x1c\x02\x19\0\x05macro"
RESOURCES = b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(IPTC)) + IPTC + bytes(len(IPTC) % 2)
GAIN_MAP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"'
    ' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"'
    ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
    ' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"'
    ' xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"'
    ' xmlns:Container="http://ns.google.com/photos/1.0/container/"'
    ' xmlns:Item="http://ns.google.com/photos/1.0/container/item/"'
    ' tiff:Orientation="6" tiff:ImageWidth="7" hdrgm:Version="1.0" GCamera:MotionPhoto="1"'
    ' xmp:Rating="4" exif:GPSLatitude="46,57.0N">'
    "<exif:PixelXDimension>7</exif:PixelXDimension>"
    '<Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource">'
    '<Container:Item Item:Semantic="GainMap" Item:Length="900"/></rdf:li></rdf:Seq>'
    "</Container:Directory>"
    "<dc:title><rdf:Alt><rdf:li xml:lang='x-default'>K\u00e4fer</rdf:li></rdf:Alt></dc:title>"
    "</rdf:Description></rdf:RDF></x:xmpmeta>"
)
BEGIN, END = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>', '<?xpacket end="w"?>'
XMP = (BEGIN + GAIN_MAP + END).encode()
TURNED = 6  # to be turned clockwise


def exif(orientation: int = TURNED, *, adobe_rgb: bool = False) -> Image.Exif:
    """What a camera writes."""
    found = Image.Exif()
    found[0x010E], found[0x010F], found[0x0110] = "beetle", "Example", "Cam 5"
    found[0x0112], found[0x0131], found[0x8298] = orientation, "Firmware 1", "(c) A. Nonymous"
    photo_tags = found.get_ifd(0x8769)
    photo_tags[0x829A] = IFDRational(Fraction(1, 200))
    photo_tags[0x9003], photo_tags[0xA434] = "2026:01:02 03:04:05", "105mm macro"
    photo_tags[0x927C] = NOTE
    photo_tags[0xA002], photo_tags[0xA003] = 7, 7
    photo_tags[0xA001] = 0xFFFF if adobe_rgb else 1
    if adobe_rgb:
        photo_tags[0xA005] = {1: "R03", 2: b"0100"}
    gps = found.get_ifd(0x8825)
    gps[1], gps[2] = "N", (46.0, 57.0, 0.0)
    gps[3], gps[4] = "E", (7.0, 26.0, 0.0)
    return found


def block(orientation: int = TURNED, *, adobe_rgb: bool = False, thumbnail: bool = True) -> bytes:
    """The same as a block, with a thumbnail."""
    data = exif(orientation, adobe_rgb=adobe_rgb).tobytes().removeprefix(b"Exif\0\0")
    return with_thumbnail(data) if thumbnail else data


def with_thumbnail(data: bytes) -> bytes:
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    picture = b"\xff\xd8\xff\xdbTHUMBNAIL\xff\xd9"
    data += bytes(len(data) % 2)
    place = len(data)
    directory = struct.pack(order + "H", 3)
    directory += struct.pack(order + "HHIHH", 0x0103, 3, 1, 6, 0)
    directory += struct.pack(order + "HHII", 0x0201, 4, 1, place + 42)
    directory += struct.pack(order + "HHII", 0x0202, 4, 1, len(picture)) + bytes(4)
    linked = bytearray(data + directory + picture)
    struct.pack_into(order + "I", linked, start + 2 + 12 * count, place)
    return bytes(linked)


def raw_profile(name: bytes, data: bytes) -> bytes:
    """A block as ImageMagick and exiv2 write it to PNG."""
    digits = data.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    text = b"\n%s\n%8d\n%s\n" % (name, len(data), lines.encode())
    return png_chunk(b"zTXt", b"Raw profile type %s\0\0" % name + zlib.compress(text))


def full_jpeg(path: Path, *, adobe_rgb: bool = False, icc: bytes | None = SRGB) -> Path:
    Image.fromarray(photo()).save(
        path,
        "JPEG",
        exif=b"Exif\0\0" + block(adobe_rgb=adobe_rgb),
        xmp=XMP,
        icc_profile=icc,
        dpi=(300, 150),
        comment=b"hello",
    )
    data = path.read_bytes()
    other = b"8BIM" + struct.pack(">HHI", 0x040A, 0, 2) + b"\1\0"
    payload = b"Photoshop 3.0\0" + other + RESOURCES
    segment = struct.pack(">BBH", 0xFF, 0xED, len(payload) + 2) + payload
    path.write_bytes(data[:20] + segment + data[20:])
    return path


def full_png(path: Path, *, raw: bool = False, icc: bytes | None = SRGB) -> Path:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", "hello")
    if not raw:
        texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
    Image.fromarray(photo()).save(path, "PNG", pnginfo=texts, icc_profile=icc, dpi=(300, 150))
    more = raw_profile(b"iptc", RESOURCES)
    if raw:
        more += raw_profile(b"exif", b"Exif\0\0" + block()) + raw_profile(b"xmp", XMP)
    else:
        more += png_chunk(b"eXIf", block())
    return insert(path, more)


def insert(path: Path, chunks: bytes) -> Path:
    """Put chunks behind the header of a PNG."""
    data = path.read_bytes()
    path.write_bytes(data[:33] + chunks + data[33:])
    return path


def full_tiff(path: Path, *, icc: bytes | None = SRGB, description: str | None = None) -> Path:
    tags = Image.Exif()
    tags.load(exif().tobytes())
    if description:
        tags[0x010E] = description
    tags[700], tags[33723] = XMP, IPTC
    tags[34377] = b"8BIM" + struct.pack(">HHI", 0x040A, 0, 2) + b"\1\0"
    Image.fromarray(np.ascontiguousarray(photo())).save(
        path,
        "TIFF",
        exif=tags,
        icc_profile=icc,
        resolution_unit="inch",
        x_resolution=300.0,
        y_resolution=150.0,
    )
    return path


FULL = {"jpeg": full_jpeg, "png": full_png, "tiff": full_tiff}


def full(kind: str, folder: Path) -> Path:
    """A file of a format with all the metadata that it can have."""
    return FULL[kind](folder / f"source{FORMATS[kind].suffix}")
