"""The streams of a tile: what every level makes of which rows, before there are any pixels.

Boxes are in rows and columns of the window that a tile holds of a level, unless said otherwise.
"""

from collections.abc import Iterator
from functools import lru_cache

from batchstack.fusion.methods import Method
from batchstack.fusion.pyramid import level_shape
from batchstack.fusion.rules import ACTIVITY_REACH, Weights, compared_level, map_level
from batchstack.fusion.streams import (
    Reading,
    Step,
    Stream,
    expanded_rows,
    mirrored_rows,
    reduced_rows,
    rehearse,
)
from batchstack.fusion.tiles import TilePlan
from batchstack.geometry import Box
from batchstack.options import FusionOptions

# Rows of frames that a strip has on level 0, over all frames, and its rows at least and at most:
# more rows take more memory, fewer take longer.
STRIP, LEAST, MOST = 1536, 24, 128
# Cells that are looked at round a strip of them are looked at again for the next one.
CELL_STRIP = 24
# Frames times columns of a level of which the rows that measures look at stay in the cache; of
# more, so many rows of one frame are read and measured before those of the next.
CACHED, BATCH = 147456, 8


def reading_order(n_frames: int, columns: int) -> tuple[int, int]:
    """Frames that a first pass reads together, and rows of each group of them before the next."""
    return (n_frames, 1) if n_frames * columns <= CACHED else (1, BATCH)


def strip_rows(n_frames: int) -> int:
    """Rows of level 0 that are made at once."""
    return min(max(STRIP // n_frames, LEAST), MOST)


class LevelFlow:
    """What one level of a tile makes.

    Attributes
    ----------
    now, later : list of Method
        Methods whose weights are used at once, and those whose weights are smoothed before.
    last : set of Method
        Those that blend what is left of the frames here, not a band.
    rules, measures : dict of Method to Weights, and to Measure or None
        How they weigh the level.
    held, found : Box
        Where fused values are made, and where weights are found.
    margin, around : int
        Pixels that measures look round a pixel, and that weights are smoothed over.
    bands : bool
        Whether the next coarser Gaussian level is looked at.
    first, second : Stream
        Of the two passes.
    """

    def __init__(self, tile: "TileFlow", number: int, coarser: "LevelFlow | None") -> None:
        plan, options = tile.plan, tile.options
        window = tile.windows[number]
        self.number, self.coarser, self.height = number, coarser, window.shape[0]
        levels = {method: method.blended_levels(options) for method in tile.methods}
        mine = [method for method in tile.methods if number in levels[method]]
        self.last = {m for m in mine if number == levels[m][-1] and not m.based}
        self.later = [method for method in mine if method.smoothes]
        self.now = [method for method in mine if not method.smoothes]
        self.bands = any(method.pyramid and method not in self.last for method in mine)
        self.rules = {method: method.rule(options, number) for method in mine}
        self.measures = {method: method.measured(options, number) for method in mine}
        self.margin = max((method.measure_reach(options, number) for method in mine), default=0)
        self.around = max((m.smoothing_reach(options, number) for m in self.later), default=0)
        held = plan.levels[number].held if number else plan.tile
        image = Box(0, 0, *plan.levels[number].shape)
        self.held = held.within(window)
        self.found = held.grown(self.around).intersection(image).within(window)
        self._tile = tile
        step = max(tile.strip >> number, 1)
        self.first = Stream(self.found.top, self.found.bottom, step, self._read_by_first)
        self.second = Stream(self.held.top, self.held.bottom, step, self._read_by_second)

    def by_rule(self, *rules: Weights) -> list[Method]:
        """Methods of the level that are weighed by one of some rules."""
        return [method for method in (*self.now, *self.later) if self.rules[method] in rules]

    @property
    def keeps_frames(self) -> bool:
        """Whether rows of all frames are kept, not only of their bands and of the first frame."""
        methods = (*self.now, *self.later)
        alone = any(m.based or not m.pyramid or m in self.last for m in methods)
        return bool(self.number or alone or self.by_rule(Weights.EDGES))

    @property
    def looks_up_shares(self) -> bool:
        """Whether any method looks up what the map gives to frames."""
        drawn = self.by_rule(Weights.LIKELIHOOD) and not self.number
        return bool(drawn or self.by_rule(Weights.SHARED, Weights.STRONGER, Weights.POSTERIOR))

    def fed_from(self, top: int) -> int:
        """The first row of the frames that comes in when rows from `top` on are found."""
        return top - self.margin if top == self.found.top else top + self.margin

    def _read_by_first(self, top: int, bottom: int) -> Iterator[Reading]:
        yield from self._read_others(max(top, self.held.top), min(bottom, self.held.bottom))
        yield from self._read_frames(self.fed_from(top), bottom + self.margin)

    def _read_others(self, top: int, bottom: int) -> Iterator[Reading]:
        """All but frames, for what is made of the level."""
        if top >= bottom:
            return
        if self.coarser and any(method in self.coarser.now for method in self.now):
            yield self.coarser.first, *self._coarse_rows(top, bottom)
        if self.by_rule(Weights.EDGES):
            yield from self._read_cells(self._tile.lines, top, bottom)
        if self.looks_up_shares:
            yield from self._read_cells(self._tile.shares, top, bottom)
        if not self.number:
            yield from self._read_cells(self._tile.bases, top, bottom)

    def _read_by_second(self, top: int, bottom: int) -> Iterator[Reading]:
        if self.coarser and any(method in self.coarser.later for method in self.later):
            yield self.coarser.second, *self._coarse_rows(top, bottom)
        found = self.found
        first, last = top - self.around - found.top, bottom + self.around - found.top
        first, last = mirrored_rows(first, last, found.shape[0])
        yield self.first, first + found.top, last + found.top
        yield from self._read_frames(top, bottom)

    def _read_frames(self, top: int, bottom: int) -> Iterator[Reading]:
        first, last = mirrored_rows(top, bottom, self.height)
        yield self._tile.gaussian[self.number], first, last
        if self.bands:
            coarse = self._tile.gaussian[self.number + 1]
            yield coarse, *expanded_rows(first, last, coarse.bottom)

    def _coarse_rows(self, top: int, bottom: int) -> tuple[int, int]:
        """Rows of the coarser deviations that rows are expanded from."""
        assert self.coarser is not None
        below = self.coarser.held
        first, last = top - 2 * below.top, bottom - 2 * below.top
        first, last = expanded_rows(first, last, below.shape[0])
        return first + below.top, last + below.top

    def _read_cells(self, planes: dict[int, Stream], top: int, bottom: int) -> Iterator[Reading]:
        if self.number in planes:
            yield planes[self.number], top, bottom
        elif planes:
            coarse = planes[self.number + 1]
            yield coarse, *expanded_rows(top, bottom, coarse.bottom)


class TileFlow:
    """All streams of a tile, from frames to fused pixels.

    Parameters
    ----------
    plan : TilePlan
    methods : tuple of Method
        Those that blend.
    options : FusionOptions
        Resolved for the image.
    strip : int
        Rows of level 0 that are made at once.

    Attributes
    ----------
    windows : list of Box
        What is held of each level, in its pixels of the whole image.
    gaussian : list of Stream
        Of the frames and of their Gaussian levels.
    cells, guide, raw : Stream
        Of the level of the cells: the frames; the brightness of what the map would compose; the
        lines of the guided filter before they are averaged.
    lines, shares : dict of int to Stream
        By level, what weights along edges and of the smoothed map look up.
    support, strengths, bases : dict of int to Stream
        By level, how much evidence of each frame there is around; how much it shows; and the bases
        of the frames and what they are blended to.
    levels : list of LevelFlow
    """

    def __init__(
        self, plan: TilePlan, methods: tuple[Method, ...], options: FusionOptions, strip: int
    ) -> None:
        self.plan, self.methods, self.options, self.strip = plan, methods, options, strip
        blended = [method.blended_levels(options) for method in methods]
        count = max(method.levels(options) for method in methods)
        self.finest = min(levels[0] for levels in blended)
        self.windows = _windows(plan.window, count)
        self.gaussian = [self._gaussian_stream(level) for level in range(count)]
        self._add_cells({method.weights for method in methods}, count)
        self.levels: list[LevelFlow] = []
        coarser = None
        for number in reversed(range(count)):
            coarser = LevelFlow(self, number, coarser)
            self.levels.insert(0, coarser)

    @property
    def streams(self) -> list[Stream]:
        """All of them, in one order for tiles of the same parameters."""
        passes = [stream for level in self.levels for stream in (level.first, level.second)]
        cells = [
            self.cells,
            self.guide,
            self.raw,
            *self.lines.values(),
            *self.shares.values(),
            *self.support.values(),
            *self.strengths.values(),
            *self.bases.values(),
        ]
        return [*self.gaussian, *cells, *passes]

    def rehearse(self) -> list[Step]:
        """The steps in which everything is made; from then on streams know the rows they need."""
        rows, steps = _rehearsed(self.plan, self.methods, self.options, self.strip)
        for stream, count in zip(self.streams, rows, strict=True):
            stream.rows = count
        return steps

    def height(self, level: int) -> int:
        """Rows of the window of a level."""
        return self.windows[level].shape[0]

    def _gaussian_stream(self, level: int) -> Stream:
        def readings(top: int, bottom: int) -> Iterator[Reading]:
            finer = self.gaussian[level - 1]
            yield finer, *reduced_rows(top, bottom, finer.bottom)

        step = max(self.strip >> level, 1)
        if not level:
            return Stream(0, self.height(level), step)
        return Stream(0, self.height(level), step, readings)

    def _add_cells(self, rules: set[Weights | None], count: int) -> None:
        self.lines: dict[int, Stream] = {}
        self.shares: dict[int, Stream] = {}
        self.support: dict[int, Stream] = {}
        self.strengths: dict[int, Stream] = {}
        self.bases: dict[int, Stream] = {}
        self.cells = self.guide = self.raw = Stream(0, 0, 1)
        if not rules & {Weights.LIKELIHOOD, Weights.EDGES}:
            return
        options, level, coarsest = self.options, map_level(self.options), count - 1
        self._add_bases(level, coarsest)
        self.shares[level] = Stream(0, self.height(level), max(self.strip >> level, 1))
        self._add_finer(self.shares, level)
        for coarser in range(level + 1, coarsest):
            self._add_coarser(self.shares, coarser)
        if Weights.EDGES in rules and options.guide_radius:
            # Level 0 is not held in planes, but for the guide.
            source = self.gaussian[level]
            self.cells = source if level else self._cell_stream(level, source, 0)
            self.guide = self._cell_stream(level, self.cells, 0)
            self.raw = self._cell_stream(level, self.guide, options.guide_radius)
            self.lines[level] = self._cell_stream(level, self.raw, options.guide_radius)
            self._add_finer(self.lines, level)

    def _add_bases(self, level: int, coarsest: int) -> None:
        """Cells are counted two levels above the coarsest, from where their counts are smoothed."""
        counted = max(coarsest - 2, level)
        self.support[counted] = Stream(0, self.height(counted), max(self.strip >> counted, 1))
        for coarser in range(counted + 1, coarsest + 1):
            self._add_coarser(self.support, coarser)
        compared = compared_level(coarsest)
        self.strengths[compared] = self._looking_round(compared, ACTIVITY_REACH)
        for coarser in range(compared + 1, coarsest + 1):
            self._add_coarser(self.strengths, coarser)

        def readings(top: int, bottom: int) -> Iterator[Reading]:
            yield self.gaussian[coarsest], top, bottom
            yield self.support[coarsest], top, bottom
            yield self.strengths[coarsest], top, bottom

        step = max(self.strip >> coarsest, 1)
        self.bases[coarsest] = Stream(0, self.height(coarsest), step, readings)
        self._add_finer(self.bases, coarsest)

    def _cell_stream(self, level: int, source: Stream, reach: int) -> Stream:
        height = self.height(level)

        def readings(top: int, bottom: int) -> Iterator[Reading]:
            yield source, *mirrored_rows(top - reach, bottom + reach, height)

        return Stream(0, height, max(self.strip >> level, CELL_STRIP), readings)

    def _looking_round(self, level: int, reach: int) -> Stream:
        """What is made of a Gaussian level and of so many rows round each."""

        def readings(top: int, bottom: int) -> Iterator[Reading]:
            rows = mirrored_rows(top - reach, bottom + reach, self.height(level))
            yield self.gaussian[level], *rows

        return Stream(0, self.height(level), max(self.strip >> level, 1), readings)

    def _add_finer(self, planes: dict[int, Stream], level: int) -> None:
        """Levels that are expanded, but for the finest, which is expanded where it is used."""
        for finer in reversed(range(1, level)):

            def readings(top: int, bottom: int, level: int = finer + 1) -> Iterator[Reading]:
                yield planes[level], *expanded_rows(top, bottom, self.height(level))

            step = max(self.strip >> finer, 1)
            planes[finer] = Stream(0, self.height(finer), step, readings)

    def _add_coarser(self, planes: dict[int, Stream], level: int) -> None:
        def readings(top: int, bottom: int) -> Iterator[Reading]:
            yield planes[level - 1], *reduced_rows(top, bottom, self.height(level - 1))

        step = max(self.strip >> level, 1)
        planes[level] = Stream(0, self.height(level), step, readings)


def _windows(window: Box, levels: int) -> list[Box]:
    """What the window of a tile holds of each level."""
    windows = []
    for level in range(levels):
        rows, columns = level_shape(window.shape, level)
        top, left = window.top >> level, window.left >> level
        windows.append(Box(top, left, top + rows, left + columns))
    return windows


@lru_cache(64)
def _rehearsed(
    plan: TilePlan, methods: tuple[Method, ...], options: FusionOptions, strip: int
) -> tuple[list[int], list[Step]]:
    """Rows of the rings of all streams of a tile, and the steps in which they are made."""
    tile = TileFlow(plan, methods, options, strip)
    level = tile.levels[tile.finest]
    last = [level.second] if level.later else []
    last += [level.first] if level.now else []
    steps = rehearse(tile.streams, last, level.held.top, level.held.bottom, strip)
    return [stream.rows for stream in tile.streams], steps
