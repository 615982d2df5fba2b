"""The decision map: what it decides, how it is cleaned, and what follows for long stacks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label

from batchstack.fusion import METHODS, decision, fuse
from batchstack.fusion.decision import DOUBTED, SURE, TRUSTED, cell_box, index_type, nearest, settle
from batchstack.fusion.engine import tiles
from batchstack.fusion.methods import select_methods
from batchstack.fusion.pyramid import level_shape
from batchstack.fusion.rules import WHOLLY
from batchstack.fusion.tiles import partition
from batchstack.geometry import Box
from batchstack.options import FusionOptions
from batchstack.scenes import Camera, make_stack
from tests.scenes import quantise

DECIDED = [name for name, method in METHODS.items() if method.decided and method.output]


def test_a_speck_without_evidence_goes_to_its_surroundings():
    index = np.zeros((40, 60), np.uint8)
    index[10:20, 10:20] = 1
    confidence = np.full(index.shape, 255, np.uint8)
    confidence[10:20, 10:20] = SURE - 1
    settled, sure, _ = settle(index, confidence, evidence=20)
    assert not settled.any()
    assert not sure[10:20, 10:20].any()
    assert (sure[index == 0] == 255).all()


def test_a_thin_structure_with_evidence_stays():
    index = np.zeros((40, 60), np.uint8)
    index[20, 5:55] = 1
    confidence = np.full(index.shape, 255, np.uint8)
    settled, *_ = settle(index, confidence, evidence=20)
    np.testing.assert_array_equal(settled, index)


def test_regions_meet_at_corners_without_being_one():
    index = np.zeros((20, 20), np.uint8)
    index[:10, :10] = index[10:, 10:] = 1
    confidence = np.zeros(index.shape, np.uint8)
    confidence[:10, :10] = 255
    confidence[index == 0] = 255
    settled, *_ = settle(index, confidence, evidence=1)
    assert (settled[:10, :10] == 1).all()
    assert not settled[10:, 10:].any()


def test_a_region_without_evidence_is_shared_by_its_nearest_neighbours():
    index = np.repeat(np.array([[0] * 20 + [1] * 20 + [2] * 20], np.uint8), 30, axis=0)
    confidence = np.where(index == 1, 0, 255).astype(np.uint8)
    settled, *_ = settle(index, confidence, evidence=1)
    assert (settled[:, :29] == 0).all()
    assert (settled[:, 31:] == 2).all()


def test_without_any_evidence_the_commonest_frame_wins():
    index = np.zeros((30, 30), np.uint16)
    index[:20] = 3
    settled, confidence, trust = settle(index, np.zeros(index.shape, np.uint8), evidence=1)
    assert (settled == 3).all()
    assert not confidence.any()
    assert not trust.any()


def test_trust_fades_with_the_distance_from_evidence():
    index = np.zeros((5, 100), np.uint8)
    index[:, 10:] = np.arange(90) % 2 + 1  # columns of one cell, without evidence
    confidence = np.where(index == 0, SURE, 0).astype(np.uint8)
    settled, _, trust = settle(index, confidence, evidence=1)
    assert not settled.any()
    expected = np.clip((DOUBTED - np.arange(-9, 91)) / (DOUBTED - TRUSTED), 0, 1)
    np.testing.assert_allclose(trust / WHOLLY, np.tile(expected, (5, 1)), atol=0.51 / WHOLLY)


def test_cells_that_are_evidence_are_trusted_more_the_surer_they_are():
    index = np.zeros((4, 256), np.uint8)
    confidence = np.tile(np.arange(256), (4, 1)).astype(np.uint8)
    for evidence in (0, 1):  # whether every region stays or some might go
        index[0, 0] = evidence
        _, left, trust = settle(index, confidence, evidence)
        np.testing.assert_array_equal(left[1:], confidence[1:])
        assert (trust[1:, : SURE + 1] == WHOLLY).all()
        assert (np.diff(trust[1:].astype(int)) >= 0).all()
        assert (trust[1:, -1] == 254).all()
        assert trust.min() >= (0 if evidence else WHOLLY)


@settings(max_examples=50)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    evidence=st.integers(0, 30),
    seed=st.integers(0, 999),
)
def test_settling_twice_changes_nothing_more(shape, evidence, seed):
    rng = np.random.default_rng(seed)
    index = rng.integers(0, 3, shape).astype(np.uint8)
    confidence = rng.integers(0, 256, shape).astype(np.uint8)
    once = settle(index, confidence, evidence)
    assert set(np.unique(once[0])) <= set(np.unique(index))
    assert (once[1] <= confidence).all()
    assert (once[0] == index)[once[1] > 0].all()


@settings(max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 25), st.integers(1, 25)),
    cell=st.integers(1, 4),
    n_frames=st.sampled_from([2, 3, 300]),
    evidence=st.integers(1, 8),
    band=st.integers(1, 300),
    seed=st.integers(0, 999),
)
def test_cells_that_go_take_the_frame_of_the_nearest_that_stays(
    shape, cell, n_frames, evidence, band, seed
):
    rng = np.random.default_rng(seed)
    index = rng.integers(0, n_frames, shape).astype(index_type(n_frames))
    index = np.repeat(np.repeat(index, cell, axis=0), cell, axis=1)
    confidence = rng.integers(0, 130, index.shape).astype(np.uint8)
    regions = label(index.astype(int) + 1, connectivity=1)
    stays = (np.bincount(regions[confidence >= SURE], minlength=index.size + 1) >= evidence)[
        regions
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decision, "BAND", band)
        settled, *_ = settle(index, confidence, evidence)
    columns, rows = np.nonzero(stays.T)  # from left to right, and from top to bottom
    if not len(rows):
        assert (settled == np.bincount(index.ravel()).argmax()).all()
        return
    for y, x in np.ndindex(index.shape):
        nearest_one = np.argmin((rows - y) ** 2 + (columns - x) ** 2)
        assert settled[y, x] == index[rows[nearest_one], columns[nearest_one]]


@given(
    shape=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    tile=st.sampled_from([8, 64, 100]),
    level=st.integers(0, 3),
    data=st.data(),
)
def test_a_tile_looks_up_what_the_whole_image_does(shape, tile, level, data):
    cells = np.random.default_rng(data.draw(st.integers(0, 99))).integers(
        0, 3, level_shape(shape, level)
    )
    box = data.draw(st.sampled_from(list(partition(shape, tile, level + 1))))
    whole = nearest(cells, level, Box(0, 0, *shape))
    np.testing.assert_array_equal(nearest(cells, level, box), whole[box.slices])


def test_cells_of_tiles_partition_the_map():
    shape, options = (301, 517), FusionOptions(map_level=2)
    chosen = select_methods(["guided"])
    seen = np.zeros(level_shape(shape, 2), int)
    for box in tiles(shape, 64, chosen, options):
        seen[cell_box(box, 2).slices] += 1
    assert (seen == 1).all()


def test_depth_runs_from_back_to_front_and_knows_where_it_guesses():
    rng = np.random.default_rng(5)
    sharp = rng.integers(0, 255, (120, 300, 3), np.uint8)
    frames = [np.full_like(sharp, 128) for _ in range(3)]
    for index, frame in enumerate(frames):
        frame[:90, 100 * index : 100 * index + 100] = sharp[:90, 100 * index : 100 * index + 100]
    maps = fuse(frames, ["depth_map"])
    depth, confidence = maps["depth_map"], maps["depth_confidence"]
    assert [int(depth[40, column]) for column in (50, 150, 250)] == [0, 32768, 65535]
    assert (confidence[10:80, 10:90] > 200).all()
    assert not confidence[105:].any()


def test_depth_lies_between_frames():
    frames = 6
    rendered = make_stack(
        (240, 160), frames=frames, scene="slant", blur=8.0, seed=1, camera=Camera(noise=1.0)
    )
    depth = fuse(rendered.frames, ["depth_map"])["depth_map"] / 65535
    inner = (rendered.depth > 0.5 / (frames - 1)) & (rendered.depth < 1 - 0.5 / (frames - 1))
    error = (frames - 1) * np.abs(depth - rendered.depth)[inner]
    assert error.mean() < 0.12  # the numbers of the frames alone are a quarter off
    assert (error < 1).all()


@pytest.mark.parametrize("level", [0, 1])
def test_the_map_follows_the_scene(level):
    rendered = make_stack((360, 480), blur=6.0, seed=4, camera=Camera(noise=2.0))
    options = FusionOptions(map_level=level)
    depth = fuse(rendered.frames, ["depth_map"], options)["depth_map"] / 65535
    clear = np.abs(rendered.depth - 0.5) > 0.49
    assert (np.abs(depth - rendered.depth) < 0.5)[clear].mean() > 0.97


@pytest.mark.parametrize("method", DECIDED)
@pytest.mark.parametrize(("column", "left"), [(32, 1), (60, 2)])
def test_a_single_wrong_pixel_of_noise_does_not_come_through(method, column, left):
    # Near evidence it is dropped, far from any it is averaged with the other frame.
    flat = np.full((80, 80), 100, np.uint8)
    noisy = flat.copy()
    noisy[40, column] = 104
    textured = np.random.default_rng(0).integers(0, 255, (80, 80), np.uint8)
    flat[:, :30] = textured[:, :30]
    fused = fuse([flat, noisy], [method])[METHODS[method].output]
    assert abs(int(fused[40, column]) - 100) <= left


@pytest.mark.parametrize("method", DECIDED)
@pytest.mark.parametrize("level", [0, 2])
def test_regions_of_the_map_do_not_show_where_only_the_light_differs(method, level):
    rng = np.random.default_rng(level)
    frames = [np.full((240, 320), light, np.float32) for light in (0.5, 0.53, 0.48)]
    patches = [(0, 0), (170, 240), (10, 230)]
    for frame, (top, left) in zip(frames, patches, strict=True):
        frame[top : top + 60, left : left + 60] += rng.uniform(-0.3, 0.3, (60, 60))
    fused = fuse(frames, [method], FusionOptions(map_level=level))[METHODS[method].output]
    steps = np.maximum(*(abs(step) for step in np.gradient(255 * fused)))
    for top, left in patches:  # and what is blurred over their borders
        steps[max(top - 16, 0) : top + 76, max(left - 16, 0) : left + 76] = 0
    # Regions meet at steps of five codes and more; over the width of the base that is nothing.
    assert steps.max() < 0.5


@pytest.mark.parametrize("method", DECIDED)
@given(
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    n_frames=st.sampled_from([2, 3, 9]),
    level=st.integers(0, 2),
    seed=st.integers(0, 999),
)
@settings(max_examples=25, deadline=None)
def test_no_pixel_leaves_the_range_of_the_frames(method, shape, n_frames, level, seed):
    rng = np.random.default_rng(seed)
    frames = list(rng.integers(0, 256, (n_frames, *shape, 3)).astype(np.uint8))
    fused = fuse(frames, [method], FusionOptions(map_level=level))[METHODS[method].output]
    assert (fused >= np.min(frames, axis=0)).all()
    assert (fused <= np.max(frames, axis=0)).all()


@pytest.mark.parametrize("method", DECIDED)
@pytest.mark.parametrize(("n_frames", "most"), [(7, 0.9), (50, 0.5)])
@pytest.mark.parametrize("level", [0, 1])
def test_noise_is_averaged_where_nothing_tells_frames_apart(method, n_frames, most, level):
    rng = np.random.default_rng(n_frames)
    scene = np.full((192, 256), 0.5)
    scene[:, 128:] += rng.uniform(-0.4, 0.4, (192, 128))
    frames = [
        quantise(scene + rng.normal(0, 3 / 255, scene.shape), "uint8") for _ in range(n_frames)
    ]
    flat = (slice(16, -16), slice(16, 80))
    single = min(frame[flat].std() for frame in frames)
    options = FusionOptions(map_level=level)
    fused = fuse(frames, [method], options)[METHODS[method].output][flat].std()
    assert fused < most * single


@pytest.mark.parametrize("method", DECIDED)
def test_wide_structure_in_one_frame_is_not_averaged_away(method):
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:192, :256]
    wide = 25 * np.sin(columns / 8) * np.sin(rows / 8)  # too wide for evidence on the cells
    sharp = 128 + wide + rng.normal(0, 2, wide.shape)
    blurred = 128 + 0.1 * wide + rng.normal(0, 2, (9, *wide.shape))
    frames = [np.clip(np.rint(x), 0, 255).astype(np.uint8) for x in (sharp, *blurred)]
    fused = fuse(frames, [method])[METHODS[method].output].astype(float) - 128
    assert (fused * wide).sum() > 0.5 * (wide * wide).sum()
