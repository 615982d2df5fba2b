"""Dask arrays are fused lazily, tile by tile, to the pixels of `fuse`."""

import subprocess
import sys

import dask
import numpy as np
import pytest
from dask import array as da
from dask.callbacks import Callback
from hypothesis import given, settings
from hypothesis import strategies as st

import batchstack
from batchstack import METHODS, FusionOptions, fuse, fuse_dask
from batchstack.errors import OptionError, StackError
from batchstack.fusion.codes import DATA_RANGES
from tests.scenes import stack

DECIDED = sorted(name for name, method in METHODS.items() if method.decided)


@pytest.fixture(autouse=True)
def in_this_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


def computed(outputs):
    return dict(zip(outputs, dask.compute(*outputs.values()), strict=True))


def as_array(frames, chunks):
    """Frames of shape (Y, X, C) as a Dask array of shape (C, Z, Y, X)."""
    return da.from_array(np.moveaxis(np.stack(frames), -1, 0), chunks=chunks)


@settings(max_examples=25)
@given(
    shape=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    n_frames=st.sampled_from([2, 3, 5]),
    dtype=st.sampled_from(sorted(DATA_RANGES)),
    chunks=st.tuples(*(st.integers(low, 160) for low in (1, 1, 20, 20))),
    tile=st.sampled_from([None, 16, 64]),
    options=st.builds(
        FusionOptions,
        levels=st.integers(1, 4),
        map_level=st.sampled_from([None, 0, 1, 2]),
        evidence=st.sampled_from([1, 20, 100000]),
    ),
    methods=st.sets(st.sampled_from(sorted(METHODS)), min_size=1),
    together=st.booleans(),
    seed=st.integers(0, 99),
)
def test_outputs_are_those_of_fuse(
    shape, n_frames, dtype, chunks, tile, options, methods, together, seed
):
    with dask.config.set(scheduler="synchronous"):
        frames = stack(shape, n_frames, dtype=dtype, seed=seed)
        found = computed(
            fuse_dask(as_array(frames, chunks), methods, options, together=together, tile=tile)
        )
    for channel in [slice(None)] if together else range(3):
        expected = fuse([frame[..., channel] for frame in frames], methods, options)
        for name, image in expected.items():
            mine = np.moveaxis(found[name], 0, -1) if image.ndim == 3 else found[name][channel]
            np.testing.assert_array_equal(mine.reshape(image.shape), image, err_msg=name)
            assert mine.dtype == image.dtype


def test_a_map_of_many_strips_is_that_of_the_whole():
    frames = stack((700, 130), 7, grey=True, seed=3)
    array = da.from_array(np.stack(frames), chunks=(3, 90, 50))
    found = computed(fuse_dask(array, DECIDED, tile=64))
    for name, image in fuse(frames, DECIDED).items():
        np.testing.assert_array_equal(found[name], image, err_msg=name)


def test_times_and_channels_are_stacks_of_their_own():
    stacks = [[stack((40, 50), 3, grey=True, seed=4 * t + c) for c in range(2)] for t in range(3)]
    array = da.from_array(np.array(stacks), chunks=(2, 1, 3, 25, 25))
    found = fuse_dask(array, ["all_channels", "depth_map"], tile=32)
    image, depth = found["focus_stacked_all_channels"], found["depth_map"]
    assert image.shape == depth.shape == (3, 2, 40, 50)
    assert (image.dtype, depth.dtype) == (np.uint8, np.uint16)
    for (time, channel), _ in np.ndenumerate(np.empty((3, 2))):
        expected = fuse(stacks[time][channel], ["all_channels", "depth_map"])
        np.testing.assert_array_equal(depth[time, channel], expected["depth_map"])
        np.testing.assert_array_equal(image[time, channel], expected["focus_stacked_all_channels"])


def test_nothing_is_computed_before_an_output_is():
    read = []

    def make(block_info=None):
        read.append(block_info[None]["chunk-location"])
        return np.zeros(block_info[None]["chunk-shape"], np.uint8)

    array = da.map_blocks(
        make, chunks=((2,), (64,) * 4, (64,)), dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8)
    )
    fused = fuse_dask(array, ["direct", "bayesian"], tile=64)
    assert not read
    # of one tile, what it looks at
    fuse_dask(array, ["direct"], tile=64)["focus_stacked_direct"][:10].compute()
    assert set(read) == {(0, 0, 0), (0, 1, 0)}
    assert fused["focus_stacked_bayesian"][:10].compute().shape == (10, 64)


class Held(Callback):
    """Bytes of arrays that Dask holds between its tasks, at most."""

    def __init__(self):
        super().__init__()
        self.now, self.most, self._sizes = 0, 0, {}

    def _posttask(self, key, result, dsk, state, worker):
        self._sizes[key] = sum(array.nbytes for array in arrays(result))
        self.now += self._sizes[key]
        for gone in state["released"] & self._sizes.keys():
            self.now -= self._sizes.pop(gone)
        self.most = max(self.most, self.now)


def arrays(value):
    if isinstance(value, np.ndarray):
        yield value
    for part in (
        value
        if isinstance(value, list | tuple)
        else vars(value).values()
        if hasattr(value, "__dict__")
        else ()
    ):
        yield from arrays(part)


class Sink:
    def __setitem__(self, area, pixels):
        pass


@pytest.mark.parametrize("methods", [["direct"], ["direct", "depth_map"]], ids=" ".join)
def test_what_is_held_does_not_grow_with_the_height_of_the_image(methods):
    def make(block_info=None):
        return np.full(block_info[None]["chunk-shape"], 7, np.uint8)

    def most(rows):
        array = da.map_blocks(
            make,
            chunks=((6,), (64,) * rows, (64,) * 2),
            dtype=np.uint8,
            meta=np.empty((0, 0, 0), np.uint8),
        )
        # Cells are kept until the map is settled: of the largest kind, they are few.
        fused = fuse_dask(array, methods, FusionOptions(map_level=4), tile=64)
        with Held() as held:
            da.store(list(fused.values()), [Sink() for _ in fused], lock=False)
        return held.most

    few, stacked = most(8), 6 * 32 * 64 * 128
    assert most(32) < 1.25 * few
    assert most(32) < stacked / 2


def test_what_is_persisted_on_a_cluster_is_used_from_there():
    """In a process of its own, which starts a scheduler."""
    code = """
import numpy as np
from dask import array as da
from distributed import Client
from batchstack import fuse, fuse_dask
from tests.scenes import stack

frames = stack((90, 70), 3, grey=True)
with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None):
    array = (da.from_array(np.stack(frames), chunks=(1, 40, 40)) + np.uint8(0)).persist()
    fused = fuse_dask(array, ["guided", "depth_map"], tile=32)
    del array
    for name, image in fuse(frames, ["guided", "depth_map"]).items():
        np.testing.assert_array_equal(fused[name].compute(), image)
print("the same")
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.stdout == "the same\n", done.stderr


def test_the_same_call_has_the_same_names_and_another_has_others():
    array = da.zeros((2, 30, 30), dtype=np.uint8, chunks=10)

    def name(**options):
        return fuse_dask(array, ["direct"], **options)["focus_stacked_direct"].name

    assert name() == name() != name(tile=16)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4), np.uint8), "2 axes"),
        (np.zeros((1, 4, 4), np.uint8), "two or more"),
        (np.zeros((2, 4, 4), np.float64), "convert"),
        (np.zeros((2, 0, 4), np.uint8), "no axis of 0"),
    ],
)
def test_arrays_that_cannot_be_fused_are_refused_at_once(array, message):
    with pytest.raises(StackError, match=message):
        fuse_dask(da.from_array(array))


def test_unknown_methods_tiles_and_sizes_are_refused_at_once():
    array = da.zeros((2, 30, 30), dtype=np.uint8)
    with pytest.raises(OptionError, match="dirct"):
        fuse_dask(array, ["dirct"])
    with pytest.raises(OptionError, match="tile"):
        fuse_dask(array, tile=0)
    with pytest.raises(StackError, match="compute_chunk_sizes"):
        fuse_dask(array[:, (array[0] > 0).any(axis=1)])


def test_it_is_offered_by_the_package():
    assert batchstack.fuse_dask is fuse_dask
