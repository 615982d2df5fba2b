"""The decision map of a stack: the index of the winning frame, decided once per image.

It is found in two steps:

1. A `survey` finds, tile by tile, the frame with the most activity at each cell, and how
   clearly it wins.
2. `settle` cleans the map of regions without evidence.  A region may cross many tiles, so this
   happens once per image; the result is a `DecisionMap` that tiles look up.

A cell is a pixel of the pyramid level that the map is made on; `scale` finds it.
"""

from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from batchstack.fusion.methods import Method, map_levels
from batchstack.fusion.rules import ON_FRAME, STEPS, WHOLLY, Formula, Measure, Weights, map_level
from batchstack.geometry import Box
from batchstack.options import FusionOptions

Index = npt.NDArray[np.unsignedinteger[Any]]
Confidence = npt.NDArray[np.uint8]

# Of 255: a cell is evidence if its frame has 1.5 times the activity of the others.
SURE = 84
# So many cells from evidence the map is trusted wholly, and not at all.
TRUSTED, DOUBTED = 3.0, 12.0
# Cells that are filled at once.
BAND = 2**20


class Planes(Protocol):
    """What can be sliced into arrays: an array or a memory map."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, slices: tuple[slice, slice]) -> npt.NDArray[Any]: ...


@dataclass(frozen=True, eq=False)
class DecisionMap:
    """The cleaned decision map of a whole image.

    Attributes
    ----------
    index : array-like of uint8 or uint16, shape (rows, columns) of the level
        Index of the winning frame.
    confidence : array-like of uint8, the same shape
        How clearly it wins: 0 where nothing tells the frames apart or the cleaning
        overruled what was seen, towards 255 as the others have no detail at all.
    trust : array-like of uint8, the same shape
        `WHOLLY` within `TRUSTED` cells of a region with evidence, falling to 0 at `DOUBTED` cells:
        what is said from afar is a guess, and no border between guesses may be seen.  Up to
        twice as much where the cell is evidence itself.
    level : int
        Pyramid level whose pixels are the cells.
    shrink : float or None
        From how far away details are drawn to the winning frame, if methods draw them.
    offset : array-like of uint8, the same shape, optional
        How far the peak of focus lies beside the winning frame: 127 on it, 0 and 254 half way to
        the one before and after.
    """

    index: Planes
    confidence: Planes
    trust: Planes
    level: int
    shrink: float | None
    offset: Planes | None = None


@lru_cache(64)
def survey(focus_sigma: float) -> Method:
    """What finds the sharpest frame at each cell: a method that writes no file.

    Its measure is the modified Laplacian, the mean of all channels, under a Gaussian window.

    Parameters
    ----------
    focus_sigma : float
        Standard deviation of the window, in cells.
    """
    formula = Formula.MODIFIED_LAPLACIAN
    return Survey(
        "survey",
        "the sharpest frame at each cell",
        None,
        levels=map_levels,
        weights=Weights.SHARPEST,
        measure=Measure(formula, formula, sigma=focus_sigma),
    )


class Survey(Method):
    """A method that looks at the level of the cells alone."""

    def blended_levels(self, options: FusionOptions) -> range:
        """The level of the cells."""
        return range(map_level(options), map_level(options) + 1)


def cell_box(tile: Box, level: int) -> Box:
    """The cells of a tile whose corner is a multiple of the cell's side."""
    step = 1 << level
    return Box(tile.top // step, tile.left // step, -(-tile.bottom // step), -(-tile.right // step))


def index_type(n_frames: int) -> np.dtype[np.unsignedinteger[Any]]:
    """Smallest type that holds the index of any of the frames."""
    return np.min_scalar_type(n_frames - 1)


def settle(
    index: Index, confidence: Confidence, evidence: int
) -> tuple[Index, Confidence, Confidence]:
    """Clean a decision map of regions that nothing supports.

    A 4-connected region of one frame stays if at least `evidence` of its cells are sure
    (the winner has 1.5 times the activity of the others and stands above noise).  The cells of
    all other regions take the frame of the nearest cell that stays, of equally near ones that of
    the leftmost and then the upper; if none stays anywhere, the commonest frame.

    Small regions that are clearly sharp - a hair, a grain - survive this, large ones that are
    mere noise do not, which a limit on the area gets wrong both ways.

    Parameters
    ----------
    index : ndarray of unsigned integers, shape (H, W)
    confidence : ndarray of uint8, shape (H, W)
    evidence : int
        Sure cells that a region needs to stay.

    Returns
    -------
    index, confidence, trust : ndarray
        The cleaned map, as `DecisionMap` has it; cells whose frame was changed have confidence 0.
    """
    from batchstack.fusion.kernels import regions

    number = np.int32 if index.size < 2**31 else np.int64
    labels: npt.NDArray[np.signedinteger[Any]] = np.empty(index.size, number)
    counts: npt.NDArray[np.signedinteger[Any]] = np.zeros(index.size, number)
    regions.label(index, labels)
    regions.count(labels, confidence.reshape(-1), SURE, counts)
    stays = (counts >= evidence)[labels].view(np.uint8).reshape(index.shape)
    del labels, counts
    if stays.all():
        return index, confidence, believed(confidence, np.full_like(confidence, WHOLLY))
    if not stays.any():
        settled = np.full_like(index, np.bincount(index.ravel()).argmax())
        trust = np.zeros_like(confidence)
    else:
        settled, trust = np.empty_like(index), np.empty_like(confidence)
        for top, *band in filled(lambda rows: (index[rows], stays[rows]), index.shape, {}):
            rows = slice(top, top + len(band[0]))
            settled[rows], trust[rows] = band
    left = overruled(confidence, index, settled)
    return settled, left, believed(left, trust)


def overruled(confidence: Confidence, index: Index, settled: Index) -> Confidence:
    """The confidence that is left where settling may have changed the frame."""
    left: Confidence = confidence * (settled == index)
    return left


def believed(confidence: Confidence, trust: Confidence) -> Confidence:
    """The trust in cells, raised where the map is trusted wholly and the cell itself is sure."""
    more = 3 * np.minimum(np.maximum(confidence, SURE) - SURE, (255 - WHOLLY) // 3)
    raised: Confidence = trust + (trust == WHOLLY) * more
    return raised


def filled(
    read: Callable[[slice], tuple[Index, Confidence]],
    shape: tuple[int, int],
    below: MutableMapping[int, npt.NDArray[np.int64]],
) -> Iterator[tuple[int, Index, Confidence]]:
    """Give all cells the frame of the nearest cell that stays, band by band.

    Parameters
    ----------
    read : callable
        Rows to the index of their cells, and 1 for those that stay; it is asked twice.
    shape : (int, int)
        Rows and columns of the map.
    below : mutable mapping
        Keeps for each band, by its first row, a row of what is nearest below it.

    Yields
    ------
    int, ndarray, ndarray
        The first row of a band, its index and its trust, before it is `believed`.
    """
    from batchstack.fusion.kernels import regions

    step = max(BAND // shape[1], 1)
    bands = [slice(top, min(top + step, shape[0])) for top in range(0, shape[0], step)]
    rows, values = np.full(shape[1], -1, np.int64), np.zeros(shape[1], np.uint16)
    for band in reversed(bands):
        below[band.start] = np.stack((rows, values))
        if band.start:
            index, stays = read(band)
            regions.topmost(index, stays, band.start, rows, values)
    rows[:], spare = -1, np.empty((2, shape[1]), np.int64)
    near, near_values = np.empty((step, shape[1]), np.int64), np.empty((step, shape[1]), np.uint16)
    for band in bands:
        index, stays = read(band)
        out, trust = np.empty_like(index), np.empty(index.shape, np.uint8)
        rows_below, values_below = below.pop(band.start)
        at = band.start, rows, values, rows_below, values_below.astype(np.uint16)
        room = near, near_values, spare
        regions.fill(index, stays, *at, *room, TRUSTED, DOUBTED, out, trust)
        yield band.start, out, trust


def depth(
    index: Index, offset: Confidence, confidence: Confidence, n_frames: int
) -> npt.NDArray[np.uint16]:
    """Depth as a number from 0, the back frame, to 65535, the front one.

    It lies between frames where the decision has confidence, else on the frame.
    """
    steps = np.where(confidence > 0, offset, ON_FRAME) + STEPS * index.astype(np.float64) - ON_FRAME
    deep: npt.NDArray[np.uint16] = np.rint(steps * (65535 / (STEPS * (n_frames - 1)))).astype(
        np.uint16
    )
    return deep


def nearest(cells: Planes, level: int, box: Box) -> npt.NDArray[Any]:
    """The nearest cell of each pixel of a box; a cell lies on the pixel its level keeps.

    Parameters
    ----------
    cells : array-like, shape (rows, columns) of `level`
    level : int
    box : Box
        Inside the image, in pixels.

    Returns
    -------
    ndarray of the type of the cells, over `box`
    """
    step = 1 << level
    if step == 1:
        return np.asarray(cells[box.slices])
    rows = np.minimum((np.arange(box.top, box.bottom) + step // 2) // step, cells.shape[0] - 1)
    columns = (np.arange(box.left, box.right) + step // 2) // step
    columns = np.minimum(columns, cells.shape[1] - 1)
    window = cells[slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)]
    across = np.take(window, columns - columns[0], axis=1)
    return np.take(across, rows - rows[0], axis=0)  # type: ignore[no-any-return]
