"""Transforms fitted to the displacements of many blocks."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from batchstack.geometry import Box
from batchstack.registration.blocks import Blocks, Points
from batchstack.registration.warp import IDENTITY, Matrix, corner_pixels

Freedoms = Literal["translation", "similarity", "affine"]

# What interpolation and a blur that varies over a block may leave, in pixels of the level: of the
# whole fit, and of one block.
_BIAS, _BLOCK_BIAS = 0.01, 0.02
_ROUNDS = 6
_PARAMETERS: dict[Freedoms, int] = {"translation": 2, "similarity": 4, "affine": 6}
# Blocks that a fit needs, and as many of them must count.
LEAST_BLOCKS = 8
_CUT = 1.0


@dataclass(frozen=True)
class Fit:
    """A measured transform, or the reason why there is none in `note`.

    `error` is the predicted standard error of the corners, `scatter` that of one block, both in
    pixels; `factor` is the level that it was measured on, and `left` what the best affine transform
    between neighbours leaves, if it was found (see `residuals.left_over`).
    `bias` is the part of the error that levels tell by what they disagree.
    """

    matrix: tuple[float, ...] = IDENTITY
    model: Freedoms = "similarity"
    error: float = 0.0
    note: str = ""
    scatter: float = 0.0
    factor: int = 1
    left: float | None = None
    bias: float = 0.0

    @property
    def homogeneous(self) -> Matrix:
        """The matrix as a (3, 3) array."""
        return np.vstack([np.reshape(self.matrix, (2, 3)), [0.0, 0.0, 1.0]])

    @property
    def inverse(self) -> "Fit":
        """From the frame to what it was compared with."""
        back = np.linalg.inv(self.homogeneous)[:2].ravel()
        return replace(self, matrix=tuple(back.tolist()))

    def over(self, other: "Fit") -> "Fit":
        """The rest of the way to the frame for who is at the place of `other`."""
        rest = (self.homogeneous @ np.linalg.inv(other.homogeneous))[:2].ravel()
        error = max(self.error**2 - other.error**2, 0.0) ** 0.5 if other.error else self.error
        return replace(self, matrix=tuple(rest.tolist()), error=error)


def fitted(blocks: Blocks, start: Matrix, shape: tuple[int, int], model: Freedoms) -> Fit:
    """Robust fit to blocks; moves are linear in the parameters of every model.

    A block counts by what its gradients tell in each direction, and less the worse it fits
    (iteratively reweighted least squares with Cauchy's weights [1]_).

    Parameters
    ----------
    blocks : Blocks
    start : (3, 3) array
        By what the frame was moved before.
    shape : tuple of two int
    model : str

    References
    ----------
    .. [1] P. W. Holland and R. E. Welsch, "Robust regression using iteratively reweighted
       least-squares", Communications in Statistics 6(9), 813-827, 1977.
       :doi:`10.1080/03610927708827533`
    """
    # Who only plans does not wait for the kernels.
    from batchstack.registration.kernels.fits import fit, prepare

    middle, scale = _frame_of(shape)
    design = _design((blocks.points - middle) / scale, model) / blocks.factor
    count, _, size = design.shape
    moves, sure = located(blocks)
    told, alone, trust, misfit = np.empty(count), np.empty(count), np.ones(count), np.empty(count)
    sides, squares, spare = (np.empty(of) for of in ((count, size), (count, size**2), (3, size**2)))
    normal, parameters, typical = np.empty((size, size)), np.empty(size), 0.0
    prepare(design, moves, sure, told, alone, sides, squares)
    for _ in range(_ROUNDS):
        fit(alone, sides, squares, trust, spare, normal, parameters, misfit)
        # The median of chi-square is 1.386; blocks without detail say nothing about it.
        typical = max(_median(misfit, told) / 1.386, 1e-9)
        trust = 1 / (1 + np.maximum(misfit, 0) / (_CUT * typical))
    # A freedom that no block tells of is not known.
    damped = normal + (1e-9 * np.trace(normal) + 1e-30) * np.eye(size)
    covariance = typical * np.linalg.inv(damped)
    ends = _design((_corners(shape)[:2].T - middle) / scale, model)
    chance = float(np.einsum("nip,pq,niq->n", ends, covariance, ends).max())
    error = max(chance * _excess(told * trust, size) + (_BIAS * blocks.factor) ** 2, 0.0) ** 0.5
    scatter = _scatter(moves - design @ parameters, told * trust, blocks.factor)
    matrix = start @ _matrix(parameters, model, middle, scale)
    found = tuple(matrix[:2].ravel().tolist())
    return Fit(found, model, error, "", scatter, blocks.factor)


def located(blocks: Blocks, noise: Points | None = None) -> tuple[Points, Points]:
    """How far each block lies off, in pixels of the level, and the inverse of its covariance.

    With `noise` (N,), the mean square of what is noise of the difference, if it is known better.
    """
    # Who only plans does not wait for the kernels.
    from batchstack.registration.kernels.fits import locate

    count = len(blocks.points)
    moves, sure = np.empty((count, 2)), np.empty((count, 2, 2))
    noise = blocks.noise if noise is None else noise
    locate(blocks.gradients, blocks.slopes, noise, _BLOCK_BIAS, moves, sure)
    return moves, sure


def _excess(weights: Points, freedoms: int) -> float:
    """By how much misfits fall short because the fit follows the blocks, as a factor of variance.

    Where a few blocks count for all, each fits by chance, however many there are.
    """
    count = 2 * float(weights.sum() ** 2 / np.sum(weights**2))  # each says something of x and of y
    return count / (count - freedoms) if count > 2 * LEAST_BLOCKS else np.inf


def _scatter(misses: Points, weights: Points, factor: int) -> float:
    """What single blocks miss by, in pixels of the image; blocks count by what they tell."""
    sizes = np.abs(misses).ravel()
    return 1.4826 * _median(sizes, np.repeat(weights, 2)) * factor


def _median(values: Points, weights: Points) -> float:
    order = np.argsort(values)
    share = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(share, share[-1] / 2)]])


def composed(chain: Fit, step: Fit) -> Fit:
    """The transform from the reference to a frame, over its neighbour."""
    names: tuple[Freedoms, ...] = ("translation", "similarity", "affine")
    matrix = step.homogeneous @ chain.homogeneous
    model = max(step.model, chain.model, key=names.index)
    error, scatter = np.hypot([chain.error, chain.scatter], [step.error, step.scatter]).tolist()
    return Fit(
        tuple(matrix[:2].ravel().tolist()), model, error, step.note, scatter, step.factor, step.left
    )


def corner_distance(one: Matrix, other: Matrix, shape: tuple[int, int]) -> float:
    """How far apart two transforms put the corners, at most, in pixels."""
    return float(np.hypot(*((one - other) @ _corners(shape))[:2]).max())


def typical_move(matrix: Matrix, shape: tuple[int, int]) -> float:
    """Root mean square of what a transform adds to x and to y over the image, in pixels."""
    ticks = (np.linspace(0, side - 1, 9) for side in shape[::-1])
    x, y = (part.ravel() for part in np.meshgrid(*ticks))
    moves = ((matrix - np.eye(3)) @ np.stack([x, y, np.ones_like(x)]))[:2]
    return float(np.sqrt(np.mean(moves**2)))


def _corners(shape: tuple[int, int]) -> Matrix:
    return corner_pixels(Box(0, 0, *shape))


def _frame_of(shape: tuple[int, int]) -> tuple[npt.NDArray[Any], float]:
    """Middle (x, y) and half the longer side, which make coordinates about -1 to 1."""
    return (np.array(shape[::-1]) - 1) / 2, max(shape) / 2


def _design(points: Points, model: Freedoms) -> Points:
    """For each point two rows, for x and y: how the parameters move it; (N, 2, parameters)."""
    design = np.zeros((len(points), 2, _PARAMETERS[model]))
    if model == "affine":
        design[:, 0, 2:4] = design[:, 1, 4:] = points
    elif model == "similarity":
        design[:, 0, 2:] = points * (1.0, -1.0)
        design[:, 1, 2:] = points[:, ::-1]
    design[:, 0, 0] = design[:, 1, 1] = 1
    return design


def _matrix(parameters: Points, model: Freedoms, middle: Points, scale: float) -> Matrix:
    """The 3 x 3 matrix that adds the fitted moves to a point."""
    probe = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    at = probe + _design((probe - middle) / scale, model) @ parameters
    linear = np.stack([at[1] - at[0], at[2] - at[0]], axis=1)
    return np.vstack([np.hstack([linear, at[:1].T]), [0.0, 0.0, 1.0]])
