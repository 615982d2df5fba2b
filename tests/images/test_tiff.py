"""TIFF layouts: every way to store the same pixels reads the same, whole or staged."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from batchstack.errors import ImageError
from batchstack.formats import FORMATS
from batchstack.images import (
    StagedImage,
    file_digest,
    read_image,
    stage_image,
    tiff_pixels,
    write,
    write_image,
)
from tests.images.samples import noise, photo

LAYOUTS = {
    "one strip": {},
    "strips": {"rowsperstrip": 5},
    "tall strips": {"rowsperstrip": 300},
    "tiles": {"tile": (32, 48)},
    "tall tiles": {"tile": (272, 16)},
}
ENCODINGS = {
    "raw": {},
    "deflate": {"compression": "zlib", "predictor": True},
    "lzw": {"compression": "lzw"},
    "zstd": {"compression": "zstd"},
}
HEIGHT = 2 * FORMATS["tiff"].rows_read + 37  # several bands, the last one short


def check(path, expected):
    np.testing.assert_array_equal(read_image(path), expected)
    assert stage_image(path, path.with_suffix(".npy")) == file_digest(path)
    staged = StagedImage(path.with_suffix(".npy"))
    assert staged.dtype == expected.dtype
    np.testing.assert_array_equal(staged.window(0, len(expected), 0, expected.shape[1]), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_layouts(tmp_path, layout, encoding, dtype):
    options = LAYOUTS[layout] | ENCODINGS[encoding]
    if dtype == "float32" and "predictor" in options:
        options["predictor"] = 3
    path = tmp_path / "a.tif"
    for shape, variant in (
        ((HEIGHT, 53), {"byteorder": ">"}),
        ((HEIGHT, 53, 3), {"bigtiff": True}),
    ):
        pixels = noise(shape, dtype)
        photometric = "rgb" if len(shape) == 3 else "minisblack"
        tifffile.imwrite(path, pixels, photometric=photometric, metadata=None, **options, **variant)
        check(path, pixels)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_separate_planes(tmp_path, layout, encoding):
    pixels = noise((HEIGHT, 53, 3), "uint16")
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.moveaxis(pixels, 2, 0),
        photometric="rgb",
        planarconfig="separate",
        metadata=None,
        **LAYOUTS[layout],
        **ENCODINGS[encoding],
    )
    check(tmp_path / "a.tif", pixels)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_white_zero_is_inverted(tmp_path, encoding, dtype):
    pixels = noise((40, 53), dtype)
    stored = np.iinfo(dtype).max - pixels
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="miniswhite", metadata=None, **ENCODINGS[encoding]
    )
    check(tmp_path / "a.tif", pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_oriented_files_stage_as_they_read(tmp_path, orientation):
    tifffile.imwrite(
        tmp_path / "a.tif",
        photo(),
        photometric="rgb",
        compression="zlib",
        extratags=[(274, "H", 1, orientation, True)],
    )
    check(tmp_path / "a.tif", read_image(tmp_path / "a.tif"))


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2)])
def test_jpeg_inside_tiff_is_rgb(tmp_path, subsampling):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        photo(),
        photometric="rgb",
        compression="jpeg",
        tile=(64, 64),
        subsampling=subsampling,
    )
    with Image.open(path) as image:
        check(path, np.asarray(image))


def test_a_strip_that_decodes_to_too_little_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((64, 50)), photometric="minisblack", rowsperstrip=16)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages.first.tags["StripByteCounts"]
        kind = {"SHORT": "<u2", "LONG": "<u4"}[tag.dtype.name]
        np.frombuffer(data, kind, 4, tag.valueoffset)[2] -= 50
    path.write_bytes(data)
    with pytest.raises(ImageError, match="damaged"):
        read_image(path)
    with pytest.raises(ImageError, match="damaged"):
        stage_image(path, tmp_path / "a.npy")
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("separate", [False, True])
def test_rows_too_wide_to_be_held_are_staged_in_pieces(tmp_path, layout, separate, monkeypatch):
    monkeypatch.setattr(tiff_pixels, "BAND_BYTES", 7000)
    pixels = noise((HEIGHT, 353, 3), "uint16")
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.moveaxis(pixels, 2, 0) if separate else pixels,
        photometric="rgb",
        planarconfig="separate" if separate else "contig",
        metadata=None,
        compression="zlib",
        **LAYOUTS[layout],
    )
    check(tmp_path / "a.tif", pixels)


@pytest.mark.parametrize("smooth", [False, True])
def test_rows_too_wide_to_be_held_are_written_in_lower_tiles(tmp_path, smooth, monkeypatch):
    monkeypatch.setattr(write, "BAND_BYTES", 50_000)
    pixels = np.zeros((70, 353, 3), np.uint8) if smooth else noise((70, 353, 3), "uint8")
    write_image(tmp_path / "a.tif", pixels)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        page = file.pages.first
        assert (page.tilelength if page.is_tiled else page.rowsperstrip) == 32
    check(tmp_path / "a.tif", pixels)
