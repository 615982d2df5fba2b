"""The scale of the decision map: found in the frames, not in the size of the image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchstack.fusion import fuse
from batchstack.fusion.engine import StackToFuse, as_shown
from batchstack.fusion.methods import select_methods
from batchstack.fusion.scale import COARSEST, shown
from batchstack.options import FusionOptions
from batchstack.scenes import Camera, make_stack


def level(frames, data_range=None):
    return shown(reading(frames), len(frames), frames[0].shape[:2], data_range).level


def reading(frames):
    return lambda index, box: frames[index][box.slices]


def rendered(blur, noise=0.0, shape=(1200, 1600)):
    return make_stack(shape, scene="blob", blur=blur, camera=Camera(noise=noise), seed=5).frames


def enlarged(frames, times):
    return [np.repeat(np.repeat(frame, times, axis=0), times, axis=1) for frame in frames]


def test_cells_grow_with_the_blur():
    levels = [level(rendered(blur)) for blur in (3.0, 24.0)]
    assert levels == sorted(levels) and levels[0] == 0 < levels[1]


def test_cells_grow_with_the_noise():
    clean, noisy = (level(rendered(3.0, noise)) for noise in (0.0, 45.0))
    assert noisy > clean == 0


def test_the_same_scene_in_more_pixels_has_larger_cells():
    small = rendered(4.0, shape=(700, 900))
    levels = [level(enlarged(small, times)) for times in (1, 2, 4)]
    assert levels == sorted(levels) and levels[-1] >= levels[0] + 2


def test_more_of_a_scene_does_not_change_its_cells():
    tile = rendered(4.0, noise=1.0, shape=(600, 800))
    many = [np.tile(frame, (5, 5, 1)) for frame in tile]
    assert level(many) == level(tile)


@given(
    shape=st.tuples(st.integers(1, 90), st.integers(1, 400)),
    n_frames=st.integers(2, 4),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    seed=st.integers(0, 99),
)
def test_any_frames_have_a_scale(shape, n_frames, dtype, seed):
    values = np.random.default_rng(seed).uniform(0, 1, (n_frames, *shape))
    white = {"uint8": 255, "uint16": 65535, "float32": 1e9}[dtype]
    assert 0 <= level(list((values * white).astype(dtype))) <= COARSEST


def test_depth_does_not_change_the_scale():
    frames = rendered(8.0, noise=2.0)
    deep = [frame.astype(np.uint16) * 257 for frame in frames]
    floats = [frame.astype(np.float32) / np.float32(255) for frame in frames]
    twelve = [frame.astype(np.uint16) * 16 for frame in frames]
    assert level(frames) == level(deep) == level(floats) == level(twelve, 4080.0)


def test_a_bounded_number_of_pixels_is_looked_at():
    looked = []

    def read(index, box):
        looked.append(box.shape[0] * box.shape[1])
        return np.zeros((*box.shape, 3), np.uint8)

    for side in (5000, 1_000_000):
        looked.clear()
        shown(read, 2, (side, side))
        assert sum(looked) <= 51 * 160**2  # and one that tells the type


def test_a_level_that_is_given_stays():
    frames = rendered(12.0, shape=(200, 300))

    def chosen(method, options):
        stack = StackToFuse(reading(frames), 2, (200, 300), select_methods([method]), options)
        return as_shown(stack).options.map_level

    assert chosen("guided", FusionOptions(map_level=3)) == 3
    assert chosen("guided", FusionOptions()) is not None
    assert chosen("direct", FusionOptions()) is None


@pytest.mark.parametrize("method", ["bayesian", "guided"])
def test_the_scale_that_is_shown_is_among_the_best(method):
    stack = make_stack((1200, 1600), scene="hair", blur=16.0, camera=Camera(noise=3.0), seed=2)

    def error(options):
        (image,) = fuse(stack.frames, [method], options).values()
        return np.square(image.astype(float) - stack.truth).mean()

    errors = [error(FusionOptions(map_level=one)) for one in range(COARSEST + 1)]
    assert error(FusionOptions()) <= 1.1 * min(errors)


@pytest.mark.parametrize("noise", [0.0, 1.5, 3.0, 6.0])
def test_noise_is_seen_whatever_the_scene_shows(noise):
    for scene in ("slant", "hair"):
        stack = make_stack((480, 640), scene=scene, blur=8.0, camera=Camera(noise=noise), seed=5)
        found = shown(reading(stack.frames), 2, (480, 640)).noise
        # Of three channels with noise of their own brightness has 1 / sqrt(3) of it.
        assert abs(found - noise / 3**0.5) < 0.2 * noise + 0.6


def test_noise_is_the_same_at_every_depth():
    frames = rendered(12.0, shape=(320, 320), noise=3.0)
    whole = shown(reading(frames), 2, (320, 320)).noise
    deep = [frame.astype(np.uint16) * 257 for frame in frames]
    floats = [np.float32(frame) / np.float32(255) for frame in frames]
    assert shown(reading(deep), 2, (320, 320)).noise == pytest.approx(whole)
    assert shown(reading(floats), 2, (320, 320)).noise == pytest.approx(whole, rel=0.02)


def test_how_far_details_are_drawn_stays_as_given():
    frames = rendered(12.0, shape=(200, 300))

    def chosen(method, options):
        stack = StackToFuse(reading(frames), 2, (200, 300), select_methods([method]), options)
        return as_shown(stack).options.shrink

    assert chosen("bayesian", FusionOptions(shrink=2.0)) == 2.0
    assert 0 < chosen("bayesian", FusionOptions(map_level=1)) <= 6
    assert chosen("depth_map", FusionOptions()) == chosen("bayesian", FusionOptions())
    assert chosen("depth_map", FusionOptions(map_level=1)) is None


@pytest.mark.parametrize("method", ["bayesian", "guided"])
def test_the_noisier_frames_are_the_more_of_them_are_averaged(method):
    camera = Camera(noise=6.0)
    stack = make_stack((400, 520), frames=12, scene="hair", blur=8.0, camera=camera, seed=3)

    def error(options):
        (image,) = fuse(stack.frames, [method], options).values()
        return np.square(image.astype(float) - stack.truth).mean()

    assert error(FusionOptions()) < error(FusionOptions(shrink=6.0))
