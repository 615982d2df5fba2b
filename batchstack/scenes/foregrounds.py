"""Foregrounds: coverage 0 to 1 as functions of rows and columns."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Coverage = Callable[[Places, Places], Values]


@dataclass(frozen=True)
class _Blob:
    """A disc with a fractal edge, about two thirds of the image high or wide."""

    centre: tuple[float, float]
    radius: float
    ragged: "_Noise"

    def __call__(self, rows: Places, columns: Places) -> Values:
        distance = np.hypot((rows - self.centre[0])[:, None], columns - self.centre[1])
        inside = self.radius - distance + 0.6 * self.radius * self.ragged(rows, columns)
        coverage: Values = np.clip(0.5 + inside / 2, 0, 1).astype(np.float32)
        return coverage


def blob(shape: tuple[int, int], rng: np.random.Generator) -> _Blob:
    """What all foregrounds are made of, for an image of `shape`."""
    row, column = rng.uniform(0.4, 0.6, 2) * shape
    side = min(shape)
    return _Blob((float(row), float(column)), 0.33 * side, _noise(side / 3, rng))


@dataclass(frozen=True)
class _Lace:
    """A blob full of holes."""

    blob: _Blob
    holes: "_Noise"

    def __call__(self, rows: Places, columns: Places) -> Values:
        gaps = (0.05 - self.holes(rows, columns)) * self.holes.cell
        coverage: Values = self.blob(rows, columns) * np.clip(0.5 + gaps, 0, 1)
        return coverage


def _lace(blob: _Blob, rng: np.random.Generator) -> _Lace:
    return _Lace(blob, _noise(blob.radius / 4, rng))


@dataclass(frozen=True)
class _Hair:
    """A blob with hairs drawn once on a canvas that begins at `start`."""

    blob: _Blob
    canvas: npt.NDArray[np.uint8]
    start: tuple[int, int]

    def __call__(self, rows: Places, columns: Places) -> Values:
        y, x = rows - self.start[0], columns - self.start[1]
        height, width = self.canvas.shape
        hairs = self.canvas[np.clip(y, 0, height - 1)[:, None], np.clip(x, 0, width - 1)]
        coverage: Values = np.maximum(self.blob(rows, columns), hairs / np.float32(255))
        return coverage


def _hair(blob: _Blob, rng: np.random.Generator) -> _Hair:
    """40 bent hairs that start inside the blob and reach up to its diameter."""
    reach = int(np.ceil(2 * blob.radius)) + 16
    start = (round(blob.centre[0]) - reach, round(blob.centre[1]) - reach)
    canvas = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
    along = np.linspace(0.4, 1, 40)
    for turn in range(40):
        angle = (turn + rng.uniform()) * np.pi / 20 + rng.uniform(-0.6, 0.6) * along**2
        length = blob.radius * rng.uniform(1.2, 1.9) * along
        points = reach + length[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
        thickness = int(rng.integers(1, 4)) * max(1, round(blob.radius / 1000))
        line = np.rint(points * 256).astype(np.int32)  # 8 bits after the point
        cv2.polylines(canvas, [line], False, 255, thickness, cv2.LINE_AA, 8)
    return _Hair(blob, canvas, start)


FOREGROUNDS: dict[str, Callable[[_Blob, np.random.Generator], Coverage]] = {
    "blob": lambda blob, rng: blob,
    "hair": _hair,
    "lace": _lace,
}


@dataclass(frozen=True)
class _Noise:
    """Fractal value noise of about -1 to 1; each octave is half as wide and half as strong."""

    grids: Values
    cell: float

    def __call__(self, rows: Places, columns: Places) -> Values:
        total = np.zeros((len(rows), len(columns)), np.float32)
        for octave, grid in enumerate(self.grids):
            scale = 2**octave / self.cell
            tall = _interpolated(grid, rows * scale)
            total += _interpolated(tall.T, columns * scale).T * np.float32(0.5**octave)
        return total


def _noise(cell: float, rng: np.random.Generator) -> _Noise:
    """Noise whose widest features are `cell` pixels and whose finest are about 4."""
    octaves = max(1, int(np.log2(max(cell, 4) / 4)) + 1)
    return _Noise(rng.uniform(-0.7, 0.7, (octaves, 64, 64)).astype(np.float32), max(cell, 2.0))


def _interpolated(grid: Values, places: npt.NDArray[np.float64]) -> Values:
    """Rows of an endlessly repeated grid at fractional places, smooth in between."""
    low = np.floor(places).astype(int)
    t = (places - low).astype(np.float32)[:, None]
    t = t * t * (3 - 2 * t)
    mixed: Values = grid[low % len(grid)] * (1 - t) + grid[(low + 1) % len(grid)] * t
    return mixed
