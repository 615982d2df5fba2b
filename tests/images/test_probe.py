import io
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from batchstack.errors import ImageError
from batchstack.images import image_kind, probe, read_image, write_image
from tests.images.samples import (
    exif_block,
    jpeg_bytes,
    noise,
    photo,
    png_bytes,
    png_chunk,
    raw_png,
)


def refusal(path: Path) -> str:
    """The message of `probe`, the same from `read_image`, and fit to cross processes."""
    with pytest.raises(ImageError) as caught:
        probe(path)
    with pytest.raises(ImageError) as again:
        read_image(path)
    message = str(caught.value)
    assert str(again.value) == message == str(pickle.loads(pickle.dumps(caught.value)))
    assert message.startswith(f"{path}: ")
    return message


def file_with(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_each_way_to_be_no_image_has_its_own_message(tmp_path):
    assert "does not exist" in refusal(tmp_path / "missing.jpg")
    assert "is a folder" in refusal(tmp_path)
    assert "is empty (0 bytes)" in refusal(file_with(tmp_path / "empty.jpg", b""))
    assert "is not a JPEG, PNG or TIFF" in refusal(file_with(tmp_path / "text.jpg", b"hello you"))
    assert "is not a JPEG, PNG or TIFF" in refusal(file_with(tmp_path / "short.png", b"\x89P"))
    assert "JPEG header" in refusal(file_with(tmp_path / "head.jpg", jpeg_bytes(photo())[:300]))
    assert "PNG header" in refusal(file_with(tmp_path / "head.png", b"\x89PNG\r\n\x1a\n\0\0"))
    assert "TIFF" in refusal(file_with(tmp_path / "head.tif", b"II*\0\x08\0\0\0"))


def test_a_file_without_permission_says_so(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    path = file_with(tmp_path / "a.png", b"x")
    monkeypatch.setattr(Path, "open", refuse)
    assert "may not be read" in refusal(path)


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


def test_headers_of_huge_images_are_just_headers(tmp_path):
    image = raw_png(60_000, 50_000, 8, 2, [b""])
    assert probe(file_with(tmp_path / "a.png", image)).pixels == 3_000_000_000
    small = jpeg_bytes(photo(16, 16))
    frame = small.index(b"\xff\xc0")
    huge = small[: frame + 5] + b"\xea\x60\xea\x60" + small[frame + 9 :]
    assert probe(file_with(tmp_path / "a.jpg", huge)).shape == (60_000, 60_000, 3)


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
