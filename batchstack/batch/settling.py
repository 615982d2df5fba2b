"""Settling a decision map that is kept in scratch, because it may not fit in memory.

The map is labelled chunk by chunk by `dask_image.ndmeasure.label`, and the pieces of a region in
several chunks are joined as a graph whose edges are the cells on both sides of a border.
The former knows things and a background, but not things of several kinds that touch: so a chunk is
laid out with the places between its cells, and those between cells of different frames are
background.
"""

from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from batchstack import files
from batchstack.batch.tile_files import tile, write_tile
from batchstack.fusion.decision import BAND, SURE, believed, filled, overruled, settle
from batchstack.fusion.tiles import partition
from batchstack.geometry import Box
from batchstack.images import StagedImage, write_npy, write_npy_files, write_npy_pieces

# Cells that are settled in memory, and the side of the chunks that more of them are settled in.
IN_MEMORY, CHUNK = 2**24, 1024
# Bytes that are taken at most, in memory for each cell, and in chunks for each cell of one.
CELL_BYTES, CHUNK_BYTES = 15, 160


def settle_files(
    surveyed: tuple[Path, Path],
    settled: tuple[Path, Path, Path],
    evidence: int,
    folder: Path,
    *,
    in_memory: int = IN_MEMORY,
    chunk: int = CHUNK,
) -> None:
    """Clean the decision map in two files, as `settle` does one in memory.

    Parameters
    ----------
    surveyed : (Path, Path)
        `.npy` files of index and confidence.
    settled : (Path, Path, Path)
        Those that are written, of index, confidence and trust.
    evidence : int
        Sure cells that a region needs to stay.
    folder : Path
        Of scratch; it is made, and left behind.
    in_memory : int
        Cells that fit in memory.
    chunk : int
        Side of the chunks of larger maps, in cells.
    """
    # Maps are no images, of which a `StagedImage` mostly is one.
    index, confidence = (cast(Any, StagedImage(path)) for path in surveyed)
    if prod(index.shape) <= in_memory:
        for path, values in zip(
            settled, settle(index.whole(), confidence.whole(), evidence), strict=True
        ):
            write_npy(path, values)
        return
    files.make_folder(folder, parents=False)
    chunks = list(partition(_size(index), chunk, 1))
    regions = _label(index, folder / "labels", chunks)
    stays = _pieces_that_stay(folder / "labels", chunks, confidence, evidence, regions)
    bands = _filled(index, folder / "labels", chunks, stays) if stays.any() else _commonest(index)
    dtypes = index.dtype, np.dtype(np.uint8), np.dtype(np.uint8)
    write_npy_files(settled, index.shape, dtypes, _believed(index, confidence, bands))


def _believed(
    index: StagedImage, confidence: StagedImage, bands: Iterable[tuple[Any, Any]]
) -> Iterator[tuple[Any, Any, Any]]:
    """Bands of index, confidence and trust, from those of index and trust that were filled."""
    top = 0
    for band, trust in bands:
        rows, top = slice(top, top + len(band)), top + len(band)
        said: tuple[Any, Any] = confidence[rows, :], index[rows, :]
        left = overruled(*said, band)
        yield band, left, believed(left, trust)


def _size(cells: StagedImage) -> tuple[int, int]:
    return cells.shape[0], cells.shape[1]


def _bands(cells: StagedImage) -> Iterator[slice]:
    """Rows of the map that are looked at together."""
    rows, columns = _size(cells)
    step = max(BAND // columns, 1)
    return (slice(top, min(top + step, rows)) for top in range(0, rows, step))


def _label(index: StagedImage, folder: Path, chunks: Sequence[Box]) -> npt.NDArray[np.int32]:
    """Number the pieces of regions from 1 on, one file of the folder for each chunk.

    Returns
    -------
    ndarray of int32
        The region of each piece.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    columns, pieces = index.shape[1], 0
    above: tuple[Any, Any] = np.zeros(columns, index.dtype), np.zeros(columns, np.int32)
    beside = above
    touching = [np.zeros((2, 0), np.int32)]
    for box in chunks:  # from left to right and from top to bottom
        cells: Any = index[box.slices]
        labels = _pieces(cells) + np.int32(pieces)
        pieces = int(labels.max())
        write_tile(folder.parent, folder.name, box, labels)
        across = slice(box.left, box.right)
        if box.top:
            touching.append(_touching(cells[0], labels[0], above[0][across], above[1][across]))
        if box.left:
            touching.append(_touching(cells[:, 0], labels[:, 0], *beside))
        above[0][across], above[1][across] = cells[-1], labels[-1]
        beside = cells[:, -1], labels[:, -1]
    pairs = np.concatenate(touching, axis=1)
    graph = coo_array((np.ones(pairs.shape[1], np.uint8), tuple(pairs)), (pieces + 1, pieces + 1))
    regions: npt.NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return regions


def _pieces(cells: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Regions of one chunk, numbered from 1 on.

    Not of all chunks at once, because what Dask-image does for the borders labels every chunk
    again for each border after it.
    """
    from dask import array as da
    from dask_image.ndmeasure import label

    rows, columns = cells.shape
    wide = np.zeros((2 * rows - 1, 2 * columns - 1), np.uint8)
    wide[::2, ::2] = 1
    wide[1::2, ::2] = cells[:-1] == cells[1:]
    wide[::2, 1::2] = cells[:, :-1] == cells[:, 1:]
    labels = label(da.from_array(wide, chunks=wide.shape))[0][::2, ::2]
    found: npt.NDArray[np.int32] = labels.compute(scheduler="synchronous").astype(np.int32)
    return found


def _touching(
    cells: npt.NDArray[Any],
    labels: npt.NDArray[np.int32],
    others: npt.NDArray[Any],
    labels_of_others: npt.NDArray[np.int32],
) -> npt.NDArray[np.int32]:
    """Pairs of pieces of one region on two sides of a border."""
    same = cells == others
    pairs: npt.NDArray[np.int32] = np.unique(
        np.stack([labels[same], labels_of_others[same]]), axis=1
    )
    return pairs


class _RowsInScratch(MutableMapping[int, npt.NDArray[np.int64]]):
    """Arrays of rows by their numbers, each in a file of its own until it is taken out."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._numbers = folder, set[int]()

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}.npy"

    def __setitem__(self, number: int, rows: npt.NDArray[np.int64]) -> None:
        write_npy(self._file(number), rows)
        self._numbers.add(number)

    def __getitem__(self, number: int) -> npt.NDArray[np.int64]:
        rows: Any = StagedImage(self._file(number)).whole()
        return cast(npt.NDArray[np.int64], rows)

    def __delitem__(self, number: int) -> None:
        self._numbers.remove(number)
        files.remove(self._file(number))

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


def _pieces_that_stay(
    folder: Path,
    chunks: Sequence[Box],
    confidence: StagedImage,
    evidence: int,
    regions: npt.NDArray[np.int32],
) -> npt.NDArray[np.uint8]:
    """By the number of a piece 1 if its region stays."""
    sure = np.zeros(int(regions.max()) + 1, np.int64)
    for box in chunks:
        labels = tile(folder.parent, folder.name, box)
        found = np.bincount(regions[labels[confidence[box.slices] >= SURE]])
        sure[: found.size] += found
    return (sure >= evidence).view(np.uint8)[regions]


def _filled(
    index: Any, folder: Path, chunks: Sequence[Box], stays: npt.NDArray[np.uint8]
) -> Iterator[tuple[Any, Any]]:
    """Bands of index and trust."""
    path = folder / "stays.npy"
    labels = ((box, tile(folder.parent, folder.name, box)) for box in chunks)
    # Chunks hold few of the rows of a band each.
    pieces = ((box.top, box.left, stays[label]) for box, label in labels)
    write_npy_pieces(path, index.shape, stays.dtype, pieces)
    kept: Any = StagedImage(path)
    below = _RowsInScratch(folder.with_name("below"))
    bands = filled(lambda rows: (index[rows, :], kept[rows, :]), _size(index), below)
    return ((band, trust) for _, band, trust in bands)


def _commonest(index: StagedImage) -> Iterator[tuple[Any, Any]]:
    """Every cell of the commonest frame, and not trusted."""
    counts = np.zeros(2**16, np.int64)
    for rows in _bands(index):
        counts += np.bincount(index[rows, :].ravel(), minlength=counts.size)
    for rows in _bands(index):
        band = np.full_like(index[rows, :], counts.argmax())
        yield band, np.zeros(band.shape, np.uint8)
