"""The kernels of a pair's decision map do what their definitions for any frames do."""

import cv2
import numpy as np
import pytest

from batchstack.fusion import cells, decision, prior
from batchstack.fusion.activity import channel_mean, second_difference
from batchstack.fusion.bands import Bands
from batchstack.fusion.blocks import Pair, Scratch
from batchstack.fusion.decision import DecisionMap, TileDecision, luma, survey_reach
from batchstack.fusion.leans import gaussian_taps
from batchstack.fusion.pair_map import PairMap, survey_pair
from batchstack.fusion.pyramid import level_shape
from batchstack.fusion.tiles import Box, tile_plan
from batchstack.options import FusionOptions
from tests.scenes import pair


def two(shape, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 40, (*shape, channels)).astype(np.float32) for _ in range(2)]


def planar(frames):
    """Means and half differences, plane by plane."""
    back, front = (np.moveaxis(frame, -1, 0) for frame in frames)
    return np.ascontiguousarray(np.concatenate([(back + front) / 2, (back - front) / 2]))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("margin", [1, 5])
@pytest.mark.parametrize("share", [0.0, 3.0])
def test_detail_is_activity_plus_a_share_of_the_band(channels, margin, share):
    frames, out = two((20, 23), channels), np.empty((2, 20 - 2 * margin, 23 - 2 * margin), "f4")
    cells.detail(planar(frames), share, out)
    inner = slice(margin, -margin), slice(margin, -margin)
    for plane, frame in zip(out, frames, strict=True):
        values = frame.squeeze()
        expected = channel_mean(second_difference(values) + share * np.abs(values))
        np.testing.assert_allclose(plane, expected[inner], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("spacing", [1, 3])
def test_spaced_detail_is_the_root_mean_square_of_spaced_differences(spacing):
    frames, out = two((20, 23)), np.zeros((4, 12, 15), np.float32)
    cells.spaced_detail(planar(frames), spacing, 2, out)
    for plane, frame in zip(out[2:], frames, strict=True):
        activity = decision.spaced_difference(frame, spacing)
        expected = np.sqrt((activity**2).mean(axis=2))[4:-4, 4:-4]
        np.testing.assert_allclose(plane, expected, rtol=1e-4, atol=1e-3)
    assert not out[:2].any()


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.5])
def test_smooth_block_is_a_gaussian(sigma):
    taps = gaussian_taps(sigma)
    reach = taps.size - 1
    block = np.random.default_rng(0).uniform(0, 255, (2, 40, 45)).astype(np.float32)
    out = np.empty((2, 40 - 2 * reach, 45 - 2 * reach), np.float32)
    cells.smooth_block(block, taps, out)
    for plane, smooth in zip(block, out, strict=True):
        expected = cv2.GaussianBlur(plane, (2 * reach + 1, 2 * reach + 1), sigma)
        np.testing.assert_allclose(smooth, expected[reach:-reach, reach:-reach], rtol=1e-5)


@pytest.mark.parametrize("odds", [0.0, 8.0, 20.0])
def test_likelier_is_the_lean_of_likelihood_times_prior(odds):
    rng = np.random.default_rng(1)
    strengths = (rng.uniform(0, 1, (2, 30, 40)) ** 4 * 2000).astype(np.float32)
    near = rng.uniform(-1, 1, (1, 30, 40)).astype(np.float32)
    near[0, 0] = np.linspace(-1, 1, 40)
    out = np.empty((1, 30, 40), np.float32)
    cells.likelier(strengths, 3.0, 5.0, near, odds, out)
    back, front = 3 * strengths.astype(float) + 5
    expected = np.tanh((5 * np.log(back / front) + odds * near[0]) / 2)
    np.testing.assert_allclose(out[0], expected, atol=3e-6)


def test_likelier_survives_values_without_bound():
    strengths = np.array([[[1e20, 0, 1e38]], [[0, 1e20, 1e38]]], np.float32)
    out = np.empty((1, 1, 3), np.float32)
    cells.likelier(strengths, 3.0, 5.0, np.zeros((1, 1, 3), np.float32), 8.0, out)
    np.testing.assert_array_equal(out[0, 0], [1, -1, 0])


def test_brightness_is_the_luma_of_the_frame_that_the_map_names():
    frames, out = two((12, 15)), np.empty((1, 8, 11), np.float32)
    hard = np.where(np.random.default_rng(2).random((1, 8, 11)) < 0.5, 1, -1).astype(np.float32)
    cells.brightness(planar(frames), 2, hard, decision.luma_shares(3)[0], out)
    back, front = (luma(frame)[2:-2, 2:-2] for frame in frames)
    np.testing.assert_allclose(out[0], np.where(hard[0] > 0, back, front), atol=1e-3)


def test_along_edges_stretches_and_clips():
    rng = np.random.default_rng(3)
    lines, guide = rng.normal(0, 1, (2, 8, 9)).astype("f4"), rng.random((1, 8, 9)).astype("f4")
    out = np.empty((1, 8, 9), np.float32)
    cells.along_edges(lines, guide, 2.0, out)
    np.testing.assert_allclose(out, np.clip(2 * (lines[:1] * guide + lines[1:]), -1, 1), atol=1e-6)


SHAPES = [(1, 1), (1, 9), (8, 1), (97, 131), (201, 160)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("level", [0, 1, 3])
@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
@pytest.mark.parametrize("sigma", [0.0, 2.5])
def test_the_survey_finds_what_the_general_one_finds(shape, level, grey, sigma):
    frames = pair(shape, grey=grey)
    options = FusionOptions(map_level=level, focus_sigma=sigma)
    plan = whole(shape, (0,) * level + (survey_reach(options),))
    index, confidence = survey_pair(*frames, plan, options)
    survey = decision.Survey(2, sigma)
    for number, frame in enumerate(frames):
        survey.add(number, reduced(frame, level))
    assert (index == survey.index).mean() >= 0.999
    assert np.abs(confidence.astype(int) - survey.confidence()).max() <= 1


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
def test_candidates_and_their_priors_are_those_of_the_general_code(level, grey):
    shape, levels = (150, 203), 5
    frames = pair(shape, grey=grey)
    options = FusionOptions(map_level=level, sharpness=60.0, prior_radius=2)
    plan = whole(shape, (9,) * levels)
    found = random_map(shape, level)
    pair_map = PairMap(found, Pair(*frames, plan, options, levels, Scratch()))
    general = TileDecision(found, plan, options)
    taken = [Bands(np.ascontiguousarray(frame, np.float32), plan, 3) for frame in frames]
    near = [[general.near(i, bands, at) for at in range(levels)] for i, bands in enumerate(taken)]
    for at in range(levels):
        expected = near[0][at] - near[1][at]
        block = Box(0, 0, *expected.shape)
        np.testing.assert_allclose(pair_map._near.block(at, block)[0], expected, atol=1e-5)
    np.testing.assert_array_equal(pair_map.hard(0, plan.tile)[0], 1.0 - 2 * general.index)


@pytest.mark.parametrize("level", [0, 1, 3])
def test_a_block_of_the_map_is_that_of_the_nearest_cells(level):
    found, block = random_map((90, 77), level), Box(31, 13, 90, 77)
    leans = np.empty((1, *block.shape), np.float32)
    cells.hard(found.index, level, block.top, block.left, leans)
    expected = 1.0 - 2 * decision.nearest(found.index, level, block)
    np.testing.assert_array_equal(leans[0], expected)


@pytest.mark.parametrize("residual", [False, True])
def test_likelihoods_are_those_of_the_general_code(residual):
    frames, options = two((60, 70)), FusionOptions(map_level=0, prior=0.0)
    plan = whole((60, 70), (9,))
    leans = PairMap(random_map((60, 70), 0), Pair(*frames, plan, options, 1, Scratch()))
    reach = prior.prior_reach()
    found = leans.likelier(
        0, Box(reach, reach, 60 - reach, 70 - reach), planar(frames), residual=residual
    )
    weights = [prior.strength(frame, residual=residual).astype(float) ** 5 for frame in frames]
    expected = (weights[0] - weights[1]) / (weights[0] + weights[1])
    np.testing.assert_allclose(found[0], expected[reach:-reach, reach:-reach], atol=1e-4)


def whole(shape, reaches):
    return tile_plan(Box(0, 0, *shape), shape, reaches)


def reduced(frame, level):
    image = frame.astype(np.float32)
    for _ in range(level):
        rows, columns = level_shape(image.shape[:2], 1)
        image = cv2.pyrDown(image).reshape(rows, columns, *image.shape[2:])
    return image


def random_map(shape, level):
    noise = np.random.default_rng(level).normal(0, 1, level_shape(shape, level))
    index = (cv2.GaussianBlur(noise, (0, 0), 5) > 0).astype(np.uint8)
    return DecisionMap(index, np.zeros_like(index), level)
