"""The methods agree with an independent reference written from their definitions."""

import numpy as np
import pytest

from batchstack.fusion import METHODS, fuse
from batchstack.options import FusionOptions
from tests.reference import reference_fuse
from tests.scenes import pair, stack

# Those that write a fused image, and those whose ties may fall either way.
FUSING = [name for name, method in METHODS.items() if method.output]
HARD = ["median_mask", "guided", "bayesian"]
SHAPES = [(1, 1), (1, 7), (9, 1), (2, 2), (17, 33), (150, 203)]


def assert_agrees(fused, expected, share, codes):
    difference = np.abs(fused.astype(np.float64) - expected.astype(np.float64))
    assert fused.dtype == expected.dtype
    assert difference.max() <= codes
    assert (difference == 0).mean() >= share


@pytest.mark.parametrize("method", FUSING)
@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_8_bit_pair_agrees_with_the_reference(method, grey, shape):
    frames = pair(shape, grey=grey)
    for name, expected in reference_fuse(frames, method).items():
        fused = fuse(frames, [method])[name]
        if method in HARD:
            assert (fused == expected).mean() >= 0.999
        else:
            assert_agrees(fused, expected, 0.9999, 1)


@pytest.mark.parametrize("method", [m for m in FUSING if m not in HARD])
@pytest.mark.parametrize(("dtype", "codes"), [("uint16", 4), ("float32", 1e-5)])
def test_deep_pair_agrees_with_the_reference(method, dtype, codes):
    frames = pair((150, 203), dtype=dtype)
    (name,) = METHODS[method].outputs
    expected = reference_fuse(frames, method)[name]
    fused = fuse(frames, [method])[name]
    assert_agrees(fused, expected, 0.98 if dtype == "uint16" else 0, codes)


@pytest.mark.parametrize("method", FUSING)
@pytest.mark.parametrize("n_frames", [3, 5])
def test_longer_stack_agrees_with_the_reference(method, n_frames):
    frames = stack((120, 91), n_frames)
    for name, expected in reference_fuse(frames, method).items():
        fused = fuse(frames, [method])[name]
        if method in HARD:
            assert (fused == expected).mean() >= 0.999
        else:
            assert_agrees(fused, expected, 0.9999, 1)


@pytest.mark.parametrize(
    "options",
    [
        {"levels": 1},
        {"levels": 3, "beta": 0.5},
        {"levels": 6, "kernel": 5},
        {"levels": 2, "median_sizes": (7, 3)},
        {"beta": 2.0, "kernel": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", FUSING)
def test_options_mean_what_the_reference_says(method, options):
    frames = pair((90, 121))
    for name, expected in reference_fuse(frames, method, **options).items():
        fused = fuse(frames, [method], FusionOptions(**options))[name]
        if method in HARD:
            assert (fused == expected).mean() >= 0.999
        else:
            assert_agrees(fused, expected, 0.9999, 1)


def test_data_range_makes_12_bit_frames_equal_their_8_bit_selves():
    # 4080 = 16 * 255: every 12-bit value below is exactly an 8-bit one
    frames = pair((64, 80))
    deep = [frame.astype(np.uint16) * 16 for frame in frames]
    expected = fuse(frames, ["all_channels"])["focus_stacked_all_channels"]
    fused = fuse(deep, ["all_channels"], FusionOptions(data_range=4080.0))
    assert np.abs(fused["focus_stacked_all_channels"] / 16 - expected).max() <= 0.5


@pytest.mark.parametrize("method", FUSING)
def test_equal_frames_come_back_unchanged(method):
    frame = pair((65, 47))[0]
    output = METHODS[method].output
    np.testing.assert_array_equal(fuse([frame, frame, frame], [method])[output], frame)


@pytest.mark.parametrize("method", [m for m in FUSING if not METHODS[m].decided])
def test_channel_order_does_not_matter(method):
    frames = pair((65, 47))
    output = METHODS[method].output
    forward = fuse(frames, [method])[output]
    backward = fuse([frame[..., ::-1] for frame in frames], [method])[output]
    assert np.abs(backward[..., ::-1].astype(int) - forward).max() <= 1


def test_one_method_alone_equals_the_same_method_among_all():
    frames = pair((130, 140))
    together = fuse(frames)
    for method in METHODS:
        for name, values in fuse(frames, [method]).items():
            np.testing.assert_array_equal(values, together[name])


def test_soft_methods_do_not_depend_on_the_order_of_a_pair():
    back, front = pair((70, 90))
    for method in ("all_channels", "by_channel", "laplacian", "direct"):
        output = METHODS[method].output
        np.testing.assert_array_equal(
            fuse([back, front], [method])[output], fuse([front, back], [method])[output]
        )


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
    from batchstack.fusion.synthetic import make_stack

    rendered = make_stack((240, 320), scene="blob", blur=4.0, seed=2)
    truth = rendered.truth.astype(float)

    def error(image):
        return np.mean((image - truth) ** 2)

    for method in FUSING:
        fused = fuse(rendered.frames, [method])[METHODS[method].output]
        assert error(fused) < 0.6 * min(error(frame) for frame in rendered.frames)
