"""Compiled resampling: along the rows of a frame first, then down its columns.

Where a row of the output crosses rows of the frame at a slant, values along each of these are
found where the output's columns meet it, so that two passes of 8 taps do what 64 would.
In both passes neighbouring pixels of the output mostly lie beside neighbours in the source: in
such runs one set of instructions works on many pixels, and on all channels with the same weights.
An image is made in columns of blocks from top to bottom; of the frame's rows, as the first pass
leaves them, only those are held that the next row of the output crosses.

Coordinates are float64 from absolute places and nothing is carried from pixel to pixel, so that a
value does not depend on the window or on the blocks below.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from batchstack.compiled import fused, kernel, routine

Pixels = npt.NDArray[Any]
Values = npt.NDArray[np.float32]

_TAPS = 8

# Columns of the output that are made at once: what belongs to them fits a core's first caches.
_WIDE = 256

# Coefficients of the even and of the odd part of a weight.
_TERMS = 4


def _coefficients() -> Values:
    """Lanczos weights as polynomials of the place between two pixels; (4, 8).

    With g from -0.5 to 0.5, pixel k + 0.5 beyond the middle on either side weighs E(g g) + g O(g g)
    or E(g g) - g O(g g); row k has the coefficients of E, then of O, from the constant one up.
    Exact to 2e-6.
    """
    g = 0.5 * np.cos(np.pi * (np.arange(200) + 0.5) / 200)
    distance = g[:, None] - (np.arange(_TAPS) - (_TAPS - 1) / 2)
    weights = np.sinc(distance) * np.sinc(distance / (_TAPS // 2))
    weights /= weights.sum(axis=1, keepdims=True)
    after, before = weights[:, _TAPS // 2 :], weights[:, _TAPS // 2 - 1 :: -1]
    powers = (g * g)[:, None] ** np.arange(_TERMS)
    even = np.linalg.lstsq(powers, (after + before) / 2, rcond=None)[0]
    odd = np.linalg.lstsq(powers * g[:, None], (after - before) / 2, rcond=None)[0]
    return np.concatenate([even, odd]).T.astype(np.float32).copy()


_WEIGHTS = _coefficients()
_HALF, _ZERO = np.float32(0.5), np.float32(0)
# Unsigned indices spare the test for negative ones.
_BESIDE, _TWO_BESIDE = np.uintp(_WIDE), np.uintp(2 * _WIDE)


@routine
def weigh(fraction: Values, n: int, weights: Values) -> None:
    for k in range(_TAPS // 2):
        c = _WEIGHTS[k]
        e0, e1, e2, e3 = c[0], c[1], c[2], c[3]
        o0, o1, o2, o3 = c[4], c[5], c[6], c[7]
        before, after = weights[3 - k], weights[4 + k]
        for j in range(n):
            g = fraction[j] - _HALF
            s = g * g
            even = fused(s, fused(s, fused(s, e3, e2), e1), e0)
            odd = g * fused(s, fused(s, fused(s, o3, o2), o1), o0)
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
def ends_of_runs(whole: Any, step: int, n: int, ends: Any) -> int:
    """Where runs of pixels end whose places differ by `step`; returns how many there are."""
    count = 0
    for j in range(1, n):
        ends[count] = j
        count += whole[j] - whole[j - 1] != step
    ends[count] = n
    return count + 1


@routine
def filtered(
    weights: Values, source: Values, at: Any, pitch: int, planes: int, begin: int, end: int,
    out: Values,
) -> None:  # fmt: skip
    """A run of pixels: pixel j from the eight values at + j; other planes lie a pitch apart."""
    w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
    w4, w5, w6, w7 = weights[4], weights[5], weights[6], weights[7]
    s0, s1, s2, s3 = source[at[0] :], source[at[1] :], source[at[2] :], source[at[3] :]
    s4, s5, s6, s7 = source[at[4] :], source[at[5] :], source[at[6] :], source[at[7] :]
    a, z, one = np.uintp(begin), np.uintp(end), np.uintp(pitch)
    if planes == 3:
        two = one + one
        for j in range(a, z):
            v0, v1, v2, v3, v4, v5, v6, v7 = w0[j], w1[j], w2[j], w3[j], w4[j], w5[j], w6[j], w7[j]
            k, m = j + one, j + two
            left = fused(v3, s3[j], fused(v2, s2[j], fused(v1, s1[j], v0 * s0[j])))
            right = fused(v4, s4[j], fused(v5, s5[j], fused(v6, s6[j], v7 * s7[j])))
            out[j] = left + right
            left = fused(v3, s3[k], fused(v2, s2[k], fused(v1, s1[k], v0 * s0[k])))
            right = fused(v4, s4[k], fused(v5, s5[k], fused(v6, s6[k], v7 * s7[k])))
            out[j + _BESIDE] = left + right
            left = fused(v3, s3[m], fused(v2, s2[m], fused(v1, s1[m], v0 * s0[m])))
            right = fused(v4, s4[m], fused(v5, s5[m], fused(v6, s6[m], v7 * s7[m])))
            out[j + _TWO_BESIDE] = left + right
        return
    for plane in range(planes):
        skip, made = np.uintp(plane * pitch), out[plane * _WIDE :]
        for j in range(a, z):
            k = j + skip
            left = fused(w3[j], s3[k], fused(w2[j], s2[k], fused(w1[j], s1[k], w0[j] * s0[k])))
            right = fused(w4[j], s4[k], fused(w5[j], s5[k], fused(w6[j], s6[k], w7[j] * s7[k])))
            made[j] = left + right


@routine
def spread(row: Pixels, channels: int, low: int, high: int, line: Values, pitch: int) -> None:
    """Pixels of a row, the channels one after the other, as planes of a line from `low` on."""
    if channels == 3:
        # Whole pixels at once are vectorised only if the number of channels is known.
        red, green, blue = line[low:], line[pitch + low :], line[2 * pitch + low :]
        for j in range(high - low):
            red[j] = row[3 * j]
            green[j] = row[3 * j + 1]
            blue[j] = row[3 * j + 2]
        return
    for c in range(channels):
        plane = line[c * pitch + low :]
        for j in range(high - low):
            plane[j] = row[channels * j + c]


@routine
def repeat_edges(line: Values, channels: int, pitch: int, low: int, high: int, end: int) -> None:
    """Beyond the frame, from where runs begin on and to `end`, its edge pixels repeat."""
    for c in range(channels):
        plane = line[c * pitch :]
        for k in range(_WIDE, low):
            plane[k] = plane[low]
        for k in range(high, end):
            plane[k] = plane[high - 1]


@routine
def store(values: Values, channels: int, top: np.floating[Any], out: Pixels) -> None:
    """A row of pixels from planes: as they are if nothing is the top, else rounded and clipped."""
    if channels == 3 and top < np.inf:
        red, green, blue = values, values[_WIDE:], values[2 * _WIDE :]
        for j in range(out.size // 3):
            out[3 * j] = min(max(np.rint(red[j]), _ZERO), top)
            out[3 * j + 1] = min(max(np.rint(green[j]), _ZERO), top)
            out[3 * j + 2] = min(max(np.rint(blue[j]), _ZERO), top)
        return
    for c in range(channels):
        plane = values[c * _WIDE :]
        if top < np.inf:
            for j in range(out.size // channels):
                out[channels * j + c] = min(max(np.rint(plane[j]), _ZERO), top)
        else:
            for j in range(out.size // channels):
                out[channels * j + c] = plane[j]


class Spare(NamedTuple):
    """Working memory of `resample`, of any content; one line, and a ring of those it makes."""

    weights: Values
    fraction: Values
    whole: npt.NDArray[np.int32]
    at: npt.NDArray[np.uintp]
    ends: npt.NDArray[np.int64]
    made: Values
    line: Values
    ring: Values


def spare(channels: int, matrix: tuple[float, ...], across: tuple[float, float, float]) -> Spare:
    """As much as a frame takes whose transform is `matrix`."""
    # Before the line's first pixel lies as much room as runs may need to begin before it.
    pitch = int(_WIDE * (abs(across[0]) + 2)) + 2 * _TAPS
    held = int(_WIDE * abs(matrix[3]) + abs(matrix[4])) + 2 * _TAPS
    return Spare(
        np.empty((_TAPS, _WIDE), np.float32),
        np.empty(_WIDE, np.float32),
        np.empty(_WIDE, np.int32),
        np.empty(_TAPS, np.uintp),
        np.empty(_WIDE, np.int64),
        np.empty(channels * _WIDE, np.float32),
        np.empty(channels * pitch, np.float32),
        np.empty(held * channels * _WIDE, np.float32),
    )


@kernel
def resample(
    window: Pixels,
    channels: int,
    corner: tuple[int, int],
    shape: tuple[int, int],
    matrix: tuple[float, ...],
    across: tuple[float, float, float],
    start: tuple[int, int],
    top: np.floating[Any],
    spare: Spare,
    out: Pixels,
) -> None:
    """Fill a box of output from a window of a frame.

    Parameters
    ----------
    window : (H, W * channels) array
    channels : int
    corner : tuple of two int
        Where the window begins in the frame (row, column).
    shape : tuple of two int
        Rows and columns of the frame.
    matrix : tuple of six float
        Of the transform.
    across : tuple of three float
        `warp.across` of it.
    start : tuple of two int
        Where the box begins in the output (row, column).
    top : float32
        The largest value of whole numbers; infinity if values are not rounded.
    spare : Spare
    out : (h, w * channels) array
        The box's pixels.
    """
    height, width = out.shape[0], out.shape[1] // channels
    weights, fraction, whole, at, ends, made, line, ring = spare
    pitch, room = line.size // channels, channels * _WIDE
    held = ring.size // room
    for left in range(0, width, _WIDE):
        n, x = min(_WIDE, width - left), start[1] + left
        tilt = (matrix[3] * x, matrix[3] * (x + n - 1))
        first = done = 0  # rows of the frame that the ring has
        for i in range(height):
            fixed = matrix[4] * (start[0] + i) + matrix[5]
            upper = int(min(max(min(tilt) + fixed, 0.0), shape[0] - 1.0)) - _TAPS // 2
            lower = int(min(max(max(tilt) + fixed, 0.0), shape[0] - 1.0)) + _TAPS // 2 + 2
            upper, lower = max(upper, 0), min(lower, shape[0])
            if upper < first or upper > done:
                first = done = upper
            for v in range(done, lower):
                place(across[0], across[1] * v + across[2], x, shape[1], whole, fraction, n)
                weigh(fraction, n, weights)
                origin = min(whole[0], whole[n - 1]) - _TAPS // 2 - _WIDE
                end = max(whole[0], whole[n - 1]) + _TAPS // 2 + 1 - origin
                low = max(corner[1] - origin, _WIDE)
                high = min(corner[1] + window.shape[1] // channels - origin, end)
                begin = channels * (low + origin - corner[1])
                spread(window[v - corner[0]][begin:], channels, low, high, line, pitch)
                repeat_edges(line, channels, pitch, low, high, end)
                target = ring[v % held * room : (v % held + 1) * room]
                begin = 0
                for run in range(ends_of_runs(whole, 1, n, ends)):
                    for t in range(_TAPS):
                        at[t] = np.uintp(whole[begin] - begin + t - _TAPS // 2 + 1 - origin)
                    filtered(weights, line, at, pitch, channels, begin, ends[run], target)
                    begin = ends[run]
            done = max(done, lower)
            first = max(first, done - held)
            place(matrix[3], fixed, x, shape[0], whole, fraction, n)
            weigh(fraction, n, weights)
            begin = 0
            for run in range(ends_of_runs(whole, 0, n, ends)):
                for t in range(_TAPS):
                    v = min(max(whole[begin] + t - _TAPS // 2 + 1, 0), shape[0] - 1)
                    at[t] = np.uintp(v % held * room)
                filtered(weights, ring, at, _WIDE, channels, begin, ends[run], made)
                begin = ends[run]
            store(made, channels, top, out[i][channels * left : channels * (left + n)])
