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
    # One row or column of windows lies in the middle of what is narrow.
    if area.bottom - area.top >= 4 * quality.WINDOW:
        assert (edges.top, edges.bottom) == (area.top, area.bottom)
    if area.right - area.left >= 4 * quality.WINDOW:
        assert (edges.left, edges.right) == (area.left, area.right)
    assert sum(np.prod(box.shape) for box in found) <= max(
        quality.MOST_PIXELS, quality.WHOLE_PIXELS
    )
    if shape[0] * shape[1] <= quality.WHOLE_PIXELS:
        assert found == [area]


def test_an_image_of_one_window_scores_as_the_whole() -> None:
    truth = data.astronaut()[:200, :230]
    frames, fused, area = focus_pair(truth), truth // 2, Box(20, 31, 190, 222)
    part = area.slices
    found = quality.score_windows(
        frame_reader(frames), 2, {"a": reader(fused)}, area, quality.MEASURES
    )
    assert found == {"a": quality.score([frame[part] for frame in frames], fused[part])}


def test_measures_are_means_over_windows(long_scene: Any) -> None:
    frames, fused, truth = long_scene
    area = Box(0, 0, *truth.shape[:2])
    images = {"fused": reader(fused), "truth": reader(truth)}
    found = quality.score_windows(frame_reader(frames), 2, images, area, quality.MEASURES)
    windows = [box.slices for box in quality.windows(area)]
    assert len(windows) > 4
    for name, image in (("fused", fused), ("truth", truth)):
        parts = [quality.score([f[box] for f in frames], image[box]) for box in windows]
        for measure in ("Qsharp", "Qabf", "NMI", "QY", "QCB"):
            mean = np.mean([part[measure] for part in parts])
            assert found[name][measure] == pytest.approx(mean)


def test_every_frame_is_read_once_for_all_images_one_window_at_a_time() -> None:
    tile = np.random.default_rng(3).integers(0, 256, (512, 300), np.uint8)
    area, n_frames, asked, alive = Box(0, 0, 3_000_000, 300), 6, [], []

    def read(index: int, box: Box) -> Any:
        assert sum(known() is not None for known in alive) <= 1
        pixels = tile[: box.shape[0], : box.shape[1]].copy()
        asked.append((index, box))
        alive.append(weakref.ref(pixels))
        return pixels

    def fused(box: Box) -> Any:
        return tile[: box.shape[0], : box.shape[1]]

    scores = quality.score_windows(read, n_frames, {"a": fused, "b": fused}, area)
    windows = quality.windows(area)
    assert sorted(asked, key=str) == sorted(
        ((index, box) for index in range(n_frames) for box in windows), key=str
    )
    assert scores["a"] == scores["b"]
    assert scores["a"]["Qsharp"] == pytest.approx(1)


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (6, 7)])
def test_images_smaller_than_the_measures_windows_have_scores(shape: tuple[int, int]) -> None:
    frames = np.random.default_rng(5).integers(0, 256, (2, *shape), np.uint8)
    scores = quality.score(list(frames), frames[1])
    assert np.isfinite(list(scores.values())).all()


def test_no_frames_are_refused() -> None:
    image = np.zeros((20, 30), np.uint8)
    with pytest.raises(StackError, match="without frames"):
        quality.score_windows(frame_reader([]), 0, {"a": reader(image)}, Box(0, 0, 20, 30))


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
