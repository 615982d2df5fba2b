"""The two compiled passes over a level of a stack, for all methods at once.

The rules are those of `compiled`.
A pass goes over a box of a level row by row: a row of every frame comes in, the rows round it
give bands, measures and weights, and a row of every method goes out.  What lies between are
rings of a few rows, which stay in the cache if the box is not too wide.
Methods are rows of numbers; nothing here knows their names.

Rows and columns are those of the window that is held of the level.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from batchstack.compiled import (
    Counts,
    Pixels,
    Planes,
    inlined,
    kernel,
    mirror_ends,
    mirrored,
    routine,
)
from batchstack.fusion.kernels.measures import measure
from batchstack.fusion.kernels.pixels import apart, together
from batchstack.fusion.kernels.pyramid import band_row, expanded_row, shares, widen
from batchstack.fusion.kernels.smoothing import Index, box_row, filter_row
from batchstack.fusion.kernels.weights import (
    along_edges,
    between,
    likelihood,
    one_hot,
    sharpest,
    soft,
    stronger,
    trusted,
    vote,
)
from batchstack.fusion.rules import WHOLLY, Weights

Numbers = npt.NDArray[np.int64]

# Columns of `Table.methods`.
WEIGHTS, BAND, MEASURE, SEVERAL, ROUGH, VOTES, SLOT, COARSE, IMAGE, BASED, DRAWN, MASK = range(12)
METHOD_NUMBERS = 12
# Columns of `Table.measures`.
FORMULA, OF_BAND, EACH, RELATIVE, SIDE, REACH, PLANE, KEPT, SUM_OF = range(9)
MEASURE_NUMBERS = 9
# Rules by which frames are weighed.
SOFT, HARD, LIKELIHOOD, EDGES, NAMED, SHARPEST, SHARED, STRONGER, POSTERIOR = (
    int(rule) for rule in Weights
)


class Source(NamedTuple):
    """What a level is made of: the first frame, and how the others differ from it.

    Attributes
    ----------
    pixels : ndarray, shape (frames, rows, columns * channels)
        The frames, of which level 0 is made; a ring.
    scale : float
        What pixels are multiplied by.
    level, coarse : ndarray of float32, shape (frames, channels, rows, columns)
        This Gaussian level, empty on level 0, and the next coarser one; rings.
    height, width, coarse_height : int
        The rows and columns that they stand for.
    """

    pixels: Pixels
    scale: float
    level: Planes
    coarse: Planes
    height: int
    width: int
    coarse_height: int


class Table(NamedTuple):
    """What is to be done of a level.

    Attributes
    ----------
    methods : ndarray of int64, shape (methods, METHOD_NUMBERS)
        `WEIGHTS`: the rule; `BAND`: whether bands are blended or the level itself; `MEASURE`: row
        of `measures` or -1; `SEVERAL`: whether every channel has weights of its own; `ROUGH`,
        `VOTES`: first plane of weights that are smoothed later, or -1; `SLOT`, `COARSE`: where
        its deviations are among those of this and of the coarser level, or -1; `IMAGE`: of the
        images on level 0; `BASED`: whether bases are blended apart; `DRAWN`: whether pixels are
        drawn to what weights of pixels would make of them; `MASK`: of the masks, or -1.
    measures : ndarray of int64, shape (measures, MEASURE_NUMBERS)
        `FORMULA`; `OF_BAND`: of bands or the level itself; `EACH`: every channel on its own;
        `RELATIVE`: to the first frame; `SIDE` of the box, 0 for a Gaussian; `REACH` of either;
        `PLANE`: first plane of its ring; `KEPT`: rows of it; `SUM_OF`: the measure of every
        channel that it is the sum of, or -1.
    taps : ndarray of float32, shape (measures, taps)
    reads : (bool, bool)
        Whether the level itself and whether bands are wanted in rows.
    margin, kept : int
        Rows and columns that measures look round, and rows that are kept of the source for it.
    group, batch : int
        Frames that are read and measured together, and rows of each group of them before the next.
    beta, limit : float
        As for `weights.soft`.
    gain, floor : float
        As for `weights.likelihood`.
    share_floors : (float, float)
        `few` as for `weights.stronger`, of the fourth power and of the eighth.
    shrink : float
        From how far away pixels are drawn wholly.
    luma : ndarray of float32, shape (channels,)
        Shares of the channels in the guide.
    """

    methods: Numbers
    measures: Numbers
    taps: Planes
    reads: tuple[bool, bool]
    margin: int
    kept: int
    group: int
    batch: int
    beta: float
    limit: float
    gain: float
    floor: float
    share_floors: tuple[float, float]
    shrink: float
    luma: Planes


class Cells(NamedTuple):
    """What the decision map says on a level.

    Attributes
    ----------
    winners : ndarray of uint16, shape (rows, columns)
        Winning frame of each cell of the window.
    trust : ndarray of uint8, shape (rows, columns)
        How far it is trusted, `WHOLLY` or more for wholly.
    step : int
        Levels from this one to that of the cells.
    lines : ndarray of float32, shape (2 * (frames - 1), rows, columns)
        Slopes and offsets as for `weights.along_edges`, of this level or of the next coarser one;
        a ring.
    shares : ndarray of float32, shape (frames - 1, rows, columns)
        What the map gives to the frames; likewise.
    height : int
        The rows that both stand for.
    coarser : bool
        Whether they are of the next coarser level.
    bases : ndarray of float32, shape (frames * channels, rows, columns)
        As of `cells.bases`, of the level above this one; a ring.
    bases_height : int
        The rows that it stands for.
    """

    winners: Index
    trust: Counts
    step: int
    lines: Planes
    shares: Planes
    height: int
    coarser: bool
    bases: Planes
    bases_height: int


class Target(NamedTuple):
    """Where a level is written.

    Attributes
    ----------
    coarse, deviation : ndarray of float32, shape (methods, channels, rows, columns)
        How far the fused level is off the first frame, of the next coarser level and of this one,
        empty on level 0; rings.
    images : ndarray, shape (images, rows, columns * channels)
        Fused pixels, on level 0.
    masks : ndarray of uint8, shape (masks, rows, columns)
    decision, confidence : ndarray of uint16 and uint8, shape (rows, columns)
        Of the decision map, over what is written of the level.
    offset : ndarray of uint8, the same shape or empty
        As of `weights.between`.
    rough : ndarray of float32, shape (planes, rows, columns)
        Weights before they are smoothed; a ring.
    votes : ndarray of uint8, shape (planes, rows, columns)
        As of `weights.vote`; a ring.
    top, left, bottom, right : int
        What is written of the level.
    image_top, image_left : int
        Where images begin.
    coarse_top, coarse_left, coarse_height : int
        Where the coarser deviations begin, expanded, and the rows that they stand for.
    rough_top, rough_left : int
        Where rough weights and votes begin.
    scale, factor, white : float
        What pixels are multiplied by, what values are, and what pixels are clipped to; if 0 they
        are neither clipped nor rounded.
    """

    coarse: Planes
    deviation: Planes
    images: Pixels
    masks: Counts
    decision: Index
    confidence: Counts
    offset: Counts
    rough: Planes
    votes: Counts
    top: int
    left: int
    bottom: int
    right: int
    image_top: int
    image_left: int
    coarse_top: int
    coarse_left: int
    coarse_height: int
    rough_top: int
    rough_left: int
    scale: float
    factor: float
    white: float


class Rows(NamedTuple):
    """Room for the latest rows of a box: rings, and rows on their way.

    Attributes
    ----------
    level, band : ndarray of float32, shape (rows, frames, channels, far)
        As much wider than the box on each side as measures look.
    rings : ndarray of float32, shape (planes, rows, near)
        Measures before they are summed; narrower by one column on each side.
    sums : ndarray of float32, shape (frames, columns)
    weights : ndarray of float32, shape (frames - 1, 1, columns)
    lines : ndarray of float32, shape (2 * (frames - 1), 1, columns)
    hits : ndarray of float32, shape (frames - 1, 1, columns)
        1 where the decision map has a frame.
    chosen : ndarray of uint16, shape (columns,)
    trust : ndarray of float32, shape (columns,)
        1 where the map is trusted wholly, up to 2 where it is sure.
    shares : ndarray of float32, shape (frames - 1, 1, columns)
        What the map gives to frames.
    detail : ndarray of float32, shape (frames, channels, columns)
        What the frames differ by from the first, but for their bases.
    base : ndarray of float32, shape (channels, columns)
        What the bases are blended to, relative to that of the first frame.
    lowest, highest : ndarray, shape (rows, channels, columns)
        Pixels of all frames, as they are stored.
    ends : ndarray, shape (2, columns * channels)
        The same of one row, its channels together.
    guide : ndarray of float32, shape (columns,)
    spare : ndarray of float32, shape (4, columns)
    ones : ndarray of float32, shape (columns,)
    tall : ndarray of float32, shape (near,)
    apart, packed : ndarray, shape (channels, far) and (channels, columns)
        Pixels with their channels apart, as they come in and go out.
    wide, held : ndarray, shape (frames, channels, 3, far + 5) and (frames, channels, 3)
        As for `widen`: of the coarser Gaussian level,
    below, below_held : ndarray, shape (methods, channels, 3, columns + 5) and likewise
        of the coarser deviations,
    cells, cells_held : ndarray, shape (3 * (frames - 1), 3, columns + 5) and likewise
        of what lies on coarser cells,
    bases, bases_held : ndarray, shape (frames * channels, 3, columns + 5) and likewise
        and of the bases.
    """

    level: Planes
    band: Planes
    rings: Planes
    sums: Planes
    weights: Planes
    lines: Planes
    hits: Planes
    chosen: Index
    trust: Planes
    shares: Planes
    detail: Planes
    base: Planes
    lowest: Pixels
    highest: Pixels
    ends: Pixels
    guide: Planes
    spare: Planes
    ones: Planes
    tall: Planes
    apart: Pixels
    packed: Pixels
    wide: Planes
    held: Numbers
    below: Planes
    below_held: Numbers
    cells: Planes
    cells_held: Numbers
    bases: Planes
    bases_held: Numbers


@kernel
def first_pass(
    source: Source,
    table: Table,
    cells: Cells,
    target: Target,
    rows: Rows,
    start: int,
    top: int,
    bottom: int,
    left: int,
) -> None:
    """Find the weights of a box, and finish the methods whose weights are not smoothed.

    Rows of the frames come in from `start` on; those above are still there from the pass before.
    """
    margin, kept, frames = table.margin, table.kept, len(source.pixels)
    for first_row in range(start, bottom + margin, table.batch):
        last_row = min(first_row + table.batch, bottom + margin)
        for first in range(0, frames, table.group):
            last = min(first + table.group, frames)
            for y in range(first_row, last_row):
                # A row of the frames comes in, and the one above has its measures now.
                read_rows(source, table.reads, y, left - margin, (first, last, 0), rows, y % kept)
                if first == 0 and rows.lowest.size:
                    _span_row(source, y, left, rows, y % kept)
                if margin:
                    for of_band in range(2):
                        if table.reads[of_band]:
                            _measure_row(table, rows, of_band, y, kept, first, last)
        # The rows that all rows round them are there of now have their weights.
        for y in range(max(first_row - margin, top), last_row - margin):
            _weigh_row(source, table, cells, target, rows, y, left)


@inlined
def read_rows(
    source: Source,
    reads: tuple[bool, bool],
    y: int,
    column: int,
    which: tuple[int, int, int],
    rows: Rows,
    k: int,
) -> None:
    """Row `y` of the level itself and of its bands, of some frames, into row `k`.

    `which` are the first and one past the last of the frames, and the first that is looked at
    other than as what the others differ from.
    """
    y = mirrored(y, source.height)
    width, shared = source.width, rows.level.shape[1] - 1
    for i in range(which[0], which[1]):
        if source.level.size == 0:
            _read_pixels(source, i, y, column, rows.apart, rows.level[k])
        elif reads[0] and i >= which[2]:
            for channel in range(rows.level.shape[2]):
                out = rows.level[k, i, channel]
                low, high = max(0, -column), min(out.size, width - column)
                line = source.level[i, channel, y % source.level.shape[2], column + low :]
                inside = out[low:high]
                for j in range(inside.size):
                    inside[j] = line[j]
                mirror_ends(out, column, width)
        if reads[1] and i >= which[2]:
            for channel in range(rows.band.shape[2]):
                out = rows.band[k, i, channel]
                low, high = max(0, -column), min(out.size, width - column)
                if source.level.size == 0:
                    line = rows.level[k, min(i, shared), channel, low:high]
                else:
                    kept = source.level.shape[2]
                    line = source.level[i, channel, y % kept, column + low : column + high]
                wide, held = rows.wide[i, channel], rows.held[i, channel]
                coarse, height = source.coarse[i, channel], source.coarse_height
                band_row(line, coarse, height, y, column + low, wide, held, out[low:high])
                mirror_ends(out, column, width)


@inlined
def _read_pixels(source: Source, i: int, y: int, column: int, lines: Pixels, row: Planes) -> None:
    """Row `y` of the first frame, or of another minus it."""
    channels, size = row.shape[1], row.shape[2]
    width, kept, factor = source.width, source.pixels.shape[1], np.float32(source.scale)
    low, high, place = max(0, -column), min(size, width - column), min(i, row.shape[0] - 1)
    start, stop = (column + low) * channels, (column + high) * channels
    apart(source.pixels[i, y % kept, start:stop], lines, 0)
    for channel in range(channels):
        stored, out, base = lines[channel], row[place, channel, low:high], row[0, channel, low:high]
        if i == 0:
            for j in range(out.size):
                out[j] = np.float32(stored[j]) * factor
        else:
            for j in range(out.size):
                out[j] = np.float32(stored[j]) * factor - base[j]
        mirror_ends(row[place, channel], column, width)


@inlined
def _span_row(source: Source, y: int, left: int, rows: Rows, k: int) -> None:
    """The least and the most that any frame has stored of row `y`, into row `k`."""
    y, start = mirrored(y, source.height) % source.pixels.shape[1], left * len(rows.packed)
    lowest, highest = rows.ends[0], rows.ends[1]
    for i in range(len(source.pixels)):
        line = source.pixels[i, y, start:]
        if i == 0:
            for j in range(lowest.size):
                lowest[j] = highest[j] = line[j]
        else:
            for j in range(lowest.size):
                lowest[j] = min(lowest[j], line[j])
                highest[j] = max(highest[j], line[j])
    apart(lowest, rows.lowest[k], 0)
    apart(highest, rows.highest[k], 0)


@inlined
def _measure_row(
    table: Table, rows: Rows, of_band: int, y: int, kept: int, first: int, last: int
) -> None:
    """Measures of the row above row `y` of some frames, of the level itself or of its bands."""
    values = rows.band if of_band else rows.level
    above, here, below = values[(y - 2) % kept], values[(y - 1) % kept], values[y % kept]
    frames, channels = here.shape[:2]
    for channel in range(channels):
        for k in range(len(table.measures)):
            numbers = table.measures[k]
            if numbers[OF_BAND] != of_band or numbers[SUM_OF] >= 0:
                continue
            relative, single = numbers[RELATIVE] == 1, numbers[EACH] == 1
            plane, row = numbers[PLANE], (y - 1) % numbers[KEPT]
            if single:
                plane += channel * (frames - numbers[RELATIVE])
            if single or channel == 0:
                for i in range(max(first - numbers[RELATIVE], 0), last - numbers[RELATIVE]):
                    out = rows.rings[plane + i, row]
                    for j in range(out.size):
                        out[j] = np.float32(0)
            measure(
                numbers[FORMULA],
                above,
                here,
                below,
                (channel, first, last),
                rows.rings,
                plane,
                row,
                relative,
            )
    for k in range(len(table.measures)):
        numbers = table.measures[k]
        if numbers[OF_BAND] == of_band and numbers[SUM_OF] >= 0:
            planes, each = frames - numbers[RELATIVE], table.measures[numbers[SUM_OF]]
            some = max(first - numbers[RELATIVE], 0), last - numbers[RELATIVE]
            _add_channels(rows.rings, each, numbers, y - 1, channels, planes, some)


@inlined
def _add_channels(
    rings: Planes,
    each: Numbers,
    numbers: Numbers,
    y: int,
    channels: int,
    planes: int,
    some: tuple[int, int],
) -> None:
    """The sum of the measures of every channel, of some of the planes."""
    for i in range(some[0], some[1]):
        out = rings[numbers[PLANE] + i, y % numbers[KEPT]]
        for channel in range(channels):
            line = rings[each[PLANE] + channel * planes + i, y % each[KEPT]]
            if channel == 0:
                for j in range(out.size):
                    out[j] = line[j]
            else:
                for j in range(out.size):
                    out[j] += line[j]


@inlined
def _weigh_row(
    source: Source,
    table: Table,
    cells: Cells,
    target: Target,
    rows: Rows,
    y: int,
    left: int,
) -> None:
    """Weights of row `y` for every method, and its row if nothing more is needed."""
    inside = target.top <= y < target.bottom
    channels = len(rows.packed)
    start = left - target.rough_left
    level, band = rows.level[y % table.kept], rows.band[y % table.kept]
    summed = -1
    _look_up(cells, table, rows, y, left, inside, level)
    for m in range(len(table.methods)):
        method = table.methods[m]
        later = method[ROUGH] >= 0 or method[VOTES] >= 0
        if not (later or inside):
            continue
        values = band if method[BAND] else level
        several = channels if method[SEVERAL] else 1
        for channel in range(several):
            measured = method[MEASURE]
            if measured >= 0 and (several > 1 or summed != measured):
                _sum_row(table, rows, measured, y, channel, several)
                kept = several == 1 and method[WEIGHTS] not in (LIKELIHOOD, STRONGER, POSTERIOR)
                summed = measured if kept else -1
            if method[WEIGHTS] == HARD:
                plane, votes = method[VOTES] + channel * len(rows.weights), target.votes
                row = (y - target.rough_top) % votes.shape[1]
                vote(rows.sums, rows.spare, votes, plane, row, start)
                continue
            if method[WEIGHTS] == SHARPEST:
                line = y - target.top
                sharpest(
                    rows.sums,
                    table.gain,
                    rows.spare,
                    target.decision[line],
                    target.confidence[line],
                )
                if target.offset.size:
                    between(rows.sums, table.gain, target.decision[line], target.offset[line])
                continue
            if later:
                ring, plane = target.rough, method[ROUGH] + channel * len(rows.weights)
                row, column = (y - target.rough_top) % target.rough.shape[1], start
            else:
                ring, plane, row, column = rows.weights, 0, 0, 0
            if not later and method[WEIGHTS] == SHARED:
                _copy_row(rows.shares, ring)
            else:
                _weigh(table, rows, method[WEIGHTS], ring, plane, row, column)
            if later:
                continue
            if method[WEIGHTS] in (LIKELIHOOD, EDGES, NAMED) and rows.trust.size:
                trusted(rows.trust, ring)
            for c in range(channel, channel + 1 if several > 1 else channels):
                write_channel(
                    target, table, rows, m, c, y, left, table.margin, level, values, ring, 0, 0
                )
        if not later and target.images.size:
            finish_row(target, rows, m, method[IMAGE], y, left)


@inlined
def _sum_row(table: Table, rows: Rows, measured: int, y: int, channel: int, several: int) -> None:
    """Measures over the windows round the pixels of a row, into `sums`; relative ones from 1 on."""
    numbers = table.measures[measured]
    planes = len(rows.sums) - numbers[RELATIVE]
    reach, kept = numbers[REACH], numbers[KEPT]
    column = table.margin - 1 - reach
    plane = numbers[PLANE] + (channel * planes if several > 1 else 0)
    for i in range(planes):
        ring, out = rows.rings[plane + i], rows.sums[numbers[RELATIVE] + i]
        if numbers[SIDE]:
            box_row(ring, kept, numbers[SIDE], y - reach, column, rows.tall, out)
        else:
            filter_row(ring, kept, table.taps[measured], reach, y, column, rows.tall, out)


@inlined
def _weigh(
    table: Table,
    rows: Rows,
    rule: int,
    weights: Planes,
    plane: int,
    row: int,
    column: int,
) -> None:
    """Weights of a row by a rule, into a row of the planes of `weights` from `plane` on."""
    if rule == SOFT:
        soft(rows.sums, table.beta, table.limit, rows.spare, weights, plane, row, column)
    elif rule == LIKELIHOOD:
        likelihood(rows.sums, table.gain, table.floor, rows.spare, weights, plane, row, column)
    elif rule == EDGES:
        along_edges(rows.lines, rows.guide, rows.spare, weights, plane, row, column)
    elif rule in (STRONGER, POSTERIOR):
        stronger(
            rows.sums,
            table.gain,
            table.floor,
            rows.shares,
            table.share_floors[int(rule == POSTERIOR)],
            rule == POSTERIOR,
            rows.spare,
            weights,
            plane,
            row,
            column,
        )
    elif rule == NAMED:
        for i in range(len(rows.hits)):
            hit, out = rows.hits[i, 0], weights[plane + i, row, column:]
            for j in range(hit.size):
                out[j] = hit[j]


@routine
def _copy_row(planes: Planes, weights: Planes) -> None:
    for i in range(len(weights)):
        line, out = planes[i, 0], weights[i, 0]
        for j in range(out.size):
            out[j] = line[j]


@inlined
def _look_up(
    cells: Cells,
    table: Table,
    rows: Rows,
    y: int,
    left: int,
    inside: bool,
    level: Planes,
) -> None:
    """What the decision map says of a row, if methods ask for it."""
    if not inside:
        return
    others = len(rows.weights)
    if cells.lines.size:
        _cell_row(cells, cells.lines, y, left, rows.cells, rows.cells_held, rows.lines)
    if cells.shares.size:
        wide, held = rows.cells[2 * others :], rows.cells_held[2 * others :]
        _cell_row(cells, cells.shares, y, left, wide, held, rows.shares)
    if rows.chosen.size:
        nearest(cells.winners, cells.step, y, left, rows.chosen)
        one_hot(rows.chosen, rows.hits)
    if rows.trust.size:
        nearest_share(cells.trust, cells.step, y, left, rows.trust)
    if cells.lines.size:
        brightness(level, table.margin, rows.hits, table.luma, rows.guide)
    if cells.bases.size:
        _base_row(cells, rows, y, left, level, table.margin)


@inlined
def _base_row(cells: Cells, rows: Rows, y: int, left: int, level: Planes, margin: int) -> None:
    """Row `y` of the blended base, and of what the frames differ by from the first beside it."""
    channels, others = len(rows.base), len(rows.weights)
    for p in range(len(cells.bases)):
        i, channel = p // channels, p % channels
        wide, held = rows.bases[p], rows.bases_held[p]
        line = rows.base[channel] if i == others else rows.detail[i + 1, channel]
        if i < others:
            value = level[i + 1, channel, margin:]
            band_row(value, cells.bases[p], cells.bases_height, y, left, wide, held, line)
        else:
            found = widen(cells.bases[p], cells.bases_height, y, left, line.size, wide, held)
            expanded_row(wide, found, y, line)


@inlined
def _cell_row(
    cells: Cells,
    planes: Planes,
    y: int,
    left: int,
    wide: Planes,
    held: Numbers,
    out: Planes,
) -> None:
    """Row `y` of planes that lie on the cells of this level or of the next coarser one."""
    columns = out.shape[2]
    for p in range(len(planes)):
        if cells.coarser:
            found = widen(planes[p], cells.height, y, left, columns, wide[p], held[p])
            expanded_row(wide[p], found, y, out[p, 0])
        else:
            line, to = planes[p, y % planes.shape[1], left:], out[p, 0]
            for j in range(columns):
                to[j] = line[j]


@routine
def nearest(index: Index, step: int, y: int, left: int, out: Index) -> None:
    """The cell nearest to each pixel of a row; it lies on the pixel that its level keeps."""
    rows, columns = index.shape
    half = (1 << step) >> 1
    line = index[min((y + half) >> step, rows - 1)]
    for j in range(out.size):
        out[j] = line[min((left + j + half) >> step, columns - 1)]


@routine
def nearest_share(trust: Counts, step: int, y: int, left: int, out: Planes) -> None:
    """The trust of the cells of `nearest`, 1 for wholly."""
    rows, columns = trust.shape
    half, share = (1 << step) >> 1, np.float32(1 / WHOLLY)
    line = trust[min((y + half) >> step, rows - 1)]
    for j in range(out.size):
        out[j] = share * np.float32(line[min((left + j + half) >> step, columns - 1)])


@routine
def brightness(level: Planes, margin: int, hits: Planes, luma: Planes, out: Planes) -> None:
    """Sum of the channels times their shares of the frame that is hit."""
    for j in range(out.size):
        out[j] = np.float32(0)
    for channel in range(luma.size):
        share, base = luma[channel], level[0, channel, margin:]
        for j in range(out.size):
            out[j] += share * base[j]
        for i in range(len(hits)):
            hit, value = hits[i, 0], level[i + 1, channel, margin:]
            for j in range(out.size):
                out[j] += share * (hit[j] * value[j])


@inlined
def write_channel(
    target: Target,
    table: Table,
    rows: Rows,
    m: int,
    channel: int,
    y: int,
    left: int,
    margin: int,
    level: Planes,
    values: Planes,
    weights: Planes,
    plane: int,
    row: int,
) -> None:
    """A channel of a row of a method: pixels on level 0, else a deviation.

    Weights are in a row of the planes from `plane` on; `level` and `values` begin `margin` columns
    before the box.
    """
    low, high = max(left, target.left), min(left + rows.spare.shape[1], target.right)
    size, skip = high - low, low - left
    if size <= 0:
        return
    method, others = table.methods[m], values.shape[0] - 1
    wide, held, found = rows.below[m, channel], rows.below_held[m, channel], (0, 1, 2)
    coarse_y = y - target.coarse_top
    if method[COARSE] >= 0:
        coarse, column = target.coarse[method[COARSE], channel], low - target.coarse_left
        found = widen(coarse, target.coarse_height, coarse_y, column, size, wide, held)
    # The sum of weights times differences is what these two are multiplied.
    one, other = weights[plane, row, skip:], values[1, channel, margin + skip :]
    if others > 1:
        one, other = rows.spare[0, :size], rows.ones[:size]
        _sum_weighted(weights, plane, row, skip, values, channel, margin + skip, one)
    if target.images.size == 0:
        ring, start = target.deviation, low - target.left
        out = ring[method[SLOT], channel, (y - target.top) % ring.shape[2], start : start + size]
        _deviate(one, other, wide, found, coarse_y, out)
        return
    base, out = level[0, channel, margin + skip :], rows.packed[channel, :size]
    white, factor = np.float32(target.white), np.float32(target.factor)
    if method[BASED]:
        line = rows.spare[1, :size]
        _deviate(one, other, wide, found, coarse_y, line)
        if method[DRAWN]:
            alone = rows.shares if method[WEIGHTS] == LIKELIHOOD else weights
            _draw(line, rows, alone, channel, skip, table.shrink)
        _rest(line, base, target.scale, rows, y % table.kept, channel, skip)
        for j in range(size):
            line[j] += base[j]
        _round(line, factor, white, out)
    else:
        _pack(base, one, other, wide, found, coarse_y, factor, white, out)


@inlined
def _sum_weighted(
    weights: Planes,
    plane: int,
    row: int,
    skip: int,
    values: Planes,
    channel: int,
    column: int,
    out: Planes,
) -> None:
    """The sum of weights times values of all frames but the first."""
    others = len(values) - 1
    weight, value = weights[plane, row, skip:], values[1, channel, column:]
    for j in range(out.size):
        out[j] = weight[j] * value[j]
    # Two frames at once, so that sums are stored and fetched half as often.
    for i in range(1, others - 1, 2):
        weight, value = weights[plane + i, row, skip:], values[i + 1, channel, column:]
        weight2, value2 = weights[plane + i + 1, row, skip:], values[i + 2, channel, column:]
        for j in range(out.size):
            out[j] = (out[j] + weight[j] * value[j]) + weight2[j] * value2[j]
    if others > 1 and others % 2 == 0:
        weight, value = weights[plane + others - 1, row, skip:], values[others, channel, column:]
        for j in range(out.size):
            out[j] += weight[j] * value[j]


@routine
def _deviate(
    one: Planes,
    other: Planes,
    wide: Planes,
    found: tuple[int, int, int],
    y: int,
    out: Planes,
) -> None:
    """Weighted differences from the first frame, and what is coarser."""
    above, here, below = wide[found[0], 1:], wide[found[1], 1:], wide[found[2], 1:]
    a, b, c = shares(y)
    if y % 2:
        for j in range(out.size):
            out[j] = (c * below[j] + b * here[j]) + one[j] * other[j]
    else:
        for j in range(out.size):
            expanded = (a * above[j] + c * below[j]) + b * here[j]
            out[j] = expanded + one[j] * other[j]


@routine
def _pack(
    base: Planes,
    one: Planes,
    other: Planes,
    wide: Planes,
    found: tuple[int, int, int],
    y: int,
    factor: np.float32,
    white: np.float32,
    out: Pixels,
) -> None:
    """The first frame plus the deviation, rounded."""
    above, here, below = wide[found[0], 1:], wide[found[1], 1:], wide[found[2], 1:]
    a, b, c = shares(y)
    least = np.float32(0)
    if white == 0:
        for j in range(out.size):
            expanded = (a * above[j] + c * below[j]) + b * here[j]
            out[j] = ((base[j] + expanded) + one[j] * other[j]) * factor
    elif y % 2:
        for j in range(out.size):
            expanded = c * below[j] + b * here[j]
            fused = (base[j] + expanded) + one[j] * other[j]
            out[j] = np.int32(min(max(np.rint(fused * factor), least), white))
    else:
        for j in range(out.size):
            expanded = (a * above[j] + c * below[j]) + b * here[j]
            fused = (base[j] + expanded) + one[j] * other[j]
            out[j] = np.int32(min(max(np.rint(fused * factor), least), white))


@inlined
def _draw(line: Planes, rows: Rows, weights: Planes, channel: int, skip: int, by: float) -> None:
    """Draw details to their sum by weights, wholly from within `by` times the map's trust.

    From further away they are drawn by `by`^2 / distance: what is far off is more than noise [1]_.

    References
    ----------
    .. [1] L. Breiman, "Better subset regression using the nonnegative garrote", Technometrics,
       1995.
    """
    close, named, trust = np.float32(by), rows.spare[0, : line.size], rows.trust[skip:]
    tiny = np.float32(1e-20)  # where there is no distance and no trust
    _sum_weighted(weights, 0, 0, skip, rows.detail, channel, skip, named)
    for j in range(line.size):
        away, most = line[j] - named[j], close * trust[j]
        limit = most * most
        line[j] -= away * (limit / max(max(away * away, limit), tiny))


@inlined
def _rest(
    line: Planes, first: Planes, scale: float, rows: Rows, row: int, channel: int, skip: int
) -> None:
    """Put details on the blended base, within the range that the frames span at each pixel.

    That is `scale` times the lowest and the highest stored pixels of a row, less the first frame.
    """
    factor, base = np.float32(scale), rows.base[channel, skip:]
    lowest, highest = rows.lowest[row, channel, skip:], rows.highest[row, channel, skip:]
    for j in range(line.size):
        least = np.float32(lowest[j]) * factor - first[j]
        most = np.float32(highest[j]) * factor - first[j]
        line[j] = min(max(line[j] + base[j], least), most)


@routine
def _round(value: Planes, factor: np.float32, white: np.float32, line: Pixels) -> None:
    least = np.float32(0)
    if white == 0:
        for j in range(line.size):
            line[j] = value[j] * factor
    else:
        for j in range(line.size):
            line[j] = np.int32(min(max(np.rint(value[j] * factor), least), white))


@inlined
def finish_row(target: Target, rows: Rows, m: int, image: int, y: int, left: int) -> None:
    """Bring the channels of a row of pixels together."""
    channels = len(rows.packed)
    low, high = max(left, target.left), min(left + rows.spare.shape[1], target.right)
    if high <= low:
        return
    start, stop = (low - target.image_left) * channels, (high - target.image_left) * channels
    together(rows.packed, target.images[image, y - target.image_top, start:stop])


@kernel
def second_pass(
    source: Source,
    table: Table,
    target: Target,
    rows: Rows,
    smoothed: Planes,
    index: Index,
    top: int,
    bottom: int,
    left: int,
) -> None:
    """Finish the methods whose weights depend on the weights around a box.

    `smoothed`, of shape (planes, rows, columns), are weights of all methods with `ROUGH`, `index`
    those with `VOTES`: of each of them medians, one or as many as there are channels.
    """
    channels, others = len(rows.packed), len(rows.weights)
    for y in range(top, bottom):
        r = y - top
        read_rows(source, table.reads, y, left, (0, len(source.pixels), 1), rows, 0)
        level, band = rows.level[0], rows.band[0]
        for m in range(len(table.methods)):
            method = table.methods[m]
            values = band if method[BAND] else level
            several = channels if method[SEVERAL] else 1
            for channel in range(several):
                weights, plane, row = smoothed, method[ROUGH] + channel * others, r
                if method[VOTES] >= 0:
                    line = index[method[VOTES] // others + channel, r]
                    weights, plane, row = rows.weights, 0, 0
                    one_hot(line, weights)
                    if method[MASK] >= 0 and channel == 0:
                        _mask_row(target, line, others, method[MASK], y, left)
                for c in range(channel, channel + 1 if several > 1 else channels):
                    write_channel(
                        target, table, rows, m, c, y, left, 0, level, values, weights, plane, row
                    )
            if target.images.size:
                finish_row(target, rows, m, method[IMAGE], y, left)


@inlined
def _mask_row(target: Target, index: Index, others: int, mask: int, y: int, left: int) -> None:
    """255 for the first frame, down to 0 for the last."""
    column, step = left - target.image_left, np.float32(255) / np.float32(others)
    out = target.masks[mask, y - target.image_top, column : column + index.size]
    for j in range(index.size):
        out[j] = np.uint8(np.rint(np.float32(255) - step * np.float32(index[j])))
