"""Stacks that threads share: the same pixels however they do, and told how far they are."""

import os
import pickle
import signal
from dataclasses import replace
from unittest.mock import patch

import pytest

from batchstack.batch import progress
from batchstack.batch.graph import split_graph
from batchstack.batch.ledger import Ledger
from batchstack.batch.manifest import load_manifest
from batchstack.batch.plan import RunOptions, make_plan
from batchstack.batch.steps import can_spread, is_split
from batchstack.batch.tasks import tiles_of
from batchstack.errors import ExitCode
from batchstack.fusion import METHODS
from batchstack.options import AlignOptions
from batchstack.scenes import Camera, make_stack
from tests.batch.conftest import do_split, do_whole
from tests.faults.ward import Ward

SHAPE = (400, 300)
MOVE = {"breathing": 0.01, "shift": (5.0, -3.0)}
# Everything is large, and is cut into tiles that a small image has several of.
ALL_IS_LARGE = {"steps": {"WORTH_SPREADING": 0.0}}


@pytest.fixture(autouse=True)
def low_tiles():
    with patch("batchstack.fusion.engine._LEAST_ROWS", 64):
        yield


@pytest.fixture
def step(workspace, files):
    def make(n_frames=2, *, limit=None, shape=SHAPE, suffix=".png", move=MOVE, **options):
        scene = make_stack(shape, frames=n_frames, blur=3.0, scene="hair", camera=Camera(**move))
        manifest = load_manifest(files(suffix=suffix, s=scene), known_methods=METHODS)
        out = workspace.root / "out"
        (found,) = make_plan(manifest, out, RunOptions(**options), Ledger(out), memory_limit=limit)
        return found

    return make


def test_what_is_sent_for_a_stack_grows_with_its_tiles_and_no_faster(step):
    job = step(shape=(40, 30), alignment=AlignOptions("off")).job

    def sent_for_a_tile(side):
        graph = split_graph(job, "s", (side, side)).__dask_graph__()
        return len(pickle.dumps(dict(graph))) / len(tiles_of(job, (side, side)))

    assert sent_for_a_tile(20_000) < 1.2 * sent_for_a_tile(10_000)


@pytest.mark.parametrize(
    ("n_frames", "align", "suffix"), [(2, "off", ".jpg"), (3, "similarity", ".tif")]
)
def test_pixels_do_not_depend_on_how_threads_share_a_stack(step, n_frames, align, suffix):
    found = step(n_frames, suffix=suffix, alignment=AlignOptions(align), score=True)
    whole = do_whole(found.job)
    assert whole.error is None
    shared = [replace(found.job, spread=threads) for threads in (1, 2, 3, 5)]
    narrow = [replace(job, tile=128) for job in shared]
    tile_by_tile = replace(found.job, tile=128)
    counts = set()
    for job in (*shared, *narrow, tile_by_tile):
        result = do_split(job, found.shape)
        assert result.error is None
        assert (result.outputs, result.scores) == (whole.outputs, whole.scores)
        assert result.transforms == whole.transforms
        counts.add(len(tiles_of(job, found.shape)))
    assert len(counts) > 4, "they were all shared alike"


def test_only_what_is_large_and_fits_is_shared(step, monkeypatch):
    found = step()
    assert not can_spread(found, None)
    frames, megapixels = 2, SHAPE[0] * SHAPE[1] / 1e6
    monkeypatch.setattr("batchstack.batch.steps.WORTH_SPREADING", frames * megapixels)
    assert can_spread(found, None)
    assert can_spread(found, found.footprint.spread)
    assert not can_spread(found, found.footprint.spread - 1)
    assert is_split(found, found.footprint.whole - 1)


@pytest.mark.parametrize("align", ["off", "similarity"])
@pytest.mark.parametrize("spread", [0, 2])
def test_what_is_told_of_a_stack_grows_until_it_is_done(step, monkeypatch, align, spread):
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    found = step(3, alignment=AlignOptions(align), methods=("all_channels", "depth_map"))
    job, told = replace(found.job, spread=spread), []
    with progress.hearing(told.append):
        result = do_split(job, found.shape) if spread else do_whole(job)
    assert result.error is None
    fractions = [stack.fraction for stack in told]
    assert fractions == sorted(fractions)
    assert fractions[0] < 0.2
    assert 0.99 < fractions[-1] <= 1
    assert len(set(fractions)) > 8
    aligning = set() if align == "off" else {"aligning"}
    assert {stack.phase for stack in told} == {"reading", "fusing", "writing"} | aligning


def test_who_hears_of_a_stack_cannot_hurt_it(step, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    job, heard = step().job, []

    def break_down(told):
        heard.append(told)
        raise RuntimeError

    with progress.hearing(break_down):
        assert do_whole(job).error is None
    assert heard


def test_a_part_that_is_done_again_counts_once():
    reached = progress.Reached()
    for share in (0.1, 0.3, 0.1, 0.3):
        reached.take(progress.Advance("fusing", {"tile 0 0": share}))
    reached.take(progress.Advance("fusing", {"tile 0 8": 0.2}))
    assert reached.fraction == pytest.approx(0.5)


# --- processes


@pytest.fixture
def ward(tmp_path):
    ward = Ward(tmp_path)
    ward.arguments = (*ward.arguments, "--tile", 128)
    yield ward
    ward.close()


def test_all_workers_share_the_only_stack_and_it_survives_one_of_them(ward):
    oracle = ward.known({"big": ward.stack("big", (300, 400), n_frames=3)})
    ward.hurt("", **ALL_IS_LARGE)
    ward.shut("big")
    run = ward.begin("--workers", 2)
    victim, _ = ward.wait_until_held(2, run)
    os.kill(victim, signal.SIGKILL)
    run.wait_until_said("others go on with big")
    ward.open("big")
    run.end(0)
    oracle.judge(done=1)


def test_a_run_is_told_how_far_its_stacks_are(ward):
    oracle = ward.known({"big": ward.stack("big", (300, 400), n_frames=3)})
    ward.hurt(
        "after('batchstack.cli.progress')(lambda m: vars(m).update(SECONDS_BETWEEN_LINES=0.0))",
        progress={"INTERVAL": 0.0},
        **ALL_IS_LARGE,
    )
    said = ward.begin("--workers", 2).end(0)
    assert "0 of 1 stacks, 0 failed; big " in said
    assert " % done, fusing" in said
    oracle.judge(done=1)


FOUR_CORES = "after('batchstack.batch.machine')(lambda m: vars(m).update(cores=lambda: 4))"


def fuse(ward, *frames, folder):
    return ward.start("fuse", *frames, "-o", folder, "--tile", 128)


def test_fuse_shares_a_stack_among_threads(ward):
    frames = ward.stack("big", (300, 400), n_frames=3)
    ward.run("fuse", *frames, "-o", "whole")
    ward.hurt(FOUR_CORES, **ALL_IS_LARGE)
    fuse(ward, *frames, folder="shared").end(0)
    assert ward.times("tile-ended") > 1
    assert ward.outputs("shared") == ward.outputs("whole")
    assert not (ward.root / "shared" / ".batchstack").exists()


def test_interrupting_threads_of_fuse_leaves_nothing(ward):
    frames = ward.stack("big", (300, 400), n_frames=3)
    ward.hurt(FOUR_CORES, **ALL_IS_LARGE)
    ward.shut("tile--0-0")
    run = fuse(ward, *frames, folder="out")
    ward.wait_until_reached("tile--0-0", run=run)
    os.kill(run.process.pid, signal.SIGINT)
    ward.open("tile--0-0")
    assert "interrupted" in run.end(ExitCode.INTERRUPTED)
    assert ward.outputs("out") == {}
    assert not (ward.root / "out" / ".batchstack").exists()
