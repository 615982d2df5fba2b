"""Quality measures: published values, extremes and images without any detail."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from skimage import data

from batchstack import quality
from batchstack.errors import StackError

Image = npt.NDArray[Any]


def smeared(image: Image, radius: int = 3) -> Image:
    """A box blur in whole numbers, the same with every version of every library."""
    wide = np.pad(image, [(radius, radius), (radius, radius), (0, 0)][: image.ndim], mode="edge")
    size = 2 * radius + 1
    height, width = image.shape[:2]
    total = np.zeros(image.shape, dtype=np.int64)
    for row in range(size):
        for column in range(size):
            total += wide[row : row + height, column : column + width]
    return (total // size**2).astype(image.dtype)


def focus_pair(image: Image) -> tuple[Image, Image]:
    """Two frames: the left third sharp in the first, the rest in the second."""
    edge = image.shape[1] // 3
    blurred = smeared(image)
    back, front = blurred.copy(), image.copy()
    back[:, :edge], front[:, :edge] = image[:, :edge], blurred[:, :edge]
    return back, front


def colour_case() -> tuple[list[Image], Image, Image]:
    truth = data.astronaut()[40:340, 60:397]
    back, front = focus_pair(truth)
    fused = ((3 * back.astype(int) + 5 * front.astype(int)) // 8).astype(np.uint8)
    return [back, front], fused, truth


def grey_case() -> tuple[list[Image], Image, Image]:
    truth = data.camera()[:257, 31:300]
    back, front = focus_pair(truth)
    return [back, front], np.maximum(back, front), truth


def deep_case() -> tuple[list[Image], Image, Image]:
    noise = np.random.default_rng(7).integers(0, 97, (192, 210, 3))
    truth = (data.coffee()[100:292, 200:410].astype(int) * 251 + noise).astype(np.uint16)
    back, front = focus_pair(truth)
    return [back, front], back // 2 + front // 2, truth


# Computed with an independent program that reproduces published per-image scores.
PUBLISHED = {
    colour_case: {
        "Qabf": 0.6852457389,
        "NMI": 1.0203867347,
        "QY": 0.8763565373,
        "QCB": 0.6869324944,
        "PSNR": 31.5813232778,
        "SSIM": 0.9507226828,
    },
    grey_case: {
        "Qabf": 0.6839406214,
        "NMI": 1.4427903433,
        "QY": 0.9075398469,
        "QCB": 0.6298513318,
        "PSNR": 29.5723243075,
        "SSIM": 0.9519114481,
    },
    deep_case: {
        "Qabf": 0.7268375342,
        "NMI": 1.0726973633,
        "QY": 0.8897815785,
        "QCB": 0.6994119676,
        "PSNR": 30.6988453298,
        "SSIM": 0.9526372928,
    },
}


@pytest.mark.parametrize(("case", "expected"), PUBLISHED.items())
def test_pairs_score_as_the_published_programs_do(case: Any, expected: dict[str, float]) -> None:
    frames, fused, truth = case()
    scores = quality.score(frames, fused, truth)
    assert scores.keys() - expected.keys() == set(quality.RECOMMENDED)
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-6, rel=0)


def test_depth_and_container_do_not_change_the_scores() -> None:
    frames, fused, truth = grey_case()
    plain = quality.score(frames, fused, truth)
    deep = quality.score([f.astype(np.uint16) * 257 for f in frames], fused.astype(np.uint16) * 257)
    real = quality.score([f / np.float32(255) for f in frames], fused / np.float32(255))
    scaled = quality.score(
        [f.astype(np.uint16) for f in frames], fused.astype(np.uint16), None, 255
    )
    for key, value in deep.items():
        assert value == pytest.approx(plain[key], abs=1e-5)
        assert real[key] == pytest.approx(plain[key], abs=1e-3)
        assert scaled[key] == pytest.approx(plain[key], abs=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_fused_image_equal_to_all_frames_scores_the_maximum(count: int) -> None:
    image = quality.grey(data.astronaut()[:128, :150])
    frames = [image] * count
    # Xydeas and Petrovic's constants keep the maximum of Qabf below 1.
    limit = 0.9994 / (1 + np.exp(-7.5)) * 0.9879 / (1 + np.exp(-4.4))
    assert quality.qabf(frames, image) == pytest.approx(limit, abs=1e-12)
    assert quality.nmi(frames, image) == pytest.approx(2, abs=1e-9)
    assert quality.qy(frames, image) == pytest.approx(1, abs=1e-9)
    assert quality.qcb(frames, image) == pytest.approx(1, abs=1e-9)
    assert quality.qsharp(frames, image) == pytest.approx(1, abs=1e-5)
    assert quality.artefacts(frames, image) == 0
    assert quality.ssim(image, image) == pytest.approx(1, abs=1e-12)
    assert quality.psnr(image, image) == float("inf")


@pytest.mark.parametrize(
    "measure",
    [*(quality.qabf, quality.nmi, quality.qy, quality.qcb, quality.qsharp, quality.artefacts)],
)
def test_the_order_of_frames_does_not_matter(measure: Any) -> None:
    (back, front), fused, _ = colour_case()
    one, two, three, target = (quality.grey(x) for x in (back, front, smeared(front), fused))
    assert measure([one, two], target) == pytest.approx(measure([two, one], target), abs=1e-12)
    forth = measure([one, two, three], target)
    assert measure([three, two, one], target) == pytest.approx(forth, abs=1e-12)


@pytest.mark.parametrize(
    ("measure", "margin"),
    [(quality.qabf, 0.05), (quality.qy, 0.05), (quality.qcb, 0.05), (quality.qsharp, 0.01)],
)
@pytest.mark.parametrize("count", [2, 4])
def test_the_sharp_image_scores_above_the_mean_of_the_frames(
    measure: Any, margin: float, count: int
) -> None:
    truth = data.astronaut()[100:300, 100:300]
    frames = [smeared(truth) for _ in range(count)]
    for index, frame in enumerate(frames):
        part = slice(index * 200 // count, (index + 1) * 200 // count)
        frame[:, part] = truth[:, part]
    sources = [quality.grey(frame) for frame in frames]
    mean = np.mean(sources, axis=0)
    assert measure(sources, quality.grey(truth)) > measure(sources, mean) + margin


@pytest.mark.parametrize("levels", [(0, 0, 0), (255, 255, 255), (10, 10, 200)])
def test_flat_images_have_finite_scores(levels: tuple[int, int, int]) -> None:
    back, front, fused = (np.full((40, 50), level, np.uint8) for level in levels)
    scores = quality.score([back, front], fused)
    assert all(0 <= value <= 2 for value in scores.values())
    if len(set(levels)) == 1:
        best = {"Qsharp": 1, "Artefacts": 0, "Qabf": 0.975, "NMI": 2, "QY": 1, "QCB": 1}
        assert scores == pytest.approx(best, abs=1e-3)


def test_detail_that_no_frame_has_is_not_rewarded() -> None:
    flat = np.zeros((40, 50), np.uint8)
    noise = np.random.default_rng(1).integers(0, 256, flat.shape, np.uint8)
    scores = quality.score([flat, flat], noise)
    assert scores.pop("Artefacts") > 90
    assert all(value < 0.05 for value in scores.values())


def test_a_partly_flat_image_has_finite_scores() -> None:
    back = np.zeros((64, 64), np.uint8)
    front = back.copy()
    back[:, :20], front[:, 40:] = 255, np.arange(24)
    scores = quality.score([back, front], np.maximum(back, front), back)
    assert np.isfinite(list(scores.values())).all()


def test_psnr_is_in_decibels_of_255() -> None:
    truth = quality.grey(data.camera()[:64, :64])
    assert quality.psnr(truth, truth + 2.55) == pytest.approx(40, abs=1e-9)


def test_grey_reads_colours_in_the_order_red_green_blue() -> None:
    pure = np.eye(3, dtype=np.float32)[None]
    np.testing.assert_allclose(quality.grey(pure), [[76.2, 149.7, 29.1]], atol=0.05)
    rounded = quality.grey((pure * 255).astype(np.uint8))
    np.testing.assert_array_equal(rounded, [[76, 150, 29]])


def test_images_of_different_sizes_are_refused() -> None:
    frame = np.zeros((20, 30), np.uint8)
    with pytest.raises(StackError, match="sizes"):
        quality.score([frame, frame[:, :29]], frame)
    with pytest.raises(StackError, match="at least one frame"):
        quality.score([], frame)
