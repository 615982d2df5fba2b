"""Files of 16 bits that hold fewer are fused as if it had been said which value is white."""

import numpy as np
import pytest
import tifffile

from batchstack.batch.alignment import Frame
from batchstack.batch.ledger import Ledger
from batchstack.batch.manifest import load_manifest
from batchstack.batch.plan import RunOptions, make_plan
from batchstack.batch.white import brightest, found_range
from batchstack.fusion import METHODS
from batchstack.options import FusionOptions
from tests.batch.conftest import do_split, do_whole
from tests.scenes import stack


def low_bit(workspace, bits, stated=None, n_frames=2, shape=(80, 90)):
    """A stack that uses all of so many bits."""
    frames = stack(shape, n_frames, dtype="uint16")
    top = max(int(frame.max()) for frame in frames)
    names = [f"f{number}.tif" for number in range(n_frames)]
    tags = [(281, "H", 1, stated, True)] if stated else []
    for name, pixels in zip(names, frames, strict=True):
        scaled = (pixels.astype(np.uint32) * (2**bits - 1) // top).astype(np.uint16)
        tifffile.imwrite(workspace.root / name, scaled, photometric="rgb", extratags=tags)
    return names


def planned(workspace, names, folder="out", **fusion):
    options = RunOptions(methods=("all_channels", "bayesian"), fusion=FusionOptions(**fusion))
    manifest = load_manifest(workspace.manifest({"s": names}), known_methods=METHODS)
    out = workspace.root / folder
    (step,) = make_plan(manifest, out, options, Ledger(out))
    return step


@pytest.mark.parametrize("n_frames", [2, 3])
def test_low_bits_are_found_and_used_whole_and_in_tiles(workspace, n_frames):
    names = low_bit(workspace, 12, n_frames=n_frames)
    found = do_whole(planned(workspace, names).job)
    assert found.data_range == 4095
    assert any("use 12 of 16 bits, so 4095 is taken for white" in one for one in found.warnings)
    whole = workspace.outputs("out")
    step = planned(workspace, names)
    split = do_split(step.job, step.shape)
    assert split.data_range == 4095
    assert split.warnings == found.warnings
    assert workspace.outputs("out") == whole
    given = do_whole(planned(workspace, names, "given", data_range=4095.0).job)
    assert given.data_range is None
    assert workspace.pixels("given") == workspace.pixels("out")


@pytest.mark.parametrize("bits", [16, 15])
def test_what_uses_more_bits_is_taken_for_full(workspace, bits):
    result = do_whole(planned(workspace, low_bit(workspace, bits)).job)
    assert result.data_range is None
    assert not any("is taken for white" in one for one in result.warnings)


def test_tags_decide_where_pixels_do_not_contradict_them(workspace):
    assert do_whole(planned(workspace, low_bit(workspace, 9, 4095)).job).data_range == 4095
    assert do_whole(planned(workspace, low_bit(workspace, 12, 255)).job).data_range == 4095


@pytest.mark.parametrize(
    ("largest", "expected"),
    [(1, 255), (255, 255), (256, 1023), (4095, 4095), (4096, 16383), (16384, None), (0, None)],
)
def test_the_range_is_that_of_the_next_converter(workspace, largest, expected):
    job = planned(workspace, low_bit(workspace, 12)).job
    assert found_range(job, [0, largest]) == expected
    pixels = np.zeros((30, 40, 3), np.uint16)
    pixels[29, 39, 2] = largest
    assert brightest(job, Frame(workspace.root, pixels)) == largest
    assert brightest(job, Frame(workspace.root, pixels.astype(np.uint8))) is None
