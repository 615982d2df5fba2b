"""Frames that fit are held in memory, others go through scratch: the same pixels either way."""

from dataclasses import replace

import cv2
import pytest
from PIL import Image

from batchstack.batch.ledger import Ledger
from batchstack.batch.manifest import load_manifest
from batchstack.batch.plan import RunOptions, make_plan
from batchstack.fusion import METHODS
from batchstack.images import read_image, write_image
from batchstack.options import AlignOptions
from batchstack.scenes import Camera, make_stack
from tests.batch.conftest import do_whole

ROOM = 2**30


@pytest.fixture
def planned(workspace, files):
    """A stack of four frames, planned for so much memory, after some of its files are changed."""

    def make(*, suffix=".jpg", limit=ROOM, change=lambda index, path: None, **options):
        camera = Camera(breathing=0.01, shift=(5.0, -3.0))
        scene = make_stack((200, 300), frames=4, blur=3.0, scene="hair", camera=camera)
        manifest = load_manifest(files(suffix=suffix, s=scene), known_methods=METHODS)
        for index, path in enumerate(manifest.rows[0].frames):
            change(index, path)
        out = workspace.root / "out"
        (step,) = make_plan(manifest, out, RunOptions(**options), Ledger(out), memory_limit=limit)
        return step

    return make


def turn(index, path):
    """Say of the frame that it has to be turned by half."""
    exif = Image.Exif()
    exif[274] = 3
    with Image.open(path) as image:
        image.save(path, exif=exif, quality=95)


def enlarge(index, path):
    if index:
        write_image(path, cv2.resize(read_image(path), (330, 220)))


@pytest.mark.parametrize(
    ("suffix", "change", "align"),
    [
        (".jpg", turn, "off"),
        (".jpg", enlarge, "off"),
        (".png", enlarge, "similarity"),
        (".tif", lambda index, path: None, "similarity"),
    ],
)
def test_held_frames_give_what_staged_ones_give(planned, suffix, change, align):
    step = planned(
        suffix=suffix,
        change=change,
        alignment=AlignOptions(align),
        resize=change is enlarge,
        methods=("all_channels", "depth_map"),
    )
    assert step.job.hold
    held, staged = do_whole(step.job), do_whole(replace(step.job, hold=False))
    assert held.error is staged.error is None
    assert held.outputs == staged.outputs
    assert held.inputs == staged.inputs


def test_frames_are_held_only_where_they_fit(planned):
    held = planned()
    assert held.job.hold
    less = planned(limit=held.footprint.whole - 1)
    assert (less.action, less.job.hold) == ("fuse", False)
    assert less.footprint.whole < held.footprint.whole
    assert not planned(limit=None).job.hold


def test_what_is_not_recorded_is_not_found_out(planned, monkeypatch):
    step = planned()
    recorded = do_whole(step.job)
    monkeypatch.setattr("batchstack.images.read.hashlib.sha256", None)
    alone = do_whole(replace(step.job, recorded=False))
    assert alone.error is None
    assert alone.outputs == recorded.outputs
    assert [one.size for one in alone.inputs] == [one.size for one in recorded.inputs]
    assert "unexpected error" in do_whole(step.job).error
