"""Scoring large images on a bounded number of their pixels."""

import weakref
from typing import Any

import numpy as np
import pytest
from skimage import data

from batchstack import quality
from batchstack.errors import StackError
from batchstack.geometry import Box
from tests.quality.test_quality import focus_pair, smeared

BOUND = 4 * quality.WHOLE_PIXELS


def reader(image: Any) -> Any:
    return lambda box: image[box.slices]


def frame_reader(frames: Any) -> Any:
    return lambda index, box: frames[index][box.slices]


@pytest.fixture(scope="module")
def long_scene() -> Any:
    """A truth of 1.3 megapixels, two frames of it, and a fused image with faults at one end."""
    truth = np.tile(data.astronaut()[:300], (1, 9, 1))
    fused = truth.copy()
    fused[:, :400] = smeared(truth[:, :400])
    return list(focus_pair(truth)), fused, truth


@pytest.mark.parametrize(
    "shape", [(1, 1), (1024, 1024), (1025, 1024), (3000, 4000), (300, 30_000), (100_000, 90_001)]
)
@pytest.mark.parametrize("corner", [(0, 0), (7, 13)])
def test_windows_lie_inside_touch_all_edges_and_are_bounded(
    shape: tuple[int, int], corner: tuple[int, int]
) -> None:
    area = Box(*corner, corner[0] + shape[0], corner[1] + shape[1])
    found = quality.windows(area)
    assert len(set(found)) == len(found)
    assert all(box.intersection(area) == box for box in found)
    assert all(box.shape == found[0].shape for box in found)
    edges = Box(
        min(box.top for box in found),
        min(box.left for box in found),
        max(box.bottom for box in found),
        max(box.right for box in found),
    )
    assert edges == area
    assert sum(np.prod(box.shape) for box in found) <= BOUND
    if shape[0] * shape[1] <= quality.WHOLE_PIXELS:
        assert found == [area]


def test_images_of_up_to_the_bound_have_no_pixel_left_out() -> None:
    seen = np.zeros((1500, 2048), bool)
    for box in quality.windows(Box(0, 0, *seen.shape)):
        seen[box.slices] = True
    assert seen.all()


def test_an_image_of_one_window_scores_as_the_whole() -> None:
    truth = data.astronaut()[:200, :230]
    frames, fused, area = focus_pair(truth), truth // 2, Box(20, 31, 190, 222)
    part = area.slices
    assert quality.score_windows(
        frame_reader(frames), 2, reader(fused), area, reader(truth)
    ) == quality.score([frame[part] for frame in frames], fused[part], truth[part])


def test_measures_are_means_over_windows_and_errors_are_pooled(long_scene: Any) -> None:
    frames, fused, truth = long_scene
    area = Box(0, 0, *truth.shape[:2])
    found = quality.score_windows(frame_reader(frames), 2, reader(fused), area, reader(truth))
    windows = [box.slices for box in quality.windows(area)]
    parts = [quality.score([f[box] for f in frames], fused[box], truth[box]) for box in windows]
    for measure in ("Qabf", "NMI", "QY", "QCB", "SSIM"):
        assert found[measure] == pytest.approx(np.mean([part[measure] for part in parts]))
    # Most windows are without fault, so a mean of decibels would be infinite.
    assert [part["PSNR"] for part in parts].count(float("inf")) == len(parts) - 1
    pooled = [np.concatenate([quality.grey(x[box]) for box in windows]) for x in (truth, fused)]
    assert found["PSNR"] == pytest.approx(quality.psnr(*pooled))


def test_every_frame_is_read_one_window_at_a_time() -> None:
    tile = np.random.default_rng(3).integers(0, 256, (512, 300), np.uint8)
    area, n_frames, asked, alive = Box(0, 0, 3_000_000, 300), 6, [], []

    def read(index: int, box: Box) -> Any:
        assert sum(known() is not None for known in alive) <= 1
        pixels = tile[: box.shape[0], : box.shape[1]].copy()
        asked.append((index, box))
        alive.append(weakref.ref(pixels))
        return pixels

    scores = quality.score_windows(read, n_frames, lambda box: tile[: box.shape[0]], area)
    windows = quality.windows(area)
    assert sorted(asked, key=str) == sorted(
        ((index, box) for index in range(n_frames) for box in windows), key=str
    )
    assert scores["QY"] == pytest.approx(1)


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (6, 7)])
def test_images_smaller_than_the_measures_windows_have_scores(shape: tuple[int, int]) -> None:
    frames = np.random.default_rng(5).integers(0, 256, (2, *shape), np.uint8)
    scores = quality.score(list(frames), frames[1])
    assert np.isfinite(list(scores.values())).all()


def test_no_frames_are_refused() -> None:
    image = np.zeros((20, 30), np.uint8)
    with pytest.raises(StackError, match="without frames"):
        quality.score_windows(frame_reader([]), 0, reader(image), Box(0, 0, 20, 30))


@pytest.mark.parametrize("defect", ["blurred", "mean", "one frame"])
def test_qabf_falls_with_every_kind_of_defect(defect: str) -> None:
    truth = data.coffee()[:300, :400]
    back, front = focus_pair(truth)
    faulty = {
        "blurred": smeared(truth, 1),
        "mean": back // 2 + front // 2,
        "one frame": front,
    }[defect]
    sources = [quality.grey(back), quality.grey(front)]
    good, bad = (quality.qabf(sources, quality.grey(image)) for image in (truth, faulty))
    assert bad < good - 0.02
