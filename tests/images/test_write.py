import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from batchstack.errors import FileError, ImageError
from batchstack.images import (
    Encoding,
    Metadata,
    Written,
    output_format,
    probe,
    read_image,
    read_metadata,
    write_image,
    write_image_rows,
)
from batchstack.images.exif_block import parse
from batchstack.images.read import checksum
from tests.images.samples import LOSSLESS, SRGB, XMP, exif_block, noise, photo

EXIF = exif_block(1)
METADATA = Metadata(exif=EXIF, xmp=XMP, icc=SRGB, resolution=(300.0, 150.0))
QUICK = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("suffix", "dtype"), LOSSLESS)
@QUICK
@given(height=st.integers(1, 70), width=st.integers(1, 70), colour=st.booleans())
def test_lossless_formats_give_back_what_was_written(
    tmp_path, suffix, dtype, height, width, colour
):
    pixels = noise((height, width, 3) if colour else (height, width), dtype)
    path = tmp_path / f"a.{suffix}"
    written = write_image(path, pixels)
    with path.open("rb") as file:
        assert written == Written(path.stat().st_size, checksum(file))
    again = read_image(path)
    assert again.dtype == pixels.dtype
    np.testing.assert_array_equal(again, pixels)


@pytest.mark.parametrize(("suffix", "dtype"), [*LOSSLESS, ("jpg", "uint8")])
@QUICK
@given(data=st.data())
def test_bands_of_any_height_write_the_same_file(tmp_path, suffix, dtype, data):
    height = data.draw(st.integers(1, 1200))
    cuts = sorted(data.draw(st.lists(st.integers(0, height), max_size=5)))
    pixels = noise((height, 19, 3), dtype)
    whole, rows = tmp_path / f"whole.{suffix}", tmp_path / f"rows.{suffix}"
    written = write_image(whole, pixels)
    bands = (pixels[top:end] for top, end in zip([0, *cuts], [*cuts, height], strict=True))
    assert write_image_rows(rows, pixels.shape, dtype, bands) == written
    assert rows.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("heights", [(4, 5), (4, 7), (4, 6, 1), (), (10, 10)])
def test_bands_that_do_not_add_up_are_refused(tmp_path, suffix, heights):
    bands = (noise((rows, 8)) for rows in heights)
    with pytest.raises(ImageError, match="add up"):
        write_image_rows(tmp_path / f"a.{suffix}", (10, 8), np.uint8, bands)
    assert names(tmp_path) == []


def test_a_band_of_another_type_or_width_is_refused(tmp_path):
    for band in (noise((10, 9)), noise((10, 8, 3)), noise((10, 8), "uint16")):
        with pytest.raises(ImageError, match="does not fit"):
            write_image_rows(tmp_path / "a.tif", (10, 8), np.uint8, iter([band]))
    assert names(tmp_path) == []


@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 3), (1, 1), (1, 1, 3), (17, 1, 3)])
def test_jpeg_is_what_opencv_writes(tmp_path, shape):
    cv2 = pytest.importorskip("cv2")
    pixels = np.ascontiguousarray(photo()[: shape[0], : shape[1]])
    pixels = pixels if len(shape) == 3 else np.ascontiguousarray(pixels[..., 0])
    write_image(tmp_path / "a.jpg", pixels)
    expected = cv2.imencode(".jpg", pixels[..., ::-1] if len(shape) == 3 else pixels)[1]
    assert (tmp_path / "a.jpg").read_bytes() == expected.tobytes()


def test_quality_is_obeyed(tmp_path):
    low, high = (write_image(tmp_path / "a.jpg", photo(), Encoding(q)) for q in (30, 95))
    assert low.size < high.size


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_pillow_reads_the_same(tmp_path, suffix):
    write_image(tmp_path / f"a.{suffix}", photo())
    with Image.open(tmp_path / f"a.{suffix}") as image:
        np.testing.assert_array_equal(np.asarray(image), photo())


def test_views_are_written_as_seen(tmp_path):
    view = photo()[::-1, ::2]
    for suffix in ("png", "tif"):
        write_image(tmp_path / f"a.{suffix}", view)
        np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), view)


@pytest.mark.parametrize(("suffix", "dtype"), [*LOSSLESS, ("jpg", "uint8")])
@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
def test_metadata_travels(tmp_path, suffix, dtype, shape):
    path = tmp_path / f"a.{suffix}"
    write_image(path, noise(shape, dtype), Encoding(metadata=METADATA))
    found = read_metadata(path)
    assert found.xmp == XMP.replace(b'Orientation="6"', b'Orientation="1"')
    assert found.icc == (SRGB if len(shape) == 3 else None)
    assert found.resolution == pytest.approx((300, 150), rel=1e-3)
    exif = Image.Exif()
    exif.load(found.exif)
    assert exif[0x0110] == "Slit Lamp 9"
    assert exif.get(0x0112, 1) == 1
    if dtype == "float32" or (dtype == "uint16" and len(shape) == 3 and suffix == "tif"):
        return  # Pillow opens neither
    with Image.open(path) as image:
        assert image.getexif().get(0x0112, 1) == 1
        assert image.info.get("icc_profile") == found.icc
        assert image.info["dpi"] == pytest.approx((300, 150), rel=1e-3)


def test_profile_longer_than_one_jpeg_segment_is_whole(tmp_path):
    icc = SRGB + bytes(200_000)
    write_image(tmp_path / "a.jpg", photo(), Encoding(metadata=Metadata(icc=icc)))
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.info["icc_profile"] == icc


def test_exif_too_long_for_jpeg_is_left_out_and_the_rest_kept(tmp_path):
    metadata = replace(METADATA, exif=exif_block(1, "x" * 70_000))
    written = write_image(tmp_path / "a.jpg", photo(), Encoding(metadata=metadata))
    found = read_metadata(tmp_path / "a.jpg")
    assert written.lost == ("EXIF, which is too long for JPEG",)
    assert found.exif is None
    assert found.icc == SRGB


@pytest.mark.parametrize("resolution", [(1e-9, 1e-9), (1e12, 1e12), (0.3, 99_000.123)])
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_extreme_resolutions_stop_nothing(tmp_path, suffix, resolution):
    path = tmp_path / f"a.{suffix}"
    write_image(path, photo(), Encoding(metadata=Metadata(resolution=resolution)))
    assert read_image(path).shape == photo().shape


@pytest.mark.parametrize(
    ("name", "pixels", "expected"),
    [
        ("a.jpg", noise((4, 5), "uint16"), "PNG or TIFF"),
        ("a.jpg", noise((4, 5), "float32"), "TIFF"),
        ("a.png", noise((4, 5), "float32"), "TIFF"),
        ("a.tif", noise((4, 5)).astype(np.float64), "float64"),
        ("a.tif", noise((4, 5)) > 9, "bool"),
        ("a.jpg", noise((65501, 1)), "65500"),
        ("a.png", noise((1, 1_000_001)), "1000000"),
        ("a.png", noise((4, 5, 4)), "shape"),
        ("a.png", noise((4,)), "shape"),
        ("a.tif", noise((0, 5)), "shape"),
        ("a.bmp", noise((4, 5)), "'.bmp'"),
        ("a", noise((4, 5)), "''"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(tmp_path, name, pixels, expected):
    with pytest.raises(ImageError, match=expected) as caught:
        write_image(tmp_path / name, pixels)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert names(tmp_path) == []


def test_suffixes_decide_the_format():
    assert [output_format(f"a.{end}") for end in ("JPG", "jpeg", "png", "TIFF", "tif")] == [
        "jpeg",
        "jpeg",
        "png",
        "tiff",
        "tiff",
    ]


def test_folders_are_made(tmp_path):
    write_image(tmp_path / "new" / "deep" / "a.png", photo())
    assert names(tmp_path / "new" / "deep") == ["a.png"]


def test_files_obey_the_umask_like_any_other(tmp_path):
    write_image(tmp_path / "a.tif", photo())
    (tmp_path / "b").touch()
    assert (tmp_path / "a.tif").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("before", [None, b"what was there"])
def test_a_failing_rename_leaves_what_was_there(tmp_path, monkeypatch, suffix, before):
    path = tmp_path / f"a.{suffix}"
    if before:
        path.write_bytes(before)

    def fail(*_args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for function in ("replace", "rename"):
        monkeypatch.setattr(os, function, fail)
    with pytest.raises(FileError, match=r"No space left on device"):
        write_image(path, photo())
    assert names(tmp_path) == ([path.name] if before else [])
    assert before is None or path.read_bytes() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_failing_source_of_bands_leaves_nothing(tmp_path, error):
    def bands():
        yield noise((600, 8))
        raise error

    with pytest.raises(error):
        write_image_rows(tmp_path / "a.tif", (1200, 8), np.uint8, bands())
    assert names(tmp_path) == []


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_a_file_that_lost_its_end_on_disk_is_noticed(tmp_path, monkeypatch, suffix):
    """A file system that drops the tail without an error, as some network mounts do."""
    from batchstack.images import write

    def lossy(part):
        os.truncate(part, part.stat().st_size - 5)
        return probe(part)

    monkeypatch.setattr(write, "probe", lossy)
    with pytest.raises(ImageError, match="check the disk") as caught:
        write_image(tmp_path / f"a.{suffix}", photo())
    assert str(caught.value).startswith(str(tmp_path / f"a.{suffix}"))
    assert names(tmp_path) == []


FULL_DISK = """
import resource, sys
import numpy as np
from pathlib import Path
from batchstack.errors import FileError
from batchstack.images import write_image, write_npy
pixels = np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)
full = write_image(sys.argv[1], pixels).size if "npy" not in sys.argv[1] else pixels.nbytes + 128
Path(sys.argv[1]).unlink(missing_ok=True)
# The limit raises EFBIG at the place where a full disk raises ENOSPC.
for room in (0, 7, full // 2, full - 1):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    try:
        (write_npy if "npy" in sys.argv[1] else write_image)(sys.argv[1], pixels)
    except FileError as error:
        assert "File too large" in str(error), error
    else:
        raise SystemExit(f"wrote with room for {room} of {full} bytes")
    assert not list(Path(sys.argv[1]).parent.iterdir())
"""


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "npy"])
def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path, suffix):
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / f"a.{suffix}")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_folder_in_the_way_is_reported(tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(FileError, match="cannot be written"):
        write_image(tmp_path / "a.png", photo())
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot be made"):
        write_image(tmp_path / "file" / "a.png", photo())
    assert names(tmp_path) == ["a.png", "file"]


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_pixels_that_do_not_shrink_are_stored_as_they_are(tmp_path, dtype):
    pixels = noise((600, 700, 3), dtype)
    write_image(tmp_path / "a.tif", pixels)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.pages.first.compression.name == "NONE"
        assert tiff.pages.first.databytecounts == (512 * pixels[0].nbytes, 88 * pixels[0].nbytes)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), pixels)


def test_deflated_tiff_is_tiled_and_big_only_when_needed(tmp_path, monkeypatch):
    from batchstack.images import tiff_write

    pixels = noise((600, 700, 3), "uint16") % 4
    write_image(tmp_path / "a.tif", pixels)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        page = tiff.pages.first
        assert (page.tilelength, page.tilewidth, tiff.is_bigtiff) == (512, 512, False)
        assert page.compression.name == "ADOBE_DEFLATE"
    monkeypatch.setattr(tiff_write, "CLASSIC_BYTES", pixels.nbytes - 1)
    write_image(tmp_path / "a.tif", pixels)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.is_bigtiff
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), pixels)


def test_writing_twice_gives_the_same_bytes(tmp_path):
    for suffix in ("jpg", "png", "tif"):
        path = tmp_path / f"a.{suffix}"
        write_image(path, photo(), Encoding(metadata=METADATA))
        first = path.read_bytes()
        write_image(path, photo(), Encoding(metadata=METADATA))
        assert path.read_bytes() == first


def test_exif_that_already_holds_is_copied_byte_for_byte(tmp_path):
    exif = parse(exif_block(1)).block()
    for suffix in ("jpg", "png", "tif"):
        path = tmp_path / f"fused.{suffix}"
        write_image(path, photo(), Encoding(metadata=Metadata(exif=exif)))
        found = read_metadata(path).exif
        if suffix != "tif":
            assert found == exif
        assert parse(found).text(0x0110) == "Slit Lamp 9"
