"""What the compiled passes read of a level and write, row by row.

The rules are those of `compiled`.
Rows and columns are those of the window that is held of the level; what begins elsewhere in
it says where.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from batchstack.fusion.compiled import Counts, Pixels, Planes, mirror_ends, mirrored, routine
from batchstack.fusion.kernels import band_row, deviate_row, widen
from batchstack.fusion.pixels import pack_row, together, unpack_row

Places = npt.NDArray[np.int64]

# The methods that compare activities, in the order in which passes know them.
NAMES = "by_channel", "all_channels", "laplacian", "median_mask", "direct"


class Source(NamedTuple):
    """What a level is made of.

    Attributes
    ----------
    back, front : ndarray, shape (rows, columns * channels)
        The frames, of which level 0 is made.
    scale : float
        What pixels are multiplied by.
    level, coarse : ndarray of float32, shape (2 * channels, rows, columns)
        This Gaussian level, empty on level 0, and the next coarser one, empty on the last.
    channels : int
    """

    back: Pixels
    front: Pixels
    scale: float
    level: Planes
    coarse: Planes
    channels: int


class Sink(NamedTuple):
    """Where a method writes; all empty if it is not wanted.

    Attributes
    ----------
    coarse, deviation : ndarray of float32, shape (channels, rows, columns)
        Deviations of the next coarser level, empty on the last, and of this one, empty on
        level 0; rings.
    pixels : ndarray, shape (rows, columns * channels)
        The output, on level 0.
    """

    coarse: Planes
    deviation: Planes
    pixels: Pixels


class Place(NamedTuple):
    """Where sinks begin, and how pixels are rounded.

    Attributes
    ----------
    top, left : int
        Where deviations and pixels begin.
    coarse_top, coarse_left, coarse_height : int
        Where the coarser deviations begin, expanded, and the rows that they stand for.
    factor, white : float
        As for `pack_row`.
    """

    top: int
    left: int
    coarse_top: int
    coarse_left: int
    coarse_height: int
    factor: float
    white: float


class Target(NamedTuple):
    """Where a level is written.

    Attributes
    ----------
    sinks : tuple of Sink
        In the order of `NAMES`.
    mask : ndarray of uint8, shape (rows, columns)
        Of `median_mask`, on level 0; else empty.
    place : Place
    """

    sinks: tuple[Sink, Sink, Sink, Sink, Sink]
    mask: Counts
    place: Place


class Rows(NamedTuple):
    """Room for the latest rows of a box: rings, and rows on their way.

    Attributes
    ----------
    frames : ndarray of float32, shape (rows, 2 * channels, columns)
        On level 0; as much wider than the box on each side as a pass looks around.
    values : ndarray of float32, shape (rows, planes, columns)
        What is blended of the frames, all planes or only the half differences; as wide.
    channels : ndarray of float32, shape (channels, rows, columns)
        Activities of every channel; narrower by one column on each side.
    total, around, direct : ndarray of float32, shape (rows, columns)
        Other activities, as wide.
    leans : ndarray of float32, shape (channels, columns)
    sums, tall : ndarray of float32, shape (columns,)
        As for `lean_row` and `box_row`.
    apart, packed : ndarray
        Pixels with their channels apart, as they come in and go out.
    wide, held, coarse_wide, coarse_held : ndarray
        As for `widen`: of the coarser Gaussian level, and of the coarser deviations of each of
        `NAMES`.
    """

    frames: Planes
    values: Planes
    channels: Planes
    total: Planes
    around: Planes
    direct: Planes
    leans: Planes
    sums: Planes
    tall: Planes
    apart: Pixels
    packed: Pixels
    wide: Planes
    held: Places
    coarse_wide: Planes
    coarse_held: Places


@routine
def forget(rows: Rows) -> None:
    """Begin with a new box."""
    rows.held[:] = -1
    rows.coarse_held[:] = -1
    rows.coarse_wide[:] = 0  # what is expanded where nothing is coarser


@routine
def read_row(source: Source, y: int, column: int, rows: Rows, frame: Planes, value: Planes) -> None:
    """Row `y` of the frames, on level 0, and of what is blended of them, or its last planes.

    That is the band, or the frames or the level itself if nothing is coarser.
    """
    first = 2 * source.channels - len(value)
    height, width = source.level.shape[1:]
    if source.level.size == 0:
        height, width = source.back.shape[0], source.back.shape[1] // source.channels
    y = mirrored(y, height)
    low, high = max(0, -column), min(value.shape[1], width - column)
    if source.level.size == 0:
        unpack_row(source.back[y], source.front[y], column, source.scale, rows.apart, frame)
    for n in range(len(value)):
        p, out = first + n, value[n, low:high]
        line = frame[p, low:high]
        if source.level.size:
            line = source.level[p, y, column + low : column + high]
        if source.coarse.size:
            wide, held = rows.wide[p], rows.held[p]
            band_row(line, source.coarse[p], y, column + low, wide, held, out)
        else:
            for j in range(out.size):
                out[j] = line[j]
        mirror_ends(value[n], column, width)


@routine
def write_row(
    sink: Sink,
    place: Place,
    y: int,
    column: int,
    frame: Planes,
    value: Planes,
    leans: Planes,
    wide: Planes,
    held: Places,
    packed: Pixels,
) -> None:
    """A row of a method: pixels on level 0, else a deviation.

    `frame` and `value` may be wider than the row on both sides; `leans` has a row per channel,
    or one for all of them.
    """
    channels, columns = len(packed), leans.shape[1]
    low, high = (value.shape[1] - columns) // 2, (value.shape[1] + columns) // 2
    start, coarse_y = column - place.left, y - place.coarse_top
    factor, white = np.float32(place.factor), np.float32(place.white)
    for channel in range(channels):
        half = value[len(value) - channels + channel, low:high]
        lean, expanded, known = leans[min(channel, len(leans) - 1)], wide[channel], held[channel]
        found = 0, 1, 2
        if sink.coarse.size:
            plane, height = sink.coarse[channel], place.coarse_height
            left = column - place.coarse_left
            found = widen(plane, height, coarse_y, left, columns, expanded, known)
        if sink.deviation.size:
            ring = sink.deviation
            out = ring[channel, (y - place.top) % ring.shape[1], start : start + columns]
            deviate_row(half, lean, expanded, found, coarse_y, out)
        else:
            mean, line = frame[channel, low:high], packed[channel]
            pack_row(mean, half, lean, expanded, found, coarse_y, factor, white, line)
    if sink.deviation.size == 0:
        start *= channels
        together(packed, sink.pixels[y - place.top, start : start + columns * channels])
