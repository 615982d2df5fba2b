"""Pixels to linear light, and to the light of another exposure."""

from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack.compiled import kernel, routine

Pixels = npt.NDArray[Any]
Values = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]

_RED, _GREEN, _BLUE = (np.float32(255 * share) for share in (0.299, 0.587, 0.114))
_THIRD, _SECOND, _FIRST = (np.float32(c) for c in (0.305306, 0.682171, 0.012523))


@kernel
def linear_grey(stored: Pixels, unit: np.float32, light: Values) -> None:
    """sRGB code values to linear light, 255 for white, by a cubic right to 0.002 of white."""
    colour = stored.shape[2] == 3
    for y in range(light.shape[0]):
        line, out = stored[y], light[y]
        for x in range(light.shape[1]):
            a = max(np.float32(line[x, 0]) * unit, np.float32(0))
            a *= a * (a * _THIRD + _SECOND) + _FIRST
            if colour:
                b = max(np.float32(line[x, 1]) * unit, np.float32(0))
                c = max(np.float32(line[x, 2]) * unit, np.float32(0))
                b *= b * (b * _THIRD + _SECOND) + _FIRST
                c *= c * (c * _THIRD + _SECOND) + _FIRST
                out[x] = _RED * a + _GREEN * b + _BLUE * c
            else:
                out[x] = np.float32(255) * a


@kernel
def average(
    stored: Pixels, step: int, samples: int, table: Values, top: np.float32,
    light: Values, clipped: Values,
) -> None:  # fmt: skip
    """Fill (rows, columns, C) of cells: means of the table's values, and how many reach `top`.

    A cell is of samples x samples pixels, each the middle one of step x step.
    """
    share, start = np.float32(1 / (samples * samples)), step // 2
    for row in range(light.shape[0]):
        for column in range(light.shape[1]):
            for c in range(light.shape[2]):
                total, lost = np.float32(0), 0
                for i in range(samples):
                    line = stored[(row * samples + i) * step + start]
                    for j in range(samples):
                        value = line[(column * samples + j) * step + start, c]
                        total += table[value]
                        lost += value >= top
                light[row, column, c] = total * share
                clipped[row, column, c] = lost * share


@kernel
def relight(
    values: Values, at: Numbers, factors: Numbers, dark: float, has_toe: bool, lit: Values
) -> None:
    """Fill `lit`; the factor is found for each pixel anew, so that none depends on others."""
    channels = factors.shape[0]
    one, fixed = np.float32(1), np.float32(dark)
    for i in range(values.shape[0]):
        y = 2 * (at[0] + i) / at[2] - 1
        for j in range(values.shape[1]):
            x = 2 * (at[1] + j) / at[3] - 1
            for c in range(channels):
                grow = factors[c, 1] * x + factors[c, 2] * y
                grow += factors[c, 3] * x * x + factors[c, 4] * x * y + factors[c, 5] * y * y
                factor = np.float32(factors[c, 0] + grow)
                value = values[i, j, c]
                line = factor * value + (one - factor) * fixed
                if has_toe:
                    # Of small values light itself is held: the lines cross near the toe's end.
                    toe = factor * factor * value
                    line = max(line, toe) if factor < one else min(line, toe)
                lit[i, j, c] = line


@routine
def middle(values: Numbers, order: Any) -> float:
    """The median of values in this order; 0 if there is none."""
    count = order.size
    if count == 0:
        return 0.0
    return float(values[order[(count - 1) // 2]] + values[order[count // 2]]) / 2


@kernel
def polish(logarithms: Numbers, rounds: int, least: float, levels: Numbers) -> None:
    """Median polish of (N, C, B) blocks, NaN where not known; fills levels (N, C).

    Rounds end when no level changes by `least` any more.
    """
    frames, channels, blocks = logarithms.shape
    shown, row, column = np.empty(blocks), np.empty(blocks), np.empty(frames)
    levels[:] = 0
    for c in range(channels):
        for _ in range(rounds):
            for b in range(blocks):
                known = 0
                for n in range(frames):
                    value = logarithms[n, c, b] - levels[n, c]
                    if np.isfinite(value):
                        column[known] = value
                        known += 1
                if known == 2:  # a pair's, without the cost of a list
                    shown[b] = (column[0] + column[1]) / 2
                else:
                    shown[b] = middle(column, np.argsort(column[:known]))
            largest = 0.0
            for n in range(frames):
                known = 0
                for b in range(blocks):
                    value = logarithms[n, c, b] - levels[n, c] - shown[b]
                    if np.isfinite(value):
                        row[known] = value
                        known += 1
                change = middle(row, np.argsort(row[:known]))
                levels[n, c] += change
                largest = max(largest, abs(change))
            if largest < least:
                break
