"""Compiled search of a decision map's regions, and of the nearest cell that stays.

Everything is whole numbers; the rules of `compiled` about order do not matter here.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack.compiled import Counts, inlined, kernel, routine
from batchstack.fusion.rules import WHOLLY

Labels = npt.NDArray[np.signedinteger[Any]]
Index = npt.NDArray[np.uint16]
Rows = npt.NDArray[np.int64]


@routine
def _root(labels: Labels, place: int) -> int:
    while labels[place] != place:
        labels[place] = labels[labels[place]]
        place = labels[place]
    return place


@kernel
def label(index: Index, labels: Labels) -> None:
    """For each cell the first of the cells that are 4-connected to it and have its value.

    Parameters
    ----------
    index : ndarray, shape (rows, columns)
    labels : ndarray, shape (rows * columns)
        Numbers of cells in reading order.
    """
    rows, columns = index.shape
    for y in range(rows):
        for x in range(columns):
            place = y * columns + x
            mine = place
            labels[place] = place
            if x and index[y, x - 1] == index[y, x]:
                mine = _root(labels, place - 1)
                labels[place] = mine
            if y and index[y - 1, x] == index[y, x]:
                other = _root(labels, place - columns)
                low, high = min(mine, other), max(mine, other)
                labels[high] = low
                labels[place] = low
    for place in range(labels.size):
        labels[place] = labels[labels[place]]  # what comes before is its own root's by now


@kernel
def count(labels: Labels, confidence: Counts, sure: int, counts: Labels) -> None:
    """Count the sure cells of each region, at its label; arrays are flat."""
    for place in range(labels.size):
        counts[labels[place]] += confidence[place] >= sure


@kernel
def topmost(index: Index, stays: Counts, top: int, rows: Rows, values: Index) -> None:
    """Take note of the topmost cell that stays in each column of a band that begins at `top`."""
    for y in range(stays.shape[0] - 1, -1, -1):
        for x in range(stays.shape[1]):
            if stays[y, x]:
                rows[x] = top + y
                values[x] = index[y, x]


@kernel
def fill(
    index: Index,
    stays: Counts,
    top: int,
    above: Rows,
    above_values: Index,
    below: Rows,
    below_values: Index,
    near: Rows,
    near_values: Index,
    spare: Rows,
    trusted: float,
    doubted: float,
    out: Index,
    trust: Counts,
) -> None:
    """The value of the nearest cell that stays, for a band of rows that begins at `top`.

    Distances are Euclidean and exact [1]_; of equally near cells the leftmost counts, of those in
    one column the upper.

    Parameters
    ----------
    index, stays : ndarray, shape (rows, columns)
        Of the band.
    above, below : ndarray, shape (columns)
        Rows of the nearest cells that stay above and below the band, -1 for none; `above` is then
        what the next band needs.
    above_values, below_values : ndarray, shape (columns)
        Their values.
    near, near_values : ndarray, shape (rows, columns)
        Room.
    spare : ndarray, shape (2, columns)
        Room.
    trusted, doubted : float
        Distances up to which a value is trusted wholly, and from which on it is not at all.
    out : ndarray, shape (rows, columns)
    trust : ndarray of uint8, shape (rows, columns)
        From 0 to `WHOLLY`, in between as the distance is.

    References
    ----------
    .. [1] A. Meijster, J. Roerdink and W. Hesselink, "A general algorithm for computing distance
       transforms in linear time", Mathematical Morphology and its Applications to Image and
       Signal Processing, 2000.
    """
    rows, columns = stays.shape
    for y in range(rows):
        stay, frame, line, value = stays[y], index[y], near[y], near_values[y]
        for x in range(columns):
            above[x] = top + y if stay[x] else above[x]
            above_values[x] = frame[x] if stay[x] else above_values[x]
            line[x] = above[x]
            value[x] = above_values[x]
    for y in range(rows - 1, -1, -1):
        row = top + y
        stay, frame, line, value = stays[y], index[y], near[y], near_values[y]
        for x in range(columns):
            below[x] = row if stay[x] else below[x]
            below_values[x] = frame[x] if stay[x] else below_values[x]
            nearer = (below[x] >= 0) & ((line[x] < 0) | (below[x] - row < row - line[x]))
            line[x] = below[x] if nearer else line[x]
            value[x] = below_values[x] if nearer else value[x]
        _fill_row(stay, line, value, row, spare, trusted, doubted, out[y], trust[y])


@inlined
def _fill_row(
    stays: Counts,
    near: Rows,
    values: Index,
    row: int,
    spare: Rows,
    trusted: float,
    doubted: float,
    out: Index,
    trust: Counts,
) -> None:
    """Cells that stay as they are; of a gap no cell is nearer to one beyond those at its ends."""
    columns = near.size
    for x in range(columns):
        out[x] = values[x]
        trust[x] = np.uint8(WHOLLY)
    x = 0
    while x < columns:
        first = x
        while x < columns and not stays[x]:
            x += 1
        if x > first:
            before, behind = max(first - 1, 0), min(x + 1, columns)
            _fill_gap(near, values, row, before, behind, spare, trusted, doubted, out, trust)
        x += 1


@routine
def _fill_gap(
    near: Rows,
    values: Index,
    row: int,
    first: int,
    end: int,
    spare: Rows,
    trusted: float,
    doubted: float,
    out: Index,
    trust: Counts,
) -> None:
    """Which column is the nearest: from `starts` on that at `places`, from left to right."""
    places, starts, last = spare[0], spare[1], -1
    for x in range(first, end):
        if near[x] < 0:
            continue
        mine = (near[x] - row) ** 2
        while last >= 0:
            start, place = starts[last], places[last]
            if (start - place) ** 2 + (near[place] - row) ** 2 <= (start - x) ** 2 + mine:
                break
            last -= 1
        if last < 0:
            last, places[0], starts[0] = 0, x, first
            continue
        place = places[last]
        gap = x * x - place * place + mine - (near[place] - row) ** 2
        start = 1 + gap // (2 * (x - place))
        if start < end:
            last += 1
            places[last], starts[last] = x, start
    for x in range(end - 1, first - 1, -1):
        place = places[last]
        out[x] = values[place]
        distance = np.sqrt(np.float64((x - place) ** 2 + (near[place] - row) ** 2))
        share = (doubted - distance) / (doubted - trusted)
        trust[x] = np.uint8(np.int32(np.rint(WHOLLY * min(max(share, 0.0), 1.0))))
        if x == starts[last]:
            last -= 1
