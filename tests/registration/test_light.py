"""Light that is measured against light that was rendered, and what is left alone."""

from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchstack.geometry import Box
from batchstack.registration import Light, Transform, compare_light
from batchstack.scenes import Camera, make_stack

SHAPE = (420, 560)
MOVED = Camera(noise=2.0, breathing=0.01, shift=(2.0, -1.0))


@cache
def stack(frames=3, scene="hair", blur=9.0):
    return make_stack(SHAPE, frames=frames, scene=scene, blur=blur, camera=MOVED)


def transforms(rendered):
    matrices = [tuple(warp.ravel().tolist()) for warp in rendered.warps]
    return [Transform()] + [Transform(matrix, "similarity") for matrix in matrices[1:]]


def decoded(frame):
    code = frame / 255
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def encoded(light):
    light = np.clip(light, 0, 1)
    code = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * code).astype(np.uint8)


def relit(frames, logarithms):
    return [encoded(decoded(f) * np.exp(g)) for f, g in zip(frames, logarithms, strict=True)]


@pytest.mark.parametrize(
    ("scene", "blur", "frames"), [("hair", 9.0, 3), ("blob", 24.0, 2), ("slant", 8.0, 5)]
)
def test_frames_of_one_light_are_left_alone_however_blurred(scene, blur, frames):
    rendered = stack(frames, scene, blur)
    found = compare_light(rendered.frames, transforms(rendered))
    assert found.is_known and not found.differ
    assert found.spread < 0.005


def test_gain_and_white_balance_are_found_beside_the_median():
    rendered = stack()
    casts = np.array([[0.0, 0.05, -0.1], [-0.2, 0.0, 0.0], [-0.1, -0.05, -0.2]])
    found = compare_light(relit(rendered.frames, casts[:, None, None]), transforms(rendered))
    assert found.differ
    np.testing.assert_allclose(found.levels[..., 0], casts - np.median(casts, axis=0), atol=0.005)


def test_matched_frames_show_one_light():
    rendered = stack()
    places = transforms(rendered)
    casts = np.array([[0.0, 0.0, 0.0], [-0.2, -0.2, -0.2], [-0.3, -0.2, -0.1]])[:, None, None]
    frames = relit(rendered.frames, casts)
    lights = compare_light(frames, places).lights
    whole = Box(0, 0, *SHAPE)
    matched = [
        np.rint(light.applied(frame.astype(np.float32), whole, SHAPE, 255.0)).astype(np.uint8)
        for light, frame in zip(lights, frames, strict=True)
    ]
    assert compare_light(matched, places).spread < 0.005
    target = np.median(casts, axis=0)
    for one, frame in zip(matched, rendered.frames, strict=True):
        # But for values that were rounded in the dark, or clipped, as if photographed so.
        assert np.abs(one - relit([frame], [target])[0].astype(float)).mean() < 1.0


def test_light_that_falls_off_otherwise_is_found_and_evened_out():
    rendered = stack()
    places = transforms(rendered)
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in SHAPE), indexing="ij")
    falling = -0.15 * (x**2 + y**2 - 0.5 * x)[..., None]
    frames = relit(rendered.frames, [falling * share for share in (0.0, 0.5, 1.0)])
    found = compare_light(frames, places)
    assert found.differ
    assert found.levels[2, :, 3] == pytest.approx([-0.075] * 3, abs=0.01)
    whole = Box(0, 0, *SHAPE)
    matched = [
        np.rint(light.applied(frame.astype(np.float32), whole, SHAPE, 255.0)).astype(np.uint8)
        for light, frame in zip(found.lights, frames, strict=True)
    ]
    assert compare_light(matched, places).spread < 0.01


def test_even_light_makes_no_field():
    rendered = stack(2, "blob", 24.0)
    found = compare_light(relit(rendered.frames, [0.0, -0.2]), transforms(rendered))
    assert not found.levels[..., 1:].any()


def test_highlights_that_move_and_clipped_areas_do_not_mislead():
    rendered = stack()
    frames = [frame.copy() for frame in relit(rendered.frames, [0.0, -0.1, -0.2])]
    for index, frame in enumerate(frames):
        frame[40:120, 60 + 150 * index : 160 + 150 * index] = 255
    found = compare_light(frames, transforms(rendered))
    np.testing.assert_allclose(found.levels[..., 0], [[0.1] * 3, [0] * 3, [-0.1] * 3], atol=0.005)


@pytest.mark.parametrize("dark", [0.0, 0.03])
def test_values_proportional_to_light_above_a_dark_level(dark):
    rendered = stack()
    levels = np.array([0.1, 0.0, -0.1])
    frames = [
        np.rint(65535 * (dark + 0.6 * decoded(frame) * np.exp(level))).astype(np.uint16)
        for frame, level in zip(rendered.frames, levels, strict=True)
    ]
    found = compare_light(frames, transforms(rendered))
    assert found.dark == pytest.approx(dark, abs=0.01)
    np.testing.assert_allclose(found.levels[..., 0], np.tile(levels, (3, 1)).T, atol=0.01)


def test_depth_and_kind_of_numbers_do_not_matter():
    rendered = stack()
    frames, places = relit(rendered.frames, [0.0, -0.1, -0.2]), transforms(rendered)
    plain = compare_light(frames, places).levels
    deep = [frame.astype(np.uint16) * 16 for frame in frames]
    real = [(frame / 255).astype(np.float32) for frame in frames]
    grey = [frame[..., 1] for frame in frames]
    found = compare_light(deep, places, data_range=4080)
    np.testing.assert_allclose(found.levels, plain, atol=2e-3)
    np.testing.assert_allclose(compare_light(real, places).levels, plain, atol=2e-3)
    np.testing.assert_allclose(compare_light(grey, places).levels, plain[:, 1:2], atol=2e-3)


def test_frames_without_anything_between_black_and_white_are_left_alone():
    frames = [np.full(SHAPE, 255, np.uint8), np.zeros(SHAPE, np.uint8)]
    found = compare_light(frames, [Transform()] * 2)
    assert not found.is_known and not found.differ
    assert all(light.is_identity for light in found.lights)


def test_texture_that_was_blurred_as_stored_is_no_light():
    # Blur of code values darkens the light of what is blurred, in each frame on another side.
    rng = np.random.default_rng(4)
    sharp = np.clip(rng.normal(128, 50, SHAPE), 0, 255).astype(np.uint8)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 3)
    half = np.arange(SHAPE[1]) < SHAPE[1] // 2
    frames = [np.where(half, blurred, sharp), np.where(half, sharp, blurred)]
    for pair in (frames, [sharp, blurred]):
        assert not compare_light(pair, [Transform()] * 2).differ


@given(
    gain=st.floats(0.5, 2.0),
    dark=st.sampled_from([-0.055, 0.0, 0.1]),
    values=st.lists(st.floats(0, 1, width=32), min_size=2, max_size=9),
)
@settings(deadline=None)
def test_light_keeps_the_order_of_values_and_the_dark_value(gain, dark, values):
    row = np.sort(np.array([values], np.float32))
    lit = Light((gain,), dark=dark).applied(row, Box(0, 0, *row.shape), row.shape, 1.0)
    assert (np.diff(lit) >= -1e-6).all()
    still = np.array([[max(dark, 0.0)]], np.float32)
    kept = Light((gain,), dark=dark).applied(still, Box(0, 0, 1, 1), (1, 1), 1.0)
    assert kept == pytest.approx(still, abs=1e-6)


@pytest.mark.parametrize("gain", [0.8, 1.25])
def test_light_of_srgb_values_is_that_of_another_exposure(gain):
    code = np.arange(256, dtype=np.float32)[None]
    lit = Light((gain ** (1 / 2.4),)).applied(code, Box(0, 0, 1, 256), (1, 256), 255.0)
    expected = encoded(decoded(code) * gain)
    unclipped = expected < 255
    assert np.abs(lit - expected)[unclipped].max() < 1.0
