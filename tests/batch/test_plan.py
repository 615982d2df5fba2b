from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from batchstack import files
from batchstack.batch.jobs import Input
from batchstack.batch.ledger import Ledger
from batchstack.batch.manifest import load_manifest
from batchstack.batch.plan import RunOptions, make_plan
from batchstack.batch.records import Record
from batchstack.batch.steps import is_split
from batchstack.batch.up_to_date import output_key
from batchstack.errors import ManifestError
from batchstack.fusion import METHODS
from batchstack.options import AlignOptions, FusionOptions, OutputOptions


@pytest.fixture
def plan(workspace):
    def make(stacks, options=None, *, limit=None, columns=()):
        manifest = load_manifest(workspace.manifest(stacks, columns=columns), known_methods=METHODS)
        out = workspace.root / "out"
        return make_plan(manifest, out, options or RunOptions(), Ledger(out), memory_limit=limit)

    return make


def test_a_new_stack_is_fused_with_the_family_of_its_first_frame(workspace, plan):
    for suffix in (".jpg", ".png", ".tif"):
        (step,) = plan({"s": workspace.stack("s", suffix=suffix)})
        assert (step.action, step.job.suffix) == ("fuse", suffix)
        assert step.job.methods == tuple(METHODS)


def test_frames_of_a_done_stack_are_not_looked_at_for_each_method(workspace, plan, monkeypatch):
    frames = workspace.stack("s")
    found = [(workspace.root / frame).stat() for frame in frames]
    inputs = tuple(
        Input(str(workspace.root / frame), status.st_size, status.st_mtime_ns, "")
        for frame, status in zip(frames, found, strict=True)
    )
    keys = {name: output_key(METHODS[name], RunOptions(), ".png") for name in METHODS}
    with Ledger(workspace.root / "out") as ledger:
        ledger.append_done("s", {name: Record(key, inputs, {}) for name, key in keys.items()})
    looks = Counter()

    class Counting(files.System):
        def stat(self, path):
            looks[str(path)] += 1
            return super().stat(path)

    monkeypatch.setattr(files.calls, "system", Counting())
    (step,) = plan({"s": frames})
    assert step.action == "skip"
    assert all(1 <= looks[known.path] < len(METHODS) for known in inputs)


def test_the_family_is_that_of_the_content_not_of_the_name(workspace, plan):
    frames = workspace.stack("s", suffix=".png")
    for frame in frames:
        path = workspace.root / frame
        path.rename(path.with_suffix(".jpg"))
    (step,) = plan({"s": [frame.replace(".png", ".jpg") for frame in frames]})
    assert step.job.suffix == ".png"


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"shape": (30, 40)}, "--resize"),
        ({"dtype": "uint16"}, "uint16"),
        ({"grey": True}, "grey"),
    ],
)
def test_frames_that_differ_are_refused_naming_file_and_remedy(workspace, plan, second, message):
    frames = [workspace.stack("a")[0], workspace.stack("b", **second)[1]]
    (step,) = plan({"s": frames})
    assert (step.action, step.hopeless) == ("refuse", False)
    assert message in step.reasons[0]
    assert "b_1.png" in step.reasons[0]


def test_resize_accepts_another_size(workspace, plan):
    frames = [workspace.stack("a")[0], workspace.stack("b", shape=(30, 40))[1]]
    (step,) = plan({"s": frames}, RunOptions(resize=True))
    assert step.action == "fuse"


@pytest.mark.parametrize(
    ("dtype", "suffix", "wanted"),
    [("uint16", ".png", "jpg"), ("float32", ".tif", "jpg"), ("float32", ".tif", "png")],
)
def test_a_format_that_cannot_hold_the_depth_is_hopeless(workspace, plan, dtype, suffix, wanted):
    options = RunOptions(output=OutputOptions(format=wanted))
    (step,) = plan({"s": workspace.stack("s", dtype=dtype, suffix=suffix)}, options)
    assert (step.action, step.hopeless) == ("refuse", True)
    assert "tif" in step.reasons[0]


def test_little_memory_splits_and_too_little_is_hopeless(workspace, plan):
    stacks = {"s": workspace.stack("s", shape=(900, 900), suffix=".tif")}
    options = RunOptions(tile=128, methods=("direct",))
    (step,) = plan(stacks, options)
    assert not is_split(step, step.footprint.whole)
    assert is_split(step, step.footprint.whole - 1)
    needed = step.footprint.split
    assert needed < step.footprint.whole
    (step,) = plan(stacks, options, limit=needed)
    assert step.action == "fuse"
    (step,) = plan(stacks, options, limit=needed - 1)
    assert (step.action, step.hopeless) == ("refuse", True)
    assert "--tile" in step.reasons[0]


def huge_frames(folder, side, count=2):
    """TIFFs of one colour image each, of which the disk holds nothing but the headers."""
    for index in range(count):
        with tifffile.TiffWriter(folder / f"{side}_{index}.tif", bigtiff=True) as writer:
            writer.write(
                None,
                shape=(side, side, 3),
                dtype=np.uint8,
                photometric="rgb",
                rowsperstrip=64,
                metadata=None,
            )
    return [f"{side}_{index}.tif" for index in range(count)]


def test_memory_does_not_depend_on_the_size_of_the_image(workspace, plan):
    stacks = {str(side): huge_frames(workspace.root, side) for side in (2**15, 2**17, 2**19)}
    steps = plan(stacks, limit=1536 * 2**20)
    assert [step.action for step in steps] == ["fuse"] * 3
    needed = [step.footprint.split for step in steps]
    assert max(needed) < 1.1 * min(needed)
    assert all(is_split(step, 1536 * 2**20) for step in steps)


def test_tiles_become_smaller_where_memory_is_short(workspace, plan):
    stacks = {"s": huge_frames(workspace.root, 2**13, count=50)}
    (usual,) = plan(stacks)
    assert usual.job.tile is None
    (small,) = plan(stacks, limit=usual.footprint.split - 1)
    assert small.action == "fuse"
    assert small.job.tile < 1024
    assert small.footprint.split < usual.footprint.split
    (given,) = plan(stacks, RunOptions(tile=1024), limit=usual.footprint.split - 1)
    assert given.action == "refuse"
    assert "a smaller --tile" in given.reasons[0]


def test_what_no_tile_helps_is_said(workspace, plan):
    stacks = {"s": workspace.stack("s", shape=(4000, 4000), suffix=".tif")}
    plain = RunOptions(("direct",), alignment=AlignOptions("off"))
    options = replace(plain, output=OutputOptions(format="png"))
    (step,) = plan(stacks, options, limit=330 * 2**20)
    assert step.action == "refuse"
    assert "--format tif, because png is encoded from the whole image" in step.reasons[0]
    (step,) = plan(stacks, plain, limit=330 * 2**20)
    assert step.action == "fuse"


def test_rows_override_the_run(workspace, plan):
    stacks = {name: workspace.stack(name) for name in ("plain", "own")}
    columns = [("levels", ["", "3"]), ("methods", ["", "direct"]), ("format", ["", "tif"])]
    plain, own = plan(stacks, RunOptions(fusion=FusionOptions(beta=0.5)), columns=columns)
    assert (plain.job.fusion.levels, plain.job.suffix) == (5, ".png")
    assert (own.job.fusion.levels, own.job.fusion.beta, own.job.suffix) == (3, 0.5, ".tif")
    assert own.job.methods == ("direct",)


def test_rows_that_contradict_the_run_are_reported_with_their_place(workspace, plan):
    stacks = {name: workspace.stack(name) for name in ("a", "b")}
    options = RunOptions(fusion=FusionOptions(median_sizes=(9, 9, 5, 3, 3)))
    with pytest.raises(ManifestError, match=r"pairs.csv:3 .*median-sizes"):
        plan(stacks, options, columns=[("levels", ["", "3"])])


def test_more_frames_need_no_more_memory_than_their_rows(workspace, plan):
    def whole(n_frames):
        (step,) = plan({"s": workspace.stack(f"s{n_frames}", n_frames=n_frames)})
        return step.footprint.whole

    few, many, more = (whole(n_frames) for n_frames in (3, 12, 48))
    pixels = 60 * 80
    assert 0 < many - few < 9 * 200 * pixels
    assert 0 < more - many < 36 * 200 * pixels
