"""The scale of the decision map: how large a cell is, found out from what the frames show.

Where frames are told apart has a finest and a coarsest scale.
Below the finest, what differs between neighbouring pixels is noise; above the coarsest, a pixel
is larger than what the lens blurs, and every frame is sharp.
Both, and how much noise there is, are seen in a bounded number of small windows, spread evenly
over the image: their pixels are binned two by two again and again, and it is counted in how many
places one frame stands out.

All of it is whole numbers, so that every machine counts the same.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from math import pi, prod, sqrt
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from batchstack.fusion.codes import CODE_MAX, DATA_RANGES
from batchstack.fusion.tiles import ReadWindow
from batchstack.geometry import Box
from batchstack.options import FusionOptions

Counts = npt.NDArray[np.int32]
Sums = npt.NDArray[np.int64]

# Cells of a map are pixels of this level at most: 8 x 8.
COARSEST = 3

# Levels that are looked at; places on a level are blocks of so many pixels, of each window at
# most as many as `_PLACES` in both directions; levels with fewer than `_FEWEST` are passed over.
_LEVELS, _BLOCK, _PLACES, _FEWEST = COARSEST + 2, 8, 4, 24
# The side of a window, in which the coarsest level has one block and a pixel round it.
_SIDE = (_BLOCK + 2) << (_LEVELS - 1)
# Windows in both directions, per square root of a megapixel, at least and at most.
_WINDOWS, _LEAST, _MOST = 2, 2, 5
# A frame stands out if its activity is half as much again as the mean of the others', and so many
# code values above it; both as in the decision map.
_CONTRAST = 2
# A level tells frames apart if it does so in this share of the places of the best level, and as
# well as the best from this share on.
_SOME, _ALL = 0.4, 0.85
# Where the best level has a smaller share of all places, what is counted is as likely noise, and
# cells are no larger than of this level.
_KNOWN, _UNKNOWN_LEVEL = 1 / 3, 1
# Cells are this many levels finer than the coarsest on which all frames are told apart: there the
# seam between two frames is as wide as the blur.
_FINER = 2
# Noise is what is left in this share of the blocks, at most; if white and of standard deviation 1
# it has so much activity.
_QUIET, _ACTIVITY_OF_NOISE = 0.2, 4 * sqrt(3 / pi)
# Floats are counted in steps of a code value, and not above what 32 bits hold of them.
_STEPS, _HIGHEST = 16, 100_000


def coarsest(options: FusionOptions) -> FusionOptions:
    """Options with the largest cells that an image may have, for tiles that suit any."""
    return options if options.map_level is not None else replace(options, map_level=COARSEST)


def possible(options: FusionOptions) -> list[FusionOptions]:
    """Options with each size of cells that an image may have."""
    if options.map_level is not None:
        return [options]
    return [replace(options, map_level=level) for level in range(COARSEST + 1)]


class Shown(NamedTuple):
    """What frames show of themselves.

    Attributes
    ----------
    level : int
        The pyramid level whose pixels should be the cells of the decision map: from 0, for pixels,
        to `COARSEST`; 1 where nothing tells the frames apart.
    noise : float
        Standard deviation of the noise of their brightness, in 8-bit code values.
    """

    level: int
    noise: float


def shown(
    read: ReadWindow, n_frames: int, shape: tuple[int, int], data_range: float | None = None
) -> Shown:
    """What a stack shows in a bounded number of windows.

    Parameters
    ----------
    read : callable
        Frame index and box to the pixels of that frame in that box.
    n_frames : int
    shape : (int, int)
        Rows and columns of the image.
    data_range : float, optional
        The stored value that means 1.0; by default that of the data type.

    Returns
    -------
    Shown
    """
    places = list(sample_windows(shape))
    pixel = read(0, places[0])
    scale = CODE_MAX / (data_range or DATA_RANGES[pixel.dtype.name])
    steps = _STEPS * scale if pixel.dtype.kind == "f" else 1.0
    least = _CONTRAST * prod(pixel.shape[2:]) * _BLOCK**2 * steps / scale
    # One frame after the other: what is kept of each is little.
    sums = [
        _level_sums(np.array([_counted(read(index, box), steps) for box in places]))
        for index in range(n_frames)
    ]
    shares = [
        float(_stands_out(np.array(level), least * 4**number).mean())
        for number, level in enumerate(zip(*sums, strict=True))
    ]
    if not shares:  # the image is tiny
        return Shown(0, 0.0)
    finest = np.array([levels[0] for levels in sums])
    return Shown(_level(shares), _noise(finest) * scale / (steps * prod(pixel.shape[2:])))


def sample_windows(shape: tuple[int, int]) -> list[Box]:
    """Windows of one size, spread evenly, that `shown` reads of every frame."""
    wanted = round(_WINDOWS * (shape[0] * shape[1] / 1e6) ** 0.5)
    number = min(max(wanted, _LEAST), _MOST)
    rows, columns = min(_SIDE, shape[0]), min(_SIDE, shape[1])
    corners = product(
        *(
            [(length - side) * (2 * at + 1) // (2 * number) for at in range(number)]
            for length, side in zip(shape, (rows, columns), strict=True)
        )
    )
    return [Box(top, left, top + rows, left + columns) for top, left in corners]


def _counted(pixels: npt.NDArray[Any], steps: float) -> Counts:
    """The sum of the channels, in whole steps."""
    channels = pixels.reshape(*pixels.shape[:2], -1)
    if channels.dtype.kind == "f":
        highest = _HIGHEST * _STEPS
        channels = np.rint(np.clip(channels * np.float64(steps), -highest, highest))
    total = channels[..., 0].astype(np.int32)
    for channel in range(1, channels.shape[2]):
        total += channels[..., channel].astype(np.int32)
    return total


def _level_sums(windows: Counts) -> list[Sums]:
    """Activity in the blocks of each level that has enough of them.

    Parameters
    ----------
    windows : ndarray of int32, shape (windows, rows, columns)
        Of one frame.
    """
    levels: list[Sums] = []
    for _ in range(_LEVELS):
        sums = _block_sums(windows)
        if sums.size < _FEWEST:
            break
        levels.append(sums)
        windows = _binned(windows)
    return levels


def _block_sums(windows: Counts) -> Sums:
    """Activity in the blocks in the middle of each window, (windows, rows, columns)."""
    sides = windows.shape[1:]
    rows, columns = (min(max(side - 2, 0) // _BLOCK, _PLACES) for side in sides)
    high, wide = rows * _BLOCK + 2, columns * _BLOCK + 2
    top, left = max(sides[0] - high, 0) // 2, max(sides[1] - wide, 0) // 2
    part = windows[:, top : top + high, left : left + wide]
    twice, across, down = 2 * part[:, 1:-1, 1:-1], part[:, 1:-1], part[:, :, 1:-1]
    activity = abs(twice - (across[..., :-2] + across[..., 2:]))
    activity += abs(twice - (down[:, :-2] + down[:, 2:]))
    blocks = activity[:, : rows * _BLOCK, : columns * _BLOCK]
    blocks = blocks.reshape(len(windows), rows, _BLOCK, columns, _BLOCK)
    sums: Sums = blocks.sum((2, 4), dtype=np.int64)
    return sums


def _stands_out(sums: Sums, least: float) -> npt.NDArray[np.bool_]:
    highest, others = sums.max(axis=0), len(sums) - 1
    rest = sums.sum(axis=0) - highest
    clear = 2 * others * highest > 3 * rest
    found: npt.NDArray[np.bool_] = clear & (others * highest - rest > others * least)
    return found


def _binned(windows: Counts) -> Counts:
    """Sums of two by two pixels."""
    rows, columns = (side // 2 * 2 for side in windows.shape[1:])
    pairs = windows[:, 0:rows:2, :columns] + windows[:, 1:rows:2, :columns]
    return pairs[..., 0::2] + pairs[..., 1::2]


def _noise(sums: Sums) -> float:
    """Standard deviation of the noise of pixels whose activity is summed over blocks.

    In most blocks some frame is blurred, and what is left there is noise; as in some all frames
    show detail, it is looked for in those that have least.
    """
    least = np.sort(sums.min(axis=0), axis=None)
    quiet = int(least[int(_QUIET * (least.size - 1))])
    return quiet / (_ACTIVITY_OF_NOISE * _BLOCK**2)


def _level(shares: Sequence[float]) -> int:
    """The level that suits the shares of places in which levels tell frames apart."""
    best = max(shares)
    if not best:
        return _UNKNOWN_LEVEL
    finest = next(level for level, share in enumerate(shares) if share >= _SOME * best)
    widest = max(level for level, share in enumerate(shares) if share >= _ALL * best)
    return min(max(widest - _FINER, finest), COARSEST if best >= _KNOWN else _UNKNOWN_LEVEL)
