"""Settling a decision map strip by strip, where nobody holds all of it.

A strip is some rows of the map over its whole width; together they are all of it.
What `decision.settle` does to a whole map, these steps do to its strips:

    border       each strip      what its neighbours must know of its regions
    judge        all borders     which regions that reach a border stay
    staying      each strip      the cells that stay
    note_below   bottom to top   the nearest cell that stays below each strip
    fill         top to bottom   the strip of the settled map

Strips are looked at one by one; what passes between them are a few rows of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack.fusion.decision import (
    DOUBTED,
    SURE,
    TRUSTED,
    Confidence,
    Index,
    believed,
    overruled,
)

Labels = npt.NDArray[np.signedinteger[Any]]


@dataclass(frozen=True, eq=False)
class Border:
    """What a strip tells of its regions.

    Attributes
    ----------
    frames : ndarray of unsigned integers, shape (2, columns)
        Index of the cells of its first and its last row.
    regions : ndarray of integers, shape (2, columns)
        Numbers of the regions that they belong to, which mean something within the strip only.
    sure : ndarray of integers, shape (2, columns)
        Sure cells that these regions have within the strip.
    most : int
        Sure cells of the region that has most.
    cells : ndarray of integers
        For each frame, how many cells have it.
    """

    frames: Index
    regions: Labels
    sure: Labels
    most: int
    cells: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Verdict:
    """What all borders together say of a strip.

    Attributes
    ----------
    regions : ndarray of integers
        Numbers of the regions on its first and last row that stay.
    commonest : int or None
        The commonest frame, if no region of the whole map stays.
    """

    regions: Labels
    commonest: int | None


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest cell that stays on one side of a row, for each column.

    Attributes
    ----------
    rows : ndarray of int64, shape (columns)
        Rows of the map; -1 for none.
    frames : ndarray of uint16, shape (columns)
    """

    rows: npt.NDArray[np.int64]
    frames: npt.NDArray[np.uint16]

    @classmethod
    def none(cls, columns: int) -> "Nearest":
        """What lies beyond the first and the last strip."""
        return cls(np.full(columns, -1, np.int64), np.zeros(columns, np.uint16))

    def copy(self) -> "Nearest":
        return Nearest(self.rows.copy(), self.frames.copy())


def border(index: Index, confidence: Confidence) -> Border:
    """What the neighbours of a strip must know of it.

    Parameters
    ----------
    index : ndarray of unsigned integers, shape (rows, columns)
    confidence : ndarray of uint8, the same shape
        Both as surveyed.
    """
    labels, counts = _regions(index, confidence)
    ends = labels[[0, -1]]
    return Border(index[[0, -1]], ends, counts[ends], int(counts.max()), np.bincount(index.ravel()))


def judge(borders: Sequence[Border], evidence: int) -> list[Verdict]:
    """Find which regions that reach the border of a strip stay, from all strips of a map.

    Parameters
    ----------
    borders : sequence of Border
        From top to bottom.
    evidence : int
        Sure cells that a region needs to stay.

    Returns
    -------
    list of Verdict
        One for each strip.
    """
    numbers, sure = _numbered(borders)
    group = _joined(borders, numbers, len(sure))
    enough = np.bincount(group, sure) >= evidence
    stays = [enough[group[mine]] for mine in numbers]
    commonest = None
    if not enough.any() and all(one.most < evidence for one in borders):
        commonest = int(_total([one.cells for one in borders]).argmax())
    return [
        Verdict(np.unique(one.regions[mine]), commonest)
        for one, mine in zip(borders, stays, strict=True)
    ]


def staying(
    index: Index, confidence: Confidence, evidence: int, verdict: Verdict
) -> npt.NDArray[np.uint8]:
    """The cells of a strip whose region stays.

    Parameters
    ----------
    index, confidence : ndarray
        As for `border`.
    evidence : int
    verdict : Verdict

    Returns
    -------
    ndarray of uint8, shape (rows, columns)
        1 for cells that stay, 0 for others.
    """
    labels, counts = _regions(index, confidence)
    stays = counts >= evidence
    stays[verdict.regions] = True
    return stays[labels].view(np.uint8)


def note_below(index: Index, stays: npt.NDArray[np.uint8], top: int, below: Nearest) -> Nearest:
    """What is nearest below the strip above this one.

    Parameters
    ----------
    index, stays : ndarray, shape (rows, columns)
        Of this strip.
    top : int
        Its first row in the map.
    below : Nearest
        What is nearest below this strip.
    """
    from batchstack.fusion.kernels import regions

    noted = below.copy()
    regions.topmost(index, stays, top, noted.rows, noted.frames)
    return noted


def fill(
    cells: tuple[Index, Confidence],
    stays: npt.NDArray[np.uint8],
    top: int,
    above: Nearest,
    below: Nearest,
    commonest: int | None,
) -> tuple[tuple[Index, Confidence, Confidence], Nearest]:
    """Settle a strip.

    Parameters
    ----------
    cells : (ndarray, ndarray)
        Index and confidence of the strip as surveyed, shape (rows, columns).
    stays, top
        As for `note_below`.
    above, below : Nearest
        What is nearest above and below the strip.
    commonest : int or None
        As in `Verdict`.

    Returns
    -------
    (index, confidence, trust), above : tuple of ndarray, Nearest
        As `decision.settle` returns them, and what is nearest above the strip below.
    """
    from batchstack.fusion.kernels import regions

    index, confidence = cells
    out, trust, above = np.empty_like(index), np.zeros_like(confidence), above.copy()
    if commonest is not None:
        out[...] = commonest
    else:
        near = np.empty(index.shape, np.int64), np.empty(index.shape, np.uint16)
        spare = np.empty((2, index.shape[1]), np.int64)
        at = top, above.rows, above.frames, below.rows.copy(), below.frames.copy()
        regions.fill(index, stays, *at, *near, spare, TRUSTED, DOUBTED, out, trust)
    left = overruled(confidence, index, out)
    return (out, left, believed(left, trust)), above


def _regions(index: Index, confidence: Confidence) -> tuple[Labels, Labels]:
    """For each cell the number of its region, and for each number its sure cells."""
    from batchstack.fusion.kernels import regions

    number = np.int32 if index.size < 2**31 else np.int64
    labels: Labels = np.empty(index.size, number)
    counts: Labels = np.zeros(index.size, number)
    regions.label(index, labels)
    regions.count(labels, confidence.reshape(-1), SURE, counts)
    return labels.reshape(index.shape), counts


def _numbered(borders: Sequence[Border]) -> tuple[list[Labels], Labels]:
    """The regions on all borders numbered through, and the sure cells of each number."""
    numbers: list[Labels] = []
    sure: list[Labels] = []
    for one in borders:
        _, first, mine = np.unique(one.regions, return_index=True, return_inverse=True)
        numbers.append(mine.reshape(one.regions.shape) + sum(map(len, sure)))
        sure.append(one.sure.ravel()[first])
    return numbers, np.concatenate(sure)


def _joined(borders: Sequence[Border], numbers: Sequence[Labels], count: int) -> Labels:
    """For each number the group of those that are one region, because they touch."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    upper, lower = [], []
    for one, other, mine, others in zip(borders, borders[1:], numbers, numbers[1:], strict=False):
        same = one.frames[1] == other.frames[0]
        upper.append(mine[1][same])
        lower.append(others[0][same])
    ends = [np.concatenate([np.empty(0, np.int64), *side]) for side in (upper, lower)]
    touching = coo_array((np.ones(len(ends[0]), bool), tuple(ends)), shape=(count, count))
    group: Labels = connected_components(touching, directed=False)[1]
    return group


def _total(counts: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    total = np.zeros(max(map(len, counts)), np.int64)
    for one in counts:
        total[: len(one)] += one
    return total
