"""A tile equals the whole image, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchstack.errors import OptionError, StackError
from batchstack.fusion import METHODS, engine, fuse
from batchstack.fusion.codes import DATA_RANGES
from batchstack.fusion.engine import (
    StackToFuse,
    decide,
    fuse_tile,
    large_tiles,
    stripe_columns,
    tiles,
)
from batchstack.fusion.methods import level_reaches, select_methods
from batchstack.fusion.pyramid import level_shape
from batchstack.fusion.tiles import grid_step, partition, tile_plan
from batchstack.geometry import Box
from batchstack.options import FusionOptions
from tests.scenes import stack

sides = st.one_of(st.integers(1, 9), st.integers(10, 420))
options_of_any_kind = st.builds(
    FusionOptions,
    levels=st.integers(1, 5),
    beta=st.sampled_from([0.02, 0.1, 3.0]),
    kernel=st.sampled_from([1, 3, 7]),
    map_level=st.sampled_from([None, 1, 2, 3]),
    guide_radius=st.sampled_from([0, 2, 5]),
)


@settings(max_examples=60)
@given(
    shape=st.tuples(sides, sides),
    n_frames=st.sampled_from([2, 2, 3, 5]),
    dtype=st.sampled_from(sorted(DATA_RANGES)),
    grey=st.booleans(),
    tile=st.sampled_from([None, 16, 64, 128, 200]),
    options=options_of_any_kind,
    methods=st.sets(st.sampled_from(sorted(METHODS)), min_size=1),
    seed=st.integers(0, 99),
)
def test_tiled_equals_whole(shape, n_frames, dtype, grey, tile, options, methods, seed):
    frames = stack(shape, n_frames, dtype=dtype, grey=grey, seed=seed)
    whole = fuse(frames, methods, options, tile=1 << 20)
    striped = fuse(frames, methods, options, tile=tile)
    for fused in (striped, in_tiles(frames, tile, methods, options)):
        for name, expected in whole.items():
            np.testing.assert_array_equal(fused[name], expected, err_msg=name)


def in_tiles(frames, tile, methods, options):
    """A stack fused as one that is split: tile by tile, not in stripes of the image."""
    chosen, shape = select_methods(methods), frames[0].shape[:2]
    boxes = tiles(shape, tile, chosen, options)

    def read(index, box):
        return frames[index][box.slices]

    to_fuse = StackToFuse(read, len(frames), shape, chosen, options)
    decision = decide(to_fuse, boxes)
    whole = {}
    for box in boxes:
        fused = fuse_tile(to_fuse, box, decision)
        for name, values in fused.items():
            full = np.empty((*shape, *values.shape[2:]), values.dtype)
            whole.setdefault(name, full)[box.slices] = values
    return whole


def test_the_end_of_a_row_is_rounded_as_in_the_whole_image():
    # 64-pixel tiles once left the scalar end of a coarse row inside the wanted pixels
    frames = stack((415, 201), 2, dtype="float32", grey=True)
    options = FusionOptions(levels=4, kernel=1)
    whole = fuse(frames, ["laplacian"], options, tile=1 << 20)
    tiled = fuse(frames, ["laplacian"], options, tile=1)
    for name, expected in whole.items():
        np.testing.assert_array_equal(tiled[name], expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 700), (700, 1), (129, 641), (385, 257)], ids=str)
def test_tiled_equals_whole_at_five_levels(method, shape):
    frames = stack(shape, 2)
    whole = fuse(frames, [method], tile=1 << 20)
    for tile in (128, 256):
        tiled = fuse(frames, [method], tile=tile)
        for name, expected in whole.items():
            np.testing.assert_array_equal(tiled[name], expected, err_msg=name)


def test_tiled_equals_whole_where_the_median_is_wider_than_the_tile():
    frames = stack((150, 170), 2)
    options = FusionOptions(levels=2, median_sizes=(99, 61))
    whole = fuse(frames, ["median_mask"], options, tile=1 << 20)
    tiled = fuse(frames, ["median_mask"], options, tile=16)
    for name, expected in whole.items():
        np.testing.assert_array_equal(tiled[name], expected)


@given(
    shape=st.tuples(st.integers(1, 700), st.integers(1, 700)),
    tile=st.integers(16, 900),
    levels=st.integers(1, 7),
)
def test_tiles_cover_every_pixel_once_and_start_on_the_grid(shape, tile, levels):
    canvas = np.zeros(shape, int)
    for box in partition(shape, tile, levels):
        assert box.top % grid_step(levels) == box.left % grid_step(levels) == 0
        canvas[box.slices] += 1
    assert (canvas == 1).all()


@given(
    shape=st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    levels=st.integers(1, 6),
    reach=st.integers(0, 40),
    data=st.data(),
)
def test_a_plan_stays_inside_the_image_and_holds_what_it_needs(shape, levels, reach, data):
    boxes = list(partition(shape, 256, levels))
    box = data.draw(st.sampled_from(boxes))
    plan = tile_plan(box, shape, [reach] * levels)
    assert contains(plan.window, box)
    assert contains(plan.levels[0].held, box)
    for level, here in enumerate(plan.levels):
        whole = Box(0, 0, *level_shape(shape, level))
        assert here.shape == whole.shape
        assert contains(here.analysed, here.held)
        assert contains(whole, here.analysed)
        # what the reductions of the window hold on this level
        step = 1 << level
        held = Box(
            plan.window.top // step,
            plan.window.left // step,
            -(-plan.window.bottom // step),
            -(-plan.window.right // step),
        )
        assert contains(held, here.analysed)


def contains(outer, inner):
    return (
        outer.top <= inner.top
        and outer.left <= inner.left
        and outer.bottom >= inner.bottom
        and outer.right >= inner.right
    )


def test_the_window_follows_the_methods_filters():
    def window(methods):
        reaches = level_reaches(select_methods(methods), FusionOptions())
        return tile_plan(Box(2048, 2048, 3072, 3072), (8192, 8192), reaches).window

    assert window(["direct"]).shape == (1028, 1028)
    assert window(["all_channels"]).shape == (1200, 1200)
    assert window(["laplacian"]).shape > window(["median_mask"]).shape


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([np.zeros((4, 4), np.uint8)], "two or more"),
        ([np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)], "frame 1"),
        ([np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint16)], "frame 1"),
        ([np.zeros((4, 4), np.float64)] * 2, "convert"),
        ([np.zeros((0, 4), np.uint8)] * 2, "shape"),
    ],
)
def test_frames_that_do_not_fit_are_refused(frames, message):
    with pytest.raises(StackError, match=message):
        fuse(frames)


def test_unknown_method_and_tile_are_refused():
    frames = stack((8, 8), 2)
    with pytest.raises(OptionError, match="all_chanels"):
        fuse(frames, ["all_chanels"])
    with pytest.raises(OptionError, match="tile"):
        fuse(frames, tile=0)


@settings(max_examples=200)
@given(
    shape=st.tuples(st.integers(1, 9000), st.integers(1, 9000)),
    threads=st.integers(1, 70),
    n_frames=st.integers(2, 40),
    tile=st.sampled_from([None, 500, 2000]),
    levels=st.integers(1, 9),
)
def test_large_tiles_partition_the_image_and_keep_threads_busy(
    shape, threads, n_frames, tile, levels
):
    options, methods = FusionOptions(levels=levels), select_methods(["all_channels"])
    boxes = large_tiles(shape, threads, tile, n_frames, methods, options)
    step = grid_step(len(level_reaches(methods, engine.coarsest(options))))
    assert all(box.top % step == box.left % step == 0 for box in boxes)
    assert sum(box.shape[0] * box.shape[1] for box in boxes) == shape[0] * shape[1]
    covered = [(row, column) for row in (0, shape[0] - 1) for column in (0, shape[1] - 1)]
    assert all(sum(holds(box, place) for box in boxes) == 1 for place in covered)
    rows = max(box.shape[0] for box in boxes)
    stripes = sum(box.top == 0 for box in boxes)
    assert max(box.shape[1] for box in boxes) < stripe_columns(tile, n_frames) + step
    if rows >= 2 * engine._LEAST_ROWS:  # they could be lower still
        assert len(boxes) >= threads
    assert len(boxes) <= max(2 * threads, stripes) + stripes


def holds(box, place):
    return box.top <= place[0] < box.bottom and box.left <= place[1] < box.right
