"""Aligned frames lie nearer to the truth than frames that are left as they are, or as near."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from batchstack import scenes
from batchstack.geometry import Box
from batchstack.registration import estimate_stack, warp
from batchstack.registration.motion import judged
from batchstack.registration.views import Pair, View

Image = npt.NDArray[Any]
Change = Callable[[list[Image]], list[Image]]

SHAPE = (600, 800)
STILL = scenes.Camera(noise=2.0)
HANDHELD = scenes.Camera(breathing=0.015, shift=(2.3, -1.7), rotation=0.05, noise=2.0)
BARELY = scenes.Camera(breathing=0.0004, shift=(0.3, -0.2), noise=2.0)
NAMES = {STILL: "still", BARELY: "barely", HANDHELD: "handheld"}


def as_they_are(frames: list[Image]) -> list[Image]:
    return frames


def faint(frames: list[Image]) -> list[Image]:
    """Little texture: a thirtieth of the contrast, under noise of its own."""
    rng = np.random.default_rng(1)
    flat = [128 + (frame - np.float32(128)) / 30 for frame in frames]
    return [np.rint(one + rng.standard_normal(one.shape)).astype(np.uint8) for one in flat]


def with_highlights(frames: list[Image]) -> list[Image]:
    """Bright spots, each of which moves by itself."""
    rng = np.random.default_rng(2)
    at, moves = rng.uniform(40, [760, 560], (60, 2)), rng.uniform(-20, 20, (60, 2))
    shown = [frame.copy() for frame in frames]
    for index, frame in enumerate(shown):
        for x, y in (at + index * moves).round().astype(int).tolist():
            cv2.circle(frame, (x, y), 5, (255, 255, 255), -1, cv2.LINE_AA)
    return shown


def with_dust(frames: list[Image]) -> list[Image]:
    """Dark spots on the sensor, which stay where they are."""
    rng = np.random.default_rng(3)
    dust = np.ones((*SHAPE, 1), np.float32)
    for centre in rng.integers(0, SHAPE[::-1], (60, 2)).tolist():
        cv2.circle(dust, centre, int(rng.integers(3, 9)), float(rng.uniform(0.4, 0.85)), -1)
    return [np.rint(frame * dust).astype(np.uint8) for frame in frames]


def without_anything(frames: list[Image]) -> list[Image]:
    """Noise alone: no frame shows what another does."""
    rng = np.random.default_rng(4)
    return [
        np.clip(np.rint(128 + 3 * rng.standard_normal(frame.shape)), 0, 255).astype(np.uint8)
        for frame in frames
    ]


CHANGES = (as_they_are, faint, with_highlights, with_dust, without_anything)


def stack(camera: scenes.Camera, blur: float) -> scenes.SyntheticStack:
    textures = scenes.sample_texture("coffee"), scenes.sample_texture("chelsea")
    how = {"scene": "hair", "frames": 3, "seed": 7, "blur": blur}
    return scenes.make_stack(SHAPE, textures=textures, camera=camera, **how)


def apart(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    corners = warp.corner_pixels(Box(0, 0, *SHAPE))
    return float(np.hypot(*(one - other) @ corners).max())


@pytest.mark.parametrize(
    ("camera", "blur"),
    [(camera, blur) for camera in (STILL, BARELY, HANDHELD) for blur in (5.0, 30.0)],
    ids=lambda value: NAMES.get(value, str(value)),
)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_no_frame_is_moved_away_from_where_it_belongs(
    camera: scenes.Camera, change: Change, blur: float
) -> None:
    shown = stack(camera, blur)
    found = estimate_stack(change(list(shown.frames)))
    for transform, truth in zip(found, shown.warps, strict=True):
        as_is = apart(truth, np.eye(2, 3))
        assert apart(truth, transform.array) <= as_is
        if transform.is_identity:
            continue
        # By what a user sees, not by the corners alone.
        assert apart(truth, transform.array) < max(0.9 * as_is, 0.1)


@pytest.mark.parametrize(
    ("change", "blur"),
    [(as_they_are, 5.0), (as_they_are, 30.0), (with_dust, 30.0), (with_highlights, 5.0)],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_agreement_which_decides_is_highest_at_the_truth(change: Change, blur: float) -> None:
    shown = stack(HANDHELD, blur)
    views = [View(frame) for frame in change(list(shown.frames))]
    for frame, truth in zip(views[1:], shown.warps[1:], strict=True):
        pair, least = Pair(views[0], frame), 4 if blur > 20 else 1
        there = np.vstack([truth, [0.0, 0.0, 1.0]])
        ways = [np.eye(3) + share * (there - np.eye(3)) for share in (0.0, 0.5, 1.0, 1.5)]
        agreements = [judged(pair, way, least).agreement() for way in ways]
        assert np.argmax(agreements) == 2
