"""Files state which value is white, or what they hold tells it; either is said."""

from functools import partial

import numpy as np
import pytest
import tifffile

from batchstack.batch.alignment import Frame
from batchstack.batch.ledger import Ledger
from batchstack.batch.manifest import load_manifest
from batchstack.batch.plan import RunOptions, make_plan
from batchstack.fusion import METHODS
from batchstack.images.white import held, white_of
from batchstack.options import FusionOptions
from tests.batch.conftest import do_split, do_whole
from tests.scenes import stack

FULL = 2**16 - 1


def frames_of(workspace, top, stated=None, n_frames=2, dtype="uint16", shape=(80, 90)):
    """A stack whose largest value is `top`, with the tag MaxSampleValue of each frame."""
    frames = stack(shape, n_frames, dtype="uint16")
    largest = max(int(frame.max()) for frame in frames)
    names = [f"f{number}.tif" for number in range(n_frames)]
    stated = stated if isinstance(stated, list) else [stated] * n_frames
    tag, kind = (341, "f") if dtype == "float32" else (281, "H")
    for name, pixels, value in zip(names, frames, stated, strict=True):
        scaled = (pixels.astype(np.float64) * top / largest).astype(dtype)
        tags = [(tag, kind, 1, value, True)] if value else []
        tifffile.imwrite(workspace.root / name, scaled, photometric="rgb", extratags=tags)
    return names


def planned(workspace, names, folder="out", **fusion):
    options = RunOptions(methods=("all_channels", "bayesian"), fusion=FusionOptions(**fusion))
    manifest = load_manifest(workspace.manifest({"s": names}), known_methods=METHODS)
    out = workspace.root / folder
    (step,) = make_plan(manifest, out, options, Ledger(out))
    return step


@pytest.mark.parametrize("n_frames", [2, 3])
@pytest.mark.parametrize(
    ("dtype", "said"),
    [
        ("uint16", "its frames use 12 of 16 bits, so 4095 is taken for white"),
        ("float32", ".tif, most of them above 1, so 4095 is taken for white"),
    ],
)
def test_what_frames_hold_is_found_and_used_whole_and_in_tiles(workspace, n_frames, dtype, said):
    names = frames_of(workspace, 4095, n_frames=n_frames, dtype=dtype)
    found = do_whole(planned(workspace, names).job)
    assert found.white.value == 4095
    assert any(said in one for one in found.warnings)
    whole = workspace.outputs("out")
    step = planned(workspace, names)
    split = do_split(step.job, step.shape)
    assert split.white == found.white
    assert split.warnings == found.warnings
    assert workspace.outputs("out") == whole
    given = do_whole(planned(workspace, names, "given", data_range=4095.0).job)
    assert given.white == (None, "")
    assert workspace.pixels("given") == workspace.pixels("out")


@pytest.mark.parametrize(
    ("top", "dtype"),
    [(FULL, "uint16"), (2**15, "uint16"), (0.9, "float32"), (1.2, "float32")],
)
def test_what_uses_all_of_its_type_is_taken_as_it_is(workspace, top, dtype):
    result = do_whole(planned(workspace, frames_of(workspace, top, dtype=dtype)).job)
    assert result.white == (None, "")
    assert result.warnings == []


@pytest.mark.parametrize("stated", [None, 1.0])
def test_floats_mostly_a_little_above_white_are_told_with_a_remedy_that_works(workspace, stated):
    names = frames_of(workspace, 12.0, stated, dtype="float32")
    result = do_whole(planned(workspace, names).job)
    assert result.white.value is None
    (warning,) = result.warnings
    assert "hold values up to 12 in f" in warning and "most of them above 1" in warning
    assert "so 1 is taken for white; give --data-range if that is wrong" in warning
    given = do_whole(planned(workspace, names, "given", data_range=12.0).job)
    assert given.warnings == []
    assert workspace.pixels("given") != workspace.pixels("out")


@pytest.mark.parametrize(
    ("top", "stated", "expected", "said"),
    [
        (500, 4095, 4095, "state 4095 for white, though 1023 would do for what they hold"),
        (4095, FULL, None, "state 65535 for white, though 4095 would do for what they hold"),
        (50_000, FULL, None, ""),
        (4095, [None, FULL], None, "state 65535 for white"),
        (4095, 255, 4095, ".tif though 255 is stated for white"),
        (60_000, 4095, None, ".tif though 4095 is stated for white"),
    ],
)
def test_what_files_state_wins_unless_pixels_are_above_it(workspace, top, stated, expected, said):
    white = do_whole(planned(workspace, frames_of(workspace, top, stated)).job).white
    assert white.value == expected
    assert said in white.said
    assert bool(said) == bool(white.said)


@pytest.mark.parametrize(
    ("top", "stated", "expected"),
    [
        (0.9, 1.0, None),
        (0.9, 4095.0, None),  # scaled, and the tag was kept
        (700, 4000.0, 4095),
        (4095, 1.0, 4095),
        (65535, None, FULL),
    ],
)
def test_floats_are_taken_by_what_they_state_too(workspace, top, stated, expected):
    job = planned(workspace, frames_of(workspace, top, stated, dtype="float32")).job
    white = do_whole(job).white
    assert white.value == expected
    assert bool(white.said) == (stated != 1.0 or expected is not None)


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_frame_of_another_scale_is_told_until_it_is_brought_to_that_of_the_others(
    workspace, dtype, split
):
    def said():
        step = planned(workspace, names)
        result = do_split(step.job, step.shape) if split else do_whole(step.job)
        return [warning for warning in result.warnings if "of another scale" in warning]

    names = frames_of(workspace, FULL if dtype == "uint16" else 1.0, n_frames=3, dtype=dtype)
    assert said() == []
    dark = workspace.root / names[1]
    pixels = tifffile.imread(dark)
    tifffile.imwrite(dark, (pixels / 16).astype(dtype), photometric="rgb")
    (warning,) = said()
    assert "f1.tif is 1" in warning and "times as dark beside f" in warning
    tifffile.imwrite(dark, (tifffile.imread(dark) * 16).astype(dtype), photometric="rgb")
    assert said() == []


def test_frames_that_state_different_values_are_told(workspace):
    job = planned(workspace, frames_of(workspace, 900, [1000, 4095])).job
    (warning,) = job.warnings
    assert "f1.tif: states 4095 for white, f0.tif 1023" in warning
    assert do_whole(job).white.value == 4095


@pytest.mark.parametrize(
    ("largest", "expected"),
    [(1, 255), (255, 255), (256, 1023), (4095, 4095), (4096, 16383), (16384, None), (0, None)],
)
def test_the_range_is_that_of_the_next_converter(workspace, largest, expected):
    pixels = np.zeros((30, 40, 3), np.uint16)
    pixels[29, 39, 2] = largest
    found = held(Frame(workspace.root, pixels), None)
    assert white_of(None, [found, found]).value == expected
    assert held(Frame(workspace.root, pixels.astype(np.uint8)), None) is None


def test_a_few_bright_floats_are_light(workspace):
    pixels = np.full((30, 40), 0.2, np.float32)
    pixels[:3] = 5000
    frame = partial(Frame, workspace.root)
    white = white_of(None, [held(frame(pixels), None)])
    assert white.value is None
    assert "up to 5000, though most are not above 1, so 1 is taken for white" in white.said
    pixels[3:] = 0  # what is cut out of its background
    assert white_of(None, [held(frame(pixels), None)]).value == 2**14 - 1
