"""A pair fused in blocks agrees with the reference, and a tile of it with the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchstack.fusion import METHODS, blocks
from batchstack.fusion.blocks import Scratch
from batchstack.fusion.decision import DecisionMap, cell_box, resolved, settle, survey_reach
from batchstack.fusion.methods import level_margins, level_reaches, select_methods
from batchstack.fusion.pair_map import survey_pair
from batchstack.fusion.pairs import PAIR_METHODS, fuse_pair
from batchstack.fusion.pyramid import level_shape
from batchstack.fusion.tiles import Box, partition, tile_plan
from batchstack.options import FusionOptions
from tests.reference import reference_fuse
from tests.scenes import DATA_RANGES, pair

ALL = sorted(PAIR_METHODS)
MAPPED = ["bayesian", "guided"]
# Those whose ties may fall either way.
HARD = ["median_mask", *MAPPED]
SOFT = sorted(PAIR_METHODS - set(HARD))
SHAPES = [(1, 1), (1, 7), (9, 1), (2, 2), (17, 33), (150, 203)]


def fuse_whole(frames, names=ALL, options=None, **kept):
    return fuse_boxes(frames, [Box(0, 0, *frames[0].shape[:2])], names, options, **kept)


def fuse_tiled(frames, tile, names=ALL, options=None):
    methods, options, shape = prepared(frames, names, options)
    tiles = list(partition(shape, tile, len(level_reaches(methods, options))))
    return fuse_boxes(frames, tiles, names, options)


def fuse_boxes(frames, boxes, names, options, **kept):
    methods, options, shape = prepared(frames, names, options)
    decision = None
    if any(method.decided for method in methods):
        decision = settled(survey_boxes(frames, boxes, options), options)
    reaches, margins = level_reaches(methods, options), level_margins(methods, options)
    whole = {}
    for box in boxes:
        plan = tile_plan(box, shape, reaches, margins)
        windows = [frame[plan.guard.slices] for frame in frames]
        fused = fuse_pair(*windows, plan, methods, options, decision=decision, **kept)
        if len(boxes) == 1:
            return fused
        for name, values in fused.items():
            full = (*shape, *values.shape[2:])
            whole.setdefault(name, np.empty(full, values.dtype))[box.slices] = values
    return whole


def survey_boxes(frames, boxes, options):
    shape, level = frames[0].shape[:2], options.map_level
    cells = level_shape(shape, level)
    index, confidence = np.full(cells, 77, np.uint8), np.full(cells, 77, np.uint8)
    for box in boxes:
        plan = tile_plan(box, shape, (0,) * level + (survey_reach(options),))
        windows = [frame[plan.guard.slices] for frame in frames]
        place = cell_box(box, level).slices
        index[place], confidence[place] = survey_pair(*windows, plan, options)
    return index, confidence


def settled(survey, options):
    return DecisionMap(*settle(*survey, options.evidence), options.map_level)


def prepared(frames, names, options):
    shape = frames[0].shape[:2]
    return select_methods(names), resolved(options or FusionOptions(), shape), shape


def assert_agrees(fused, frames, names=ALL, **options):
    """At most one 8-bit code off, and hardly ever that; decisions alike but for ties."""
    unit = {"uint8": 1, "uint16": 257, "float32": 1 / 255}[frames[0].dtype.name]
    for method in names:
        for name, expected in reference_fuse(frames, method, **options).items():
            assert fused[name].dtype == expected.dtype
            assert fused[name].shape == expected.shape
            off = np.abs(fused[name].astype(float) - expected.astype(float)) / unit
            if method in HARD:
                assert (off < 0.01).mean() >= 0.999
            else:
                assert off.max() <= 1
                assert (off < 0.01).mean() >= 0.9999


@pytest.mark.parametrize("dtype", sorted(DATA_RANGES))
@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pair_agrees_with_the_reference(shape, grey, dtype):
    frames = pair(shape, grey=grey, dtype=dtype)
    assert_agrees(fuse_whole(frames), frames)


@pytest.mark.parametrize(
    "options",
    [
        {"levels": 1},
        {"levels": 3, "beta": 0.5},
        {"levels": 6, "kernel": 5},
        {"levels": 2, "median_sizes": (7, 1)},
        {"levels": 2, "median_sizes": (255, 101)},
        {"beta": 2.0, "kernel": 1},
        {"beta": 1e5, "kernel": 9},
    ],
    ids=str,
)
def test_options_mean_what_the_reference_says(options):
    frames = pair((90, 121))
    assert_agrees(fuse_whole(frames, options=FusionOptions(**options)), frames, **options)


def test_two_or_four_channels_are_fused_like_three():
    frames = [np.dstack([frame, frame[::-1]])[..., :4] for frame in pair((40, 50))]
    names = [name for name in ALL if name != "guided"]  # no reference for its brightness
    fused = fuse_whole(frames)
    assert_agrees(fused, frames, names)
    two = fuse_whole([frame[..., :2] for frame in frames], ["by_channel"])
    np.testing.assert_array_equal(
        two["focus_stacked_by_channel"], fused["focus_stacked_by_channel"][..., :2]
    )


def test_data_range_scales_and_clips():
    frames = [np.minimum(frame, 4000) for frame in pair((64, 80), dtype="uint16")]
    frames[0][20:30] = 5000
    fused = fuse_whole(frames, SOFT, FusionOptions(data_range=4080.0))
    for name, values in fused.items():
        assert values.max() <= 4080, name
    scaled = [frame.astype(np.float32) / np.float32(4080) for frame in frames]
    same = fuse_whole(scaled, SOFT, FusionOptions())
    for name, values in fused.items():
        assert np.abs(np.minimum(same[name] * 4080, 4080).clip(0) - values).max() <= 1


def test_floating_values_are_not_clipped():
    frames = [3 * frame - 1 for frame in pair((64, 80), dtype="float32")]
    for values in fuse_whole(frames, SOFT + MAPPED).values():
        assert values.min() < -0.5
        assert values.max() > 1.5


sides = st.one_of(st.integers(1, 9), st.integers(10, 420))


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(sides, sides),
    dtype=st.sampled_from(sorted(DATA_RANGES)),
    grey=st.booleans(),
    tile=st.sampled_from([1, 64, 128, 200]),
    options=st.builds(
        FusionOptions,
        levels=st.integers(1, 5),
        beta=st.sampled_from([0.02, 0.1, 3.0]),
        kernel=st.sampled_from([1, 3, 7]),
        map_level=st.integers(0, 3),
        prior_radius=st.sampled_from([0, 6]),
        guide_radius=st.sampled_from([0, 2, 5]),
    ),
    names=st.sets(st.sampled_from(ALL), min_size=1),
    seed=st.integers(0, 99),
)
def test_tiled_equals_whole(shape, dtype, grey, tile, options, names, seed):
    frames = pair(shape, dtype=dtype, grey=grey, seed=seed)
    whole = fuse_whole(frames, names, options)
    for name, values in fuse_tiled(frames, tile, names, options).items():
        np.testing.assert_array_equal(values, whole[name], err_msg=name)


def test_tiled_equals_whole_where_the_median_is_wider_than_the_tile():
    frames = pair((150, 170))
    options = FusionOptions(levels=2, median_sizes=(99, 61))
    whole = fuse_whole(frames, ["median_mask"], options)
    for name, values in fuse_tiled(frames, 16, ["median_mask"], options).items():
        np.testing.assert_array_equal(values, whole[name])


def set_blocks(monkeypatch, rows, columns):
    monkeypatch.setattr(blocks, "STRIP", rows)
    monkeypatch.setattr(blocks, "LEAST", max(rows // 4, 1))
    monkeypatch.setattr(blocks, "BLOCK", (rows, columns))
    monkeypatch.setattr(blocks, "PANEL", columns)


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (7, 64), (64, 2), (1000, 1000)], ids=str)
def test_blocks_of_any_size_give_the_same_pixels(size, monkeypatch):
    frames = pair((41, 67), dtype="float32")
    expected = fuse_whole(frames)
    set_blocks(monkeypatch, *size)
    for name, values in fuse_whole(frames).items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


@pytest.mark.parametrize("strip", [1, 3, 24])
@pytest.mark.parametrize("medians", [(5, 3, 3), (3, 19, 5)])
def test_rows_that_are_held_for_a_while_are_held_long_enough(strip, medians, monkeypatch):
    frames = pair((701, 23), dtype="float32")
    options = FusionOptions(levels=3, median_sizes=medians)
    set_blocks(monkeypatch, 1000, 1000)  # nothing is given up
    expected = fuse_whole(frames, ALL, options)
    set_blocks(monkeypatch, strip, 1000)
    assert blocks.ring_rows(1, 12) < 701 // 4
    for name, values in fuse_whole(frames, ALL, options).items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)
    for name, values in fuse_tiled(frames, 300, ALL, options).items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


def test_one_method_alone_equals_the_same_method_among_all():
    frames = pair((130, 140), dtype="float32")
    together = fuse_whole(frames)
    for method in ALL:
        alone = fuse_whole(frames, [method])
        assert set(alone) == set(METHODS[method].outputs)
        for name, values in alone.items():
            np.testing.assert_array_equal(values, together[name])


def test_kept_memory_leaves_no_trace_of_the_pair_before():
    large, small = pair((130, 140), seed=1), pair((90, 33), seed=2, dtype="uint16")
    expected = fuse_whole(small), fuse_whole(large)
    scratch = Scratch()
    outputs = fuse_whole(large, scratch=scratch)
    for name, values in fuse_whole(small, scratch=scratch).items():
        np.testing.assert_array_equal(values, expected[0][name])
    for values in outputs.values():
        values[:] = 77
    assert fuse_whole(large, scratch=scratch, outputs=outputs) is outputs
    for name, values in outputs.items():
        np.testing.assert_array_equal(values, expected[1][name])


@pytest.mark.parametrize("dtype", sorted(DATA_RANGES))
def test_soft_methods_do_not_depend_on_the_order_of_the_frames(dtype):
    frames = pair((70, 90), dtype=dtype)
    forward, backward = fuse_whole(frames, SOFT), fuse_whole(frames[::-1], SOFT)
    for name, values in forward.items():
        np.testing.assert_array_equal(values, backward[name])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_equal_frames_come_back_unchanged_and_the_mask_is_white(dtype):
    frame = pair((65, 47), dtype=dtype)[0]
    fused = fuse_whole([frame, frame])
    assert (fused.pop("blending_mask") == 255).all()
    for values in fused.values():
        np.testing.assert_array_equal(values, frame)
