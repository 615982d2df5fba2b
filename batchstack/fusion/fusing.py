"""Fusing one tile of a stack of any length, rows of all frames at a time.

A stack is held as its first frame and what the others differ from it by, and a fused level as
what it differs from the first frame by:

    deviation[level] = expand(deviation[level + 1]) + sum of weight * (band - band of the first)

A first pass over each level finds all weights and finishes the methods that need no more; a
second pass finishes those whose weights are smoothed or voted on by their neighbours.
All levels advance together, from top to bottom of the tile, as `flows` has it; here are the
arrays, and what is called to fill them.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack.compiled import Counts, Planes, bound
from batchstack.fusion.codes import CODE_MAX
from batchstack.fusion.flows import LevelFlow, TileFlow, reading_order, strip_rows
from batchstack.fusion.kernels import cells as cell_rows
from batchstack.fusion.kernels import passes, smoothing
from batchstack.fusion.kernels import pyramid as level_rows
from batchstack.fusion.methods import Method, median_sizes
from batchstack.fusion.rules import Weights, gaussian_reach, gaussian_taps, map_level
from batchstack.fusion.scratch import Scratch
from batchstack.fusion.stack import Canvas, Stack
from batchstack.fusion.streams import Stream
from batchstack.fusion.tiles import ReadWindow, TilePlan
from batchstack.geometry import Box

Index = npt.NDArray[np.uint16]
Make = Callable[[int, int], None]

# A frame this many code values of activity below the sharpest one gets no less weight.
MAX_DIFFERENCE = 50.0
# What the mean detail of the channels is multiplied by to be a strength, and what is added.
STRENGTH_GAIN, STRENGTH_FLOOR = 3.0, 5.0
# The base is blended as if each pixel of it had at least so many cells of evidence, of all alike.
SUPPORT_FLOOR = 0.02
# What the strength of an edge is compared with where bases are blended: only strong ones count.
EDGE_FLOOR = 128.0
# All frames count as if the map gave them so much more, where strength counts by its fourth power
# and by its eighth.
SHARE_FLOORS = 0.01, 0.3

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_NO_PLANES: Planes = np.empty((0, 0, 0), np.float32)
_NO_LEVEL = np.empty((0, 0, 0, 0), np.float32)
_NO_INDEX: Index = np.empty((0, 0), np.uint16)
_NO_TRUST: Counts = np.empty((0, 0), np.uint8)


def luma_shares(channels: int) -> Planes:
    """What each channel adds to brightness: ITU-R BT.601 for three channels, else their mean."""
    return _LUMA if channels == 3 else np.full(channels, 1 / channels, np.float32)


class Fusion:
    """The fusion of one tile.

    Parameters
    ----------
    read : callable
        Frame index and box to the pixels of that frame in that box.
    stack : Stack
    plan : TilePlan
        For the reach of the methods, at least.
    methods : tuple of Method
        Those that blend.
    canvas : Canvas
    scratch : Scratch
        Working memory; not for two threads at once.
    index : ndarray of unsigned integers, shape (rows, columns), optional
        Of the decision map, over what the window holds of the level of the cells.
    trust : ndarray of uint8, the same shape, optional
        How far it is trusted there.
    """

    def __init__(
        self,
        read: ReadWindow,
        stack: Stack,
        plan: TilePlan,
        methods: tuple[Method, ...],
        canvas: Canvas,
        scratch: Scratch,
        index: Index = _NO_INDEX,
        trust: Counts = _NO_TRUST,
    ) -> None:
        self._read, self.stack, self.canvas, self.scratch = read, stack, canvas, scratch
        self.flow = flow = TileFlow(plan, methods, stack.options, strip_rows(stack.n_frames))
        self._steps = flow.rehearse()
        self.index = np.ascontiguousarray(index, np.uint16)
        self.trust = np.ascontiguousarray(trust)
        n, channels, columns = stack.n_frames, stack.channels, flow.windows[0].shape[1]
        rows = flow.gaussian[0].rows
        self.pixels = scratch.array("pixels", (n, rows, columns * channels), stack.dtype)
        self._line = scratch.planes("line", columns * channels + 8)
        flow.gaussian[0].make = self._read_pixels
        self.gaussian = [_NO_LEVEL]
        for level, stream in enumerate(flow.gaussian[1:], 1):
            shape = n, channels, stream.rows, flow.windows[level].shape[1]
            self.gaussian.append(scratch.planes(f"gaussian {level}", *shape))
            stream.make = self._reduce_frames(level)
        self._frames = self._make_frames() if flow.lines else _NO_LEVEL
        self.lines = self._make_lines() if flow.lines else {}
        self.shares = self._make_shares() if flow.shares else {}
        self.bases = self._make_bases() if flow.bases else {}
        coarser: _Level | None = None
        for level_flow in reversed(flow.levels):
            coarser = _Level(self, level_flow, coarser)

    def run(self) -> None:
        """Fuse the tile."""
        makes = [stream.make for stream in self.flow.streams]
        try:
            for number, top, bottom in self._steps:
                makes[number](top, bottom)
        finally:
            # What makes rows holds this, and it the streams: in a circle all arrays would stay.
            for stream in self.flow.streams:
                stream.release()

    def _read_pixels(self, top: int, bottom: int) -> None:
        window, kept = self.flow.windows[0], self.pixels.shape[1]
        box = Box(window.top + top, window.left, window.top + bottom, window.right)
        place, count = top % kept, bottom - top
        fits = min(count, kept - place)
        for index in range(self.stack.n_frames):
            rows = self._read(index, box).reshape(count, -1)
            self.pixels[index, place : place + fits] = rows[:fits]
            if fits < count:
                self.pixels[index, : count - fits] = rows[fits:]

    def _make_frames(self) -> Planes:
        """The level of the cells."""
        level, flow, stack = map_level(self.stack.options), self.flow, self.stack
        if level:
            return self.gaussian[level]
        columns = flow.windows[0].shape[1]
        shape = stack.n_frames, stack.channels, flow.cells.rows, columns
        frames = self.scratch.planes("cell frames", *shape)
        apart = self.scratch.array("cells apart", (stack.channels, columns), stack.dtype)
        flow.cells.make = lambda top, bottom: level_rows.unpack(
            self.pixels, stack.scale, top, bottom, frames, apart
        )
        return frames

    def _reduce_frames(self, level: int) -> Make:
        half, height = self.gaussian[level], self.flow.height(level - 1)
        if level > 1:
            return self._reducing(_flat(self.gaussian[level - 1]), height, _flat(half))
        scale, line = self.stack.scale, self._line
        columns = self.flow.windows[0].shape[1]
        lines = self.scratch.planes("lines", self.stack.channels, columns + 8)
        return lambda top, bottom: level_rows.reduce_pixels(
            self.pixels, height, scale, top, bottom, half, line, lines
        )

    def _reducing(self, finer: Planes, height: int, half: Planes) -> Make:
        return lambda top, bottom: level_rows.reduce(finer, height, top, bottom, half, self._line)

    def _expanding(self, coarse: Planes, height: int, fine: Planes) -> Make:
        wide = self.scratch.planes("wide", 3, fine.shape[2] + 5)
        held = self.scratch.array("held", (3,), np.int64)
        return lambda top, bottom: level_rows.expand(coarse, height, top, bottom, fine, wide, held)

    def _cell_planes(self, name: str, count: int, level: int, rows: int) -> Planes:
        return self.scratch.planes(
            f"{name} {level}", count, rows, self.flow.windows[level].shape[1]
        )

    def _make_lines(self) -> dict[int, Planes]:
        """Slopes and offsets of the guided filter, by level."""
        flow, stack, level = self.flow, self.stack, map_level(self.stack.options)
        radius, epsilon = stack.options.guide_radius, stack.options.guide_epsilon
        columns, height = flow.windows[level].shape[1], flow.height(level)
        others = stack.n_frames - 1
        guide = self._cell_planes("guide", 1, level, flow.guide.rows)
        raw = self._cell_planes("raw lines", 2 * others, level, flow.raw.rows)
        lines = {
            at: self._cell_planes("lines", 2 * others, at, stream.rows)
            for at, stream in flow.lines.items()
        }
        sums = self.scratch.planes("line sums", 6, columns + 2 * radius)
        luma = luma_shares(stack.channels) / np.float32(CODE_MAX)
        flow.guide.make = lambda top, bottom: cell_rows.guide(
            self._frames, self.index, luma, top, bottom, guide
        )
        flow.raw.make = lambda top, bottom: cell_rows.raw_lines(
            guide, height, self.index, radius, epsilon, top, bottom, sums, raw
        )
        flow.lines[level].make = lambda top, bottom: cell_rows.box_mean(
            raw, height, radius, top, bottom, sums, lines[level]
        )
        self._add_finer(flow.lines, lines, level)
        return lines

    def _make_shares(self) -> dict[int, Planes]:
        """What the decision map gives to all frames but the first, by level."""
        flow, level, others = self.flow, map_level(self.stack.options), self.stack.n_frames - 1
        shares = {
            at: self._cell_planes("shares", others, at, stream.rows)
            for at, stream in flow.shares.items()
        }
        spare = self.scratch.planes("spare shares", 1, flow.windows[level].shape[1] + 2)
        flow.shares[level].make = lambda top, bottom: cell_rows.shares(
            self.index, self.trust, top, bottom, spare, shares[level]
        )
        self._add_finer(flow.shares, shares, level)
        for coarser in range(level + 1, max(shares) + 1):
            finer = shares[coarser - 1], flow.height(coarser - 1)
            flow.shares[coarser].make = self._reducing(*finer, shares[coarser])
        return shares

    def _make_bases(self) -> dict[int, Planes]:
        """The bases of all frames but the first and of their blend, by level."""
        flow, stack, level = self.flow, self.stack, map_level(self.stack.options)
        support = {
            at: self._cell_planes("support", stack.n_frames, at, stream.rows)
            for at, stream in flow.support.items()
        }
        bases = {
            at: self._cell_planes("bases", stack.n_frames * stack.channels, at, stream.rows)
            for at, stream in flow.bases.items()
        }
        strengths = {
            at: self._cell_planes("strengths", stack.n_frames, at, stream.rows)
            for at, stream in flow.strengths.items()
        }
        counted, coarsest = min(support), max(bases)
        flow.support[counted].make = lambda top, bottom: cell_rows.support(
            self.index, self.trust, counted - level, top, bottom, support[counted]
        )
        for coarser in range(counted + 1, coarsest + 1):
            finer = support[coarser - 1], flow.height(coarser - 1)
            flow.support[coarser].make = self._reducing(*finer, support[coarser])
        self._make_strengths(strengths)
        given = self.gaussian[coarsest], support[coarsest], strengths[coarsest]
        room = self.scratch.planes("base weights", stack.n_frames, bases[coarsest].shape[2])
        peak = self.scratch.planes("base peak", 2, bases[coarsest].shape[2])
        floors = SUPPORT_FLOOR, EDGE_FLOOR
        flow.bases[coarsest].make = lambda top, bottom: cell_rows.bases(
            *given, floors, top, bottom, room, peak, bases[coarsest]
        )
        self._add_finer(flow.bases, bases, coarsest)
        return bases

    def _make_strengths(self, strengths: dict[int, Planes]) -> None:
        """How much frames show on the levels of the bases."""
        flow, compared = self.flow, min(strengths)
        level, height = self.gaussian[compared], flow.height(compared)
        room = self.scratch.planes("own rows", 3, level.shape[3] + 2)
        flow.strengths[compared].make = lambda top, bottom: cell_rows.strengths(
            level, height, top, bottom, room, strengths[compared]
        )
        for coarser in range(compared + 1, max(strengths) + 1):
            finer = strengths[coarser - 1], flow.height(coarser - 1)
            flow.strengths[coarser].make = self._reducing(*finer, strengths[coarser])

    def _add_finer(self, streams: dict[int, Stream], planes: dict[int, Planes], level: int) -> None:
        """Levels between one and the finest are expanded."""
        for finer in range(1, level):
            coarse, height = planes[finer + 1], self.flow.height(finer + 1)
            streams[finer].make = self._expanding(coarse, height, planes[finer])


def _flat(level: Planes) -> Planes:
    """Planes of all frames and channels in one row."""
    return level.reshape(-1, *level.shape[2:])


class _Level:
    """The fusion of one level: its arrays, and the passes over them.

    Attributes
    ----------
    flow : LevelFlow
    now, later : ndarray of float32, shape (methods, channels, rows, columns)
        How far the level of each method is off the first frame, over what is held of it.
    """

    def __init__(self, fusion: Fusion, flow: LevelFlow, coarser: "_Level | None") -> None:
        self._fusion, self.flow, self._coarser = fusion, flow, coarser
        self._stack, self._others = fusion.stack, fusion.stack.n_frames - 1
        self._measures = _measures(flow)
        self.now = self._deviations("now", len(flow.now), flow.first.rows)
        self.later = self._deviations("later", len(flow.later), flow.second.rows)
        self._hard = [m for m in flow.later if m.weights == Weights.HARD]
        self._rough = [m for m in flow.later if m.weights != Weights.HARD]
        self._hard_at, self._rough_at = self._places(self._hard), self._places(self._rough)
        rows, columns = flow.first.rows, flow.found.shape[1]
        self._votes = self._array("votes", self._hard_at[-1], rows, columns, dtype=np.uint8)
        self._weights = self._array("rough", self._rough_at[-1], rows, columns)
        self._source = self._make_source()
        if flow.now or flow.later:
            flow.first.make = self._make_first()
        if flow.later:
            flow.second.make = self._make_second()

    def _array(self, name: str, *shape: int, dtype: npt.DTypeLike = np.float32) -> Any:
        return self._fusion.scratch.array(f"{name} {self.flow.number}", shape, dtype)

    def _deviations(self, name: str, count: int, rows: int) -> Planes:
        if self.flow.number == self._fusion.flow.finest:
            return _NO_LEVEL
        planes: Planes = self._array(
            name, count, self._stack.channels, rows, self.flow.held.shape[1]
        )
        return planes

    def _places(self, methods: Sequence[Method]) -> list[int]:
        """Where weights of methods begin among planes, and their end."""
        counts = [self._others * (self._stack.channels if m.by_channel else 1) for m in methods]
        return [0, *np.cumsum(counts, dtype=int).tolist()]

    def _make_source(self) -> passes.Source:
        fusion, flow = self._fusion, self.flow
        coarse, coarse_height = _NO_LEVEL, 0
        if flow.bands:
            coarse, coarse_height = (
                fusion.gaussian[flow.number + 1],
                fusion.flow.height(flow.number + 1),
            )
        return passes.Source(
            fusion.pixels,
            self._stack.scale,
            fusion.gaussian[flow.number],
            coarse,
            flow.height,
            fusion.flow.windows[flow.number].shape[1],
            coarse_height,
        )

    def _make_first(self) -> Make:
        flow = self.flow
        methods = sorted((*flow.now, *flow.later), key=self._measure_of)
        coarser = self._coarser.flow.now if self._coarser else []
        table = self._table(methods, flow.now, coarser, flow.margin)
        target = self._target(self.now, self._coarser.now if self._coarser else _NO_LEVEL)
        cells = self._cells()
        source, rows = self._source, self._rows("first", table, flow.found.shape[1], cells)
        left, above, size = flow.found.left, flow.found.top, self._median_size
        spare = self._array("spare votes", 3, flow.found.shape[1] + size, dtype=np.uint8)
        first_pass = bound(passes.first_pass, source, table, cells, target, rows)

        def make(top: int, bottom: int) -> None:
            start = flow.fed_from(top)
            first_pass(start, top, bottom, left)
            if len(self._votes):
                smoothing.count_across(self._votes, top - above, bottom - above, size, spare)

        return make

    def _make_second(self) -> Make:
        flow, others, found = self.flow, self._others, self.flow.found
        coarser = self._coarser.flow.later if self._coarser else []
        table = self._table(flow.later, flow.later, coarser, 0)
        target = self._target(self.later, self._coarser.later if self._coarser else _NO_LEVEL)
        columns, left = flow.held.shape[1], flow.held.left
        rows = self._rows("second", table, columns, _NO_CELLS)
        taps = [smoothing.filled(gaussian_taps(method.sigma)) for method in self._rough]
        reach = max((tap.size for tap in taps), default=1) - 1
        tall = self._array("tall", 2, columns + 2 * reach)
        total = self._array("total", columns, dtype=np.uint16)
        step, size, height = flow.second.step, self._median_size, found.shape[0]
        smoothed = self._array("smoothed", len(self._weights), step, columns)
        medians = self._array("medians", len(self._votes) // others, step, columns, dtype=np.uint16)
        column = left - found.left
        second_pass = bound(
            passes.second_pass, self._source, table, target, rows, smoothed, medians
        )

        def make(top: int, bottom: int) -> None:
            row, count = top - found.top, bottom - top
            for tap, (first, last) in zip(taps, pairwise(self._rough_at), strict=True):
                smoothing.smooth(
                    self._weights[first:last],
                    height,
                    tap,
                    row,
                    column,
                    count,
                    tall,
                    smoothed[first:last],
                )
            for n, median in enumerate(medians):
                votes = self._votes[n * others : (n + 1) * others]
                smoothing.median(votes, height, size, row, column, count, total, median)
            second_pass(top, bottom, left)

        return make

    @property
    def _median_size(self) -> int:
        return median_sizes(self._stack.options)[self.flow.number] if self._hard else 1

    def _measure_of(self, method: Method) -> int:
        key = _measure_key(method, self.flow)
        return -1 if key is None else self._measures.index(key)

    def _table(
        self,
        methods: Sequence[Method],
        slots: Sequence[Method],
        coarser: Sequence[Method],
        margin: int,
    ) -> passes.Table:
        """The rules of the level; `slots` and `coarser` are whose deviations are held in order."""
        numbers = np.stack([self._method_row(m, slots, coarser) for m in methods])
        group, batch = self._stack.n_frames, 1
        if margin:
            group, batch = reading_order(group, self.flow.found.shape[1])
        measures, taps = _measure_table(self._measures, self._stack, margin + batch - 1)
        bands = bool(numbers[:, passes.BAND].any())
        level = self.flow.number == 0 or not numbers[:, passes.BAND].all()
        options, channels = self._stack.options, self._stack.channels
        # The mean of the channels is the sum times this.
        sharpest = Weights.SHARPEST in numbers[:, passes.WEIGHTS]
        gain = (1.0 if sharpest else STRENGTH_GAIN) / channels
        return passes.Table(
            numbers,
            measures,
            taps,
            (level, bands),
            margin,
            max(margin, 2) + batch if margin else batch,
            group,
            batch,
            options.beta,
            MAX_DIFFERENCE,
            gain,
            STRENGTH_FLOOR,
            SHARE_FLOORS,
            options.shrink or 0.0,
            luma_shares(channels) / np.float32(CODE_MAX),
        )

    def _method_row(
        self, method: Method, slots: Sequence[Method], coarser: Sequence[Method]
    ) -> npt.NDArray[np.int64]:
        row = np.full(passes.METHOD_NUMBERS, -1)
        row[passes.WEIGHTS] = self.flow.rules[method]
        row[passes.BAND] = _of_band(method, self.flow)
        row[passes.MEASURE] = self._measure_of(method)
        row[passes.SEVERAL] = method.by_channel
        if method in self._rough:
            row[passes.ROUGH] = self._rough_at[self._rough.index(method)]
        if method in self._hard:
            row[passes.VOTES] = self._hard_at[self._hard.index(method)]
        if method in slots:
            row[passes.SLOT] = slots.index(method)
        if method in coarser:
            row[passes.COARSE] = coarser.index(method)
        methods = self._fusion.flow.methods
        if not self.flow.number and method.output:
            row[passes.IMAGE] = [m for m in methods if m.output].index(method)
        if not self.flow.number and method.weights == Weights.HARD:
            row[passes.MASK] = [m for m in methods if m.weights == Weights.HARD].index(method)
        row[passes.DRAWN] = method.drawn and not self.flow.number
        row[passes.BASED] = method.based and not self.flow.number
        return row

    def _target(self, deviations: Planes, coarse: Planes) -> passes.Target:
        fusion, flow, canvas = self._fusion, self.flow, self._fusion.canvas
        below = Box(0, 0, 0, 0) if self._coarser is None else self._coarser.flow.held
        images, window = canvas.images, fusion.flow.windows[0]
        return passes.Target(
            coarse,
            deviations,
            images[:0] if flow.number else images,
            canvas.masks,
            canvas.decision,
            canvas.confidence,
            canvas.offset,
            self._weights,
            self._votes,
            flow.held.top,
            flow.held.left,
            flow.held.bottom,
            flow.held.right,
            canvas.corner[0] - window.top,
            canvas.corner[1] - window.left,
            2 * below.top,
            2 * below.left,
            below.shape[0],
            flow.found.top,
            flow.found.left,
            self._stack.scale,
            1 / self._stack.scale,
            self._stack.white,
        )

    def _cells(self) -> passes.Cells:
        """What the decision map says on the level, to the methods that ask for it."""
        fusion, flow = self._fusion, self.flow
        based = [m for m in flow.now if m.based]
        cells = map_level(self._stack.options) - flow.number if based else -1
        index, trust = _NO_INDEX, _NO_TRUST
        if cells >= 0 and flow.by_rule(Weights.LIKELIHOOD, Weights.EDGES, Weights.NAMED):
            trust = fusion.trust
        if flow.by_rule(Weights.EDGES, Weights.NAMED):
            index = fusion.index
        coarser = not flow.number and min(fusion.shares or [0]) > 0
        at = flow.number + coarser
        lines = fusion.lines.get(at, _NO_PLANES) if flow.by_rule(Weights.EDGES) else _NO_PLANES
        shares = fusion.shares.get(at, _NO_PLANES) if flow.looks_up_shares else _NO_PLANES
        height = fusion.flow.height(at) if lines.size or shares.size else 0
        bases, bases_height = _NO_PLANES, 0
        if based and not flow.number:
            bases, bases_height = fusion.bases[1], fusion.flow.height(1)
        return passes.Cells(
            index, trust, max(cells, 0), lines, shares, height, coarser, bases, bases_height
        )

    def _rows(
        self, part: str, table: passes.Table, columns: int, cells: passes.Cells
    ) -> passes.Rows:
        """Room for the rows of a pass over so many columns."""
        n, others, channels = self._stack.n_frames, self._others, self._stack.channels
        margin, kept, dtype = table.margin, table.kept, self._stack.dtype
        far, near = columns + 2 * margin, max(columns + 2 * margin - 2, 0)
        level, band = table.reads
        planes = sum(_plane_count(key, self._stack) for key in self._measures) if margin else 0
        deepest = int(table.measures[:, passes.KEPT].max()) if planes else 0
        named = others if cells.winners.size else 0
        hit_columns = columns if named else 0
        bases = len(cells.bases)

        # Others than the first may take turns at one place.
        places = n if self.flow.keeps_frames else 2

        def array(name: str, *shape: int, dtype: npt.DTypeLike = np.float32) -> Any:
            return self._array(f"{part} {name}", *shape, dtype=dtype)

        rows = passes.Rows(
            level=array("level", kept, *((places, channels, far) if level else (0, 0, 0))),
            band=array("band", kept, *((n, channels, far) if band else (0, 0, 0))),
            rings=array("rings", planes, deepest, near),
            sums=array("sums", n, columns),
            weights=array("weights", others, 1, columns),
            lines=array("lines", len(cells.lines), 1, columns),
            hits=array("hits", named, 1, columns),
            chosen=array("chosen", hit_columns, dtype=np.uint16),
            trust=array("trust", columns if cells.trust.size else 0),
            shares=array("shares", len(cells.shares), 1, columns),
            detail=array("detail", n if bases else 0, channels, columns),
            base=array("base", channels if bases else 0, columns),
            lowest=array("lowest", kept if bases else 0, channels, columns, dtype=dtype),
            highest=array("highest", kept if bases else 0, channels, columns, dtype=dtype),
            ends=array("ends", 2, columns * channels, dtype=dtype),
            guide=array("guide", columns),
            spare=array("spare", 4, columns),
            ones=array("ones", columns),
            tall=array("tall", far),
            apart=array("apart", channels, far, dtype=dtype),
            packed=array("packed", channels, columns, dtype=dtype),
            wide=array("wide", n if band else 0, channels, 3, far + 5),
            held=array("held", n if band else 0, channels, 3, dtype=np.int64),
            below=array("below", len(table.methods), channels, 3, columns + 5),
            below_held=array("below held", len(table.methods), channels, 3, dtype=np.int64),
            cells=array("cells", 3 * others if cells.height else 0, 3, columns + 5),
            cells_held=array("cells held", 3 * others if cells.height else 0, 3, dtype=np.int64),
            bases=array("bases", bases, 3, columns + 5),
            bases_held=array("bases held", bases, 3, dtype=np.int64),
        )
        rows.held[:] = rows.below_held[:] = rows.cells_held[:] = rows.bases_held[:] = -1
        rows.ones[:] = 1
        rows.below[:] = 0  # what is expanded where nothing is coarser
        return rows


_NO_CELLS = passes.Cells(_NO_INDEX, _NO_TRUST, 0, _NO_PLANES, _NO_PLANES, 0, False, _NO_PLANES, 0)

# Formula, whether of bands, each channel on its own, relative to the first frame, sigma or -1.
MeasureKey = tuple[int, bool, bool, bool, float]


def _of_band(method: Method, flow: LevelFlow) -> bool:
    return method.pyramid and method not in flow.last


def _measure_key(method: Method, flow: LevelFlow) -> MeasureKey | None:
    measure, of_band = flow.measures[method], _of_band(method, flow)
    if measure is None:
        return None
    formula = measure.formula if of_band else measure.residual
    relative = flow.rules[method] in (Weights.SOFT, Weights.HARD)
    sigma = -1.0 if measure.sigma is None else measure.sigma
    return int(formula), of_band, method.by_channel, relative, sigma


def _measures(flow: LevelFlow) -> list[MeasureKey]:
    """What is measured on a level; each channel on its own before their sum."""
    keys = {_measure_key(method, flow) for method in (*flow.now, *flow.later)}
    return sorted((key for key in keys if key is not None), key=lambda key: (not key[2], key))


def _plane_count(key: MeasureKey, stack: Stack) -> int:
    _, _, each, relative, *_ = key
    return (stack.n_frames - relative) * (stack.channels if each else 1)


def _measure_table(
    measures: Sequence[MeasureKey], stack: Stack, margin: int
) -> tuple[npt.NDArray[np.int64], Planes]:
    """Rows of `Table.measures`, and the taps of their windows."""
    kernel = stack.options.kernel
    numbers = np.zeros((len(measures), passes.MEASURE_NUMBERS), np.int64)
    filters = [gaussian_taps(max(key[4], 0.0)) for key in measures]
    taps = np.zeros((len(measures), max((f.size for f in filters), default=1)), np.float32)
    plane = 0
    for n, key in enumerate(measures):
        formula, of_band, each, relative, sigma = key
        reach = kernel // 2 if sigma < 0 else gaussian_reach(sigma)
        whole = (formula, of_band, True, relative, sigma)
        row = numbers[n]
        row[passes.FORMULA], row[passes.OF_BAND] = formula, of_band
        row[passes.EACH], row[passes.RELATIVE] = each, relative
        row[passes.SIDE], row[passes.REACH] = kernel if sigma < 0 else 0, reach
        row[passes.PLANE], row[passes.KEPT] = plane, margin + reach
        row[passes.SUM_OF] = measures.index(whole) if not each and whole in measures else -1
        taps[n, : filters[n].size] = filters[n]
        plane += _plane_count(key, stack)
    return numbers, taps
