"""The two compiled passes over a level of a pair, for the methods that compare activities.

The rules are those of `compiled`.
A pass goes over a box of a level row by row: a row of the frames comes in, the rows round it
give bands, activities and leans, and a row of every method goes out.  What lies between are
rings of a few rows, which stay in the cache if the box is not too wide.
"""

from collections.abc import Collection
from typing import NamedTuple

from batchstack.fusion.compiled import Counts, Planes, bare_kernel
from batchstack.fusion.leans import (
    activity_row,
    add_channels,
    box_row,
    lean_row,
    mask_row,
    modified_row,
    vote_row,
)
from batchstack.fusion.levels import NAMES, Rows, Source, Target, forget, read_row, write_row

# Of `levels.NAMES`.
BY_CHANNEL, ALL_CHANNELS, LAPLACIAN, MEDIAN_MASK, DIRECT = range(5)

Wanted = tuple[bool, bool, bool, bool, bool]


def wanted(names: Collection[str]) -> Wanted:
    """Which methods a pass is to serve."""
    first, second, third, fourth, fifth = (name in names for name in NAMES)
    return first, second, third, fourth, fifth


class Rule(NamedTuple):
    """How summed activities become leans: as for `lean_row`."""

    limit: float
    slope: float


class LookedAt(NamedTuple):
    """What the second pass looks around in: leans and votes of the first one, rings.

    Attributes
    ----------
    rough : ndarray of float32, shape (1, rows, columns)
        Leans of `laplacian` before they are smoothed.
    votes : ndarray of uint8, shape (rows, columns)
        Of `median_mask`.
    height : int
        The rows that both stand for.
    top, left : int
        Where they begin.
    """

    rough: Planes
    votes: Counts
    height: int
    top: int
    left: int


@bare_kernel
def first_pass(
    source: Source,
    rule: Rule,
    asked: Wanted,
    looked_at: LookedAt,
    target: Target,
    rows: Rows,
    top: int,
    bottom: int,
    left: int,
) -> None:
    """Find the leans of a box, and finish the methods that need no more."""
    by_channel, all_channels, laplacian, median, direct = asked
    side, kept = len(rows.total), len(rows.frames)
    reach, margin = side // 2, side // 2 + 1
    sums, leans, place, sinks = rows.sums, rows.leans, target.place, target.sinks
    wide, held, packed = rows.coarse_wide, rows.coarse_held, rows.packed
    start, stop = left - looked_at.left, left - looked_at.left + sums.size
    forget(rows)
    for y in range(top - margin, bottom + margin):
        # A row of the frames comes in, and the one above has its activities now.
        upper, middle, last, n = (y - 2) % kept, (y - 1) % kept, y % kept, (y - 1) % side
        read_row(source, y, left - margin, rows, rows.frames[last], rows.values[last])
        above, here, below = rows.values[upper], rows.values[middle], rows.values[last]
        if by_channel or laplacian:
            activity_row(above, here, below, rows.channels, n, rows.around[n])
            add_channels(rows.channels, n, rows.total[n])
        elif all_channels or median:
            modified_row(above, here, below, rows.total[n])
        if direct:
            above, here, below = rows.frames[upper], rows.frames[middle], rows.frames[last]
            modified_row(above, here, below, rows.direct[n])
        # The row that all rows round it are there of now has its leans.
        row, first = y - margin, y - margin - reach
        if row < top:
            continue
        frame, value = rows.frames[row % kept], rows.values[row % kept]
        if by_channel:
            for channel in range(source.channels):
                box_row(rows.channels[channel], first, rows.tall, sums)
                lean_row(sums, rule.slope, rule.limit, leans[channel])
            write_row(
                sinks[BY_CHANNEL],
                place,
                row,
                left,
                frame,
                value,
                leans,
                wide[BY_CHANNEL],
                held[BY_CHANNEL],
                packed,
            )
        if all_channels or median:
            box_row(rows.total, first, rows.tall, sums)
        if median:
            votes = looked_at.votes
            vote_row(sums, votes[(row - looked_at.top) % len(votes), start:stop])
        if all_channels:
            lean_row(sums, rule.slope, rule.limit, leans[0])
            write_row(
                sinks[ALL_CHANNELS],
                place,
                row,
                left,
                frame,
                value,
                leans[:1],
                wide[ALL_CHANNELS],
                held[ALL_CHANNELS],
                packed,
            )
        if laplacian:
            box_row(rows.around, first, rows.tall, sums)
            rough = looked_at.rough[0]
            out = rough[(row - looked_at.top) % len(rough), start:stop]
            lean_row(sums, rule.slope, rule.limit, out)
        if direct:
            box_row(rows.direct, first, rows.tall, sums)
            lean_row(sums, rule.slope, rule.limit, leans[0])
            write_row(
                sinks[DIRECT],
                place,
                row,
                left,
                frame,
                frame,
                leans[:1],
                wide[DIRECT],
                held[DIRECT],
                packed,
            )


@bare_kernel
def second_pass(
    source: Source,
    asked: Wanted,
    target: Target,
    smoothed: Planes,
    majorities: Planes,
    rows: Rows,
    top: int,
    left: int,
) -> None:
    """Finish the methods whose leans depend on the leans around a box.

    `smoothed` are the leans of `laplacian`, `majorities` those of `median_mask`, of shape
    (1, rows, columns).
    """
    place, sinks, frame, halves = target.place, target.sinks, rows.frames[0], rows.values[0]
    wide, held, packed = rows.coarse_wide, rows.coarse_held, rows.packed
    start, stop = left - place.left, left - place.left + frame.shape[1]
    forget(rows)
    for i in range(smoothed.shape[1]):
        y = top + i
        read_row(source, y, left, rows, frame, halves)
        if asked[LAPLACIAN]:
            leans = smoothed[0, i : i + 1]
            write_row(
                sinks[LAPLACIAN],
                place,
                y,
                left,
                frame,
                halves,
                leans,
                wide[LAPLACIAN],
                held[LAPLACIAN],
                packed,
            )
        if asked[MEDIAN_MASK]:
            leans = majorities[0, i : i + 1]
            write_row(
                sinks[MEDIAN_MASK],
                place,
                y,
                left,
                frame,
                halves,
                leans,
                wide[MEDIAN_MASK],
                held[MEDIAN_MASK],
                packed,
            )
            if target.mask.size:
                mask_row(leans[0], target.mask[y - place.top, start:stop])
