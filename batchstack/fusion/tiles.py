"""Tile geometry in whole numbers.

A tile is a box of output that is written once; the tiles of an image partition it.
To fuse a tile, each pyramid level needs a little more than the tile itself:

    level 0         |<---- tile ---->|             what is written
                 |<----- analysed ----->|          where activities are computed
    level 1          |<--- held --->|              what expand turns into level 0
                  |<--- analysed --->|
    ...
    level 0  |<---------- window ----------->|     what is read from the frames

`tile_plan` works these boxes out from the reach of the methods' own filters.
Tiles and windows start on pixels that the coarsest level keeps; as no value depends on its place
in a row or in a tile, this makes a tile equal the whole image bit for bit.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from batchstack.fusion.pyramid import EXPAND_REACH, REDUCE_REACH, level_shape
from batchstack.geometry import Box

# A frame's number and a box to the pixels of that frame in that box.
ReadWindow = Callable[[int, Box], npt.NDArray[Any]]


@dataclass(frozen=True)
class LevelPlan:
    """What one pyramid level of one tile computes, in pixels of that level."""

    shape: tuple[int, int]  # of the whole image's level
    analysed: Box  # where bands and activities are computed
    held: Box  # where the blended band is kept; right at least where it is needed


@dataclass(frozen=True)
class TilePlan:
    """Everything a tile computes: `tile` is written, `window` is read."""

    tile: Box
    window: Box
    levels: tuple[LevelPlan, ...]


def grid_step(levels: int) -> int:
    """Pixels that tile corners and windows must be multiples of, for `levels` levels."""
    return 1 << (levels - 1)


def partition(shape: tuple[int, int], tile: int, levels: int) -> Iterator[Box]:
    """Tiles of an image in reading order; their side is `tile` rounded up to the grid."""
    step = grid_step(levels)
    side = -(-tile // step) * step
    for top in range(0, shape[0], side):
        for left in range(0, shape[1], side):
            yield Box(top, left, min(top + side, shape[0]), min(left + side, shape[1]))


def tile_plan(
    tile: Box, shape: tuple[int, int], reaches: Sequence[int], margins: Sequence[int] = ()
) -> TilePlan:
    """Boxes of every level of a tile.

    Parameters
    ----------
    tile : Box
        In pixels of the image; its corner lies on the grid.
    shape : (int, int)
        Rows and columns of the image.
    reaches : sequence of int
        For each pyramid level, finest first, how many of its pixels away the methods'
        filters look to weight one coefficient.
    margins : sequence of int, optional
        For each level how many more of its pixels are looked at round those that the
        coarser levels are made of; none by default.
    """
    needed, analysed = [tile], []
    for level, reach in enumerate(reaches):
        analysed.append(needed[level].grown(reach))
        needed.append(needed[level].halved().grown(EXPAND_REACH))
    # The Gaussian level under each band must cover the band, its expansion and what
    # the next finer level takes from it; from the coarsest level up:
    margins = margins or (0,) * len(reaches)
    source = analysed[-1].grown(margins[-1])
    for finer, margin in zip(reversed(analysed[:-1]), reversed(margins[:-1]), strict=True):
        below = finer.halved().grown(EXPAND_REACH)
        source = source.union(below).doubled().grown(REDUCE_REACH).union(finer).grown(margin)
    return TilePlan(
        tile,
        source.aligned(grid_step(len(reaches)), shape),
        _level_plans(shape, needed[:-1], analysed),
    )


def _level_plans(
    shape: tuple[int, int], needed: Sequence[Box], analysed: Sequence[Box]
) -> tuple[LevelPlan, ...]:
    plans: list[LevelPlan] = []
    for level in reversed(range(len(needed))):
        size = level_shape(shape, level)
        held = needed[level].aligned(1, size)
        if plans:
            held = held.intersection(plans[0].held.expanded(size))
        plans.insert(0, LevelPlan(size, analysed[level].aligned(1, size), held))
    return tuple(plans)
