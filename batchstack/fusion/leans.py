"""Compiled inner loops of the fusion of pairs: activities and the leans they lead to.

The rules are those of `kernels`.  An activity here is that of the back minus that of the
front frame: no kernel needs them singly.

A lean says how far a pixel is drawn to the back frame: 1 back alone, 0 the mean of both,
-1 front alone.  It is 2 w - 1 for a weight w of the back frame.
"""

import numpy as np
import numpy.typing as npt

from batchstack.fusion.activity import gaussian_reach
from batchstack.fusion.kernels import Planes, kernel, mirror_ends, mirrored

Counts = npt.NDArray[np.uint8]


@kernel
def second_difference(pair: Planes, difference: Planes) -> None:
    """|[-1 2 -1] * x| + |[-1 2 -1]^T * x| of the back minus that of the front frame.

    `pair` is wider than `difference` by one pixel or more on each side.
    """
    two = np.float32(2)
    channels, rows, columns = difference.shape
    rim = (pair.shape[1] - rows) // 2 - 1
    for channel in range(channels):
        mean, half = pair[channel], pair[channels + channel]
        for i in range(rows):
            out = difference[channel, i]
            y = rim + i
            above, here, below = mean[y, rim:], mean[y + 1, rim:], mean[y + 2, rim:]
            half_above, half_here = half[y, rim:], half[y + 1, rim:]
            half_below = half[y + 2, rim:]
            for j in range(columns):
                twice, half_twice = two * here[j + 1], two * half_here[j + 1]
                across = twice - (here[j] + here[j + 2])
                down = twice - (above[j + 1] + below[j + 1])
                half_across = half_twice - (half_here[j] + half_here[j + 2])
                half_down = half_twice - (half_above[j + 1] + half_below[j + 1])
                back = abs(across + half_across) + abs(down + half_down)
                front = abs(across - half_across) + abs(down - half_down)
                out[j] = back - front


@kernel
def four_neighbour(pair: Planes, difference: Planes) -> None:
    """|4 x - x_up - x_down - x_left - x_right| instead, and summed over the channels."""
    four = np.float32(4)
    channels, (rows, columns) = pair.shape[0] // 2, difference.shape[1:]
    rim = (pair.shape[1] - rows) // 2 - 1
    for i in range(rows):
        difference[0, i] = 0
    for channel in range(channels):
        mean, half = pair[channel], pair[channels + channel]
        for i in range(rows):
            out = difference[0, i]
            y = rim + i
            above, here, below = mean[y, rim:], mean[y + 1, rim:], mean[y + 2, rim:]
            half_above, half_here = half[y, rim:], half[y + 1, rim:]
            half_below = half[y + 2, rim:]
            for j in range(columns):
                around = (above[j + 1] + below[j + 1]) + (here[j] + here[j + 2])
                half_around = half_above[j + 1] + half_below[j + 1]
                half_around += half_here[j] + half_here[j + 2]
                x = four * here[j + 1] - around
                half_x = four * half_here[j + 1] - half_around
                out[j] += abs(x + half_x) - abs(x - half_x)


@kernel
def channel_sum(planes: Planes, total: Planes) -> None:
    """All planes added up, in order."""
    for i in range(planes.shape[1]):
        out, line = total[0, i], planes[0, i]
        for j in range(out.size):
            out[j] = line[j]
        for p in range(1, planes.shape[0]):
            line = planes[p, i]
            for j in range(out.size):
                out[j] += line[j]


@kernel
def box_sum(block: Planes, total: Planes) -> None:
    """Sum over the square (3 or more, odd) that a block is larger than its result by."""
    side = block.shape[1] - total.shape[1] + 1
    columns = total.shape[2]
    tall = np.empty(block.shape[2], np.float32)
    for p in range(block.shape[0]):
        for i in range(total.shape[1]):
            line, second, third = block[p, i], block[p, i + 1], block[p, i + 2]
            for j in range(tall.size):
                tall[j] = line[j] + (second[j] + third[j])
            for k in range(3, side, 2):
                second, third = block[p, i + k], block[p, i + k + 1]
                for j in range(tall.size):
                    tall[j] += second[j] + third[j]
            out = total[p, i]
            for j in range(columns):
                out[j] = tall[j] + (tall[j + 1] + tall[j + 2])
            for k in range(3, side, 2):
                shifted = tall[k:]
                for j in range(columns):
                    out[j] += shifted[j] + shifted[j + 1]


_TANH_END = np.float32(7.90531110763549805)  # from here on tanh is 1 in float32


@kernel
def lean(
    differences: Planes, limit: float, slope: float, row: int, column: int, out: Planes
) -> None:
    """tanh(slope * clip(x, +-limit)), from `row`, `column` on: 1 all back, -1 all front.

    The weight of the back frame, the logistic function of twice the argument, is
    (1 + lean) / 2.  `out` is a ring.
    The rational approximation is that of the Eigen library, good to 4e-7.
    """
    factor = np.float32(slope)
    most = min(np.float32(limit) * factor, _TANH_END)
    for p in range(differences.shape[0]):
        for i in range(differences.shape[1]):
            line, result = differences[p, i], out[p, (row + i) % out.shape[1], column:]
            for j in range(line.size):
                x = min(max(line[j] * factor, -most), most)
                y = x * x
                above = np.float32(-2.76076847742355e-16)
                above = above * y + np.float32(2.00018790482477e-13)
                above = above * y + np.float32(-8.60467152213735e-11)
                above = above * y + np.float32(5.12229709037114e-08)
                above = above * y + np.float32(1.48572235717979e-05)
                above = above * y + np.float32(6.37261928935436e-04)
                above = above * y + np.float32(4.89352455891786e-03)
                below = np.float32(1.19825839466702e-06)
                below = below * y + np.float32(1.18534705686654e-04)
                below = below * y + np.float32(2.26843463243900e-03)
                below = below * y + np.float32(4.89352518554385e-03)
                result[j] = x * above / below


def gaussian_taps(sigma: float) -> Planes:
    """Weights of a Gaussian from its centre outwards; on both sides they add up to one."""
    taps = np.exp(-0.5 * (np.arange(gaussian_reach(sigma) + 1) / sigma) ** 2)
    weights: Planes = (taps / (2 * taps.sum() - taps[0])).astype(np.float32)
    return weights


@kernel
def smooth(plane: Planes, height: int, taps: Planes, row: int, column: int, block: Planes) -> None:
    """A block of a plane, filtered both ways by a symmetric filter.

    `plane`, a ring, and `block` have one plane; `taps`, 3 n + 1 in all, run from the centre
    outwards.
    """
    kept, width = plane.shape[1:]
    reach, columns = taps.size - 1, block.shape[2]
    tall = np.empty(columns + 2 * reach, np.float32)
    first, last = max(0, reach - column), min(tall.size, width - column + reach)
    start, stop = column - reach + first, column - reach + last
    inner, middle = tall[first:last], tall[reach:]
    for i in range(block.shape[1]):
        y = row + i
        line = plane[0, y % kept, start:stop]
        for j in range(inner.size):
            inner[j] = taps[0] * line[j]
        # Three taps at a time, so that the sum is fetched and stored less often.
        for k in range(1, reach, 3):
            a, b, c = taps[k], taps[k + 1], taps[k + 2]
            up = plane[0, mirrored(y - k, height) % kept, start:stop]
            up2 = plane[0, mirrored(y - k - 1, height) % kept, start:stop]
            up3 = plane[0, mirrored(y - k - 2, height) % kept, start:stop]
            down = plane[0, mirrored(y + k, height) % kept, start:stop]
            down2 = plane[0, mirrored(y + k + 1, height) % kept, start:stop]
            down3 = plane[0, mirrored(y + k + 2, height) % kept, start:stop]
            for j in range(inner.size):
                near = a * (up[j] + down[j]) + b * (up2[j] + down2[j])
                inner[j] += near + c * (up3[j] + down3[j])
        mirror_ends(tall, column - reach, width)
        out = block[0, i]
        for j in range(columns):
            out[j] = taps[0] * middle[j]
        for k in range(1, reach, 3):
            a, b, c = taps[k], taps[k + 1], taps[k + 2]
            left, right = tall[reach - k - 2 :], tall[reach + k :]
            for j in range(columns):
                near = a * (left[j + 2] + right[j]) + b * (left[j + 1] + right[j + 1])
                out[j] += near + c * (left[j] + right[j + 2])


@kernel
def vote(differences: Planes, row: int, column: int, votes: Counts) -> None:
    """One where the back frame is at least as active, else zero, in a ring."""
    for i in range(differences.shape[1]):
        line, out = differences[0, i], votes[(row + i) % votes.shape[0], column:]
        for j in range(line.size):
            out[j] = line[j] >= 0


@kernel
def count_across(votes: Counts, top: int, bottom: int, size: int) -> None:
    """Replace rows of a ring of zeros and ones by sums of `size` pixels round each (odd).

    Rows are mirrored at their ends.
    """
    width, reach = votes.shape[1], size // 2
    line = np.empty(width + 2 * reach, np.uint8)
    total, doubled = np.empty(line.size, np.uint8), np.empty(line.size, np.uint8)
    for i in range(top, bottom):
        stored, inner = votes[i % votes.shape[0]], line[reach : reach + width]
        for j in range(width):
            inner[j] = stored[j]
        mirror_ends(line, -reach, width)
        for j in range(line.size):
            total[j] = line[j]
        # A window of n pixels is made twice as wide, or one more, until it has all.
        window = 1
        while window < size:
            bits = size
            while bits >= 4 * window:
                bits //= 2
            ahead, last = total[window:], line[2 * window :]
            if bits % 2:
                for j in range(last.size):
                    doubled[j] = total[j] + ahead[j] + last[j]
            else:
                for j in range(ahead.size):
                    doubled[j] = total[j] + ahead[j]
            for j in range(line.size - bits + 1):
                total[j] = doubled[j]
            window = bits
        for j in range(width):
            stored[j] = total[j]


@kernel
def majority(counts: Counts, height: int, size: int, row: int, column: int, leans: Planes) -> None:
    """Median of a two-valued map over a square of `size` pixels (odd): 1 for true, else -1.

    `counts`, a ring, comes from `count_across`.  Columns are summed as they go: whole numbers are
    exact, wherever a sum starts.
    """
    kept, reach, half = counts.shape[0], size // 2, np.uint16(size * size // 2)
    columns = leans.shape[2]
    total = np.zeros(columns, np.uint16)
    for i in range(row - reach, row + reach):
        entering = counts[mirrored(i, height) % kept, column:]
        for j in range(columns):
            total[j] += entering[j]
    for i in range(leans.shape[1]):
        entering = counts[mirrored(row + i + reach, height) % kept, column:]
        leaving = counts[mirrored(row + i - reach, height) % kept, column:]
        line = leans[0, i]
        for j in range(columns):
            total[j] += entering[j]
        for j in range(columns):
            line[j] = np.float32(1) if total[j] > half else np.float32(-1)
        for j in range(columns):
            total[j] -= leaving[j]
