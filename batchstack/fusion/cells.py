"""Compiled inner loops of the decision map of a pair and of the methods that follow it.

The rules are those of `compiled`; leans are those of `leans`.  What is measured of the frames
singly has one plane for the back and one for the front frame.
"""

import numpy as np
import numpy.typing as npt

from batchstack.fusion.compiled import Planes, kernel

Index = npt.NDArray[np.uint8]


@kernel
def detail(pair: Planes, share: float, out: Planes) -> None:
    """Second differences plus `share` times the magnitude, the mean of the channels.

    `pair` is wider than `out` by one pixel or more on each side.
    """
    two, part, zero = np.float32(2), np.float32(share), np.float32(0)
    channels, (rows, columns) = pair.shape[0] // 2, out.shape[1:]
    mean_of = np.float32(1 / channels)
    edge = (pair.shape[1] - rows) // 2
    for i in range(rows):
        back, front = out[0, i], out[1, i]
        for j in range(columns):
            back[j] = zero
            front[j] = zero
        for channel in range(channels):
            mean, half = pair[channel], pair[channels + channel]
            above, below = mean[edge + i - 1, edge:], mean[edge + i + 1, edge:]
            half_above, half_below = half[edge + i - 1, edge:], half[edge + i + 1, edge:]
            here, half_here = mean[edge + i, edge - 1 :], half[edge + i, edge - 1 :]
            for j in range(columns):
                x, half_x = here[j + 1], half_here[j + 1]
                across = two * x - (here[j] + here[j + 2])
                down = two * x - (above[j] + below[j])
                half_across = two * half_x - (half_here[j] + half_here[j + 2])
                half_down = two * half_x - (half_above[j] + half_below[j])
                size = abs(across + half_across) + abs(down + half_down)
                back[j] += size + part * abs(x + half_x)
                size = abs(across - half_across) + abs(down - half_down)
                front[j] += size + part * abs(x - half_x)
        for j in range(columns):
            back[j] *= mean_of
            front[j] *= mean_of


@kernel
def spaced_detail(pair: Planes, spacing: int, first: int, out: Planes) -> None:
    """Second differences of pixels `spacing` apart, the root mean square of the channels.

    They fill the planes `first` and `first` + 1 of `out`; `pair` is wider by `spacing` pixels
    or more on each side.
    """
    two, zero = np.float32(2), np.float32(0)
    channels, (rows, columns) = pair.shape[0] // 2, out.shape[1:]
    mean_of = np.float32(1 / channels)
    edge = (pair.shape[1] - rows) // 2
    for i in range(rows):
        back, front = out[first, i], out[first + 1, i]
        for j in range(columns):
            back[j] = zero
            front[j] = zero
        for channel in range(channels):
            mean, half = pair[channel], pair[channels + channel]
            above, below = mean[edge + i - spacing, edge:], mean[edge + i + spacing, edge:]
            half_above = half[edge + i - spacing, edge:]
            half_below = half[edge + i + spacing, edge:]
            here, half_here = mean[edge + i, edge:], half[edge + i, edge:]
            left, right = mean[edge + i, edge - spacing :], mean[edge + i, edge + spacing :]
            half_left = half[edge + i, edge - spacing :]
            half_right = half[edge + i, edge + spacing :]
            for j in range(columns):
                across = two * here[j] - (left[j] + right[j])
                down = two * here[j] - (above[j] + below[j])
                half_across = two * half_here[j] - (half_left[j] + half_right[j])
                half_down = two * half_here[j] - (half_above[j] + half_below[j])
                size = abs(across + half_across) + abs(down + half_down)
                back[j] += size * size
                size = abs(across - half_across) + abs(down - half_down)
                front[j] += size * size
        for j in range(columns):
            back[j] = np.sqrt(back[j] * mean_of)
            front[j] = np.sqrt(front[j] * mean_of)


@kernel
def smooth_block(block: Planes, taps: Planes, smooth: Planes) -> None:
    """A block filtered both ways by a symmetric filter, whose `taps` run from the centre outwards.

    `block` is wider by as many pixels on each side as there are taps beside the centre.
    """
    reach, columns = taps.size - 1, smooth.shape[2]
    tall = np.empty(block.shape[2], np.float32)
    for p in range(block.shape[0]):
        for i in range(smooth.shape[1]):
            middle = block[p, i + reach]
            for j in range(tall.size):
                tall[j] = taps[0] * middle[j]
            for k in range(1, reach + 1):
                tap, up, down = taps[k], block[p, i + reach - k], block[p, i + reach + k]
                for j in range(tall.size):
                    tall[j] += tap * (up[j] + down[j])
            out, centre = smooth[p, i], tall[reach:]
            for j in range(columns):
                out[j] = taps[0] * centre[j]
            for k in range(1, reach + 1):
                tap, left, right = taps[k], tall[reach - k :], tall[reach + k :]
                for j in range(columns):
                    out[j] += tap * (left[j] + right[j])


@kernel
def likelier(
    strengths: Planes, gain: float, floor: float, prior: Planes, odds: float, out: Planes
) -> None:
    """Leans of likelihood times prior.

    The likelihood of a frame is the fifth power of `gain` times its strength plus `floor`; the
    prior of the back frame against the front frame is exp(`odds` * `prior`), with |odds * prior|
    up to 20.
    """
    times, plus, one = np.float32(gain), np.float32(floor), np.float32(1)
    part, most = np.float32(odds / 64), np.float32(1e30)
    c2, c3, c4 = np.float32(1 / 2), np.float32(1 / 6), np.float32(1 / 24)
    c5, c6 = np.float32(1 / 120), np.float32(1 / 720)
    for i in range(out.shape[1]):
        back, front, candidate, line = strengths[0, i], strengths[1, i], prior[0, i], out[0, i]
        for j in range(line.size):
            ratio = (times * back[j] + plus) / (times * front[j] + plus)
            square = ratio * ratio
            # The exponential of a 64th of the argument, from its series, to the 64th power.
            x = part * candidate[j]
            e = one + x * (one + x * (c2 + x * (c3 + x * (c4 + x * (c5 + x * c6)))))
            e *= e
            e *= e
            e *= e
            e *= e
            e *= e
            e *= e
            weight = min(square * square * ratio * e, most)
            line[j] = (weight - one) / (weight + one)


@kernel
def hard(index: Index, level: int, row: int, column: int, out: Planes) -> None:
    """Leans to the frame that the nearest cell names: 1 for index 0, the back, and -1 for 1.

    A cell lies on the pixel that `level` keeps; `row`, `column` is where the block begins.
    """
    rows, columns = index.shape
    half = (1 << level) >> 1
    for i in range(out.shape[1]):
        y = min((row + i + half) >> level, rows - 1)
        line = out[0, i]
        if i and y == min((row + i - 1 + half) >> level, rows - 1):
            line[:] = out[0, i - 1]
            continue
        for j in range(line.size):
            cell = index[y, min((column + j + half) >> level, columns - 1)]
            line[j] = np.float32(1) - np.float32(2) * np.float32(cell)


@kernel
def brightness(frames: Planes, margin: int, hard: Planes, shares: Planes, out: Planes) -> None:
    """Sum of the channels times their `shares` of the frame that `hard` leans to.

    `frames` is `margin` pixels wider on each side.
    """
    channels, (rows, columns) = shares.size, out.shape[1:]
    for i in range(rows):
        lean, line = hard[0, i], out[0, i]
        for j in range(columns):
            line[j] = 0
        for channel in range(channels):
            share = shares[channel]
            mean = frames[channel, margin + i, margin:]
            half = frames[channels + channel, margin + i, margin:]
            for j in range(columns):
                line[j] += share * (mean[j] + lean[j] * half[j])


@kernel
def along_edges(lines: Planes, guide: Planes, gain: float, out: Planes) -> None:
    """Leans that are a line of the guide, slope and offset per pixel, stretched and clipped."""
    times, one = np.float32(gain), np.float32(1)
    for i in range(out.shape[1]):
        slope, offset, value, line = lines[0, i], lines[1, i], guide[0, i], out[0, i]
        for j in range(line.size):
            line[j] = min(max(times * (slope[j] * value[j] + offset[j]), -one), one)
