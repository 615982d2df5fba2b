"""The methods agree with an independent reference written from their definitions."""

from dataclasses import replace

import numpy as np
import pytest

from batchstack.fusion import METHODS, fuse
from batchstack.fusion.engine import StackToFuse, fuse_image
from batchstack.fusion.rules import Formula, Measure, Weights
from batchstack.fusion.scratch import Scratch
from batchstack.fusion.team import Team
from batchstack.options import FusionOptions
from tests.reference import reference_fuse
from tests.scenes import DATA_RANGES, pair, stack

# Those that write a fused image, and those whose ties may fall either way.
FUSING = [name for name, method in METHODS.items() if method.output]
HARD = ["median_mask", "guided", "bayesian"]
SOFT = [name for name in FUSING if name not in HARD]
SHAPES = [(1, 1), (1, 7), (9, 1), (2, 2), (17, 33), (150, 203)]
# One 8-bit code value.
CODES = {"uint8": 1, "uint16": 257, "float32": 1 / 255}


def assert_agrees(fused, frames, names=FUSING, **options):
    """At most one 8-bit code off, and hardly ever that; decisions alike but for ties."""
    unit = CODES[frames[0].dtype.name]
    for method in names:
        for name, expected in reference_fuse(frames, method, **options).items():
            assert fused[name].dtype == expected.dtype
            assert fused[name].shape == expected.shape
            off = np.abs(fused[name].astype(float) - expected.astype(float)) / unit
            if method in HARD:
                assert (off < 0.01).mean() >= 0.999, name
            else:
                assert off.max() <= 1, name
                assert (off < 0.01).mean() >= 0.9999, name


@pytest.mark.parametrize("n_frames", [2, 3, 5, 9])
@pytest.mark.parametrize("dtype", sorted(DATA_RANGES))
@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_stack_agrees_with_the_reference(shape, grey, dtype, n_frames):
    frames = stack(shape, n_frames, grey=grey, dtype=dtype)
    # How far details are drawn else depends on the noise, which is tested beside the scale.
    assert_agrees(fuse(frames, options=FusionOptions(shrink=6.0)), frames)


@pytest.mark.parametrize("n_frames", [2, 4])
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
def test_options_mean_what_the_reference_says(options, n_frames):
    frames = stack((90, 121), n_frames)
    given = FusionOptions(shrink=6.0, **options)
    assert_agrees(fuse(frames, options=given), frames, **options)


@pytest.mark.parametrize("n_frames", [2, 3])
def test_two_or_four_channels_are_fused_like_three(n_frames):
    frames = [np.dstack([f, f[::-1]])[..., :4] for f in stack((40, 50), n_frames)]
    fused = fuse(frames, options=FusionOptions(shrink=6.0))
    assert_agrees(fused, frames, [n for n in FUSING if n != "guided"])  # no brightness of four
    two = fuse([frame[..., :2] for frame in frames], ["by_channel"])
    np.testing.assert_array_equal(
        two["focus_stacked_by_channel"], fused["focus_stacked_by_channel"][..., :2]
    )


def fuse_by(frames, *methods):
    """Fuse by methods that need not be in the table."""
    return fuse_image(to_fuse(frames, methods))


def to_fuse(frames, methods):
    def read(index, box):
        return frames[index][box.slices]

    return StackToFuse(read, len(frames), frames[0].shape[:2], methods, FusionOptions())


@pytest.mark.parametrize("n_frames", [2, 4])
def test_a_method_of_existing_rules_is_one_row(n_frames):
    """Parts that no method of the table has together."""
    frames = stack((60, 75), n_frames)
    by_channel = replace(METHODS["laplacian"], name="new", output="new", by_channel=True)
    grey = [frame[..., 1] for frame in frames]
    new = fuse_by(frames, by_channel, METHODS["laplacian"])["new"][..., 1]
    old = fuse(grey, ["laplacian"])["focus_stacked_laplacian"]
    np.testing.assert_array_equal(new, old)
    hard = replace(METHODS["median_mask"], name="flat", output="flat", pyramid=False)
    flat = fuse_by(frames, hard)["flat"]
    assert (flat == np.stack(frames)).all(axis=-1).any(axis=0).all()  # each pixel from one frame
    measure = Measure(Formula.LAPLACIAN, Formula.LAPLACIAN, sigma=2.0)
    soft = replace(METHODS["direct"], name="soft", output="soft", measure=measure, sigma=1.0)
    fused, low, high = fuse_by(frames, soft)["soft"], np.min(frames, axis=0), np.max(frames, axis=0)
    assert (fused >= low).all()
    assert (fused <= high).all()


def test_every_rule_is_used():
    used = {method.weights for method in METHODS.values()}
    assert used >= {Weights.SOFT, Weights.HARD, Weights.LIKELIHOOD, Weights.EDGES}


def test_data_range_makes_12_bit_frames_equal_their_8_bit_selves():
    # 4080 = 16 * 255: every 12-bit value below is exactly an 8-bit one
    frames = pair((64, 80))
    deep = [frame.astype(np.uint16) * 16 for frame in frames]
    expected = fuse(frames, ["all_channels"])["focus_stacked_all_channels"]
    fused = fuse(deep, ["all_channels"], FusionOptions(data_range=4080.0))
    assert np.abs(fused["focus_stacked_all_channels"] / 16 - expected).max() <= 0.5


def test_data_range_scales_and_clips():
    frames = [np.minimum(frame, 4000) for frame in pair((64, 80), dtype="uint16")]
    frames[0][20:30] = 5000
    fused = fuse(frames, SOFT, FusionOptions(data_range=4080.0))
    for name, values in fused.items():
        assert values.max() <= 4080, name
    scaled = [frame.astype(np.float32) / np.float32(4080) for frame in frames]
    same = fuse(scaled, SOFT)
    for name, values in fused.items():
        assert np.abs(np.minimum(same[name] * 4080, 4080).clip(0) - values).max() <= 1


@pytest.mark.parametrize("n_frames", [2, 3])
def test_floating_values_are_not_clipped(n_frames):
    frames = [3 * frame - 1 for frame in stack((64, 80), n_frames, dtype="float32")]
    for values in fuse(frames, [*SOFT, "bayesian", "guided"]).values():
        assert values.min() < -0.5
        assert values.max() > 1.5


def test_values_without_bound_stay_numbers():
    frames = [frame * np.float32(1e30) for frame in stack((40, 50), 3, dtype="float32")]
    assert np.isfinite(fuse(frames, ["bayesian"])["focus_stacked_bayesian"]).all()


@pytest.mark.parametrize("n_frames", [2, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_equal_frames_come_back_unchanged_and_the_mask_is_white(dtype, n_frames):
    frame = pair((65, 47), dtype=dtype)[0]
    fused = fuse([frame] * n_frames, FUSING)
    assert (fused.pop("blending_mask") == 255).all()
    for values in fused.values():
        np.testing.assert_array_equal(values, frame)


@pytest.mark.parametrize("method", [m for m in FUSING if not METHODS[m].decided])
def test_channel_order_does_not_matter(method):
    frames = pair((65, 47))
    output = METHODS[method].output
    forward = fuse(frames, [method])[output]
    backward = fuse([frame[..., ::-1] for frame in frames], [method])[output]
    assert np.abs(backward[..., ::-1].astype(int) - forward).max() <= 1


@pytest.mark.parametrize("n_frames", [2, 3])
def test_one_method_alone_equals_the_same_method_among_all(n_frames):
    frames = stack((130, 140), n_frames, dtype="float32")
    together = fuse(frames)
    for method in METHODS:
        alone = fuse(frames, [method])
        assert set(alone) == set(METHODS[method].outputs)
        for name, values in alone.items():
            np.testing.assert_array_equal(values, together[name])


@pytest.mark.parametrize("n_frames", [2, 4])
def test_soft_methods_do_not_depend_on_the_order_of_the_frames(n_frames):
    frames = stack((70, 90), n_frames)
    forward, backward = fuse(frames, SOFT), fuse(frames[::-1], SOFT)
    for name, values in forward.items():
        off = np.abs(values.astype(int) - backward[name])
        assert off.max() <= 1
        assert (off == 0).mean() > 0.999


def test_kept_memory_leaves_no_trace_of_the_stack_before():
    large, small = stack((130, 140), 3, seed=1), pair((90, 33), seed=2, dtype="uint16")
    expected = [fuse(frames) for frames in (large, small, large)]
    scratch = Scratch()
    for frames, known in zip((large, small, large), expected, strict=True):
        fused = fuse_image(to_fuse(frames, tuple(METHODS.values())), None, Team([scratch]))
        for name, values in fused.items():
            np.testing.assert_array_equal(values, known[name], err_msg=name)


def test_mask_is_white_where_the_back_frame_wins():
    back, front = pair((160, 200))
    sharp = np.random.default_rng(3).integers(0, 255, (160, 200, 3), np.uint8)
    flat = np.full_like(sharp, 128)
    half = np.arange(200) < 100
    back = np.where(half[:, np.newaxis], sharp, flat)
    front = np.where(half[:, np.newaxis], flat, sharp)
    mask = fuse([back, front], ["median_mask"])["blending_mask"]
    assert (mask[:, :90] == 255).all()
    assert (mask[:, 110:] == 0).all()


def test_mask_of_a_longer_stack_is_a_depth_map():
    rng = np.random.default_rng(5)
    sharp = rng.integers(0, 255, (60, 300), np.uint8)
    frames = [np.full_like(sharp, 128) for _ in range(3)]
    for index, frame in enumerate(frames):
        frame[:, 100 * index : 100 * index + 100] = sharp[:, 100 * index : 100 * index + 100]
    mask = fuse(frames, ["median_mask"])["blending_mask"]
    assert [int(mask[30, column]) for column in (50, 150, 250)] == [255, 128, 0]


def test_fusion_beats_both_frames_on_a_rendered_pair():
    from batchstack.scenes import make_stack

    rendered = make_stack((240, 320), scene="blob", blur=4.0, seed=2)
    truth = rendered.truth.astype(float)

    def error(image):
        return np.mean((image - truth) ** 2)

    for method in FUSING:
        fused = fuse(rendered.frames, [method])[METHODS[method].output]
        assert error(fused) < 0.6 * min(error(frame) for frame in rendered.frames)
