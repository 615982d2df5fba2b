"""Aligned frames lie nearer to the truth than frames that are left as they are, or as near."""

from collections.abc import Callable
from itertools import product
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from batchstack import scenes
from batchstack.geometry import Box
from batchstack.registration import estimate_stack, estimation, warp
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
    height, width = frames[0].shape[:2]
    at = rng.uniform(40, [width - 40, height - 40], (60, 2))
    moves = rng.uniform(-20, 20, (60, 2))
    shown = [frame.copy() for frame in frames]
    for index, frame in enumerate(shown):
        for x, y in (at + index * moves).round().astype(int).tolist():
            cv2.circle(frame, (x, y), 5, (255, 255, 255), -1, cv2.LINE_AA)
    return shown


def with_dust(frames: list[Image]) -> list[Image]:
    """Dark spots on the sensor, which stay where they are."""
    rng = np.random.default_rng(3)
    shape = frames[0].shape[:2]
    dust = np.ones((*shape, 1), np.float32)
    for centre in rng.integers(0, shape[::-1], (60, 2)).tolist():
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


def apart(one: npt.NDArray[Any], other: npt.NDArray[Any], shape: Any = SHAPE) -> float:
    corners = warp.corner_pixels(Box(0, 0, *shape))
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


def drawn(seed: int) -> tuple[list[Image], list[Image]]:
    """A small stack that hardly moves, blurred by up to a tenth of a side, and the truth."""
    rng = np.random.default_rng(seed)
    names = rng.choice(scenes.TEXTURES, 2, replace=False)
    much = rng.choice([0.0, 0.0, 0.03, 0.1])
    camera = scenes.Camera(
        breathing=much * rng.uniform(-0.015, 0.015),
        shift=tuple(much * rng.uniform(-4, 4, 2)),
        rotation=much * rng.uniform(-0.1, 0.1),
        noise=rng.choice([0.0, 2.0, 4.0]),
    )
    shown = scenes.make_stack(
        (300, 400),
        textures=tuple(scenes.sample_texture(str(name)) for name in names),
        frames=int(rng.integers(2, 4)),
        scene=str(rng.choice(["hair", "blob", "lace", "slant"])),
        blur=float(rng.choice([8.0, 12.0, 20.0, 30.0])),
        seed=seed,
        camera=camera,
    )
    change = (as_they_are, faint, with_highlights, with_dust)[rng.integers(4)]
    return change(list(shown.frames)), list(shown.warps)


@pytest.mark.parametrize(
    ("seed", "model"),
    [(83, "auto"), *product((15, 22, 35, 74, 127), ["similarity"]), *product((28, 72), ["affine"])],
)
def test_no_frame_of_a_hard_stack_ends_clearly_further_off(seed: int, model: Any) -> None:
    frames, truths = drawn(seed)
    for transform, truth in zip(estimate_stack(frames, model=model), truths, strict=True):
        as_is = apart(truth, np.eye(2, 3), (300, 400))
        assert apart(truth, transform.array, (300, 400)) <= as_is + 0.15


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


def shifted(x: float, y: float) -> Image:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("seed", range(5))
def test_a_doubtful_move_gets_nearer_to_every_place_that_the_error_allows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for error in rng.uniform(0.05, 2.0, 20):
        neighbour, measured = shifted(*rng.normal(0, 3, 2)), shifted(*rng.normal(0, 6, 2))
        put = estimation._nearest_sure(measured, error, neighbour, SHAPE)
        for angle in np.linspace(0, 2 * np.pi, 25):
            around = 3 * error * np.array([np.cos(angle), np.sin(angle)])
            truth = shifted(*(measured[:2, 2] + around))
            worst = max(apart(start[:2], truth[:2]) for start in (neighbour, np.eye(3)))
            assert apart(put[:2], truth[:2]) <= worst + 0.1


def test_a_sure_move_is_made_whole_and_a_doubtful_one_not_at_all() -> None:
    measured, neighbour = shifted(3.0, 4.0), shifted(1.0, 0.0)
    assert estimation._nearest_sure(measured, 0.5, neighbour, SHAPE) is measured
    for error in (3.0, np.inf):
        put = estimation._nearest_sure(measured, error, neighbour, SHAPE)
        assert np.array_equal(put, neighbour)
