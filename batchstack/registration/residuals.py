"""Residuals: how far what frames show still lies apart once they are moved.

A camera that moved sideways shifts near things by more than far ones, and some lenses breathe in
ways that no affine transform follows.
Blocks of each frame beside the next, which differs least in focus, say how far they lie off; what
the best affine transform leaves of that is the residual.
What counts is the median of a block and of those round it: blocks that were mistaken, at the rim
of a blurred thing for example, scatter, where geometry moves neighbours alike.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from batchstack.registration.blocks import Blocks, Points
from batchstack.registration.fits import located
from batchstack.registration.motion import alike, judged, measured
from batchstack.registration.views import Pair, View
from batchstack.registration.warp import Matrix, Pixels, Transform

# Least correlation of a block that is believed, its largest standard error in pixels of the level,
# blocks round one that must be known with it, and blocks that tell something together.
_ALIKE, _ERROR, _ROUND, _LEAST_BLOCKS = 0.6, 0.15, 4, 60
_PERCENTILE = 95
# Where transforms are given: neighbours that are looked at, and steps to their best transform.
_NEIGHBOURS, _STEPS = 4, 4


def left_over(blocks: Blocks) -> float | None:
    """What the best affine transform leaves of how far blocks lie off.

    Parameters
    ----------
    blocks : Blocks
        Of a frame moved to where it lies.

    Returns
    -------
    float or None
        The 95th percentile in pixels of the image; None if too few blocks tell of it.
    """
    blocks = blocks.among(alike(blocks, _ALIKE))
    if len(blocks.points) < _LEAST_BLOCKS:
        return None
    moves = located(blocks)[0]
    # What the move itself explains of the difference is no noise.
    explained = np.einsum("ni,ni->n", blocks.slopes, moves) / blocks.size**2
    sure = located(blocks, np.maximum(blocks.noise - explained, 0.02 * blocks.noise))[1]
    clear = _least_eigenvalue(sure) > _ERROR**-2
    if clear.sum() < _LEAST_BLOCKS:
        return None
    points, moves = _smoothed(blocks.points[clear], moves[clear], blocks.size * blocks.factor)
    if len(points) < _LEAST_BLOCKS:
        return None
    design = np.column_stack([np.ones(len(points)), points / blocks.points.max()])
    missed = moves - design @ np.linalg.lstsq(design, moves, rcond=None)[0]
    return blocks.factor * float(np.percentile(np.hypot(*missed.T), _PERCENTILE))


def typical_residual(transforms: Iterable[Transform]) -> float | None:
    """The median of what neighbours leave; None if none was measured."""
    known = [one.residual for one in transforms if one.residual is not None]
    return float(np.median(known)) if known else None


def residual(
    frames: Sequence[Pixels], transforms: Sequence[Transform], *, data_range: float | None = None
) -> float | None:
    """What the best affine transforms between neighbours leave, where the transforms are given.

    Parameters
    ----------
    frames : sequence of (H, W) or (H, W, C) arrays
        Anything that can be sliced into arrays works.
    transforms : sequence of Transform
        About where they lie.
    data_range : float, optional
        The stored value that means 1.0; by default 255, 65535 or 1.0 by data type.

    Returns
    -------
    float or None
        In pixels, the median over neighbours, of four pairs of them at most; None if too few
        blocks tell of it.
    """
    count = min(len(frames) - 1, _NEIGHBOURS)
    known = []
    for index in np.linspace(0, len(frames) - 2, count).round().astype(int):
        pair = Pair(*(View(frames[i], data_range) for i in (index, index + 1)))
        known.append(_of_pair(pair, _between(transforms[index], transforms[index + 1])))
    told = [one for one in known if one is not None]
    return float(np.median(told)) if told else None


def _of_pair(pair: Pair, step: Matrix) -> float | None:
    fit = measured(pair, step, judged(pair, step).factor, "affine", _STEPS)
    return left_over(judged(pair, fit.homogeneous)) if fit else None


def _between(one: Transform, other: Transform) -> Matrix:
    """From the pixels of one frame to those of the next."""
    here, there = (np.vstack([item.array, [0.0, 0.0, 1.0]]) for item in (one, other))
    step: Matrix = there @ np.linalg.inv(here)
    return step


def _least_eigenvalue(matrices: Points) -> npt.NDArray[np.float64]:
    """Of symmetric (N, 2, 2) matrices."""
    middle = (matrices[:, 0, 0] + matrices[:, 1, 1]) / 2
    apart = (matrices[:, 0, 0] - matrices[:, 1, 1]) / 2
    return np.asarray(middle - np.hypot(apart, matrices[:, 0, 1]), np.float64)


def _smoothed(points: Points, moves: Points, spacing: int) -> tuple[Points, Points]:
    """Medians over a block of a grid and those round it that are known, where enough are."""
    column, row = np.rint((points - points.min(axis=0)) / spacing).astype(int).T
    grid = np.full((row.max() + 3, column.max() + 3, 2), np.nan)
    grid[row + 1, column + 1] = moves
    near = np.stack([grid[row + i, column + j] for i in range(3) for j in range(3)])
    near.sort(axis=0)  # what is not known comes last
    known = np.isfinite(near[..., 0]).sum(axis=0)
    low, high = (
        np.take_along_axis(near, (place // 2)[None, :, None], axis=0)[0]
        for place in (known - 1, known)
    )
    enough = known > _ROUND
    return points[enough], ((low + high) / 2)[enough]
