"""Aligned runs: frames that moved fuse as well as those that did not, tiled like whole."""

import json
from functools import cache

import numpy as np
import pytest
from PIL import Image

from batchstack.batch.graph import split_graph
from batchstack.batch.ledger import Ledger
from batchstack.batch.manifest import load_manifest
from batchstack.batch.plan import RunOptions, make_plan
from batchstack.fusion import METHODS
from batchstack.images import read_image, write_image
from batchstack.options import AlignOptions
from batchstack.quality import psnr
from batchstack.registration import estimate_stack
from batchstack.scenes import Camera, make_stack
from tests.batch.conftest import do_split, do_whole
from tests.scenes import stack

SHAPE = (300, 360)
FUSED = "focus_stacked_all_channels.png"
MOVE = Camera(breathing=0.01, shift=(5.0, -3.0), rotation=0.4)


@cache
def scene(**options):
    return make_stack(SHAPE, blur=3.0, scene="hair", **options)


@pytest.fixture
def plan(workspace):
    def make(**options):
        manifest = load_manifest(workspace.root / "pairs.csv", known_methods=METHODS)
        out = workspace.root / "out"
        run = {"methods": ("all_channels",)} | options
        return make_plan(manifest, out, RunOptions(**run), Ledger(out))

    return make


def run(workspace, output, *options):
    methods = ("--methods", "all_channels")
    return workspace.run("run", "pairs.csv", "-o", output, "--workers", 0, *methods, *options)


def facts(workspace, output):
    lines = workspace.run("status", output, "--json").stdout.splitlines()
    return {data["id"]: data for data in map(json.loads, lines)}


def decibels(rendered, image):
    inner = np.s_[16:-16, 16:-16]
    return psnr(rendered.truth[inner], image[inner])


def test_moved_frames_fuse_as_if_they_had_not_moved(workspace, files):
    moved = scene(camera=MOVE)
    files(moved=moved, plain=scene())
    said = run(workspace, "auto", "--border", "fill").stderr
    run(workspace, "off", "--align", "off")
    score = {
        (output, name): decibels(rendered, read_image(workspace.root / output / name / FUSED))
        for output in ("auto", "off")
        for name, rendered in (("moved", moved), ("plain", scene()))
    }
    assert score["auto", "moved"] > score["off", "moved"] + 6
    assert score["auto", "moved"] > score["off", "plain"] - 1.5
    assert "1 aligned, 0 with frames that could not be" in said
    # A registered pair is not touched.
    assert workspace.pixels("auto")[f"plain/{FUSED}"] == workspace.pixels("off")[f"plain/{FUSED}"]
    known = facts(workspace, "auto")
    assert [frame["model"] for frame in known["plain"]["align"]] == ["identity"] * 2
    still, shifted = known["moved"]["align"]
    assert still == {"model": "identity"}
    assert shifted["model"] == "similarity"
    corners = np.array([(x, y, 1) for x in (0, SHAPE[1]) for y in (0, SHAPE[0])]).T
    found = np.reshape(shifted["matrix"], (2, 3))
    assert np.abs((found - moved.warps[1]) @ corners).max() < 0.5
    assert set(shifted) == {"model", "matrix", "error"}
    assert "align" not in facts(workspace, "off")["moved"]


@pytest.mark.parametrize("n_frames", [2, 5])
@pytest.mark.parametrize("border", ["crop", "fill"])
def test_aligned_tiles_and_split_stacks_equal_the_whole(workspace, files, plan, n_frames, border):
    files(s=scene(frames=n_frames, camera=MOVE))
    options = {
        "alignment": AlignOptions("similarity", border, match_exposure="on"),
        "methods": ("all_channels", "median_mask"),
    }
    (step,) = plan(**options)
    whole = do_whole(step.job)
    assert whole.error is None and whole.is_moved
    expected = workspace.outputs("out")
    (tiled,) = plan(tile=128, **options)
    assert do_whole(tiled.job).transforms == whole.transforms
    assert workspace.outputs("out") == expected
    split = do_split(tiled.job, tiled.shape)
    assert split.error is None
    assert split.transforms == whole.transforms
    assert workspace.outputs("out") == expected
    assert split.outputs == whole.outputs


def test_the_crop_is_a_part_of_the_filled_image_and_of_every_frame(workspace, files, plan):
    files(s=scene(camera=MOVE))
    images = {}
    for border in ("fill", "crop"):
        (step,) = plan(alignment=AlignOptions(border=border))
        result = do_whole(step.job)
        images[border] = read_image(step.job.output_path(FUSED.removesuffix(".png")))
    assert images["fill"].shape == (*SHAPE, 3)
    rows, columns = images["crop"].shape[:2]
    places = [
        (top, left)
        for top in range(SHAPE[0] - rows + 1)
        for left in range(SHAPE[1] - columns + 1)
        if np.array_equal(images["fill"][top : top + rows, left : left + columns], images["crop"])
    ]
    ((top, left),) = places
    corners = [(x, y, 1) for x in (left, left + columns - 1) for y in (top, top + rows - 1)]
    x, y = result.transforms[1].array @ np.array(corners).T
    assert x.min() >= 0 and x.max() <= SHAPE[1] - 1
    assert y.min() >= 0 and y.max() <= SHAPE[0] - 1


def test_only_a_split_stack_to_align_has_its_frames_compared(files, plan):
    files(s=scene())
    for align, expected in (("auto", ["s|link-1"]), ("off", [])):
        (step,) = plan(alignment=AlignOptions(align))
        graph = split_graph(step.job, "s", step.shape)
        assert [key for key in graph.dask if key.startswith("s|link")] == expected


def test_alignment_is_redone_if_its_options_change_and_matter(workspace, files, plan):
    files(s=scene())
    run(workspace, "out", "--align", "off")

    def action(*values):
        (step,) = plan(alignment=AlignOptions(*values))
        return step.action

    assert action("off", "fill", "auto") == "skip"
    assert action("auto") == "fuse"
    run(workspace, "out")
    assert action("auto") == "skip"
    assert action("off") == action("affine") == "fuse"
    assert action("auto", "fill") == action("auto", "crop", "on") == "fuse"


def test_frames_that_do_not_belong_together_are_left_alone_and_named(workspace):
    one = workspace.stack("one", shape=(300, 300), seed=1)
    other = workspace.stack("other", shape=(300, 300), seed=2)
    frames = [one[0], other[1]]
    workspace.manifest({"odd": frames, "good": one})
    said = run(workspace, "auto").stderr
    assert "2 done, 0 skipped, 0 failed" in said
    assert "warning: pairs.csv:2 odd: frame 2 of 2 keeps its neighbour's place: " in said
    assert said.count("warning: ") == 1
    assert "0 aligned, 1 with frames that could not be" in said
    run(workspace, "off", "--align", "off")
    assert workspace.pixels("auto") == workspace.pixels("off")
    note = facts(workspace, "auto")["odd"]["align"][1]["note"]
    assert note.startswith("not aligned: ")
    reason = note.removeprefix("not aligned: ")
    told = f"odd: frame 2 of 2 keeps its neighbour's place: {reason}"
    assert told in workspace.run("status", "auto").stdout
    said = workspace.run("fuse", *frames, "-o", "one", "--methods", "direct").stderr
    assert "warning: frame 2 of 2 keeps its neighbour's place: " in said


def test_light_is_matched_if_it_differs_and_left_alone_otherwise(workspace, files):
    bright = scene(camera=Camera(exposure_ev=0.4))
    files(s=bright, even=scene())
    score = {}
    wishes = {"off": ["--match-exposure", "off"], "auto": [], "on": ["--match-exposure"]}
    for output, options in wishes.items():
        run(workspace, output, *options)
        image = read_image(workspace.root / output / "s" / FUSED).astype(float)
        # The median of two lights is between them, the truth has that of the first.
        level = np.median(bright.truth / np.maximum(image, 1))
        score[output] = decibels(bright, np.clip(np.rint(image * level), 0, 255).astype(np.uint8))
    assert score["auto"] > score["off"] + 3
    assert workspace.pixels("auto")[f"s/{FUSED}"] == workspace.pixels("on")[f"s/{FUSED}"]
    assert workspace.pixels("auto")[f"even/{FUSED}"] == workspace.pixels("off")[f"even/{FUSED}"]
    known = facts(workspace, "auto")
    assert known["s"]["light"] == pytest.approx(0.2 * np.log(2), abs=0.01)
    assert [set(frame) for frame in known["s"]["align"]] == [{"model", "gain", "dark"}] * 2
    assert known["even"]["align"] == [{"model": "identity"}] * 2
    assert "light" not in facts(workspace, "off")["s"]


def test_light_alone_is_matched_where_frames_are_not_moved(workspace, files):
    files(s=scene(camera=Camera(exposure_ev=0.4)))
    run(workspace, "both")
    run(workspace, "light", "--align", "off", "--match-exposure", "on")
    assert workspace.pixels("both") == workspace.pixels("light")
    run(workspace, "none", "--align", "off")
    assert workspace.pixels("none") != workspace.pixels("light")


def test_what_a_crop_costs_is_told(workspace, files):
    moved = scene(camera=MOVE)
    files(moved=moved)
    said = run(workspace, "out", "-v").stderr
    rows, columns = read_image(workspace.root / "out" / "moved" / FUSED).shape[:2]
    share = 100 * (1 - rows * columns / (SHAPE[0] * SHAPE[1]))
    words = f"{share:.1f} % of the picture"
    assert f"; {words} is cropped; the first frame shows most of the scene" in said
    known = facts(workspace, "out")["moved"]
    assert known["cropped"] == pytest.approx(share, abs=0.01) and known["widest"] == "first"
    assert f"cropped: 1 stacks, by {words} in the median" in workspace.run("status", "out").stdout


def test_rows_override_how_the_run_aligns(files, plan):
    values = [("align", ["off", ""]), ("border", ["", "fill"]), ("match_exposure", ["", "yes"])]
    files(a=scene(), b=scene(), columns=values)
    first, second = plan(alignment=AlignOptions("affine"))
    assert first.job.alignment == AlignOptions("off")
    assert second.job.alignment == AlignOptions("affine", "fill", match_exposure="on")


def test_the_measured_peak_of_an_aligned_stack_stays_under_the_prediction(workspace, plan):
    rendered = make_stack((1100, 1300), scene="hair", camera=MOVE)
    for index, frame in enumerate(rendered.frames):
        write_image(workspace.root / f"frame{index}.jpg", frame)
    workspace.manifest({"s": ["frame0.jpg", "frame1.jpg"]})
    (step,) = plan()
    run(workspace, "out")
    known = facts(workspace, "out")["s"]
    assert known["align"][1]["model"] == "similarity"
    assert known["peak_memory"] < step.footprint.whole


def reference_of(workspace, files, *options):
    """What the record says, and the fused image, of three frames that breathe."""
    # Narrow at the back: frame i shows the scene 1 % smaller than the one before.
    rendered = scene(camera=Camera(breathing=-0.02), frames=3)
    files(deep=rendered)
    said = run(workspace, "out", *options).stderr
    return rendered, said, facts(workspace, "out")["deep"]


@pytest.mark.parametrize(("place", "number"), [("middle", 2), ("last", 3), ("3", 3), ("1", 1)])
def test_the_reference_stays_where_it_is(workspace, files, place, number):
    rendered, _, known = reference_of(workspace, files, "--reference", place, "--border", "fill")
    assert known["reference"] == number
    with Image.open(workspace.root / "out" / "deep" / FUSED) as image:
        assert json.loads(image.text["Software"])["reference"] == number
    models = [frame["model"] for frame in known["align"]]
    assert [index + 1 for index, model in enumerate(models) if model == "identity"] == [number]
    corners = np.array([(x, y, 1) for x in (0, SHAPE[1]) for y in (0, SHAPE[0])]).T
    square = [np.vstack([warp, [0, 0, 1]]) for warp in rendered.warps]
    true = [warp @ np.linalg.inv(square[number - 1]) for warp in square]
    for frame, matrix in zip(known["align"], true, strict=True):
        found = np.reshape(frame.get("matrix", (1, 0, 0, 0, 1, 0)), (2, 3))
        assert np.abs((found - matrix[:2]) @ corners).max() < 0.5


def test_auto_takes_the_narrowest_field_and_crops_nothing(workspace, files):
    _, said, known = reference_of(workspace, files, "--reference", "auto")
    assert known["reference"] == 1
    assert "the reference is frame 1 of 3" in said and "narrowest" in said
    fused = read_image(workspace.root / "out" / "deep" / FUSED)
    assert min(np.subtract(SHAPE, fused.shape[:2])) <= 1


def test_a_reference_that_the_stack_does_not_have_is_refused(workspace, files):
    files(pair=scene())
    said = workspace.run("run", "pairs.csv", "-o", "out", "--workers", 0, "--reference", 3, code=1)
    assert "the stack has 2 frames" in said.stderr


@pytest.mark.parametrize("value", [1e30, -3.4e38])
def test_a_mark_for_missing_pixels_gives_a_reason(workspace, value):
    for number, pixels in enumerate(stack((60, 80), 2, dtype="float32")):
        pixels[20, 30] = value if number else 0
        write_image(workspace.root / f"{number}.tif", pixels)
    workspace.manifest({"s": ["0.tif", "1.tif"]})
    run = ("run", "pairs.csv", "-o", "out", "--workers", "0", "--methods", "direct")
    said = workspace.run(*run, code=1).stderr
    assert f"1.tif: has pixels of {value:g}, which is no brightness" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("value", [9e8, -9e8, 1e4])
def test_a_lone_extreme_value_ends_no_registration(value):
    frames = stack((120, 160), 3, dtype="float32")
    frames[1][50, 60] = value
    transforms = estimate_stack(frames)
    assert all(np.isfinite(transform.matrix).all() for transform in transforms)
