import io
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from batchstack import files
from batchstack.errors import FileError, ImageError
from batchstack.images import image_kind, probe, read_image, read_metadata, write_image
from tests.images.samples import (
    exif_block,
    jpeg_bytes,
    noise,
    photo,
    png_bytes,
    png_chunk,
    raw_png,
)


def refusal(path: Path, kind: type[Exception] = ImageError) -> str:
    """The message of `probe`, the same from `read_image`, and fit to cross processes."""
    with pytest.raises(kind) as caught:
        probe(path)
    with pytest.raises(kind) as again:
        read_image(path)
    message = str(caught.value)
    assert str(again.value) == message == str(pickle.loads(pickle.dumps(caught.value)))
    assert message.startswith(f"{path}: ")
    return message


def file_with(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_each_way_to_be_no_image_has_its_own_message(tmp_path):
    assert "No such file or directory; check" in refusal(tmp_path / "missing.jpg", FileError)
    assert "Is a directory; rename the folder, or name a file in it" in refusal(tmp_path, FileError)
    assert "is empty (0 bytes)" in refusal(file_with(tmp_path / "empty.jpg", b""))
    assert "is not a JPEG, PNG or TIFF" in refusal(file_with(tmp_path / "text.jpg", b"hello you"))
    assert "ends after 2 bytes" in refusal(file_with(tmp_path / "short.png", b"\x89P"))
    assert "JPEG header" in refusal(file_with(tmp_path / "head.jpg", jpeg_bytes(photo())[:300]))
    assert "PNG header" in refusal(file_with(tmp_path / "head.png", b"\x89PNG\r\n\x1a\n\0\0"))
    assert "TIFF" in refusal(file_with(tmp_path / "head.tif", b"II*\0\x08\0\0\0"))


def test_a_file_without_permission_says_so(tmp_path, monkeypatch):
    class Refusing(files.System):
        def open(self, path, mode):
            raise PermissionError(13, "Permission denied")

    path = file_with(tmp_path / "a.png", b"x")
    monkeypatch.setattr(files.calls, "system", Refusing())
    assert "cannot be read: Permission denied; check its permissions" in refusal(path, FileError)


def test_the_kind_is_decided_by_the_bytes(tmp_path):
    path = file_with(tmp_path / "really-a-png.jpg", png_bytes(Image.fromarray(photo())))
    assert probe(path).format == image_kind(path) == "png"
    np.testing.assert_array_equal(read_image(path), photo())


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (5, 7, 3)])
def test_info_describes_what_read_image_returns(tmp_path, suffix, shape):
    path = tmp_path / f"a.{suffix}"
    write_image(path, noise(shape))
    info, pixels = probe(path), read_image(path)
    assert (info.shape, info.dtype, info.nbytes) == (pixels.shape, str(pixels.dtype), pixels.nbytes)
    assert info.pixels == pixels.shape[0] * pixels.shape[1]
    assert pickle.loads(pickle.dumps(info)) == info


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_size_is_that_after_the_orientation(tmp_path, orientation):
    path = file_with(
        tmp_path / "a.jpg", jpeg_bytes(photo(40, 60), exif=b"Exif\0\0" + exif_block(orientation))
    )
    info = probe(path)
    assert info.orientation == orientation
    assert info.shape == ((60, 40, 3) if orientation in (6, 8) else (40, 60, 3))


def huge_jpeg(**options) -> bytes:
    small = jpeg_bytes(photo(16, 16), **options)
    frame = small.index(b"\xff\xc0")
    return small[: frame + 5] + b"\xea\x60\xea\x60" + small[frame + 9 :]


def huge_tiff(**options) -> bytes:
    """Of 60000 x 60000 pixels by its tags, in one strip."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, photo(16, 16), photometric="rgb", metadata=None, **options)
    buffer.seek(0)
    with tifffile.TiffFile(buffer) as tiff:
        tags = tiff.pages.first.tags
        data = bytearray(buffer.getvalue())
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            struct.pack_into("<HII", data, tags[name].offset + 2, 4, 1, 60_000)
    return bytes(data)


HUGE = {
    "jpeg": huge_jpeg(),
    "jpeg with exif": huge_jpeg(exif=b"Exif\0\0" + exif_block(1)),
    "png": raw_png(60_000, 60_000, 8, 2, [b""]),
    "tiff": huge_tiff(),
    "deflate": huge_tiff(compression="zlib"),
    "lzw": huge_tiff(compression="lzw"),
    "packbits": huge_tiff(compression="packbits"),
    "zstd": huge_tiff(compression="zstd"),
}


@pytest.mark.parametrize("name", HUGE)
def test_more_pixels_than_so_many_bytes_can_hold_are_refused(tmp_path, name):
    message = refusal(file_with(tmp_path / "a", HUGE[name]))
    assert "claims an image of 60000 x 60000 pixels" in message
    assert f"{len(HUGE[name])} bytes cannot hold" in message


@pytest.mark.parametrize(("name", "size"), [("jpeg", 500_000), ("jpeg with exif", 500_000)])
def test_headers_of_huge_images_are_just_headers(tmp_path, name, size):
    image = file_with(tmp_path / "a", HUGE[name] + bytes(size))
    assert probe(image).shape == (60_000, 60_000, 3)


def test_a_huge_png_that_its_bytes_can_hold_is_accepted(tmp_path):
    start = HUGE["png"][:33]
    image = start + png_chunk(b"IDAT", bytes(11_000_000)) + png_chunk(b"IEND", b"")
    assert probe(file_with(tmp_path / "a.png", image)).pixels == 3_600_000_000


def test_a_huge_tiff_that_its_bytes_can_hold_is_accepted(tmp_path):
    path = file_with(tmp_path / "a.tif", HUGE["deflate"])
    with tifffile.TiffFile(path) as tiff:
        counts = tiff.pages.first.tags["StripByteCounts"]
        start = tiff.pages.first.dataoffsets[0]
        place = counts.offset
    with path.open("r+b") as file:
        file.seek(place + 2)
        file.write(struct.pack("<HII", 4, 1, 11_000_000))
        file.truncate(start + 11_000_000)
    assert probe(path).pixels == 3_600_000_000


@pytest.mark.parametrize("side", [2**31 - 1, 2**32 - 1])
def test_a_png_of_any_side_in_a_hundred_bytes_is_refused(tmp_path, side):
    data = raw_png(side, side, 16, 2, [b""])
    assert len(data) < 100
    assert f"{side} x {side} pixels, which {len(data)} bytes" in refusal(
        file_with(tmp_path / "a.png", data)
    )


@pytest.mark.parametrize("name", ["zlib", "lzw", "zstd", "packbits", "lzma"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_blank_image_is_not_taken_for_a_lie(tmp_path, name, dtype):
    pixels = np.zeros((2000, 1500, 3), dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", compression=name)
    assert probe(tmp_path / "a.tif").shape == pixels.shape
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, photometric="rgb", compression=name, rowsperstrip=2000
    )
    assert probe(tmp_path / "a.tif").shape == pixels.shape


@pytest.mark.parametrize("options", [{}, {"progressive": True, "optimize": True}])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_blank_jpeg_or_png_is_not_taken_for_a_lie(tmp_path, channels, options):
    shape = (2000, 1500) if channels == 1 else (2000, 1500, 3)
    pixels = np.full(shape, 128, np.uint8)
    data = jpeg_bytes(pixels, subsampling=2, **options)
    assert probe(file_with(tmp_path / "a.jpg", data)).shape == shape
    image = Image.fromarray(pixels)
    for picture in (image, image.convert("1"), image.convert("P")):
        data = png_bytes(picture, compress_level=9)
        assert probe(file_with(tmp_path / "a.png", data)).height == 2000


WRONG = {
    "two widths": ("ImageWidth", 3, 2, 9 + (9 << 16)),
    "width is a text": ("ImageWidth", 2, 4, 0x41414141),
    "width is a fraction": ("ImageWidth", 5, 1, 8),
    "no width": ("ImageWidth", 4, 1, 0),
    "no rows": ("ImageLength", 4, 1, 0),
    "no rows in a strip": ("RowsPerStrip", 4, 1, 0),
    "negative rows in a strip": ("RowsPerStrip", 9, 1, 2**32 - 5),
    "offset is a text": ("StripOffsets", 2, 4, 0x41414141),
    "offset is a float": ("StripOffsets", 11, 1, 0x41414141),
    "offset behind the end": ("StripOffsets", 4, 1, 2**31),
    "three hundred samples": ("SamplesPerPixel", 3, 1, 300),
    "samples are a text": ("SamplesPerPixel", 2, 3, 0x414141),
    "compression is a list": ("Compression", 3, 2, 1 + (1 << 16)),
    "compression is unknown": ("Compression", 3, 1, 12345),
    "photometric is a text": ("PhotometricInterpretation", 2, 3, 0x414141),
    "unknown type": ("ImageWidth", 99, 1, 9),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_tags_of_wrong_types_and_counts_are_refused(tmp_path, name, options):
    path, (tag, kind, count, value) = tmp_path / "a.tif", WRONG[name]
    tifffile.imwrite(path, noise((8, 9)), photometric="minisblack", metadata=None, **options)
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages.first.tags[tag].offset
    data = bytearray(path.read_bytes())
    struct.pack_into("<HII", data, place + 2, kind, count, value)
    assert ";" in refusal(file_with(path, bytes(data)))


def test_an_orientation_that_is_no_number_is_none(tmp_path):
    path = tmp_path / "a.tif"
    extratags = [(274, "H", 2, (6, 6), True)]
    tifffile.imwrite(path, noise((8, 9)), metadata=None, software=False, extratags=extratags)
    np.testing.assert_array_equal(read_image(path), noise((8, 9)))
    assert read_metadata(path).exif is None


def test_a_chain_of_pages_without_an_end_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for _ in range(150):
            writer.write(noise((2, 2)), metadata=None)
    with tifffile.TiffFile(path) as tiff:
        offsets = [page.offset for page in tiff.pages]
    data = bytearray(path.read_bytes())
    (tags,) = struct.unpack_from("<H", data, offsets[-1])
    struct.pack_into("<I", data, offsets[-1] + 2 + 12 * tags, offsets[120])
    assert "pages" in refusal(file_with(path, bytes(data)))


def test_a_png_that_ends_in_nothing_but_zeros_is_refused_at_once(tmp_path):
    data = png_bytes(Image.fromarray(photo()))
    path = file_with(tmp_path / "a.png", data[: len(data) // 2])
    with path.open("r+b") as file:
        file.truncate(2**31)
    assert probe(path).shape == photo().shape
    path = file_with(tmp_path / "b.png", data[:33])
    with path.open("r+b") as file:
        file.truncate(2**31)
    assert probe(path).shape == photo().shape
    with pytest.raises(ImageError, match="damaged"):
        read_image(path)


def test_a_small_tile_may_not_hold_a_huge_jpeg(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, photo(32, 32), photometric="rgb", compression="jpeg", tile=(16, 16))
    data = path.read_bytes()
    frame = data.index(b"\xff\xc0")
    path.write_bytes(data[: frame + 5] + b"\xea\x60\xea\x60" + data[frame + 9 :])
    with pytest.raises(ImageError, match="tile 0 claims 60000 x 60000 pixels"):
        read_image(path)


def test_a_profile_that_inflates_without_end_is_left_out(tmp_path):
    data = png_bytes(Image.fromarray(photo()))
    bomb = zlib.compress(bytes(2**27))
    path = file_with(
        tmp_path / "a.png", data[:33] + png_chunk(b"iCCP", b"x\0\0" + bomb) + data[33:]
    )
    tracemalloc.start()
    try:
        assert read_metadata(path).icc is None
        assert tracemalloc.get_traced_memory()[1] < 2**27
    finally:
        tracemalloc.stop()


def test_damaged_headers_give_errors_and_nothing_else(tmp_path):
    """No other exception, no line on the screen, no endless loop and no huge memory."""
    command = [sys.executable, "-W", "error", "-m", "tests.images.mutants", str(tmp_path), "600"]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=200
    )
    assert (done.returncode, done.stderr) == (0, "")
    read, refused = map(int, done.stdout.split())
    assert read > 100
    assert refused > 100


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_png_with_alpha_is_refused_with_a_remedy(tmp_path, mode):
    image = Image.fromarray(photo()).convert(mode)
    assert "alpha off" in refusal(file_with(tmp_path / "a.png", png_bytes(image)))


def test_png_with_transparent_colours_is_refused(tmp_path):
    picture = Image.fromarray(photo())
    for name, image, key in (
        ("rgb", picture, (1, 2, 3)),
        ("palette", picture.convert("P"), 3),
        ("grey", picture.convert("L"), 7),
    ):
        path = file_with(tmp_path / f"{name}.png", png_bytes(image, transparency=key))
        assert "tRNS" in refusal(path)


def test_cmyk_jpeg_is_refused(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(photo()).convert("CMYK").save(buffer, "JPEG")
    assert "CMYK" in refusal(file_with(tmp_path / "a.jpg", buffer.getvalue()))


def test_png_orientation_is_found_behind_the_pixels_too(tmp_path):
    data = png_bytes(Image.fromarray(photo(40, 60)))
    late = data[:-12] + png_chunk(b"eXIf", exif_block(6)) + data[-12:]
    path = file_with(tmp_path / "a.png", late)
    assert probe(path).shape == (60, 40, 3)
    np.testing.assert_array_equal(read_image(path), np.rot90(photo(40, 60), -1))


REFUSED_TIFFS = {
    "alpha": ({"data": noise((8, 9, 4)), "photometric": "rgb", "extrasamples": [2]}, "4 channels"),
    "grey alpha": (
        {"data": noise((8, 9, 2)), "photometric": "minisblack", "planarconfig": "contig"},
        "2 channels",
    ),
    "cmyk": ({"data": noise((8, 9, 4)), "photometric": "separated"}, "4 channels"),
    "lab": ({"data": noise((8, 9, 3)), "photometric": "cielab"}, "CIELAB"),
    "ycbcr": ({"data": noise((8, 9, 3)), "photometric": 6}, "YCBCR"),
    "palette": (
        {
            "data": noise((8, 9)),
            "photometric": "palette",
            "colormap": noise((3, 256), "uint16"),
        },
        "PALETTE",
    ),
    "float64": ({"data": np.zeros((8, 9)), "photometric": "minisblack"}, "64-bit"),
    "float16": ({"data": np.zeros((8, 9), np.float16), "photometric": "minisblack"}, "16-bit"),
    "int16": ({"data": np.zeros((8, 9), np.int16), "photometric": "minisblack"}, "INT"),
    "uint32": ({"data": np.zeros((8, 9), np.uint32), "photometric": "minisblack"}, "32-bit"),
    "bilevel": ({"data": np.zeros((8, 16), bool), "photometric": "minisblack"}, "1-bit"),
    "12 bit": (
        {"data": np.zeros((8, 10), np.uint16), "photometric": "minisblack", "bitspersample": 12},
        "12-bit",
    ),
    "white float": (
        {"data": np.zeros((8, 9), np.float32), "photometric": "miniswhite"},
        "0 is white",
    ),
    "pages": ({"data": noise((4, 8, 9)), "photometric": "minisblack"}, "holds 4 pages"),
    "volume": (
        {"data": noise((2, 16, 16)), "photometric": "minisblack", "volumetric": True},
        "holds 2 pages",
    ),
    "imagej": ({"data": noise((4, 8, 9)), "imagej": True}, "holds 4 pages"),
    "sparse": (
        {
            "data": iter([noise((16, 16)), None, noise((16, 16)), None]),
            "shape": (32, 32),
            "dtype": np.uint8,
            "tile": (16, 16),
            "compression": "zlib",
        },
        "2 of 4 strips or tiles",
    ),
}


@pytest.mark.parametrize("name", REFUSED_TIFFS)
def test_tiff_kinds_that_are_no_frame_are_refused_by_name(tmp_path, name):
    options, expected = REFUSED_TIFFS[name]
    tifffile.imwrite(tmp_path / "a.tif", **options)
    message = refusal(tmp_path / "a.tif")
    assert expected in message
    assert ";" in message


def test_thumbnails_and_reduced_pages_do_not_matter(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(photo(), photometric="rgb")
        writer.write(photo()[::4, ::4], photometric="rgb")
        writer.write(photo(), photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), photo())


def test_importing_the_room_loads_no_codec():
    code = (
        "import sys, batchstack.images\n"
        "print(*{'cv2','PIL','tifffile','imagecodecs','simplejpeg','dask'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert answer.stdout.strip() == ""
