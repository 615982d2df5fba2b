"""Qsharp and artefacts: against formulas written out, and on fusions known to be bad."""

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from batchstack import quality
from batchstack.fusion.engine import fuse
from batchstack.scenes import Camera, make_stack, sample_texture

KERNEL = np.array([1, 4, 6, 4, 1]) / 16


def halved(image: Any) -> Any:
    """Reduced as Burt and Adelson do, mirrored at the edges."""
    smooth = ndimage.correlate1d(image, KERNEL, axis=0, mode="mirror")
    return ndimage.correlate1d(smooth, KERNEL, axis=1, mode="mirror")[::2, ::2]


def levels(image: Any, count: int) -> list[Any]:
    found = [np.asarray(image, np.float64)]
    while len(found) < count:
        found.append(halved(found[-1]))
    return found


def local(image: Any) -> Any:
    return ndimage.gaussian_filter(image, 1.5, mode="mirror", truncate=2.0)  # 7 px


def similarity(one: Any, other: Any) -> Any:
    """The map of structural similarity, from its formula."""
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean, mean_other = local(one), local(other)
    covariance = local(one * other) - mean * mean_other
    variances = local(one**2) - mean**2 + local(other**2) - mean_other**2
    light = (2 * mean * mean_other + c1) / (mean**2 + mean_other**2 + c1)
    return light * (2 * covariance + c2) / (variances + c2)


def slow_qsharp(frames: Any, fused: Any) -> float:
    per_level = []
    for *same, image in zip(*(levels(each, 3) for each in [*frames, fused]), strict=True):
        sharpness = [
            ndimage.uniform_filter(np.abs(ndimage.laplace(one, mode="mirror")), 21, mode="mirror")
            for one in same
        ]
        sharpest = np.choose(np.argmax(sharpness, axis=0), same)
        per_level.append(similarity(sharpest, image).mean())
    return float(np.mean(per_level))


def slow_artefacts(frames: Any, fused: Any) -> float:
    def steepness(image: Any) -> Any:
        across, down = (ndimage.sobel(image, axis, mode="mirror") for axis in (1, 0))
        return np.hypot(across, down) / 8

    shares = []
    for *same, image in zip(*(levels(each, 5) for each in [*frames, fused]), strict=True):
        limit = np.max([steepness(one) for one in same], axis=0)
        limit = ndimage.maximum_filter(limit, 3)
        shares.append(100 * np.mean(steepness(image) > 1.25 * limit + 2))
    return max(shares)


FLAT = ndimage.gaussian_filter(sample_texture("astronaut"), (40, 40, 0))


def rendered(frames: int = 2, background: Any = FLAT, **options: Any) -> tuple[list[Any], Any, Any]:
    """Frames before a background, their fusion, and the truth."""
    pictures = (background, sample_texture("immunohistochemistry"))
    camera = Camera(noise=1.0)
    stack = make_stack(
        (420, 500), frames=frames, scene="hair", textures=pictures, camera=camera, **options
    )
    shown = list(stack.frames)
    return shown, fuse(shown, ["bayesian"])["focus_stacked_bayesian"], stack.truth


def stored(values: Any) -> Any:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def polygons(image: Any, step: float, seed: int = 0) -> Any:
    """Cells of nearest points, each a little brighter or darker."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (25, 2)) * image.shape[:2]
    places = np.indices(image.shape[:2]).transpose(1, 2, 0)
    cell = np.argmin(((places[:, :, None] - points) ** 2).sum(axis=3), axis=2)
    return stored(image + (step * rng.choice([-1.0, 1.0], 25))[cell][..., None])


def test_qsharp_is_the_similarity_with_the_locally_sharpest_frame() -> None:
    frames, fused, _ = rendered(3, seed=5)
    greys = [quality.grey(one).astype(np.float32) for one in frames]
    target = quality.grey(fused).astype(np.float32)
    assert quality.qsharp(greys, target) == pytest.approx(slow_qsharp(greys, target), abs=1e-4)
    blurred = ndimage.gaussian_filter(target, 2)
    assert quality.qsharp(greys, blurred) == pytest.approx(slow_qsharp(greys, blurred), abs=1e-4)


@pytest.mark.parametrize("step", [0, 4, 12])
def test_artefacts_are_edges_that_no_frame_has_near(step: float) -> None:
    frames, fused, _ = rendered()
    greys = [quality.grey(one) for one in frames]
    target = quality.grey(polygons(fused, step))
    found = quality.artefacts(greys, target)
    assert found == pytest.approx(slow_artefacts(greys, target), abs=0.01)


def test_polygons_in_flat_areas_are_artefacts_where_edges_of_the_frames_are_none() -> None:
    for seed in range(3):
        frames, fused, _ = rendered(seed=seed)
        greys = [quality.grey(one) for one in frames]

        def own(image: Any, greys: Any = greys) -> float:
            return quality.artefacts(greys, quality.grey(image))

        assert own(fused) < 0.02
        assert all(own(frame) == 0 for frame in frames)
        assert own(polygons(fused, 4, seed)) > 0.2
        assert own(polygons(fused, 12, seed)) > own(polygons(fused, 4, seed))


def damaged(frames: list[Any], fused: Any) -> dict[str, Any]:
    """Fusions that went wrong, each in another way."""
    rng = np.random.default_rng(1)
    wrong = fused.copy()
    wrong[150:270, 180:320] = frames[0][150:270, 180:320]
    low = ndimage.gaussian_filter(fused.astype(float), (6, 6, 0))
    moved = [frames[0], np.roll(frames[1], (2, 3), (0, 1)), *frames[2:]]
    return {
        "mean": stored(np.mean(frames, axis=0)),
        "first frame": frames[0],
        "last frame": frames[-1],
        "blurred": stored(ndimage.gaussian_filter(fused.astype(float), (1, 1, 0))),
        "noisy": stored(fused + rng.normal(0, 10, fused.shape)),
        "halos": stored(fused + 0.6 * (fused - low)),
        "wrong frame in a region": wrong,
        "not aligned": fuse(moved, ["bayesian"])["focus_stacked_bayesian"],
        "polygons": polygons(fused, 12),
    }


@pytest.mark.parametrize("n_frames", [2, 4])
def test_bad_fusions_rank_below_the_good_one_by_qsharp(n_frames: int) -> None:
    frames, fused, truth = rendered(n_frames, sample_texture("gravel"), seed=n_frames)
    greys = [quality.grey(one) for one in frames]
    good = quality.qsharp(greys, quality.grey(fused))
    for name, image in damaged(frames, fused).items():
        found = quality.qsharp(greys, quality.grey(image))
        assert found < good - 0.002, (name, found, good)
    assert quality.qsharp(greys, quality.grey(truth)) > 0.9
