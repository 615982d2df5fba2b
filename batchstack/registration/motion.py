"""How a frame lies relative to another: a first guess, then blocks of ever finer levels.

Out of focus the fine detail is lost or even inverted, and at depth edges a blurred foreground
pulls blocks along, so the finest level is seldom the best and the fit has to be robust.
"""

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from batchstack.geometry import Box
from batchstack.registration.blocks import Blocks, Points, block_sums, joined
from batchstack.registration.fits import LEAST_BLOCKS, Fit, Freedoms, corner_distance, fitted
from batchstack.registration.views import Pair, aligned, boxes, factor_for, normalised, whole_box
from batchstack.registration.warp import Matrix

# Pixels along the edges of a level that blocks leave out.
_MARGIN = 6

# Pixels of the level where agreement is judged.
_JUDGED = 200_000

# Least correlation of a block's two images, and how many of such blocks there must be for one
# whose images are each other's opposite to the same degree.
_LEAST_ALIKE, _FOR_ONE_OPPOSITE = 0.3, 2


def first_guess(pair: Pair, factor: int) -> Matrix:
    """Phase correlation on images reduced to some 100 pixels a side."""
    box = whole_box(pair.shape, factor)
    one, other = (normalised(view.detail(box, factor)) for view in (pair.reference, pair.frame))
    hanning = cv2.createHanningWindow(one.shape[::-1], cv2.CV_32F)
    matrix = np.eye(3)
    shift = cv2.phaseCorrelate(one, other, hanning)[0]
    matrix[:2, 2] = np.multiply(shift, factor)
    return cast(Matrix, matrix)


def measured(
    pair: Pair, start: Matrix, factor: int, model: Freedoms, rounds: int = 2
) -> Fit | None:
    """Fit through blocks on the level reduced by `factor`, or None if few of them count."""
    fit = None
    for _ in range(rounds):  # again from nearby, where gradients tell the whole way
        all_blocks = seen(pair, start, factor)
        blocks = telling(all_blocks)
        if len(blocks.points) < LEAST_BLOCKS or _by_chance(all_blocks, len(blocks.points)):
            return None
        fit = fitted(blocks, start, pair.shape, model)
        near = corner_distance(start, fit.homogeneous, pair.shape) < factor / 5
        start = fit.homogeneous
        if near:
            break
    return fit if fit and np.isfinite(fit.error) else None


def seen(pair: Pair, start: Matrix, factor: int) -> Blocks:
    """The blocks of a level, where both images have pixels, with the frame moved by `start`."""
    key = start.tobytes(), factor
    known: dict[object, Blocks] = pair.known
    if key not in known:
        size = _block_size(pair.shape, factor)
        parts = [_part(pair, box, start, factor, size) for box in boxes(pair.shape, factor)]
        known[key] = joined(parts, size, factor)
    return known[key]


def judged(pair: Pair, matrix: Matrix, least: int = 1) -> Blocks:
    """Blocks whose agreement tells how well the frames match where both have pixels.

    Detail of levels finer than `least`, that of the fit, may be lost or inverted by blur.
    """
    return seen(pair, matrix, max(factor_for(pair.shape, _JUDGED), least))


def _block_size(shape: tuple[int, int], factor: int) -> int:
    return int(np.clip(min(shape) // factor // 16, 6, 20))


def _part(pair: Pair, box: Box, start: Matrix, factor: int, size: int) -> tuple[Points, Points]:
    corners, sums = block_sums(*aligned(pair, box, start, factor), size, _MARGIN)
    points = (corners + (size - 1) / 2) * factor + [box.left, box.top] + (factor - 1) / 2
    there = points @ start[:2, :2].T + start[:2, 2]
    room = (size / 2 + _MARGIN) * factor
    limit = np.array(pair.shape[::-1]) - room
    inside = ((there >= room) & (there <= limit)).all(axis=1)
    return points[inside], sums[inside]


def telling(blocks: Blocks) -> Blocks:
    """Those that show the same detail; of others the gradients do not even have a length."""
    return blocks.among(alike(blocks, _LEAST_ALIKE))


def _by_chance(blocks: Blocks, told: int) -> bool:
    """Whether those that tell may do so by chance: noise is as often alike as it is opposite."""
    opposite = int(np.count_nonzero(blocks.products < -_LEAST_ALIKE * blocks.energies))
    return told < _FOR_ONE_OPPOSITE * opposite


def alike(blocks: Blocks, least: float) -> npt.NDArray[np.bool_]:
    """Whether the images of a block correlate by more than `least`, and its gradients tell."""
    xx, xy, yy = (blocks.gradients[:, i, j] for i, j in ((0, 0), (0, 1), (1, 1)))
    shown = blocks.products > least * blocks.energies
    return np.asarray(shown & (xx > 0) & (xx * yy > xy * xy))
