"""Compiled rules by which measures become weights of the frames.

The rules are those of `compiled`.
Weights add up to one at each pixel, so those of all frames but the first are found: one plane for
each from `plane` on, in its `row` from `column` on.
`spare` has room for two rows.
"""

import numpy as np

from batchstack.compiled import Counts, Planes, routine
from batchstack.fusion.kernels.smoothing import Index
from batchstack.fusion.rules import ON_FRAME, STEPS

# From here on tanh is 1 in float32.
_TANH_END = np.float32(7.9053)
# No strength is above this, so that nothing overflows.
_MOST = np.float32(1e30)


@routine
def exponential(x: np.float32) -> np.float32:
    """The exponential of 64 x from its series, |x| up to 1.25."""
    one, c2, c3 = np.float32(1), np.float32(1 / 2), np.float32(1 / 6)
    c4, c5, c6 = np.float32(1 / 24), np.float32(1 / 120), np.float32(1 / 720)
    e = one + x * (one + x * (c2 + x * (c3 + x * (c4 + x * (c5 + x * c6)))))
    e *= e
    e *= e
    e *= e
    e *= e
    e *= e
    return e * e


@routine
def soft(
    sums: Planes,
    beta: float,
    limit: float,
    spare: Planes,
    weights: Planes,
    plane: int,
    row: int,
    column: int,
) -> None:
    """w_i ~ exp(beta max(S_i - max_j S_j, -limit)); `sums` are S_i - S_0 of all but the first.

    For two frames that is the logistic function of beta times the difference.
    """
    if len(sums) == 2:
        _logistic(sums[1], beta, limit, weights[plane, row, column : column + sums.shape[1]])
        return
    zero, floor = np.float32(0), np.float32(-1.25)
    part, least = np.float32(beta / 64), np.float32(-limit)
    peak, total = spare[0], spare[1]
    for j in range(peak.size):
        peak[j] = zero
    for i in range(1, len(sums)):
        line = sums[i]
        for j in range(peak.size):
            peak[j] = max(peak[j], line[j])
    for j in range(peak.size):
        total[j] = exponential(max(max(-peak[j], least) * part, floor))
    for i in range(1, len(sums)):
        line, out = sums[i], weights[plane + i - 1, row, column:]
        for j in range(peak.size):
            e = exponential(max(max(line[j] - peak[j], least) * part, floor))
            out[j] = e
            total[j] += e
    _share(total, len(sums) - 1, weights, plane, row, column)


@routine
def _share(total: Planes, others: int, weights: Planes, plane: int, row: int, column: int) -> None:
    """Divide weights by their total."""
    one = np.float32(1)
    for j in range(total.size):
        total[j] = one / total[j]
    for i in range(others):
        out = weights[plane + i, row, column:]
        for j in range(total.size):
            out[j] *= total[j]


@routine
def _logistic(difference: Planes, beta: float, limit: float, out: Planes) -> None:
    """1 / (1 + exp(-beta clip(difference, +-limit))) = (1 + tanh(half of the argument)) / 2.

    The rational function is the nearest of its degrees to tanh, 4e-7 off at most.
    """
    half, one, factor = np.float32(0.5), np.float32(1), np.float32(beta / 2)
    most = min(np.float32(limit) * factor, _TANH_END)
    for j in range(out.size):
        x = min(max(difference[j] * factor, -most), most)
        y = x * x
        above = np.float32(1.140902102e-05) * y + np.float32(2.947989370e-03)
        above = above * y + np.float32(1.292219854e-01)
        above = above * y + np.float32(9.999994225e-01)
        below = np.float32(2.455426274e-07) * y + np.float32(2.383215610e-04)
        below = below * y + np.float32(2.380137424e-02)
        below = below * y + np.float32(4.625531797e-01)
        below = below * y + one
        out[j] = half + half * (x * above / below)


@routine
def vote(sums: Planes, spare: Planes, votes: Counts, plane: int, row: int, column: int) -> None:
    """Of every frame but the first: one where it or a later one has the most activity.

    Their number is the index of the winner; ties go to the back.  `sums` are those of `soft`.
    """
    best, count = spare[0], len(sums) - 1
    for j in range(best.size):
        best[j] = np.float32(0)
    for i in range(count):
        line, out = sums[i + 1], votes[plane + i, row, column:]
        for j in range(best.size):
            out[j] = np.uint8(line[j] > best[j])
            best[j] = max(best[j], line[j])
    for i in range(count - 2, -1, -1):  # who wins later has passed all before
        out, later = votes[plane + i, row, column:], votes[plane + i + 1, row, column:]
        for j in range(best.size):
            out[j] |= later[j]


@routine
def likelihood(
    strengths: Planes,
    gain: float,
    floor: float,
    spare: Planes,
    weights: Planes,
    plane: int,
    row: int,
    column: int,
) -> None:
    """w_i ~ E_i^8, with E = gain s + floor of the `strengths` s of all frames."""
    one, times, plus = np.float32(1), np.float32(gain), np.float32(floor)
    peak, total = spare[0], spare[1]
    for i in range(len(strengths)):
        line = strengths[i]
        if i == 0:
            for j in range(peak.size):
                line[j] = min(times * line[j] + plus, _MOST)
                peak[j] = line[j]
        else:
            for j in range(peak.size):
                line[j] = min(times * line[j] + plus, _MOST)
                peak[j] = max(peak[j], line[j])
    line = strengths[0]
    for j in range(peak.size):
        peak[j] = one / peak[j]
        ratio = line[j] * peak[j]
        square = ratio * ratio
        fourth = square * square
        total[j] = fourth * fourth
    for i in range(len(strengths) - 1):
        line, out = strengths[i + 1], weights[plane + i, row, column:]
        for j in range(peak.size):
            ratio = line[j] * peak[j]
            square = ratio * ratio
            fourth = square * square
            weight = fourth * fourth
            out[j] = weight
            total[j] += weight
    _share(total, len(strengths) - 1, weights, plane, row, column)


@routine
def stronger(
    strengths: Planes,
    gain: float,
    floor: float,
    shares: Planes,
    few: float,
    squared: bool,
    spare: Planes,
    weights: Planes,
    plane: int,
    row: int,
    column: int,
) -> None:
    """w_i ~ (s_i + few) E_i^4, with E of the `strengths` of all frames as of `likelihood`.

    If it is to be `squared` the power of E is the eighth.

    `shares` are s_i of all frames but the first, in the first row of each plane; those of all add
    up to one.
    """
    one, times, plus, least = np.float32(1), np.float32(gain), np.float32(floor), np.float32(few)
    peak, total = spare[0], spare[1]
    for i in range(len(strengths)):
        line = strengths[i]
        for j in range(peak.size):
            line[j] = min(times * line[j] + plus, _MOST)
            peak[j] = max(peak[j], line[j]) if i else line[j]
    for j in range(peak.size):
        peak[j], total[j] = one / peak[j], one + least
    for i in range(len(shares)):
        line, share = strengths[i + 1], shares[i, 0]
        out = weights[plane + i, row, column:]
        for j in range(peak.size):
            ratio = line[j] * peak[j]
            square = ratio * ratio
            fourth = square * square
            out[j] = (fourth * fourth if squared else fourth) * (share[j] + least)
            total[j] -= share[j]
    line = strengths[0]
    for j in range(peak.size):
        ratio = line[j] * peak[j]
        square = ratio * ratio
        fourth = square * square
        total[j] *= fourth * fourth if squared else fourth
    for i in range(len(shares)):
        out = weights[plane + i, row, column:]
        for j in range(peak.size):
            total[j] += out[j]
    _share(total, len(shares), weights, plane, row, column)


@routine
def along_edges(
    lines: Planes,
    guide: Planes,
    spare: Planes,
    weights: Planes,
    plane: int,
    row: int,
    column: int,
) -> None:
    """w_i ~ max(f_i, 0), with f_i a line of the guide.

    `lines` are slopes, then offsets of all frames but the first, in the first row of each plane;
    the f_i of all add up to one.
    """
    one, zero = np.float32(1), np.float32(0)
    left, total, others = spare[0], spare[1], len(lines) // 2
    for j in range(left.size):
        left[j], total[j] = one, zero
    for i in range(others):
        slope, offset = lines[i, 0], lines[others + i, 0]
        out = weights[plane + i, row, column:]
        for j in range(left.size):
            line = slope[j] * guide[j] + offset[j]
            left[j] -= line
            out[j] = max(line, zero)
    for j in range(left.size):
        total[j] += max(left[j], zero)
    for i in range(others):
        out = weights[plane + i, row, column:]
        for j in range(left.size):
            total[j] += out[j]
    _share(total, others, weights, plane, row, column)


@routine
def trusted(trust: Planes, weights: Planes) -> None:
    """Weights where the decision map is trusted, 1 or more, equal ones of all frames where not, 0.

    They are in the first row of each plane.
    """
    equal, one = np.float32(1 / (len(weights) + 1)), np.float32(1)
    for i in range(len(weights)):
        out = weights[i, 0]
        for j in range(trust.size):
            out[j] = equal + min(trust[j], one) * (out[j] - equal)


@routine
def one_hot(index: Index, weights: Planes) -> None:
    """1 where the index is that of a frame, else 0, in the first row of each plane."""
    for i in range(len(weights)):
        out, frame = weights[i, 0], np.uint16(i + 1)
        for j in range(out.size):
            out[j] = np.float32(index[j] == frame)


# Code values of activity: one frame must be above the others by this much to be told from
# noise, and the ratio of two activities below this says nothing.
CONTRAST, FLOOR = np.float32(2.0), np.float32(0.1)


@routine
def sharpest(focus: Planes, share: float, spare: Planes, index: Index, confidence: Counts) -> None:
    """The frame with the most focus, ties to the back, and how clearly it wins, 0 to 255.

    Focus is in code values times `share`; the confidence is how far the winner's stands above the
    mean of the others', as a share of it.
    """
    best, total, scale = spare[0], spare[1], np.float32(share)
    for j in range(best.size):
        best[j], total[j], index[j] = focus[0, j], focus[0, j], np.uint16(0)
    for i in range(1, len(focus)):
        line, frame = focus[i], np.uint16(i)
        for j in range(best.size):
            index[j] = frame if line[j] > best[j] else index[j]
            best[j] = max(best[j], line[j])
            total[j] += line[j]
    part, zero = np.float32(1 / (len(focus) - 1)), np.float32(0)
    for j in range(best.size):
        most = scale * best[j]
        above = most - max(scale * total[j] - most, zero) * part
        clear = np.rint(above / (most + FLOOR) * np.float32(255))
        confidence[j] = np.uint8(np.int32(clear if above > CONTRAST else zero))


@routine
def between(focus: Planes, share: float, index: Index, offset: Counts) -> None:
    """How far the peak of focus lies beside the sharpest frame: `ON_FRAME` + 254 frames' distances.

    It is where the parabola through the reciprocals of three neighbouring frames' focus is lowest:
    blur spreads with the square of the distance from focus, and detail fades as blur spreads.
    The first and the last frame have but one neighbour and stay as they are.
    """
    last, scale, half = len(focus) - 1, np.float32(share), np.float32(0.5 * STEPS)
    zero, two = np.float32(0), np.float32(2)
    for j in range(index.size):
        i, steps = np.int64(index[j]), zero
        if 0 < i < last:
            before, after = scale * focus[i - 1, j] + FLOOR, scale * focus[i + 1, j] + FLOOR
            here = scale * focus[i, j] + FLOOR
            curve = here * (before + after) - two * (before * after)
            if curve > zero:
                steps = half * (here * (after - before) / curve)
        offset[j] = np.uint8(np.int32(np.rint(steps)) + ON_FRAME)
