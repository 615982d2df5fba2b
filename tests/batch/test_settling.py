"""A decision map in scratch is settled as one in memory, chunk by chunk."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchstack.batch.settling import settle_files
from batchstack.fusion import decision
from batchstack.fusion.decision import index_type, settle
from batchstack.images import StagedImage, write_npy


@settings(max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    grain=st.integers(1, 5),
    n_frames=st.sampled_from([2, 3, 12, 300]),
    evidence=st.integers(0, 12),
    chunk=st.integers(1, 50),
    band=st.integers(1, 400),
    seed=st.integers(0, 999),
)
def test_chunks_settle_as_the_whole(shape, grain, n_frames, evidence, chunk, band, seed):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, n_frames, [-(-side // grain) for side in shape])
    index = np.repeat(np.repeat(coarse, grain, axis=0), grain, axis=1)[: shape[0], : shape[1]]
    index = index.astype(index_type(n_frames))
    confidence = rng.integers(0, 110, shape).astype(np.uint8)
    chunk = max(chunk, -(-max(shape) // 4))
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(decision, "BAND", band)
        settled = settled_in_files(Path(name), index, confidence, evidence, chunk)
    for found, expected in zip(settled, settle(index, confidence, evidence), strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype


def settled_in_files(folder, index, confidence, evidence, chunk):
    paths = [folder / f"{number}.npy" for number in range(5)]
    write_npy(paths[0], index)
    write_npy(paths[1], confidence)
    scratch = folder / "settling"
    settle_files(tuple(paths[:2]), tuple(paths[2:]), evidence, scratch, in_memory=0, chunk=chunk)
    return [StagedImage(path).whole() for path in paths[2:]]


def test_a_region_that_winds_through_all_chunks_is_one(tmp_path):
    """A spiral, of which each chunk sees many pieces without evidence enough."""
    index = np.zeros((64, 64), np.uint8)
    for row in range(1, 64, 4):
        index[row, 1:63] = 1
        index[row : row + 5, 62 if row % 8 == 1 else 1] = 1
    confidence = np.where(index == 1, 0, 255).astype(np.uint8)
    confidence[1, 1:4] = confidence[61, 1:4] = 255
    settled, *_ = settled_in_files(tmp_path, index, confidence, 6, 16)
    np.testing.assert_array_equal(settled, index)
    settled, *_ = settled_in_files(tmp_path / "again", index, confidence, 7, 16)
    assert not settled.any()


def test_specks_in_many_chunks_settle_as_the_whole_and_are_read_no_more_often(
    tmp_path, monkeypatch
):
    """The more chunks the more borders, and the more pieces of regions that are joined there."""
    rng = np.random.default_rng(0)
    index = (np.indices((512, 512))[1] // 100 % 2).astype(np.uint8)
    specks = rng.random(index.shape) < 0.4
    index[specks] ^= 1
    confidence = np.where(specks, 0, 255).astype(np.uint8)
    expected = settle(index, confidence, 20)
    read, window = [], StagedImage.window

    def counted(self, *area):
        found = window(self, *area)
        read[-1] += found.size
        return found

    monkeypatch.setattr(StagedImage, "window", counted)
    for chunk in (256, 64):
        read.append(0)
        settled = settled_in_files(tmp_path / str(chunk), index, confidence, 20, chunk)
        for found, wanted in zip(settled, expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert read[1] < 1.2 * read[0]


def test_files_are_opened_for_chunks_and_for_bands_and_not_for_each_of_both(tmp_path, monkeypatch):
    index = (np.indices((512, 512))[1] // 100 % 2).astype(np.uint8)
    confidence = np.full(index.shape, 255, np.uint8)
    opened, window = [], StagedImage.window

    def counted(self, *area):
        opened[-1] += 1
        return window(self, *area)

    monkeypatch.setattr(StagedImage, "window", counted)
    for band in (64, 1):
        monkeypatch.setattr(decision, "BAND", band * 512)
        opened.append(0)
        settled_in_files(tmp_path / str(band), index, confidence, 20, 32)
    bands = 512 - 512 // 64
    assert opened[1] - opened[0] < 10 * bands
