"""Settling a decision map that is kept in scratch, because it may not fit in memory.

The map is labelled chunk by chunk, and regions are joined across the borders of chunks, by
`dask_image.ndmeasure.label`.
That knows things and a background, but not things of several kinds that touch: so the map is
laid out with the places between its cells, and those between cells of different frames are
background.
What Dask holds between its tasks lies in scratch too.
"""

from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from itertools import count
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from batchstack import files
from batchstack.batch.tile_files import tile, tile_window, write_tile
from batchstack.fusion.decision import BAND, SURE, believed, filled, overruled, settle
from batchstack.fusion.tiles import partition
from batchstack.geometry import Box
from batchstack.images import StagedImage, write_npy, write_npy_rows

# Cells that are settled in memory, and the side of the chunks that more of them are settled in.
IN_MEMORY, CHUNK = 2**24, 1024
# Bytes that are taken at most, in memory for each cell, and in chunks for each cell of one.
CELL_BYTES, CHUNK_BYTES = 15, 160

# Smaller things are kept in memory between Dask's tasks.
_SMALL = 2**16


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
    _label(index, folder / "labels", chunk)
    stays = _regions_that_stay(folder / "labels", chunks, confidence, evidence)
    # Each file is written from top to bottom, so the map is filled once for each.
    for which, path in enumerate(settled):
        bands = _filled(index, folder, chunks, stays) if stays.any() else _commonest(index)
        dtype = np.dtype(np.uint8) if which else index.dtype
        maps = _believed(index, confidence, bands)
        write_npy_rows(path, index.shape, dtype, (band[which] for band in maps))


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


def _label(index: StagedImage, folder: Path, chunk: int) -> None:
    """Number the regions of the map, from 1 on; each chunk becomes a file of the folder."""
    import dask
    from dask import array as da
    from dask_image.ndmeasure import label

    rows, columns = (2 * length - 1 for length in index.shape)
    wide = da.from_array(_Between(index), chunks=(2 * chunk, 2 * chunk), name=False, asarray=False)
    assert wide.shape == (rows, columns)
    # What is made of the places between cells is of no use later.
    labels = label(wide)[0][::2, ::2]
    cache = _Cache(folder.with_name("dask"))
    with dask.config.set(scheduler="synchronous", cache=cache):
        da.store(labels, _Tiles(folder), lock=False)


class _Between:
    """A map laid out with the places between its cells: 1 inside a region, 0 between regions."""

    dtype, ndim = np.dtype(np.uint8), 2

    def __init__(self, index: StagedImage) -> None:
        self._index = index
        self.shape = tuple(2 * length - 1 for length in index.shape)

    def __getitem__(self, area: tuple[slice, slice]) -> npt.NDArray[np.uint8]:
        tops, lefts = area
        # Chunks begin on cells; what lies below or right of the last cell needs the next one.
        cells = self._index[
            slice(tops.start // 2, tops.stop // 2 + 1), slice(lefts.start // 2, lefts.stop // 2 + 1)
        ]
        rows, columns = cells.shape
        out = np.zeros((2 * rows, 2 * columns), np.uint8)
        out[::2, ::2] = 1
        out[1:-1:2, ::2] = cells[:-1] == cells[1:]
        out[::2, 1:-1:2] = cells[:, :-1] == cells[:, 1:]
        return out[: tops.stop - tops.start, : lefts.stop - lefts.start]


class _Tiles:
    """Where Dask stores labels: a file for each chunk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __setitem__(self, area: tuple[slice, slice], labels: npt.NDArray[Any]) -> None:
        top, left = (one.start for one in area)
        box = Box(top, left, top + labels.shape[0], left + labels.shape[1])
        write_tile(self._folder.parent, self._folder.name, box, labels)


class _Cache(MutableMapping[Any, Any]):
    """What Dask holds between its tasks: arrays in scratch, small ones and all else in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._held, self._numbers = folder, dict[Any, Any](), count()

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, np.ndarray) and value.nbytes > _SMALL:
            path = self._folder / f"{next(self._numbers)}.npy"
            write_npy(path, value)
            value = StagedImage(path)
        self._held[key] = value

    def __getitem__(self, key: Any) -> Any:
        value = self._held[key]
        return value.whole() if isinstance(value, StagedImage) else value

    def __delitem__(self, key: Any) -> None:
        value = self._held.pop(key)
        if isinstance(value, StagedImage):
            files.remove(value.path)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


def _regions_that_stay(
    folder: Path, chunks: Sequence[Box], confidence: StagedImage, evidence: int
) -> npt.NDArray[np.uint8]:
    """By the number of a region 1 if it stays; 0 is none."""
    sure = np.zeros(1, np.int64)
    for box in chunks:
        labels = tile(folder.parent, folder.name, box)
        sure.resize(max(sure.size, int(labels.max()) + 1), refcheck=False)
        found = np.bincount(labels[confidence[box.slices] >= SURE])
        sure[: found.size] += found
    return (sure >= evidence).view(np.uint8)


def _filled(
    index: StagedImage, folder: Path, chunks: Sequence[Box], stays: npt.NDArray[np.uint8]
) -> Iterator[tuple[Any, Any]]:
    """Bands of index and trust."""

    def read(rows: slice) -> tuple[Any, Any]:
        window = Box(rows.start, 0, rows.stop, index.shape[1])
        return index[rows, :], stays[tile_window(folder, "labels", chunks, window)]

    below = _Cache(folder.with_name("below"))
    return ((band, trust) for _, band, trust in filled(read, _size(index), below))


def _commonest(index: StagedImage) -> Iterator[tuple[Any, Any]]:
    """Every cell of the commonest frame, and not trusted."""
    counts = np.zeros(2**16, np.int64)
    for rows in _bands(index):
        counts += np.bincount(index[rows, :].ravel(), minlength=counts.size)
    for rows in _bands(index):
        band = np.full_like(index[rows, :], counts.argmax())
        yield band, np.zeros(band.shape, np.uint8)
