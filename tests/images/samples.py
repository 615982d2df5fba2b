"""Images and files that the tests of `images` share."""

import io
import struct
import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms
from skimage import data

LOSSLESS = [
    ("png", "uint8"),
    ("png", "uint16"),
    ("tif", "uint8"),
    ("tif", "uint16"),
    ("tif", "float32"),
]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:Description tiff:Orientation="6" dc:title="cornea"/></x:xmpmeta><?xpacket end="w"?>'
)


def noise(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 0) -> npt.NDArray:
    """Values over the whole range of the type."""
    generator = np.random.default_rng(seed)
    if dtype == "float32":
        return generator.normal(size=shape).astype(np.float32)
    return generator.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def photo(height: int = 96, width: int = 130, channels: int = 3) -> npt.NDArray:
    """A natural uint8 picture."""
    pixels = data.astronaut()[:height, 100 : 100 + width]
    return np.ascontiguousarray(pixels if channels == 3 else pixels[..., 1])


def jpeg_bytes(pixels: npt.NDArray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()


def png_bytes(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    checksum = zlib.crc32(kind + payload)
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", checksum)


def raw_png(width: int, height: int, depth: int, colour: int, rows: list[bytes]) -> bytes:
    """A PNG of packed rows, filter none."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", body)
        + png_chunk(b"IEND", b"")
    )


def exif_block(orientation: int, model: str = "Slit Lamp 9") -> bytes:
    """An EXIF block that starts with its TIFF header."""
    exif = Image.Exif()
    exif[0x0110] = model
    exif[0x0112] = orientation
    return exif.tobytes().removeprefix(b"Exif\0\0")
