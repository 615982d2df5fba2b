import hashlib
import io
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from batchstack.errors import ImageError
from batchstack.images import (
    Encoding,
    file_digest,
    read_image,
    read_image_and_digest,
    read_metadata,
    write_image,
)
from tests.images.samples import (
    SRGB,
    XMP,
    exif_block,
    jpeg_bytes,
    noise,
    photo,
    png_bytes,
    png_chunk,
    raw_png,
)

QUICK = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def tiff_bytes(pixels, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, photometric="rgb", **options)
    return buffer.getvalue()


FILES = {
    "baseline jpeg": jpeg_bytes(photo()),
    "progressive jpeg": jpeg_bytes(photo(), progressive=True),
    "grey jpeg": jpeg_bytes(photo(channels=1)),
    "restart jpeg": jpeg_bytes(photo(), restart_marker_blocks=3),
    "png": png_bytes(Image.fromarray(photo())),
    "plain tiff": tiff_bytes(photo()),
    "strip tiff": tiff_bytes(photo(), rowsperstrip=7),
    "deflate tiff": tiff_bytes(photo(), compression="zlib", rowsperstrip=10, predictor=True),
    "tiled tiff": tiff_bytes(photo(), compression="zlib", tile=(32, 32)),
    "lzw tiff": tiff_bytes(photo(), compression="lzw", rowsperstrip=16),
    "packbits tiff": tiff_bytes(photo(), compression="packbits", rowsperstrip=16),
    "zstd tiff": tiff_bytes(photo(), compression="zstd", tile=(64, 64)),
    "jpeg tiff": tiff_bytes(photo(), compression="jpeg", tile=(32, 32)),
}


def read_bytes(data: bytes) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a")
        path.write_bytes(data)
        return read_image(path)


@pytest.mark.parametrize("name", FILES)
@QUICK
@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_cut_file_is_refused_or_whole(name, cut):
    data = FILES[name]
    whole = read_bytes(data)
    for kept in {int(cut * len(data)), len(data) - 1 - int(cut * 16)}:
        try:
            pixels = read_bytes(data[:kept])
        except ImageError:
            continue
        np.testing.assert_array_equal(pixels, whole)


@pytest.mark.parametrize("name", [name for name in FILES if "jpeg" in name])
def test_half_a_jpeg_is_refused(name):
    with pytest.raises(ImageError, match=r"damaged|incomplete|missing"):
        read_bytes(FILES[name][: len(FILES[name]) // 2])


@QUICK
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_in_a_png_is_noticed_or_harmless(place, bit):
    data = bytearray(FILES["png"])
    data[int(place * len(data))] ^= 1 << bit
    try:
        pixels = read_bytes(bytes(data))
    except ImageError:
        return
    np.testing.assert_array_equal(pixels, photo())


@pytest.mark.parametrize("name", ["deflate tiff", "tiled tiff"])
@QUICK
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_in_deflated_pixels_is_noticed_or_harmless(name, place, bit):
    data = bytearray(FILES[name])
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        segment = int(place * len(page.dataoffsets))
        inside = place * len(page.dataoffsets) - segment
        start, count = page.dataoffsets[segment], page.databytecounts[segment]
    data[start + int(inside * count)] ^= 1 << bit
    try:
        pixels = read_bytes(bytes(data))
    except ImageError:
        return
    np.testing.assert_array_equal(pixels, photo())


def test_jpeg_pixels_are_those_of_opencv():
    cv2 = pytest.importorskip("cv2")
    for name in ("baseline jpeg", "progressive jpeg", "restart jpeg"):
        expected = cv2.imdecode(np.frombuffer(FILES[name], np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(read_bytes(FILES[name]), expected[..., ::-1])


@pytest.mark.parametrize("trailer", [b"written by a phone" * 9, FILES["baseline jpeg"]])
def test_what_follows_the_end_of_a_jpeg_does_not_matter(trailer):
    jpeg = FILES["baseline jpeg"]
    np.testing.assert_array_equal(read_bytes(jpeg + trailer), read_bytes(jpeg))


def test_a_jpeg_that_lies_about_its_end_is_refused():
    data = FILES["baseline jpeg"]
    with pytest.raises(ImageError, match="damaged or incomplete"):
        read_bytes(data[: len(data) // 2] + data[-2:])
    with pytest.raises(ImageError, match="damaged or incomplete"):
        read_bytes(data[:-2])


def test_palette_png_becomes_rgb():
    image = Image.fromarray(photo()).convert("P")
    np.testing.assert_array_equal(read_bytes(png_bytes(image)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(("depth", "step"), [(1, 255), (2, 85), (4, 17), (8, 1)])
def test_narrow_grey_png_is_spread_over_8_bits(depth, step):
    values = noise((3, 8)) >> (8 - depth)
    bits = np.unpackbits(values[..., np.newaxis], axis=-1)[..., 8 - depth :]
    rows = [np.packbits(row).tobytes() for row in bits.reshape(3, -1)]
    np.testing.assert_array_equal(read_bytes(raw_png(8, 3, depth, 0, rows)), values * step)


def test_png_gamma_and_significant_bits_leave_values_alone():
    data = png_bytes(Image.fromarray(photo()))
    for chunk in (png_chunk(b"gAMA", (45455).to_bytes(4, "big")), png_chunk(b"sBIT", b"\5\6\5")):
        np.testing.assert_array_equal(read_bytes(data[:33] + chunk + data[33:]), photo())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff"])
def test_every_format_comes_the_right_way_up(kind, orientation):
    stored = photo(40, 60)
    exif = b"Exif\0\0" + exif_block(orientation)
    if kind == "jpeg":
        plain, turned = jpeg_bytes(stored), jpeg_bytes(stored, exif=exif)
    elif kind == "png":
        image = Image.fromarray(stored)
        plain, turned = png_bytes(image), png_bytes(image, exif=exif)
    else:
        extratags = [(274, "H", 1, orientation, True)]
        plain, turned = tiff_bytes(stored), tiff_bytes(stored, extratags=extratags)
    image = Image.open(io.BytesIO(png_bytes(Image.fromarray(read_bytes(plain)))))
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_bytes(turned), expected)


@pytest.mark.parametrize("name", FILES)
def test_a_file_may_be_held_in_memory_that_the_next_one_overwrites(tmp_path, name):
    (tmp_path / "a").write_bytes(FILES[name])
    memory = np.full(10_000_000, 7, np.uint8)
    pixels, digest = read_image_and_digest(tmp_path / "a", room=lambda shape, _: memory[: shape[0]])
    memory[:] = 9
    assert digest == file_digest(tmp_path / "a")
    np.testing.assert_array_equal(pixels, read_image(tmp_path / "a"))


@pytest.mark.parametrize("name", FILES)
def test_digest_is_that_of_the_content(tmp_path, name):
    path = tmp_path / "a"
    path.write_bytes(FILES[name])
    expected = hashlib.sha256(FILES[name]).hexdigest()[:32]
    pixels, digest = read_image_and_digest(path)
    assert digest == file_digest(path) == expected
    np.testing.assert_array_equal(pixels, read_image(path))


@pytest.mark.parametrize("kind", ["jpg", "png", "tif"])
def test_metadata_of_other_programs_is_found(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    exif, image = Image.Exif(), Image.fromarray(photo())
    exif[0x0110] = "Slit Lamp 9"
    exif[0x0112] = 6
    if kind == "png":
        image.save(path, exif=exif, icc_profile=SRGB, dpi=(300, 150))
    elif kind == "jpg":
        image.save(path, exif=exif, icc_profile=SRGB, dpi=(300, 150), xmp=XMP)
    else:
        extratags = [
            (274, "H", 1, 6, True),
            (272, "s", 0, "Slit Lamp 9", True),
            (700, "B", len(XMP), XMP, True),
        ]
        tifffile.imwrite(
            path,
            photo(),
            extratags=extratags,
            iccprofile=SRGB,
            resolution=(300, 150),
            resolutionunit="inch",
            photometric="rgb",
        )
    metadata = read_metadata(path)
    assert metadata.icc == SRGB
    assert metadata.resolution == pytest.approx((150, 300), rel=1e-3)
    found = Image.Exif()
    found.load(metadata.exif)
    assert found[0x0110] == "Slit Lamp 9"
    assert found.get(0x0112, 1) == 1
    if kind != "png":
        assert metadata.xmp == XMP.replace(b'Orientation="6"', b'Orientation="1"')


def test_resolution_in_exif_alone_is_found(tmp_path):
    exif = Image.Exif()
    exif[282], exif[283], exif[296] = 100.0, 50.0, 3
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_bytes(photo(), exif=exif))
    assert read_metadata(path).resolution == pytest.approx((254, 127))


def test_a_file_without_metadata_has_none(tmp_path):
    for suffix in ("jpg", "png", "tif"):
        write_image(tmp_path / f"a.{suffix}", noise((9, 9)))
        metadata = read_metadata(tmp_path / f"a.{suffix}")
        assert metadata.exif is metadata.xmp is metadata.icc is None


@given(st.binary(max_size=60))
@QUICK
def test_broken_exif_stops_nothing(block):
    jpeg = jpeg_bytes(photo(16, 16), exif=b"Exif\0\0MM\0*" + block)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.jpg")
        path.write_bytes(jpeg)
        metadata = read_metadata(path)
        for suffix in ("jpg", "png", "tif"):
            write_image(Path(folder, f"b.{suffix}"), photo(16, 16), Encoding(metadata=metadata))


def test_a_frame_that_is_held_is_decoded_from_where_it_is(tmp_path):
    path, memory = tmp_path / "a.jpg", np.zeros(2**20, np.uint8)
    there = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)
    write_image(path, there)
    size, expected, digest = path.stat().st_size, read_image(path), file_digest(path)
    assert size > 2**17
    tracemalloc.start()
    found = read_image_and_digest(path, lambda *_: there, lambda shape, _: memory[: shape[0]])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(found[0], expected)
    assert found[1] == digest
    assert peak < size / 2
