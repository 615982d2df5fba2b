"""Rows that flow: what is read is there, whatever the strips, and memory is what it says."""

import gc
import weakref

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchstack.fusion import METHODS, flows, fuse
from batchstack.fusion.engine import StackToFuse, fuse_image
from batchstack.fusion.footprint import working_bytes
from batchstack.fusion.methods import select_methods
from batchstack.fusion.scratch import Scratch
from batchstack.fusion.stack import Stack
from batchstack.fusion.streams import (
    Stream,
    expanded_rows,
    mirrored_rows,
    reduced_rows,
    rehearse,
)
from batchstack.fusion.team import Team
from batchstack.geometry import Box
from batchstack.options import FusionOptions
from tests.scenes import stack


def fold(index, height):
    while not 0 <= index < height:
        index = -index if index < 0 else 2 * (height - 1) - index
        if height == 1:
            return 0
    return index


@given(first=st.integers(-40, 40), count=st.integers(1, 60), height=st.integers(1, 50))
def test_mirrored_rows_are_all_that_reflect_101_looks_at(first, count, height):
    # some of the rows lie inside
    first = min(first, height - 1)
    last = max(first + count, 1)
    low, high = mirrored_rows(first, last, height)
    looked_at = {fold(row, height) for row in range(first, last)}
    assert 0 <= low <= min(looked_at)
    assert max(looked_at) < high <= height


@given(first=st.integers(0, 40), count=st.integers(1, 20))
def test_rows_of_the_next_level_are_those_that_its_filters_look_at(first, count):
    last, height = first + count, 1000
    low, high = expanded_rows(first + 10, last + 10, height)
    assert low == (first + 10) // 2 - 1
    assert high == (last + 9) // 2 + 2
    low, high = reduced_rows(first + 10, last + 10, height)
    assert (low, high) == (2 * first + 18, 2 * last + 21)


@given(
    height=st.integers(1, 300),
    steps=st.lists(st.integers(1, 40), min_size=3, max_size=3),
    reaches=st.lists(st.integers(0, 30), min_size=2, max_size=2),
    strip=st.integers(1, 50),
)
def test_a_ring_holds_every_row_until_it_was_read(height, steps, reaches, strip):
    """Rows written to rings of the rehearsed size are all there when they are read."""
    first = Stream(0, height, steps[0])

    def reader(source, reach):
        return lambda top, bottom: [(source, *mirrored_rows(top - reach, bottom + reach, height))]

    second = Stream(0, height, steps[1], reader(first, reaches[0]))
    third = Stream(0, height, steps[2], reader(second, reaches[1]))
    both = Stream(
        0, height, strip, lambda top, bottom: [(first, top, bottom), (third, top, bottom)]
    )
    streams = [first, second, third, both]
    made = rehearse(streams, [both], 0, height, strip)
    rings = [np.full(stream.rows, -1) for stream in streams]
    for number, top, bottom in made:
        for source, low, high in streams[number].readings(top, bottom):
            ring = rings[streams.index(source)]
            for row in range(low, high):
                assert ring[row % ring.size] == row
        for row in range(top, bottom):
            rings[number][row % rings[number].size] = row
    assert [bottom for number, _, bottom in made if number == 3][-1] == height


@pytest.mark.parametrize("n_frames", [2, 3])
@pytest.mark.parametrize("strip", [1, 3, 24])
@pytest.mark.parametrize("medians", [(5, 3, 3), (3, 19, 5)])
def test_strips_of_any_height_give_the_same_pixels(strip, medians, n_frames, monkeypatch):
    frames = stack((301, 43), n_frames, dtype="float32")
    options = FusionOptions(levels=3, median_sizes=medians, map_level=1)
    expected = fuse(frames, options=options)
    monkeypatch.setattr(flows, "STRIP", strip * n_frames)
    monkeypatch.setattr(flows, "LEAST", 1)
    monkeypatch.setattr(flows, "CELL_STRIP", strip)
    flows._rehearsed.cache_clear()
    fused = fuse(frames, options=options)
    flows._rehearsed.cache_clear()
    for name, values in fused.items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


NAMES = (["all"], ["all_channels"], ["laplacian", "median_mask"], ["bayesian"])


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("names", NAMES)
def test_frames_that_are_read_one_by_one_give_the_same_pixels(names, batch, monkeypatch):
    frames = stack((101, 43), 4, dtype="float32")
    options = FusionOptions(levels=3, map_level=1)
    expected = fuse(frames, names, options)
    monkeypatch.setattr(flows, "CACHED", 0)
    monkeypatch.setattr(flows, "BATCH", batch)
    for name, values in fuse(frames, names, options).items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


def used_and_predicted(shape, n_frames, names, tile, options):
    frame = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    methods, kept = select_methods(names), {}

    class Counting(Scratch):
        def array(self, name, form, dtype):
            kept[name] = max(kept.get(name, 0), int(np.prod(form)) * np.dtype(dtype).itemsize)
            return super().array(name, form, dtype)

    scratch = Counting()
    read = lambda index, box: frame[box.slices]  # noqa: E731
    outputs = fuse_image(
        StackToFuse(read, n_frames, shape, methods, options), tile, Team([scratch])
    )
    used = sum(size for name, size in kept.items() if name not in {"images", "masks", *outputs})
    form = Stack(n_frames, 3, frame.dtype, options)
    return used, working_bytes(Box(0, 0, shape[0], min(tile, shape[1])), shape, methods, form)


@settings(max_examples=25)
@given(
    n_frames=st.sampled_from([2, 3, 12]),
    names=st.sets(st.sampled_from(sorted(METHODS)), min_size=1),
    level=st.integers(0, 2),
    wide=st.integers(200, 400),
)
@example(n_frames=12, names={"median_mask", "depth_map"}, level=0, wide=200)
def test_working_memory_is_predicted_from_shapes(n_frames, names, level, wide):
    used, predicted = used_and_predicted(
        (150, wide), n_frames, names, 512, FusionOptions(map_level=level)
    )
    assert used <= predicted
    assert predicted <= 1.3 * used + 2**18


@pytest.mark.parametrize("names", NAMES)
def test_working_memory_of_frames_that_are_read_one_by_one_is_predicted(names, monkeypatch):
    monkeypatch.setattr(flows, "CACHED", 0)
    used, predicted = used_and_predicted((150, 300), 12, names, 512, FusionOptions(map_level=1))
    assert used <= predicted <= 1.3 * used + 2**18


@pytest.mark.parametrize("names", NAMES)
def test_working_memory_goes_with_who_holds_it(names):
    """A worker looks for garbage rarely, so what it does tile by tile must leave none."""
    frames = stack((101, 43), 3)
    read = lambda index, box: frames[index][box.slices]  # noqa: E731
    scratch = Scratch()
    gone = weakref.ref(scratch)
    gc.disable()
    try:
        form = StackToFuse(read, 3, (101, 43), select_methods(names), FusionOptions())
        fuse_image(form, None, Team([scratch]))
        del scratch
        assert gone() is None
    finally:
        gc.enable()


def test_working_memory_does_not_depend_on_the_size_of_the_image():
    methods, options = tuple(METHODS.values()), FusionOptions(map_level=3)
    sizes = []
    for side in (16384, 131072, 524288):
        form = Stack(2, 3, np.dtype(np.uint8), options)
        tile = Box(side // 2, side // 2, side // 2 + 1024, side // 2 + 1024)
        sizes.append(working_bytes(tile, (side, side), methods, form))
    assert len(set(sizes)) == 1


def test_working_memory_grows_with_frames_by_their_rows_alone():
    methods, options = select_methods(["all_channels"]), FusionOptions(map_level=0)

    def size(n_frames):
        form = Stack(n_frames, 3, np.dtype(np.uint8), options)
        return working_bytes(Box(2048, 2048, 4096, 3072), (8192, 8192), methods, form)

    assert size(200) / 200 < 4e6  # bytes a frame, of which there are three million in a stripe
    assert size(200) < 6.5 * size(50)
