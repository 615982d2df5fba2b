"""Compiled resampling: along the rows of a frame first, then down its columns.

Where a row of the output crosses rows of the frame at a slant, values along each of these are
found where the output's columns meet it, so that two passes of 8 taps do what 64 would.
In both passes neighbouring pixels of the output mostly lie beside neighbours in the source: in
such runs one set of instructions works on many pixels.

Coordinates are float64 from absolute places and nothing is carried from pixel to pixel, so that a
value does not depend on the window or on the blocks below.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]
Values = npt.NDArray[np.float32]

_TAPS = 8

# Columns and rows of the output that are made at once, from what fits a core's cache.
_WIDE, _HIGH = 256, 48


@cache
def _coefficients() -> Values:
    """Lanczos weights as polynomials of the place between two pixels; (4, 11).

    With g from -0.5 to 0.5, pixel k + 0.5 beyond the middle on either side weighs E(g g) + g O(g g)
    or E(g g) - g O(g g); row k has the coefficients of E, then of O, from the constant one up.
    Exact to 1e-6.
    """
    g = 0.5 * np.cos(np.pi * (np.arange(200) + 0.5) / 200)
    distance = g[:, None] - (np.arange(_TAPS) - (_TAPS - 1) / 2)
    weights = np.sinc(distance) * np.sinc(distance / (_TAPS // 2))
    weights /= weights.sum(axis=1, keepdims=True)
    after, before = weights[:, _TAPS // 2 :], weights[:, _TAPS // 2 - 1 :: -1]
    powers = (g * g)[:, None] ** np.arange(6)
    even = np.linalg.lstsq(powers, (after + before) / 2, rcond=None)[0]
    odd = np.linalg.lstsq(powers[:, :5] * g[:, None], (after - before) / 2, rcond=None)[0]
    return np.concatenate([even, odd]).T.astype(np.float32).copy()


@cache
def resampler(whole_numbers: bool) -> Callable[..., None]:
    """The function that fills a box of output from a window of a frame.

    Its arguments are the window's pixels (H, W, channels), where the window begins in the frame
    (row, column), the frame's (rows, columns), the matrix of the transform, `across` of it, where
    the box begins in the output, the largest value of a whole-number type, and
    the box's pixels (h, w, channels), which it fills.
    """
    from batchstack.compiled import kernel, routine

    table = _coefficients()
    half, zero = np.float32(0.5), np.float32(0)
    # Unsigned indices spare the test for negative ones.
    t1, t2, t3, t4, t5, t6, t7 = (np.uintp(tap) for tap in range(1, _TAPS))

    @routine
    def weigh(fraction: Values, n: int, weights: Values) -> None:
        for k in range(4):
            c = table[k]
            e0, e1, e2, e3, e4, e5 = c[0], c[1], c[2], c[3], c[4], c[5]
            o0, o1, o2, o3, o4 = c[6], c[7], c[8], c[9], c[10]
            before, after = weights[3 - k], weights[4 + k]
            for j in range(n):
                g = fraction[j] - half
                s = g * g
                even = ((((e5 * s + e4) * s + e3) * s + e2) * s + e1) * s + e0
                odd = ((((o4 * s + o3) * s + o2) * s + o1) * s + o0) * g
                before[j] = even - odd
                after[j] = even + odd

    @routine
    def place(
        slope: float, fixed: float, first: int, size: int, whole: Any, fraction: Values, n: int
    ) -> None:
        """Where n pixels from `first` on lie: at slope x + fixed, inside a side of `size`."""
        last = size - 1.0
        for j in range(n):
            at = min(max(slope * (first + j) + fixed, 0.0), last)
            low = np.int32(at)
            whole[j] = low
            fraction[j] = np.float32(at - low)

    @routine
    def along(weights: Values, line: Values, shift: Any, begin: Any, end: Any, out: Values) -> None:
        """A run of pixels whose taps begin `shift` further along a line."""
        w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
        w4, w5, w6, w7 = weights[4], weights[5], weights[6], weights[7]
        for j in range(begin, end):
            k = j + shift
            left = w0[j] * line[k] + w1[j] * line[k + t1] + w2[j] * line[k + t2]
            right = w4[j] * line[k + t4] + w5[j] * line[k + t5] + w6[j] * line[k + t6]
            out[j] = (left + w3[j] * line[k + t3]) + (right + w7[j] * line[k + t7])

    @routine
    def down(
        weights: Values, rows: Values, at: Any, c: int, begin: Any, end: Any, out: Values
    ) -> None:
        """A run of pixels whose taps are in the same rows."""
        w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
        w4, w5, w6, w7 = weights[4], weights[5], weights[6], weights[7]
        r0, r1, r2, r3 = rows[at[0], c], rows[at[1], c], rows[at[2], c], rows[at[3], c]
        r4, r5, r6, r7 = rows[at[4], c], rows[at[5], c], rows[at[6], c], rows[at[7], c]
        for j in range(begin, end):
            left = w0[j] * r0[j] + w1[j] * r1[j] + w2[j] * r2[j]
            right = w4[j] * r4[j] + w5[j] * r5[j] + w6[j] * r6[j]
            out[j] = (left + w3[j] * r3[j]) + (right + w7[j] * r7[j])

    @routine
    def spread(row: Pixels, low: int, high: int, first: int, line: Values) -> None:
        """Columns first to last of a frame's row as planes of float; edge pixels repeat."""
        channels = row.shape[1]
        for c in range(channels):
            plane = line[c]
            for k in range(low, high):
                plane[k] = row[np.uintp(k + first), c]
            for k in range(low):
                plane[k] = plane[low]
            for k in range(high, plane.size):
                plane[k] = plane[high - 1]

    @routine
    def store(values: Values, top: float, c: int, n: int, out: Pixels) -> None:
        for j in range(n):
            out[j, c] = min(max(np.rint(values[j]), zero), top)

    @routine
    def store_floats(values: Values, top: float, c: int, n: int, out: Pixels) -> None:
        for j in range(n):
            out[j, c] = values[j]

    stored = store if whole_numbers else store_floats

    @kernel
    def resample(
        window: Pixels,
        corner: tuple[int, int],
        shape: tuple[int, int],
        matrix: tuple[float, ...],
        across: tuple[float, float, float],
        start: tuple[int, int],
        top: float,
        out: Pixels,
    ) -> None:
        height, width, channels = out.shape
        weights = np.empty((_TAPS, _WIDE), np.float32)
        fraction, whole = np.empty(_WIDE, np.float32), np.empty(_WIDE, np.int32)
        made, at = np.empty(_WIDE, np.float32), np.empty(_TAPS, np.uintp)
        lines = np.empty((channels, int(_WIDE * (abs(across[0]) + 1)) + 2 * _TAPS), np.float32)
        reach = int(_WIDE * abs(matrix[3]) + _HIGH * abs(matrix[4])) + 2 * _TAPS
        rows = np.empty((reach, channels, _WIDE), np.float32)
        for above in range(0, height, _HIGH):
            below = min(above + _HIGH, height)
            for left in range(0, width, _WIDE):
                n = min(_WIDE, width - left)
                x0, x1 = float(start[1] + left), float(start[1] + left + n - 1)
                y0, y1 = float(start[0] + above), float(start[0] + below - 1)
                # The rows of the frame that this block shows.
                tilt = (matrix[3] * x0, matrix[3] * x1)
                rise = (matrix[4] * y0, matrix[4] * y1)
                high = min(tilt) + min(rise) + matrix[5]
                low = max(tilt) + max(rise) + matrix[5]
                upper = int(min(max(high, 0.0), shape[0] - 1.0)) - _TAPS // 2
                lower = int(min(max(low, 0.0), shape[0] - 1.0)) + _TAPS // 2 + 2
                upper, lower = max(upper, 0), min(lower, shape[0])
                for v in range(upper, lower):
                    fixed = across[1] * v + across[2]
                    place(across[0], fixed, start[1] + left, shape[1], whole, fraction, n)
                    weigh(fraction, n, weights)
                    first = min(whole[0], whole[n - 1]) - _TAPS // 2
                    # Pixel `first` lies behind as much room as runs may need to begin before it.
                    inner = max(corner[1] - first, 0) + _WIDE
                    outer = min(corner[1] + window.shape[1] - first + _WIDE, lines.shape[1])
                    spread(window[v - corner[0]], inner, outer, first - _WIDE - corner[1], lines)
                    begin = 0
                    while begin < n:
                        run = whole[begin] - begin
                        end = begin + 1
                        while end < n and whole[end] - end == run:
                            end += 1
                        shift = np.uintp(run - _TAPS // 2 + 1 - first + _WIDE)
                        for c in range(channels):
                            along(
                                weights, lines[c], shift, np.uintp(begin), np.uintp(end),
                                rows[v - upper, c],
                            )  # fmt: skip
                        begin = end
                for i in range(above, below):
                    fixed = matrix[4] * (start[0] + i) + matrix[5]
                    place(matrix[3], fixed, start[1] + left, shape[0], whole, fraction, n)
                    weigh(fraction, n, weights)
                    line = out[i, left : left + n]
                    for c in range(channels):
                        begin = 0
                        while begin < n:
                            end = begin + 1
                            while end < n and whole[end] == whole[begin]:
                                end += 1
                            for t in range(_TAPS):
                                v = min(max(whole[begin] + t - _TAPS // 2 + 1, 0), shape[0] - 1)
                                at[t] = np.uintp(v - upper)
                            down(weights, rows, at, c, np.uintp(begin), np.uintp(end), made)
                            begin = end
                        stored(made, top, c, n, line)

    return cast(Callable[..., None], resample)
