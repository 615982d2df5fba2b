"""Transforms fitted to the displacements of many windows."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from batchstack.geometry import Box
from batchstack.registration.warp import IDENTITY, Matrix, corner_pixels

Points = npt.NDArray[np.float64]
Freedoms = Literal["translation", "similarity", "affine"]

# What interpolation and a blur that varies over a window may leave, in pixels of the level.
_BIAS = 0.01


@dataclass(frozen=True, eq=False)
class Windows:
    """Where windows of the reference were found in the frame.

    Parameters
    ----------
    points, moves : (N, 2) arrays
        Windows' centres (x, y) in the reference, and how far what they show lies off in the
        frame once that is moved by `start`; pixels of the whole image.
    start : (3, 3) array
        What was known before.
    factor : int
        The level they were seen on.
    cells : int
        How many of them do not overlap; the rest repeat what these say.
    """

    points: Points
    moves: Points
    start: Matrix
    factor: int
    cells: int


@dataclass(frozen=True, eq=False)
class Fit:
    """A measured transform, or the reason why there is none in `note`.

    `error` is the predicted standard error of the corners, `scatter` that of one window, both in
    pixels.
    """

    matrix: tuple[float, ...] = IDENTITY
    model: Freedoms = "similarity"
    error: float = 0.0
    note: str = ""
    scatter: float = 0.0
    windows: Windows | None = field(default=None, repr=False)

    @property
    def homogeneous(self) -> Matrix:
        """The matrix as a (3, 3) array."""
        return np.vstack([np.reshape(self.matrix, (2, 3)), [0.0, 0.0, 1.0]])


def fitted(windows: Windows, shape: tuple[int, int], model: Freedoms) -> Fit:
    """Robust fit to windows; moves are linear in the parameters of every model."""
    from scipy.optimize import least_squares

    middle, scale = _frame_of(shape)
    design = _design((windows.points - middle) / scale, model)
    observed = windows.moves.ravel()
    parameters = np.median(windows.moves, axis=0) @ _design(np.zeros((1, 2)), model)
    for _ in range(3):
        scatter = 1.4826 * float(np.median(np.abs(design @ parameters - observed)))
        parameters = least_squares(
            lambda p: design @ p - observed,
            parameters,
            jac=lambda _: design,
            loss="cauchy",
            f_scale=max(scatter, 0.01),
        ).x
    # Points closer than a window see the same pixels: only the windows count as observations.
    repeated = len(windows.points) / windows.cells
    covariance = scatter**2 * np.linalg.pinv(design.T @ design) * repeated
    ends = _design((_corners(shape)[:2].T - middle) / scale, model)
    chance = float(np.sqrt(np.einsum("ij,jk,ik->i", ends, covariance, ends).max() * 2))
    error = float(np.hypot(chance, _BIAS * windows.factor))
    matrix = windows.start @ _matrix(parameters, model, middle, scale)
    return Fit(tuple(matrix[:2].ravel().tolist()), model, error, "", scatter, windows)


def projected(matrix: Matrix, model: Freedoms, shape: tuple[int, int]) -> Matrix:
    """The transform of a model that is nearest over the image."""
    if model == "affine":
        return matrix
    corners, (middle, scale) = _corners(shape), _frame_of(shape)
    moves = ((matrix - np.eye(3)) @ corners)[:2].T
    design = _design((corners[:2].T - middle) / scale, model)
    parameters = np.linalg.lstsq(design, moves.ravel(), rcond=None)[0]
    return _matrix(parameters, model, middle, scale)


def composed(chain: Fit, step: Fit) -> Fit:
    """The transform from the reference to a frame, over its neighbour."""
    names: tuple[Freedoms, ...] = ("translation", "similarity", "affine")
    matrix = step.homogeneous @ chain.homogeneous
    model = max(step.model, chain.model, key=names.index)
    error, scatter = np.hypot([chain.error, chain.scatter], [step.error, step.scatter]).tolist()
    return Fit(tuple(matrix[:2].ravel().tolist()), model, error, step.note, scatter)


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


def _frame_of(shape: tuple[int, int]) -> tuple[Matrix, float]:
    """Middle (x, y) and half the longer side, which make coordinates about -1 to 1."""
    return (np.array(shape[::-1]) - 1) / 2, max(shape) / 2


def _design(points: Matrix, model: Freedoms) -> Matrix:
    """Two rows per point, for x and y: how the parameters move it."""
    x, y = points.T
    one, none = np.ones_like(x), np.zeros_like(x)
    columns = {
        "translation": ([one, none], [none, one]),
        "similarity": ([one, none, x, -y], [none, one, y, x]),
        "affine": ([one, none, x, y, none, none], [none, one, none, none, x, y]),
    }[model]
    return np.stack([np.stack(row, axis=-1) for row in columns], axis=1).reshape(2 * len(x), -1)


def _matrix(parameters: Matrix, model: Freedoms, middle: Matrix, scale: float) -> Matrix:
    """The 3 x 3 matrix that adds the fitted moves to a point."""
    probe = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    at = probe + (_design((probe - middle) / scale, model) @ parameters).reshape(3, 2)
    linear = np.stack([at[1] - at[0], at[2] - at[0]], axis=1)
    return np.vstack([np.hstack([linear, at[:1].T]), [0.0, 0.0, 1.0]])
