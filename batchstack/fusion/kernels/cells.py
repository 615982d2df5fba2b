"""Compiled inner loops of what the methods that follow the decision map know of its cells.

The rules are those of `compiled`.  `height` is what a ring stands for.
"""

import numpy as np

from batchstack.compiled import (
    Counts,
    Planes,
    inlined,
    kernel,
    mirror_ends,
    mirrored,
)
from batchstack.fusion.kernels.smoothing import Index
from batchstack.fusion.rules import WHOLLY


@kernel
def guide(level: Planes, index: Index, luma: Planes, top: int, bottom: int, out: Planes) -> None:
    """Brightness of what the bare map would compose of the cells' level; rings."""
    frames, channels, kept, width = level.shape
    for y in range(top, bottom):
        winner, line = index[y], out[0, y % out.shape[1]]
        for j in range(width):
            line[j] = np.float32(0)
        for channel in range(channels):
            share, base = luma[channel], level[0, channel, y % kept]
            for j in range(width):
                line[j] += share * base[j]
            for i in range(1, frames):
                other, frame = level[i, channel, y % kept], np.uint16(i)
                for j in range(width):
                    line[j] += share * other[j] if winner[j] == frame else np.float32(0)


@kernel
def raw_lines(
    guide: Planes,
    height: int,
    index: Index,
    radius: int,
    epsilon: float,
    top: int,
    bottom: int,
    sums: Planes,
    out: Planes,
) -> None:
    """Slope and offset of the line from the guide to each frame's part of the map, cell by cell.

    `sums` has room for six rows, wider by `radius` on each side; `out`, of slopes and then offsets
    of all frames but the first, and `guide` are rings.
    """
    others, rows, width = out.shape[0] // 2, out.shape[1], out.shape[2]
    kept, few = guide.shape[1], np.float32(epsilon)
    share = np.float32(1 / (2 * radius + 1) ** 2)
    mean, variance = sums[2, :width], sums[3, :width]
    hit_mean, both_mean = sums[4, :width], sums[5, :width]
    for y in range(top, bottom):
        first, second = sums[0, radius : radius + width], sums[1, radius : radius + width]
        for j in range(width):
            first[j] = second[j] = np.float32(0)
        for k in range(-radius, radius + 1):
            line = guide[0, mirrored(y + k, height) % kept]
            for j in range(width):
                first[j] += line[j]
                second[j] += line[j] * line[j]
        _sum_across(sums[0], radius, share, mean)
        _sum_across(sums[1], radius, share, variance)
        for j in range(width):
            variance[j] = (variance[j] - mean[j] * mean[j]) + few
        for i in range(others):
            frame = np.uint16(i + 1)
            for j in range(width):
                first[j] = second[j] = np.float32(0)
            for k in range(-radius, radius + 1):
                row = mirrored(y + k, height)
                line, winner = guide[0, row % kept], index[row]
                for j in range(width):
                    hit = np.float32(winner[j] == frame)
                    first[j] += hit
                    second[j] += hit * line[j]
            _sum_across(sums[0], radius, share, hit_mean)
            _sum_across(sums[1], radius, share, both_mean)
            slope, offset = out[i, y % rows], out[others + i, y % rows]
            for j in range(width):
                slope[j] = (both_mean[j] - mean[j] * hit_mean[j]) / variance[j]
                offset[j] = hit_mean[j] - slope[j] * mean[j]


@kernel
def box_mean(
    planes: Planes, height: int, radius: int, top: int, bottom: int, sums: Planes, out: Planes
) -> None:
    """Means over squares of 2 `radius` + 1 cells; rings, `sums` has room for a wider row."""
    kept, width = planes.shape[1:]
    share = np.float32(1 / (2 * radius + 1) ** 2)
    for p in range(len(planes)):
        for y in range(top, bottom):
            inner = sums[0, radius : radius + width]
            for j in range(width):
                inner[j] = np.float32(0)
            for k in range(-radius, radius + 1):
                line = planes[p, mirrored(y + k, height) % kept]
                for j in range(width):
                    inner[j] += line[j]
            _sum_across(sums[0], radius, share, out[p, y % out.shape[1]])


@inlined
def _sum_across(line: Planes, radius: int, share: np.float32, out: Planes) -> None:
    """Sums over 2 `radius` + 1 columns, mirrored at the ends, times a share."""
    width = out.size
    mirror_ends(line[: width + 2 * radius], -radius, width)
    for j in range(width):
        out[j] = line[j]
    for k in range(1, 2 * radius + 1):
        shifted = line[k:]
        for j in range(width):
            out[j] += shifted[j]
    for j in range(width):
        out[j] *= share


@kernel
def shares(index: Index, trust: Counts, top: int, bottom: int, spare: Planes, out: Planes) -> None:
    """1 where the map has each frame but the first, else 0, as far as it is trusted.

    Where it is not all frames have equal shares.  They are smoothed over 3 x 3 cells, so that a
    border of the map is no edge.

    Parameters
    ----------
    index, trust : ndarray, shape (rows, columns)
        Winning frame of each cell of the window, and how far it is trusted, `WHOLLY` or more for
        wholly.
    spare : ndarray of float32, shape (1, columns + 2)
        Room.
    out : ndarray of float32, shape (frames - 1, rows, columns)
        A ring.
    """
    height, width = index.shape
    # Smoothed they are 64 times as much, of `WHOLLY`.
    equal, six, share = np.float32(1 / (len(out) + 1)), np.float32(6), np.float32(1 / (64 * WHOLLY))
    most = np.uint8(WHOLLY)
    line = spare[0, : width + 2]
    inner, right = line[1:], line[2:]
    for y in range(top, bottom):
        above, below = mirrored(y - 1, height), mirrored(y + 1, height)
        for i in range(len(out)):
            frame, to = np.uint16(i + 1), out[i, y % out.shape[1]]
            for j in range(width):
                up = np.float32(min(trust[above, j], most)) * (
                    np.float32(index[above, j] == frame) - equal
                )
                here = np.float32(min(trust[y, j], most)) * (
                    np.float32(index[y, j] == frame) - equal
                )
                down = np.float32(min(trust[below, j], most)) * (
                    np.float32(index[below, j] == frame) - equal
                )
                inner[j] = (up + down) + six * here
            mirror_ends(line, -1, width)
            for j in range(width):
                to[j] = equal + share * ((line[j] + right[j]) + six * inner[j])


@kernel
def support(index: Index, trust: Counts, step: int, top: int, bottom: int, out: Planes) -> None:
    """How many trusted cells of each frame lie on each pixel of a level `step` levels coarser.

    Parameters
    ----------
    index, trust : ndarray, shape (rows, columns)
        Winning frame of each cell of the window, and how far it is trusted, `WHOLLY` or more for
        wholly.
    out : ndarray of float32, shape (frames, rows, columns)
        The first plane is that of all frames together; a ring.
    """
    rows, columns = index.shape
    size, half, kept, width = 1 << step, (1 << step) >> 1, out.shape[1], out.shape[2]
    share, most = np.float32(1 / WHOLLY), np.uint8(WHOLLY)
    for y in range(top, bottom):
        for i in range(len(out)):
            line = out[i, y % kept]
            for j in range(width):
                line[j] = np.float32(0)
        together = out[0, y % kept]
        # A cell lies on the pixel nearest to it, those at the end on the last one.
        last = rows if y == ((rows - 1) >> step) else min((y + 1) * size - half, rows)
        for row in range(max(y * size - half, 0), last):
            for column in range(columns):
                x = min((column + half) >> step, width - 1)
                part = share * np.float32(min(trust[row, column], most))
                together[x] += part
                frame = index[row, column]
                if frame:
                    out[frame, y % kept, x] += part


@kernel
def strengths(
    level: Planes, height: int, top: int, bottom: int, spare: Planes, out: Planes
) -> None:
    """How much there is to be seen of each frame: the mean of its channels' modified Laplacian.

    Parameters
    ----------
    level : ndarray, shape (frames, channels, rows, columns)
        The first frame and what the others differ from it by; a ring.
    spare : ndarray of float32, shape (3, columns + 2)
        Room.
    out : ndarray, shape (frames, rows, columns)
        A ring.
    """
    frames, channels, kept, width = level.shape
    share, two = np.float32(1 / channels), np.float32(2)
    above, here, below = spare[0, 1 : width + 1], spare[1], spare[2, 1 : width + 1]
    inner, right = here[1 : width + 1], here[2 : width + 2]
    for y in range(top, bottom):
        up, row, down = mirrored(y - 1, height) % kept, y % kept, mirrored(y + 1, height) % kept
        for i in range(frames):
            line = out[i, y % out.shape[1]]
            for j in range(width):
                line[j] = np.float32(0)
            for channel in range(channels):
                own = np.float32(1) if i else np.float32(0)
                first, other = level[0, channel], level[i, channel]
                for j in range(width):
                    above[j] = first[up, j] + own * other[up, j]
                    inner[j] = first[row, j] + own * other[row, j]
                    below[j] = first[down, j] + own * other[down, j]
                mirror_ends(here[: width + 2], -1, width)
                for j in range(width):
                    twice = two * inner[j]
                    across, along = twice - (here[j] + right[j]), twice - (above[j] + below[j])
                    line[j] += share * (abs(across) + abs(along))


@kernel
def bases(
    level: Planes,
    support: Planes,
    strengths: Planes,
    floors: tuple[float, float],
    top: int,
    bottom: int,
    weights: Planes,
    spare: Planes,
    out: Planes,
) -> None:
    """The coarsest level of the frames, and what it is blended to; all relative to the first.

    Weights are shares of the support that frames have around times the eighth power of their
    strength: near a strong edge the frame that shows it counts, and not the one that blurs it.

    Parameters
    ----------
    level : ndarray, shape (frames, channels, rows, columns)
        A ring.
    support : ndarray, shape (frames, rows, columns)
        As of `support`, reduced to this level; a ring.
    strengths : ndarray, shape (frames, rows, columns)
        As of `strengths`, likewise.
    floors : (float, float)
        So many cells more have all frames together, and so much strength more has each.
    weights, spare : ndarray of float32, shape (frames, columns) and (2, columns)
        Room.
    out : ndarray, shape (frames * channels, rows, columns)
        The channels of all frames but the first, and last those of the blend; a ring.
    """
    frames, channels, kept, width = level.shape
    others, each, floor = frames - 1, np.float32(floors[0] / frames), np.float32(floors[1])
    peak, total = spare[0], spare[1]
    for y in range(top, bottom):
        row, at, strong = y % out.shape[1], y % support.shape[1], y % strengths.shape[1]
        for j in range(width):
            weights[0, j], peak[j] = support[0, at, j], strengths[0, strong, j]
        for i in range(1, frames):
            for j in range(width):
                weights[i, j] = support[i, at, j]
                weights[0, j] -= support[i, at, j]
                peak[j] = max(peak[j], strengths[i, strong, j])
        for j in range(width):
            total[j], peak[j] = np.float32(0), np.float32(1) / (peak[j] + floor)
        for i in range(frames):
            for j in range(width):
                ratio = (strengths[i, strong, j] + floor) * peak[j]
                square = ratio * ratio
                fourth = square * square
                weights[i, j] = max(weights[i, j], np.float32(0)) * (fourth * fourth) + each
                total[j] += weights[i, j]
        for channel in range(channels):
            blend = out[others * channels + channel, row]
            for j in range(width):
                blend[j] = np.float32(0)
            for i in range(1, frames):
                line, to = level[i, channel, y % kept], out[(i - 1) * channels + channel, row]
                for j in range(width):
                    to[j] = line[j]
                    blend[j] += line[j] * (weights[i, j] / total[j])
