"""Every kernel does what its twin, a few lines of numpy or OpenCV, does."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchstack import compiled
from batchstack.fusion.kernels import cells, measures, pyramid, smoothing, weights
from batchstack.fusion.rules import ON_FRAME, STEPS, WHOLLY, Formula, gaussian_taps

SHAPES = [(1, 1), (1, 6), (5, 1), (2, 2), (21, 18), (40, 53)]


def planes(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 40, shape).astype(np.float32)


def empty(*shape, dtype=np.float32):
    """Working memory of any content, here what would be noticed."""
    return np.full(shape, 77, dtype)


def mirrored(array, reach):
    """The last two axes wider by `reach` on each side; reflect-101."""
    y, x = ([fold(i, size) for i in range(-reach, size + reach)] for size in array.shape[-2:])
    return array[..., y, :][..., x]


def fold(index, size):
    while not 0 <= index < size:
        index = -index if index < 0 else 2 * (size - 1) - index
        if size == 1:
            return 0
    return index


def channels_last(array):
    return np.ascontiguousarray(np.moveaxis(array, 0, -1))


def channels_first(array, count):
    return np.moveaxis(array.reshape(*array.shape[:2], count), -1, 0)


@given(index=st.integers(-500, 500), size=st.integers(1, 60))
def test_mirrored_is_reflect_101(index, size):
    assert compiled.mirrored(index, size) == fold(index, size)


# --- pyramids


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_reduce_is_pyr_down(shape):
    source, half = planes(2, *shape), empty(2, -(-shape[0] // 2), -(-shape[1] // 2))
    pyramid.reduce(source, shape[0], 0, half.shape[1], half, empty(shape[1] + 8))
    expected = channels_first(cv2.pyrDown(channels_last(source)), 2)
    np.testing.assert_allclose(half, expected, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_reduce_pixels_is_unpack_and_reduce(shape, channels, dtype):
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 255, (3, shape[0], shape[1] * channels)).astype(dtype)
    whole, rows = empty(3, channels, *shape), -(-shape[0] // 2)
    pyramid.unpack(frames, 0.5, 0, shape[0], whole, empty(channels, shape[1], dtype=dtype))
    apart = frames.reshape(3, *shape, channels).transpose(0, 3, 1, 2) / np.float32(2)
    np.testing.assert_array_equal(
        whole, apart - apart[:1] * (np.arange(3) > 0)[:, None, None, None]
    )
    expected, half = empty(3, channels, rows, -(-shape[1] // 2)), None
    line, lines = empty(shape[1] * channels + 8), empty(channels, shape[1] + 8)
    flat = whole.reshape(-1, *shape), expected.reshape(-1, *expected.shape[2:])
    pyramid.reduce(flat[0], shape[0], 0, rows, flat[1], line)
    half = empty(*expected.shape)
    for top, bottom in ((0, rows // 2), (rows // 2, rows)):
        pyramid.reduce_pixels(frames, shape[0], 0.5, top, bottom, half, line, lines)
    np.testing.assert_allclose(half, expected, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_expand_is_pyr_up_and_a_band_what_is_left(shape):
    coarse = planes(2, -(-shape[0] // 2), -(-shape[1] // 2))
    wide, held = empty(3, shape[1] + 5), empty(3, dtype=np.int64)
    fine = empty(2, *shape)
    pyramid.expand(coarse, coarse.shape[1], 0, shape[0], fine, wide, held)
    expected = cv2.pyrUp(channels_last(coarse), dstsize=(shape[1], shape[0]))
    expected = channels_first(expected, 2)
    np.testing.assert_allclose(fine, expected, atol=1e-4)
    source, first = planes(*shape, seed=1), shape[1] // 3
    out = empty(shape[1] - first)
    held[:] = -1
    for y in range(shape[0]):
        pyramid.band_row(source[y, first:], coarse[0], coarse.shape[1], y, first, wide, held, out)
        np.testing.assert_allclose(out, (source - expected[0])[y, first:], atol=1e-4)


# --- measures

ACROSS = np.array([[0, 0, 0], [-1, 2, -1], [0, 0, 0]], np.float32)


def measured(frame, formula):
    """What a formula gives of one plane, without the outermost pixels."""
    taps = {Formula.LAPLACIAN: (ACROSS + ACROSS.T,)}.get(formula, (ACROSS, ACROSS.T))
    size = sum(np.abs(cv2.filter2D(frame, cv2.CV_32F, tap)) for tap in taps)
    if formula == Formula.DETAIL:
        size += 3 * np.abs(frame)
    return size[1:-1, 1:-1]


def measure_rows(frames, formula, relative):
    """Sums over the channels, by the kernel, of planes (frames, channels, rows, columns)."""
    held = frames - frames[:1] * (np.arange(len(frames)) > 0)[:, None, None, None]
    rows = np.ascontiguousarray(held.transpose(2, 0, 1, 3))
    rings = np.zeros((len(frames) - relative, len(rows), rows.shape[3] - 2), np.float32)
    for y in range(1, len(rows) - 1):
        for channel in range(rows.shape[2]):
            for number in Formula:
                if number == formula:
                    routine = getattr(measures, f"_measure_{number.name.lower()}")
                    three = rows[y - 1], rows[y], rows[y + 1]
                    for which in ((channel, 0, 1), (channel, 1, len(frames))):
                        routine(*three, which, rings, 0, y, relative)
    return rings[:, 1:-1]


@pytest.mark.parametrize("n_frames", [2, 3])
@pytest.mark.parametrize("formula", list(Formula))
@pytest.mark.parametrize("relative", [False, True])
def test_measures_are_those_of_each_frame_or_relative_to_the_first(formula, relative, n_frames):
    frames = planes(n_frames, 3, 9, 40)
    expected = np.stack([sum(measured(plane, formula) for plane in frame) for frame in frames])
    if relative:
        expected = expected[1:] - expected[:1]
    np.testing.assert_allclose(measure_rows(frames, formula, relative), expected, atol=2e-3)


def test_a_value_does_not_depend_on_its_place_in_the_row():
    frames = planes(3, 2, 5, 301)
    whole = measure_rows(frames, Formula.MODIFIED_LAPLACIAN, True)
    for start in range(1, 40):
        part = measure_rows(frames[..., start:], Formula.MODIFIED_LAPLACIAN, True)
        np.testing.assert_array_equal(part, whole[..., start:])


# --- weights


@pytest.mark.parametrize("n_frames", [2, 3, 7])
@pytest.mark.parametrize("beta", [0.02, 0.1, 6.0, 1e6])
def test_soft_weights_are_exponentials_of_differences_that_end_somewhere(beta, n_frames):
    rng = np.random.default_rng(n_frames)
    sums = rng.normal(0, 60, (n_frames, 4001)).astype(np.float32)
    sums[0], sums[1, :9] = 0, 0
    found = empty(n_frames, 2, 4003)
    weights.soft(sums, beta, 50.0, empty(2, 4001), found, 1, 1, 2)
    best = sums.max(axis=0).astype(float)
    raw = np.exp(np.maximum(beta * np.maximum(sums - best, -50), -700))
    np.testing.assert_allclose(found[1:, 1, 2:], (raw / raw.sum(axis=0))[1:], atol=2e-6)
    assert (found[0] == 77).all()
    assert (found[:, 0] == 77).all()


def test_votes_count_up_to_the_winner_and_ties_go_to_the_back():
    sums = np.array([[0] * 6, [-1, 0, 2, 2, -3, 5], [-2, 0, 3, 2, 1, 4]], np.float32)
    votes = empty(3, 2, 7, dtype=np.uint8)
    weights.vote(sums, empty(2, 6), votes, 1, 1, 1)
    np.testing.assert_array_equal(votes[1:, 1, 1:].sum(axis=0), sums.argmax(axis=0))
    hits = empty(2, 1, 6)
    weights.one_hot(sums.argmax(axis=0).astype(np.uint16), hits)
    np.testing.assert_array_equal(hits[:, 0], np.arange(1, 3)[:, None] == sums.argmax(axis=0))


@pytest.mark.parametrize("n_frames", [2, 4])
def test_likelihood_is_the_eighth_power(n_frames):
    rng = np.random.default_rng(1)
    strengths = (rng.uniform(0, 1, (n_frames, 900)) ** 4 * 2000).astype(np.float32)
    found, expected = empty(n_frames - 1, 1, 900), (3 * strengths.astype(float) + 5) ** 8
    weights.likelihood(strengths, 3.0, 5.0, empty(2, 900), found, 0, 0, 0)
    np.testing.assert_allclose(found[:, 0], (expected / expected.sum(axis=0))[1:], atol=3e-6)


def test_likelihood_survives_values_without_bound():
    strengths = np.array([[1e20, 0, 1e38], [0, 1e20, 1e38]], np.float32)
    found = empty(1, 1, 3)
    weights.likelihood(strengths, 3.0, 5.0, empty(2, 3), found, 0, 0, 0)
    np.testing.assert_allclose(found[0, 0], [0, 1, 0.5], atol=1e-6)


@pytest.mark.parametrize("n_frames", [2, 4])
@pytest.mark.parametrize("squared", [False, True])
def test_strength_multiplies_what_the_map_gives(squared, n_frames):
    rng = np.random.default_rng(2)
    strengths = (rng.uniform(0, 1, (n_frames, 900)) ** 4 * 2000).astype(np.float32)
    shares = rng.dirichlet(np.ones(n_frames), 900).T.astype(np.float32)
    found, given = empty(n_frames - 1, 1, 900), shares[1:, np.newaxis]
    expected = (3 * strengths.astype(float) + 5) ** (8 if squared else 4) * (shares + 0.01)
    weights.stronger(strengths, 3.0, 5.0, given, 0.01, squared, empty(2, 900), found, 0, 0, 0)
    np.testing.assert_allclose(found[:, 0], (expected / expected.sum(axis=0))[1:], atol=3e-6)


@pytest.mark.parametrize("n_frames", [2, 4])
def test_weights_along_edges_are_lines_of_the_guide(n_frames):
    rng = np.random.default_rng(3)
    slopes, offsets = rng.normal(0, 0.5, (2, n_frames - 1, 300)).astype(np.float32)
    guide = rng.random(300).astype(np.float32)
    lines = np.concatenate([slopes, offsets])[:, None]
    found = empty(n_frames - 1, 1, 300)
    weights.along_edges(lines, guide, empty(2, 300), found, 0, 0, 0)
    others = slopes.astype(float) * guide + offsets
    whole = np.concatenate([1 - others.sum(axis=0, keepdims=True), others])
    raw = np.maximum(whole, 0)
    np.testing.assert_allclose(found[:, 0], (raw / raw.sum(axis=0))[1:], atol=1e-4)


def test_the_sharpest_frame_and_how_clearly_it_wins():
    focus = np.array([[6, 0, 30, 0.5], [6, 0, 60, 0.9], [6, 30, 0, 0.1]], np.float32)
    index, confidence = empty(4, dtype=np.uint16), empty(4, dtype=np.uint8)
    weights.sharpest(focus, 1 / 3, empty(2, 4), index, confidence)
    np.testing.assert_array_equal(index, [0, 2, 1, 1])
    # nothing, all, 255 (20 - 5) / 20.1, below the noise
    np.testing.assert_array_equal(confidence, [0, 252, 190, 0])


def test_the_peak_lies_where_the_parabola_through_reciprocals_is_lowest():
    peaks = np.array([1.0, 1.3, 1.75, 2.5, 0.2, 3.0])
    frames = np.arange(4)[:, np.newaxis]
    focus = 1 / (0.01 + 0.02 * (frames - peaks) ** 2) - weights.FLOOR
    index = focus.argmax(axis=0).astype(np.uint16)
    offset = empty(peaks.size, dtype=np.uint8)
    weights.between(focus.astype(np.float32), 1.0, index, offset)
    found = index + (offset.astype(float) - ON_FRAME) / STEPS
    # The first and the last frame have but one neighbour.
    np.testing.assert_allclose(found, [1, 1.3, 1.75, 2.5, 0, 3], atol=1 / STEPS)


# --- windows


@pytest.mark.parametrize("side", [1, 3, 5, 9])
def test_boxes_are_sums_over_squares_of_a_ring(side):
    plane, kept = planes(12, 17), side + 2
    ring, tall, out = empty(kept, 17), empty(17), empty(16 - side)
    squares = np.lib.stride_tricks.sliding_window_view(plane[:, 2:].astype(float), (side, side))
    for y in range(12):
        ring[y % kept] = plane[y]
        if y >= side - 1:
            smoothing.box_row(ring, kept, side, y - side + 1, 2, tall, out)
            expected = squares[y - side + 1].sum(axis=(1, 2))
            np.testing.assert_allclose(out, expected, atol=1e-3)


@pytest.mark.parametrize("sigma", [0.0, 0.4, 1.0, 2.5])
def test_a_filtered_row_is_that_of_a_gaussian(sigma):
    plane, taps = planes(30, 40), gaussian_taps(sigma)
    reach = taps.size - 1
    out, tall = empty(40 - 2 * reach), empty(40)
    expected = cv2.GaussianBlur(plane, (2 * reach + 1,) * 2, sigma) if reach else plane
    for y in range(reach, 30 - reach):
        smoothing.filter_row(plane, 30, taps, reach, y, 0, tall, out)
        np.testing.assert_allclose(out, expected[y, reach : 40 - reach], atol=1e-4)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (3, 4), (30, 40)], ids=str)
def test_smooth_is_a_gaussian(shape, sigma):
    plane, taps = planes(2, *shape), smoothing.filled(gaussian_taps(sigma))
    row, column = shape[0] // 3, shape[1] // 3
    block = empty(2, shape[0] - row, shape[1] - column)
    tall = empty(2, block.shape[2] + 2 * (taps.size - 1))
    smoothing.smooth(plane, shape[0], taps, row, column, block.shape[1], tall, block)
    reach = gaussian_taps(sigma).size - 1
    for one, wide in zip(block, mirrored(plane.astype(float), reach), strict=True):
        expected = cv2.GaussianBlur(wide, (2 * reach + 1,) * 2, sigma)
        expected = expected[reach : reach + shape[0], reach : reach + shape[1]]
        np.testing.assert_allclose(one, expected[row:, column:], atol=1e-4)


@pytest.mark.parametrize("size", [1, 3, 5, 9, 19, 35, 255])
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (40, 50)], ids=str)
def test_votes_of_most_of_a_window_are_the_median(shape, size):
    rng = np.random.default_rng(size)
    index = np.clip(cv2.blur(rng.normal(1, 3, shape), (5, 5)).reshape(shape), 0, 3).astype(int)
    votes = (index >= np.arange(1, 4)[:, None, None]).astype(np.uint8)
    wide = mirrored(index, size // 2)
    squares = np.lib.stride_tricks.sliding_window_view(wide, (size, size))
    expected = np.median(squares.reshape(*shape, -1), axis=2)
    spare = empty(3, shape[1] + size, dtype=np.uint8)
    for top, bottom in ((0, shape[0] // 2), (shape[0] // 2, shape[0])):
        smoothing.count_across(votes, top, bottom, size, spare)
    row, column = shape[0] // 3, shape[1] // 3
    out = empty(shape[0] - row, shape[1] - column, dtype=np.uint16)
    total = empty(out.shape[1], dtype=np.uint16)
    smoothing.median(votes, shape[0], size, row, column, out.shape[0], total, out)
    np.testing.assert_array_equal(out, expected[row:, column:])


# --- cells


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (5, 1), (40, 53)], ids=str)
def test_shares_are_smooth_and_equal_where_the_map_is_not_trusted(shape):
    rng = np.random.default_rng(4)
    index = rng.integers(0, 3, shape).astype(np.uint16)
    trust = rng.integers(0, 256, shape).astype(np.uint8)
    out = empty(2, *shape)
    cells.shares(index, trust, 0, shape[0], empty(1, shape[1] + 2), out)
    for frame, share in enumerate(out, 1):
        raw = 1 / 3 + np.minimum(trust / WHOLLY, 1) * ((index == frame) - 1 / 3)
        wide = mirrored(raw, 1)
        taps = np.array([1, 6, 1]) / 8
        expected = cv2.sepFilter2D(wide, -1, taps, taps)[1:-1, 1:-1]
        np.testing.assert_allclose(share, expected, atol=1e-6)


@pytest.mark.parametrize("radius", [1, 2, 5])
def test_box_means_are_those_of_opencv(radius):
    source, out = planes(2, 30, 40), empty(2, 30, 40)
    sums = empty(6, 40 + 2 * radius)
    cells.box_mean(source, 30, radius, 0, 30, sums, out)
    for plane, mean in zip(source, out, strict=True):
        expected = cv2.blur(plane, (2 * radius + 1,) * 2, borderType=cv2.BORDER_REFLECT_101)
        np.testing.assert_allclose(mean, expected, atol=1e-4)


@given(st.integers(2, 5), st.integers(1, 3), st.integers(0, 99))
def test_strengths_of_bases_are_those_of_the_frames_themselves(n, channels, seed):
    frames = np.random.default_rng(seed).uniform(0, 255, (n, channels, 9, 14)).astype(np.float32)
    relative = frames.copy()
    relative[1:] -= frames[0]
    out = empty(n, 9, 14)
    cells.strengths(relative, 9, 0, 9, empty(3, 16), out)
    padded = np.pad(frames, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    here = padded[..., 1:-1, 1:-1]
    across = 2 * here - padded[..., 1:-1, :-2] - padded[..., 1:-1, 2:]
    down = 2 * here - padded[..., :-2, 1:-1] - padded[..., 2:, 1:-1]
    assert np.allclose(out, (abs(across) + abs(down)).mean(axis=1), rtol=1e-4, atol=1e-2)


def blended_base(strengths, support=(2.0, 1.0)):
    """The blend of three frames at 0, 100 and 40, with strengths as given."""
    level = np.zeros((3, 1, 1, 2), np.float32)
    level[1], level[2] = 100, 40
    shown = np.array(strengths, np.float32).reshape(3, 1, 1) + np.zeros((1, 2), np.float32)
    cells_of = np.array([sum(support), *support[1:], 0], np.float32)
    held = cells_of.reshape(3, 1, 1) + np.zeros((1, 2), np.float32)
    out, room = empty(3, 1, 2), (empty(3, 2), empty(2, 2))
    cells.bases(level, held, shown, (0.003, 128.0), 0, 1, *room, out)
    return float(out[-1, 0, 0])


def test_bases_are_blended_by_evidence_and_near_strong_edges_by_who_shows_them():
    even = blended_base((0, 0, 0))
    assert abs(even - 100 / 3) < 0.1
    assert abs(blended_base((4, 0, 9)) - even) < 10  # what is faint counts little
    assert blended_base((0, 400, 0)) > 95 and blended_base((400, 0, 0)) < 5
    assert blended_base((0, 0, 400)) < 50  # and nothing without evidence
    assert abs(blended_base((0, 0, 0), support=(0.0, 0.0)) - 140 / 3) < 0.1
