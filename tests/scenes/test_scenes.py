"""Synthetic stacks keep what they promise about themselves."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchstack.errors import OptionError
from batchstack.scenes import DTYPES, TEXTURES, Camera, camera, make_stack, sample_texture

LAYERED = ("blob", "hair", "lace")
SCENES = (*LAYERED, "slant")
SHAPE = (180, 240)
EXACT = Camera(dtype="float32")


def linear(code):
    """Linear light of sRGB values of 0 to 1, from the standard."""
    code = code.astype(np.float64)
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def uniform(level):
    return np.full((20, 30, 3), level, np.uint8)


def far_from(edge, distance):
    """Where no pixel of `edge` is within `distance`."""
    kernel = np.ones((2 * distance + 1,) * 2, np.uint8)
    return cv2.dilate(edge.astype(np.uint8), kernel) == 0


def difference(one, other):
    return np.abs(one.astype(np.float64) - other)


# --- truth and focus


@pytest.mark.parametrize("scene", LAYERED)
def test_truth_is_what_each_frame_shows_in_its_focus(scene):
    stack = make_stack(SHAPE, scene=scene, blur=3.0, seed=1)
    back, front = stack.frames
    at_back = far_from(stack.depth > 0, 6)
    at_front = far_from(stack.depth < 1, 2)
    assert at_back.mean() > 0.1 and at_front.mean() > 0.02
    assert difference(back, stack.truth)[at_back].max() <= 1
    assert difference(front, stack.truth)[at_front].max() <= 1


@pytest.mark.parametrize("scene", LAYERED)
def test_each_frame_is_blurred_out_of_its_focus(scene):
    stack = make_stack(SHAPE, scene=scene, blur=3.0, seed=1)
    back, front = (difference(frame, stack.truth) for frame in stack.frames)
    assert back[stack.depth == 1].mean() > 4 * front[stack.depth == 1].mean()
    assert front[stack.depth == 0].mean() > 4 * back[stack.depth == 0].mean()


def test_a_slanted_plane_is_in_focus_at_the_depth_of_each_frame():
    stack = make_stack(SHAPE, scene="slant", frames=5, blur=6.0)
    for index, frame in enumerate(stack.frames):
        error = difference(frame, stack.truth).mean(axis=(1, 2))
        sharpest = stack.depth[np.argmin(cv2.blur(error[:, None], (1, 9))), 0]
        assert sharpest == pytest.approx(index / 4, abs=0.05)


@pytest.mark.parametrize("scene", SCENES)
def test_without_blur_every_frame_is_the_truth(scene):
    stack = make_stack(SHAPE, scene=scene, frames=3, blur=0.0)
    assert all(np.array_equal(frame, stack.truth) for frame in stack.frames)


def test_depth_goes_from_back_to_front():
    for scene in SCENES:
        depth = make_stack(SHAPE, scene=scene).depth
        assert depth.dtype == np.float32 and depth.shape == SHAPE
        assert depth.min() == 0 and depth.max() == 1


@pytest.mark.parametrize("scene", SCENES)
def test_a_scene_of_one_colour_stays_so(scene):
    stack = make_stack(
        (60, 80),
        scene=scene,
        textures=(uniform(90), uniform(90)),
        blur=5,
        frames=3,
        camera=Camera(rotation=7),
    )
    assert all((frame == 90).all() for frame in stack.frames)


def test_blur_spreads_light_and_loses_none():
    textures = uniform(0), uniform(255)
    stack = make_stack(SHAPE, textures=textures, blur=6.0, seed=5, camera=EXACT)
    border = np.pad(np.zeros((160, 220), bool), 10, constant_values=True)
    assert stack.depth[border].max() == 0  # nothing crosses the border
    back, front = stack.frames
    assert np.array_equal(front, stack.truth)
    assert difference(back, front).max() > 0.3
    assert linear(back).sum() == pytest.approx(linear(front).sum(), rel=1e-3)


# --- what is promised about the arguments


def test_the_same_arguments_give_the_same_stack():
    def made(seed):
        drifting = Camera(noise=2.0, breathing=0.02)
        return make_stack((64, 80), scene="hair", seed=seed, camera=drifting)

    one, same, other = made(7), made(7), made(8)
    assert all(np.array_equal(a, b) for a, b in zip(one.frames, same.frames, strict=True))
    assert np.array_equal(one.truth, same.truth) and np.array_equal(one.depth, same.depth)
    assert not np.array_equal(one.truth, other.truth)
    assert not np.array_equal(one.depth, other.depth)


@pytest.mark.parametrize("scene", SCENES)
def test_the_scene_does_not_depend_on_the_camera(scene):
    still = make_stack((90, 70), scene=scene, blur=3.0)
    drifting = Camera(breathing=0.05, rotation=3, shift=(9, -4), exposure_ev=1)
    moved = make_stack((90, 70), scene=scene, blur=3.0, camera=drifting)
    assert np.array_equal(still.truth, moved.truth)
    assert np.array_equal(still.depth, moved.depth)
    assert np.array_equal(still.frames[0], moved.frames[0])
    assert not np.array_equal(still.frames[1], moved.frames[1])


@pytest.mark.parametrize("scene", SCENES)
def test_strips_leave_no_trace(scene, monkeypatch):
    def made():
        turning = replace(EXACT, rotation=5)
        return make_stack((100, 90), scene=scene, blur=3.0, frames=3, camera=turning)

    whole = made()
    monkeypatch.setattr(camera, "STRIP_ROWS", 17)
    strips = made()
    for one, other in zip(whole.frames, strips.frames, strict=True):
        assert difference(one, other).max() < 1e-4
    assert difference(whole.truth, strips.truth).max() == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_data_type_shows_the_same(dtype):
    bright = Camera(noise=20.0, exposure_ev=1.0)
    stack = make_stack((50, 60), camera=replace(bright, dtype=dtype))
    exact = make_stack((50, 60), camera=replace(bright, dtype="float32"))
    white = DTYPES[dtype]
    for frame, reference in zip(stack.frames, exact.frames, strict=True):
        assert frame.dtype == dtype and frame.shape == (50, 60, 3)
        assert frame.min() >= 0 and frame.max() == white  # the brightest saturate
        assert difference(frame, reference.astype(float) * white).max() <= 0.51
    assert stack.truth.dtype == dtype


def test_grey_is_the_luminance():
    picture = sample_texture("camera")
    arguments = {"textures": (picture, picture), "seed": 2}
    colour = make_stack((50, 60), **arguments)
    grey = make_stack((50, 60), camera=Camera(grey=True), **arguments)
    assert grey.truth.shape == grey.frames[0].shape == (50, 60)
    assert difference(grey.frames[1], colour.frames[1][..., 0]).max() <= 1
    red, green = (np.zeros((9, 9, 3), np.uint8) for _ in range(2))
    red[..., 0] = green[..., 1] = 255
    luminance = replace(EXACT, grey=True)
    truth = make_stack((50, 60), textures=(red, green), camera=luminance).truth
    assert linear(truth).min() == pytest.approx(0.2126, abs=1e-3)
    assert linear(truth).max() == pytest.approx(0.7152, abs=1e-3)


def test_noise_has_the_deviation_asked_for():
    textures = uniform(120), uniform(140)
    clean = make_stack(SHAPE, textures=textures, camera=EXACT)
    noisy = make_stack(SHAPE, textures=textures, camera=replace(EXACT, noise=3.0))
    grain = [255 * (a - b) for a, b in zip(noisy.frames, clean.frames, strict=True)]
    assert [g.std() for g in grain] == pytest.approx([3.0, 3.0], rel=0.02)
    assert [g.mean() for g in grain] == pytest.approx([0.0, 0.0], abs=0.05)
    assert abs(np.corrcoef(grain[0].ravel(), grain[1].ravel())[0, 1]) < 0.02
    assert np.array_equal(noisy.truth, clean.truth)


def test_exposure_grows_in_linear_light_from_the_back():
    textures = uniform(60), uniform(90)
    dark = make_stack((50, 60), frames=3, textures=textures, camera=EXACT)
    brightening = replace(EXACT, exposure_ev=1.0)
    light = make_stack((50, 60), frames=3, textures=textures, camera=brightening)
    for stops, one, other in zip((0, 0.5, 1), dark.frames, light.frames, strict=True):
        assert np.allclose(linear(other), 2**stops * linear(one), rtol=1e-3)


# --- warps


def test_warps_drift_from_the_back_to_the_front():
    drifting = Camera(breathing=0.1, shift=(6, -2), rotation=90)
    stack = make_stack((81, 101), frames=3, blur=1, camera=drifting)
    assert np.allclose(stack.warps[0], np.eye(2, 3))
    centre = (50, 40, 1)
    assert np.allclose(stack.warps[1] @ centre, (53, 39))
    assert np.allclose(stack.warps[2] @ centre, (56, 38))
    # A quarter turn counterclockwise takes what is right of the centre above it.
    assert np.allclose(stack.warps[2] @ (60, 40, 1), (56, 38 - 11))


@pytest.mark.parametrize(
    "drift",
    [{"breathing": 0.03}, {"rotation": -4.0}, {"shift": (3.3, -5.6)}],
    ids=["breathing", "rotation", "shift"],
)
def test_a_frame_warped_back_is_the_frame_without_drift(drift):
    still = make_stack(SHAPE, blur=2.0, seed=5, camera=EXACT).frames[1]
    moved = make_stack(SHAPE, blur=2.0, seed=5, camera=replace(EXACT, **drift))
    assert difference(moved.frames[1], still).mean() > 0.01

    def error(offset):
        warp = moved.warps[1] + [[0, 0, offset[0]], [0, 0, offset[1]]]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        back = cv2.warpAffine(moved.frames[1], warp, SHAPE[::-1], flags=flags)
        smooth = (cv2.GaussianBlur(image, (0, 0), 1.5) for image in (back, still))
        return difference(*smooth)[20:-20, 20:-20].mean()

    assert error((0, 0)) < 0.002
    for offset in ((0.1, 0), (-0.1, 0), (0, 0.1), (0, -0.1)):
        assert error(offset) > error((0, 0))


# --- extremes


@given(
    shape=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    scene=st.sampled_from(SCENES),
    frames=st.integers(2, 4),
    blur=st.floats(0, 12),
    rotation=st.floats(-180, 180),
    texture=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
@settings(max_examples=40)
def test_any_size_is_rendered(shape, scene, frames, blur, rotation, texture):
    picture = np.full((*texture, 3), 50, np.uint8)
    textures = (picture, picture)
    turning, looks = Camera(rotation=rotation), {"scene": scene, "textures": textures}
    stack = make_stack(shape, frames=frames, blur=blur, camera=turning, **looks)
    assert len(stack.frames) == len(stack.warps) == frames
    assert all(frame.shape == (*shape, 3) for frame in stack.frames)
    assert all((frame == 50).all() for frame in (*stack.frames, stack.truth))
    assert np.isfinite(stack.depth).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (7, 80)}, "8 or more pixels"),
        ({"frames": 1}, "two or more"),
        ({"scene": "cube"}, "give one of slant, blob"),
    ],
)
def test_arguments_that_cannot_work(arguments, message):
    with pytest.raises(OptionError, match=message):
        make_stack(**{"shape": (20, 20), **arguments})


def test_a_data_type_that_no_camera_has():
    with pytest.raises(OptionError, match="give one of uint8"):
        Camera(dtype="int8")


def test_every_texture_is_rgb():
    for name in TEXTURES:
        picture = sample_texture(name)
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3


def test_a_texture_that_is_not_bundled():
    with pytest.raises(OptionError, match="'download_all'; give one of astronaut"):
        sample_texture("download_all")
