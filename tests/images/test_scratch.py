import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from batchstack.errors import FileError, ImageError
from batchstack.images import (
    StagedImage,
    file_digest,
    read_image,
    stage_image,
    write_image,
    write_npy,
)
from tests.images.samples import exif_block, noise, photo


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_staging_equals_reading(tmp_path, suffix, orientation):
    path, target = tmp_path / f"a.{suffix}", tmp_path / "deep" / "a.npy"
    if suffix == "tif":
        tifffile.imwrite(
            path, photo(), photometric="rgb", extratags=[(274, "H", 1, orientation, True)]
        )
    else:
        Image.fromarray(photo()).save(path, exif=b"Exif\0\0" + exif_block(orientation))
    assert stage_image(path, target) == file_digest(path)
    expected = read_image(path)
    np.testing.assert_array_equal(np.load(target), expected)
    staged = StagedImage(target)
    assert (staged.shape, staged.dtype) == (expected.shape, expected.dtype)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), channels=st.sampled_from([(), (3,)]))
def test_a_window_is_a_slice(tmp_path, data, channels):
    pixels = noise((23, 31, *channels), "uint16")
    write_npy(tmp_path / "a.npy", pixels)
    row0, row1 = sorted(data.draw(st.tuples(st.integers(0, 23), st.integers(0, 23))))
    col0, col1 = sorted(data.draw(st.tuples(st.integers(0, 31), st.integers(0, 31))))
    window = StagedImage(tmp_path / "a.npy").window(row0, row1, col0, col1)
    np.testing.assert_array_equal(window, pixels[row0:row1, col0:col1])
    assert window.flags.c_contiguous
    assert window.flags.writeable
    assert type(window) is np.ndarray
    sliced = StagedImage(tmp_path / "a.npy")[row0:row1, col0:]
    np.testing.assert_array_equal(sliced, pixels[row0:row1, col0:])


@pytest.mark.parametrize("window", [(-1, 4, 0, 4), (0, 6, 0, 4), (0, 4, 0, 8), (3, 2, 0, 4)])
def test_a_window_over_the_edge_is_an_error(tmp_path, window):
    write_npy(tmp_path / "a.npy", noise((5, 7)))
    with pytest.raises(ValueError, match="is not inside 5 x 7"):
        StagedImage(tmp_path / "a.npy").window(*window)


def test_a_staged_image_travels_between_processes(tmp_path):
    write_npy(tmp_path / "a.npy", noise((5, 7)))
    staged = StagedImage(tmp_path / "a.npy")
    assert staged.shape == (5, 7)
    again = pickle.loads(pickle.dumps(staged))
    np.testing.assert_array_equal(again.window(0, 5, 0, 7), noise((5, 7)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "bool", "int32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (5, 7, 3), (0, 4), (2, 3, 4, 5)])
def test_npy_holds_any_array(tmp_path, dtype, shape):
    array = noise(shape).astype(dtype)
    write_npy(tmp_path / "a.npy", array.T)
    again = np.load(tmp_path / "a.npy")
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, array.T)


def test_missing_and_cut_scratch_is_an_error(tmp_path):
    with pytest.raises(FileError, match="No such file"):
        StagedImage(tmp_path / "a.npy").window(0, 1, 0, 1)
    write_npy(tmp_path / "a.npy", noise((50, 70)))
    staged = StagedImage(tmp_path / "a.npy")
    assert staged.shape == (50, 70)
    for size in (3000, 100, 0):
        os.truncate(tmp_path / "a.npy", size)
        with pytest.raises(ImageError, match="damaged scratch"):
            staged.window(0, 1, 0, 1)


def test_a_damaged_image_stages_nothing(tmp_path):
    path = tmp_path / "a.tif"
    write_image(path, noise((1000, 600)) % 4)
    with tifffile.TiffFile(path) as tiff:
        last = tiff.pages.first.dataoffsets[-1]
    data = bytearray(path.read_bytes())
    data[last + 100] ^= 255
    path.write_bytes(data)
    (tmp_path / "a.npy").write_bytes(b"older")
    with pytest.raises(ImageError, match="damaged"):
        stage_image(path, tmp_path / "a.npy")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "a.npy", path]
    assert (tmp_path / "a.npy").read_bytes() == b"older"


def test_a_file_that_changes_while_it_is_staged_is_refused(tmp_path, monkeypatch):
    from batchstack.images import tiff

    path = tmp_path / "a.tif"
    write_image(path, noise((600, 50)))
    read_pieces = tiff.read_pieces

    def touch_then_read(*arguments):
        os.utime(path, ns=(1, 1))
        return read_pieces(*arguments)

    monkeypatch.setattr(tiff, "read_pieces", touch_then_read)
    with pytest.raises(ImageError, match="changed while it was read"):
        stage_image(path, tmp_path / "a.npy")
    assert list(tmp_path.iterdir()) == [path]


STAGE_AND_WRITE = """
import resource, sys
from pathlib import Path
import numpy as np
import imagecodecs, tifffile, PIL.Image
from batchstack.images import StagedImage, probe, read_image, stage_image, write_image_rows
from batchstack.images import tiff

folder, rows, width = Path(sys.argv[1]), 6000, 6000  # 108 MB decoded
def bands():
    for top in range(0, rows, 100):
        yield np.full((100, width, 3), top % 251, np.uint8)
def peak():
    # ru_maxrss starts at that of the parent process on Linux, VmHWM does not.
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
write_image_rows(folder / "a.tif", (rows, width, 3), np.uint8, bands())
stage_image(folder / "a.tif", folder / "a.npy")
staged = StagedImage(folder / "a.npy")
for top in range(0, rows, 500):
    window = staged.window(top, top + 500, 0, width)
    assert (window[:100] == top % 251).all()
print(peak() - before, probe(folder / "a.tif").nbytes)
"""


def test_memory_of_streams_does_not_grow_with_the_image(tmp_path):
    command = [sys.executable, "-c", STAGE_AND_WRITE, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    grown, whole = map(int, done.stdout.split())
    assert grown < 0.6 * whole
