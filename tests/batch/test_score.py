"""Scored runs: what is measured, where it is kept, and what sorts worst."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from batchstack import quality
from batchstack.batch.ledger import Ledger
from batchstack.batch.manifest import load_manifest
from batchstack.batch.plan import RunOptions, make_plan
from batchstack.batch.tile_files import tile_window, write_tile
from batchstack.fusion import METHODS
from batchstack.geometry import Box
from batchstack.images import read_image
from batchstack.options import AlignOptions
from batchstack.scenes import Camera, make_stack
from tests.batch.conftest import do_split, do_whole

MOVE = Camera(breathing=0.01, shift=(5.0, -3.0), rotation=0.4)
FUSED = {method.output for method in METHODS.values() if method.output}
MEASURES = {"Qsharp", "Artefacts"}


@cache
def scene(shape=(300, 360), **options):
    return make_stack(shape, blur=3.0, scene="hair", **options)


@pytest.fixture
def plan(workspace):
    def make(**options):
        manifest = load_manifest(workspace.root / "pairs.csv", known_methods=METHODS)
        out = workspace.root / "out"
        run = {"methods": ("all_channels",), "score": True} | options
        return make_plan(manifest, out, RunOptions(**run), Ledger(out))

    return make


def run(workspace, *options):
    methods = () if "--methods" in options else ("--methods", "all_channels")
    return workspace.run("run", "pairs.csv", "-o", "out", "--workers", 0, *methods, *options)


def status(workspace, *options):
    lines = workspace.run("status", "out", "--json", *options).stdout.splitlines()
    return {data["id"]: data for data in map(json.loads, lines)}


def test_fused_images_are_scored_as_the_library_scores_them_and_maps_are_not(workspace, files):
    files(s=scene())
    run(workspace, "--score", "--methods", "all")
    frames = [read_image(workspace.root / f"frames/s{i}.png") for i in range(2)]
    scores = status(workspace)["s"]["scores"]
    assert scores.keys() == FUSED
    for name, found in scores.items():
        image = read_image(workspace.root / "out" / "s" / f"{name}.png")
        area = Box(0, 0, *image.shape[:2])
        read = {name: lambda box, image=image: image[box.slices]}
        expected = quality.score_windows(lambda i, box: frames[i][box.slices], 2, read, area)
        assert found == pytest.approx(expected[name], abs=1e-6)


@pytest.mark.parametrize(("n_frames", "border"), [(2, "crop"), (3, "fill")])
def test_a_split_stack_scores_as_the_whole_one(files, plan, n_frames, border):
    files(s=scene((300, 3600), frames=n_frames, camera=MOVE), suffix=".tif")
    alignment = AlignOptions("similarity", border, match_exposure="on")
    (step,) = plan(alignment=alignment, tile=384)
    whole = do_whole(step.job)
    assert whole.error is None and whole.is_moved
    assert whole.scores["focus_stacked_all_channels"].keys() == MEASURES
    split = do_split(step.job, step.shape)
    assert split.error is None
    assert split.scores == whole.scores


def test_scores_are_of_the_aligned_frames_and_of_pixels_before_they_are_encoded(files, plan):
    files(s=scene(camera=MOVE))
    scores = {}
    for suffix in ("png", "jpg"):
        (step,) = plan(alignment=AlignOptions("similarity"))
        job = replace(step.job, suffix=f".{suffix}", quality=10)
        scores[suffix] = do_whole(job).scores["focus_stacked_all_channels"]
    assert scores["png"] == scores["jpg"]
    (step,) = plan(alignment=AlignOptions("off"))
    unaligned = do_whole(step.job).scores["focus_stacked_all_channels"]
    assert scores["png"]["Qsharp"] > unaligned["Qsharp"] + 0.02


def test_worst_first_puts_the_blurred_and_the_doubled_stack_on_top(workspace, files):
    # A slope of next to nothing is the mean of the frames; unaligned frames show twice.
    good, other = scene(), scene(seed=3)
    columns = [
        ("beta", ["", "0.000001", "", ""]),
        ("align", ["off", "off", "off", ""]),
    ]
    files(columns, good=good, mean=good, double=scene(camera=MOVE), other=other)
    said = run(workspace, "--score").stderr
    found = status(workspace)
    figure = {
        name: data["scores"]["focus_stacked_all_channels"]["Qsharp"] for name, data in found.items()
    }
    assert max(figure["mean"], figure["double"]) < min(figure["good"], figure["other"])
    order = sorted(figure, key=figure.get)
    assert set(order[:2]) == {"mean", "double"}
    lowest = ", ".join(f"{name} {figure[name]:.4f}" for name in order[:3])
    assert f"4 scored, lowest Qsharp: {lowest}" in said.replace(" (focus_stacked_all_channels)", "")
    assert list(status(workspace, "--worst", 3)) == order[:3]
    table = workspace.run("status", "out", "--worst", 2).stdout.splitlines()
    assert table[0].split() == ["stack", "Qsharp", "Artefacts", "output"]
    assert [line.split()[:2] for line in table[1:]] == [
        [name, f"{figure[name]:.4f}"] for name in order[:2]
    ]
    assert all(line.endswith("focus_stacked_all_channels") for line in table[1:])


def test_only_what_has_no_scores_is_fused_again_for_them(workspace, files):
    files(s=scene((60, 80)))
    run(workspace)
    outputs = workspace.outputs("out")
    assert status(workspace)["s"]["scores"] == {}
    assert "no stack has scores" in workspace.run("status", "out", "--worst", 5, code=2).stderr
    check = ("check", "pairs.csv", "-o", "out", "--methods", "all_channels,depth_map")
    told = workspace.run(*check, "--score").stdout
    assert "all_channels: not scored yet; depth_map: not done yet" in told
    run(workspace, "--score", "--methods", "all_channels,depth_map")
    assert "skip" in workspace.run(*check, "--score").stdout
    scores = status(workspace)["s"]["scores"]
    assert scores["focus_stacked_all_channels"].keys() == MEASURES
    assert "1 skipped" in run(workspace).stderr
    # Another method and a touched data set leave the scores of the first alone.
    run(workspace, "--methods", "all_channels,direct")
    (workspace.root / "frames" / "s0.png").touch()
    run(workspace, "--methods", "all_channels,direct")
    assert status(workspace)["s"]["scores"] == scores
    # Pixels of other options are not those that were scored.
    run(workspace, "--beta", "0.2")
    assert status(workspace)["s"]["scores"] == {}
    assert workspace.outputs("out").keys() > outputs.keys()


def test_scores_of_an_older_version_are_brought_up_to_date_when_asked_for(workspace, files):
    files(s=scene((60, 80)))
    run(workspace, "--score")
    with Ledger(workspace.root / "out") as ledger:
        ((_, history),) = ledger
        (name, record), *_ = history.records.items()
        old = {"focus_stacked_all_channels": {"Qabf": 0.5}}
        ledger.append_done("s", {name: replace(record, scores=old)})
    assert "1 skipped" in run(workspace).stderr
    assert list(status(workspace, "--worst", 1)) == ["s"]
    check = ("check", "pairs.csv", "-o", "out", "--methods", "all_channels", "--score")
    assert "s: not scored yet" in workspace.run(*check).stdout
    run(workspace, "--score")
    assert status(workspace)["s"]["scores"]["focus_stacked_all_channels"].keys() == MEASURES


def test_the_measured_peak_of_a_scored_stack_stays_under_the_prediction(workspace, files, plan):
    files(s=scene((1024, 1024)), suffix=".jpg")
    # Small tiles, so that scoring weighs.
    options = {"methods": ("direct",), "alignment": AlignOptions("off"), "tile": 256}
    (step,) = plan(**options)
    (plain,) = plan(**options, score=False)
    run(workspace, "--methods", "direct", "--align", "off", "--tile", 256, "--score")
    known = status(workspace)["s"]
    assert known["scores"]
    assert plain.footprint.whole <= step.footprint.whole
    assert known["peak_memory"] < step.footprint.whole


def test_a_window_is_put_together_from_the_tiles_it_touches(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
    boxes = [
        Box(top, left, min(top + 16, 50), min(left + 16, 70))
        for top in range(0, 50, 16)
        for left in range(0, 70, 16)
    ]
    for box in boxes:
        write_tile(tmp_path, "image", box, image[box.slices])
    for window in (Box(0, 0, 50, 70), Box(16, 32, 32, 48), Box(7, 9, 43, 66), Box(49, 69, 50, 70)):
        found = tile_window(tmp_path, "image", boxes, window)
        np.testing.assert_array_equal(found, image[window.slices])
        assert found.dtype == image.dtype
