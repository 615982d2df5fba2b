"""Every kernel does what its twin, a few lines of numpy or OpenCV, does."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchstack.fusion import compiled, kernels, leans, pixels
from batchstack.fusion.leans import gaussian_taps


def planes(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 40, shape).astype(np.float32)


def mirrored(array, row, column, rows, columns):
    """The window of the last two axes that begins at row, column; reflect-101 beyond."""
    height, width = array.shape[-2:]
    y = [fold(i, height) for i in range(row, row + rows)]
    x = [fold(j, width) for j in range(column, column + columns)]
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


# a block of 9 x 11 that lies inside, or reaches beyond an edge or all of them
places = pytest.mark.parametrize(
    ("shape", "place"),
    [((30, 40), (7, 9)), ((30, 40), (-3, -2)), ((30, 40), (24, 33)), ((3, 4), (-3, -3))],
    ids=str,
)


@settings(deadline=None)
@given(index=st.integers(-500, 500), size=st.integers(1, 60))
def test_mirrored_is_reflect_101(index, size):
    assert compiled.mirrored(index, size) == fold(index, size)


@places
def test_crop_is_a_mirrored_window(shape, place):
    source, block = planes(2, *shape), np.empty((2, 9, 11), np.float32)
    kernels.crop(source, *place, block)
    np.testing.assert_array_equal(block, mirrored(source, *place, 9, 11))


@places
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_unpack_gives_mean_and_half_difference(shape, place, channels, dtype):
    rng = np.random.default_rng(1)
    back, front = (rng.integers(0, 255, (*shape, channels)).astype(dtype) for _ in range(2))
    block = np.empty((2 * channels, 9, 11), np.float32)
    rows = [frame.reshape(shape[0], -1) for frame in (back, front)]
    pixels.unpack(*rows, *place, 0.5, block)
    one, other = (mirrored(np.moveaxis(x, -1, 0) / 2, *place, 9, 11) for x in (back, front))
    np.testing.assert_array_equal(block, np.concatenate([(one + other) / 2, (one - other) / 2]))


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 200.0), (np.uint16, 900.0), ("f4", 0.0)])
def test_pack_rounds_to_even_clips_and_leaves_the_rest_alone(channels, dtype, white):
    means, halves = planes(channels, 8, 9), planes(channels, 8, 9, seed=1)
    means[:, 2, 2:6], halves[:, 2, 2:6] = [10.5, 11.5, -3, 9999], 0
    lean = np.clip(planes(channels, 4, 5), -1, 1)
    written = np.full((10, 12 * channels), 7, dtype)
    nothing = np.empty((0, 0, 0), "f4")
    source = means, halves, 2, lean, nothing, 0, 0, 0
    pixels.pack(*source, nothing, 0.0, 1.0, white, 3, 4, written)
    expected = means[:, 2:6, 2:7] + lean * halves[:, 2:6, 2:7]
    if white:
        expected = np.clip(np.rint(expected), 0, white)
    whole = np.full((10, 12, channels), 7, dtype)
    whole[3:7, 4:9] = channels_last(expected).astype(dtype)
    np.testing.assert_array_equal(written.reshape(whole.shape), whole)


def test_deviate_is_lean_times_half_difference_plus_what_is_coarser():
    halves, lean, coarse = planes(3, 12, 13), planes(1, 8, 9, seed=1), planes(3, 10, 11, seed=2)
    out = np.zeros((3, 20, 22), np.float32)
    kernels.deviate(halves, 2, lean, coarse, 10, 5, 7, 4, 6, out)
    wide = channels_first(cv2.pyrUp(channels_last(coarse)), 3)[:, 5:13, 7:16]
    expected = np.zeros_like(out)
    expected[:, 4:12, 6:15] = lean * halves[:, 2:10, 2:11] + wide
    np.testing.assert_allclose(out, expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (5, 1), (2, 2), (21, 18), (20, 33)], ids=str)
def test_reduce_is_pyr_down(shape):
    source = planes(2, *shape)
    half = np.empty((2, -(-shape[0] // 2), -(-shape[1] // 2)), np.float32)
    rows, columns = half.shape[1:]
    kernels.reduce(mirrored(source, -2, -2, 2 * rows + 3, 2 * columns + 3), 0, 0, half)
    expected = channels_first(cv2.pyrDown(channels_last(source)), 2)
    np.testing.assert_allclose(half, expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (5, 1), (2, 2), (21, 18), (40, 53)], ids=str)
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_reduce_pixels_is_unpack_and_reduce(shape, channels, dtype):
    rng = np.random.default_rng(1)
    frames = [rng.integers(0, 255, (*shape, channels)).astype(dtype) for _ in range(2)]
    frames = [frame.reshape(shape[0], -1) for frame in frames]
    rows, columns = -(-shape[0] // 2), -(-shape[1] // 2)
    block = np.empty((2 * channels, 2 * rows + 3, 2 * columns + 3), np.float32)
    pixels.unpack(*frames, -2, -2, 0.5, block)
    expected, half = np.empty((2, 2 * channels, rows, columns), np.float32)
    kernels.reduce(block, 0, 0, expected)
    top, left = rows // 2, columns // 3
    for y, bottom in ((0, top), (top, rows)):
        for x, right in ((0, left), (left, columns)):
            pixels.reduce_pixels(*frames, 0.5, y, x, bottom - y, right - x, half)
    np.testing.assert_allclose(half, expected, atol=1e-4)


@places
def test_subtract_expanded_is_mirrored_pyr_up(shape, place):
    coarse = planes(2, -(-shape[0] // 2), -(-shape[1] // 2))
    band, block = np.empty((2, 9, 11), np.float32), planes(2, 9, 11, seed=1)
    wide = cv2.pyrUp(channels_last(coarse), dstsize=(shape[1], shape[0]))
    wide = mirrored(channels_first(wide, 2), *place, 9, 11)
    # what lies beyond the edge is mirrored, so the block must be as well
    block = mirrored(planes(2, *shape, seed=2), *place, 9, 11)
    kernels.subtract_expanded(block, coarse, *place, *shape, band)
    np.testing.assert_allclose(band, block - wide, atol=1e-4)


def halves_of(back, front):
    return np.concatenate([(back + front) / 2, (back - front) / 2])


def filtered(frames, taps):
    """A 3 x 3 filter of every plane, without the outermost pixels."""
    return np.stack([cv2.filter2D(x, cv2.CV_32F, taps)[1:-1, 1:-1] for x in frames])


ACROSS = np.array([[0, 0, 0], [-1, 2, -1], [0, 0, 0]], np.float32)


def activities(pair):
    """Of every channel, their sum and that of the Laplacian, row by row; and the sum on its own."""
    channels, rows, columns = len(pair) // 2, pair.shape[1] - 2, pair.shape[2] - 2
    each = np.empty((channels, rows, columns), np.float32)
    total, around, alone = np.empty((3, rows, columns), np.float32)
    for i in range(rows):
        three = [np.ascontiguousarray(pair[:, i + k]) for k in range(3)]
        leans.activity_row(*three, each, i, around[i])
        leans.add_channels(each, i, total[i])
        leans.modified_row(*three, alone[i])
    return each, total, around, alone


def test_activities_are_those_of_back_minus_front():
    back, front = planes(3, 12, 17), planes(3, 12, 17, seed=1)
    channels, total, around, alone = activities(halves_of(back, front))

    def modified(x):
        return np.abs(filtered(x, ACROSS)) + np.abs(filtered(x, ACROSS.T))

    def laplacian(x):
        return np.abs(filtered(x, ACROSS + ACROSS.T)).sum(axis=0)

    expected = modified(back) - modified(front)
    np.testing.assert_allclose(channels, expected, atol=1e-3)
    np.testing.assert_allclose(total, expected.sum(axis=0), atol=1e-3)
    np.testing.assert_allclose(around, laplacian(back) - laplacian(front), atol=1e-3)
    # whichever methods are wanted
    np.testing.assert_array_equal(alone, total)


@pytest.mark.parametrize("slope", [0.01, 0.05, 3.0, 5e5])
def test_lean_is_tanh(slope):
    sums = np.linspace(-80, 80, 4001, dtype=np.float32)
    out = np.empty_like(sums)
    leans.lean_row(sums, slope, 50.0, out)
    expected = np.tanh(slope * np.clip(sums.astype(float), -50, 50))
    np.testing.assert_allclose(out, expected, atol=1e-6)
    np.testing.assert_array_equal(out, -out[::-1])


def test_a_vote_for_the_back_is_one_and_white_in_the_mask():
    sums = np.array([-2, -1e-9, 0, 1e-9, 2], np.float32)
    votes, mask = np.empty((2, 5), np.uint8)
    leans.vote_row(sums, votes)
    leans.mask_row(np.array([-1, -1, 1, 1, 1], np.float32), mask)
    np.testing.assert_array_equal(votes, [0, 0, 1, 1, 1])
    np.testing.assert_array_equal(mask, [0, 0, 255, 255, 255])


@pytest.mark.parametrize("side", [1, 3, 5, 9])
def test_boxes_are_sums_over_squares_of_a_ring(side):
    plane = planes(12, 15)
    ring, tall, out = np.empty((side, 15), "f4"), np.empty(15, "f4"), np.empty(16 - side, "f4")
    squares = np.lib.stride_tricks.sliding_window_view(plane.astype(float), (side, side))
    for y in range(12):
        ring[y % side] = plane[y]
        if y >= side - 1:
            leans.box_row(ring, y - side + 1, tall, out)
            expected = squares[y - side + 1].sum(axis=(1, 2))
            np.testing.assert_allclose(out, expected, atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (3, 4), (30, 40)], ids=str)
def test_smooth_is_a_gaussian(shape):
    plane = planes(1, *shape)
    row, column = shape[0] // 3, shape[1] // 3
    block = np.empty((1, shape[0] - row, shape[1] - column), np.float32)
    leans.smooth(plane, shape[0], gaussian_taps(3.0), row, column, block)
    wide = mirrored(plane.astype(float), -12, -12, shape[0] + 24, shape[1] + 24)[0]
    expected = cv2.GaussianBlur(wide, (25, 25), 3.0)[12:-12, 12:-12]
    np.testing.assert_allclose(block[0], expected[row:, column:], atol=1e-4)


@pytest.mark.parametrize("size", [1, 3, 5, 9, 19, 35, 255])
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (40, 50)], ids=str)
def test_majority_is_the_median(shape, size):
    rng = np.random.default_rng(size)
    votes = (cv2.blur(rng.normal(0, 1, shape), (5, 5)) > 0).astype(np.uint8).reshape(shape)
    reach = size // 2
    wide = mirrored(votes, -reach, -reach, shape[0] + 2 * reach, shape[1] + 2 * reach)
    ones = np.lib.stride_tricks.sliding_window_view(wide, (size, size)).sum(axis=(2, 3))
    expected = np.where(2 * ones > size * size, 1, -1)
    middle = shape[0] // 2
    leans.count_across(votes, 0, middle, size)
    leans.count_across(votes, middle, shape[0], size)
    row, column = shape[0] // 3, shape[1] // 3
    out = np.empty((1, shape[0] - row, shape[1] - column), np.float32)
    leans.majority(votes, shape[0], size, row, column, out)
    np.testing.assert_array_equal(out[0], expected[row:, column:])


def test_a_value_does_not_depend_on_its_place_in_the_row():
    pair = planes(6, 7, 301)
    whole = activities(pair)
    for start in range(1, 40):
        for here, there in zip(activities(pair[:, :, start:]), whole, strict=True):
            np.testing.assert_array_equal(here, there[..., start:])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_row_is_what_its_block_is(dtype):
    rng = np.random.default_rng(3)
    frames = [rng.integers(0, 255, (9, 3 * 20)).astype(dtype) for _ in range(2)]
    block, row = np.empty((6, 9, 24), np.float32), np.empty((6, 24), np.float32)
    pixels.unpack(*frames, 0, -2, 0.5, block)
    for y in range(9):
        spare = np.empty((2, 3, 24), dtype)
        pixels.unpack_row(frames[0][y], frames[1][y], -2, 0.5, spare, row)
        np.testing.assert_array_equal(row, block[:, y])
