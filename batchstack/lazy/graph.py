"""The Dask graph of one stack that is part of an array.

    find_shown                           unless it is given      few windows of all frames
    (survey x T -> make_strip) x S                               windows of all frames
               -> border x S -> judge -> staying x S             cells
               -> note_below x S -> fill x S                     cells
    (fuse x T) x S -> output x T x outputs                       windows of all frames, cells

The tiles of an image lie in S rows of T; the cells of a row of tiles are a strip of the map.
All but the last line is left out if no method looks up the decision map.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

from dask import array as da
from dask.highlevelgraph import HighLevelGraph

from batchstack.fusion.decision import survey
from batchstack.fusion.engine import output_form, tiles
from batchstack.fusion.methods import (
    Method,
    asks_frames,
    level_margins,
    level_reaches,
    select_methods,
)
from batchstack.fusion.rules import map_level
from batchstack.fusion.scale import coarsest, possible, sample_windows
from batchstack.fusion.tiles import tile_plan
from batchstack.geometry import Box
from batchstack.lazy import tasks
from batchstack.lazy.turns import Graph, Key, Source, Turns
from batchstack.lazy.windows import Place


def fuse_stack(array: Any, job: tasks.Job, tile: int | None, name: str) -> dict[str, Any]:
    """The outputs of one stack.

    Parameters
    ----------
    array : dask.array.Array, shape (C, Z, Y, X)
        C is 1 if the job's frames have no axis for channels.
    job : Job
    tile : int, optional
    name : str
        Unique among all stacks of all arrays.

    Returns
    -------
    dict of str to dask.array.Array, shape (C, Y, X), of maps (1, Y, X)
    """
    methods = select_methods(job.methods)
    boxes = tiles(job.shape, tile, methods, job.options)
    rows = [list(row) for _, row in groupby(boxes, lambda box: box.top)]
    stack = _Stack(name, Source(array), job, methods, rows)
    decided = _decide(stack) if any(method.decided for method in methods) else None
    fused = _fuse(stack, decided)
    stack.graph.update(stack.source.kept)
    return {output: _output(stack, output, fused) for one in methods for output in one.outputs}


@dataclass(frozen=True)
class _Stack:
    """A stack to fuse, and the graph that grows until it does so.

    Attributes
    ----------
    name : str
        In all its keys.
    source : Source
        Its frames.
    job : Job
    methods : sequence of Method
    rows : sequence of sequence of Box
        Tiles.
    graph : dict
    """

    name: str
    source: Source
    job: tasks.Job
    methods: Sequence[Method]
    rows: Sequence[Sequence[Box]]
    graph: Graph = field(default_factory=dict)

    def key(self, task: str, *numbers: int) -> Key:
        return (f"{task}-{self.name}", *numbers)

    def turns(self, task: str, after: Key | None = None) -> Turns:
        """A reading of all frames."""
        return Turns(self.source, self.graph, f"{task}-{self.name}", after)

    def window(self, box: Box, methods: Sequence[Method]) -> Box:
        """What a tile looks at, whatever level the decision map will be found to have."""
        window = box
        for options in possible(self.job.options):
            reaches, margins = level_reaches(methods, options), level_margins(methods, options)
            window = window.union(tile_plan(box, self.job.shape, reaches, margins).window)
        return window


@dataclass(frozen=True)
class _Decided:
    """A decision map: the key of what frames show, or that itself, and those of its strips."""

    shown: Any
    strips: Sequence[Key]


def _decide(stack: _Stack) -> _Decided:
    options, after = stack.job.options, None
    shown: Any = (options.map_level, options.shrink)
    if asks_frames(stack.methods, options):
        shown = after = _find_shown(stack)
    return _Decided(shown, _settle(stack, _survey(stack, shown, after)))


def _find_shown(stack: _Stack) -> Key:
    turns = stack.turns("sample")
    places: list[Place] = []
    keys: list[Key] = []
    windows = groupby(sample_windows(stack.job.shape), lambda box: box.top)
    for number, (_, row) in enumerate(windows):
        key = stack.key("sample", number)
        cuts = turns.take({key: row})[key]
        turns.end(cuts.keys)
        places += cuts.places
        keys += cuts.keys
    shown = stack.key("shown")
    stack.graph[shown] = (partial(tasks.find_shown, stack.job, places), keys)
    return shown


def _survey(stack: _Stack, shown: Any, after: Key | None) -> list[Key]:
    """The strips of the decision map before it is settled."""
    methods = [survey(stack.job.options.focus_sigma)]
    turns, strips = stack.turns("survey", after), []
    for number, row in enumerate(stack.rows):
        boxes = {stack.key("survey", number, at): box for at, box in enumerate(row)}
        read = turns.take({key: [stack.window(box, methods)] for key, box in boxes.items()})
        for key, box in boxes.items():
            work = partial(tasks.survey, stack.job, box, read[key].places)
            stack.graph[key] = (work, read[key].keys, shown)
        strips.append(stack.key("strip", number))
        stack.graph[strips[-1]] = (partial(tasks.make_strip, row[0].top), list(boxes), shown)
        turns.end(strips[-1:])
    return strips


def _settle(stack: _Stack, strips: Sequence[Key]) -> list[Key]:
    """The strips of the settled map."""
    evidence, count = stack.job.options.evidence, len(strips)

    def keys(task: str) -> list[Key]:
        return [stack.key(task, number) for number in range(count)]

    borders, stays, filled, settled = map(keys, ("border", "staying", "fill", "settled"))
    above: list[Key] = [None, *keys("above")]  # of each strip; of none above the first
    below: list[Key] = [*keys("below"), None]  # of the one before each strip
    verdicts = stack.key("judge")
    stack.graph[verdicts] = (partial(tasks.judge, evidence), borders)
    for number, strip in enumerate(strips):
        find, known = partial(tasks.staying, evidence, number), (strip, stays[number])
        around = above[number], below[number + 1]
        stack.graph.update(
            {
                borders[number]: (tasks.border, strip),
                stays[number]: (find, strip, verdicts),
                below[number]: (tasks.note_below, *known, below[number + 1]),
                filled[number]: (tasks.fill, *known, verdicts, *around),
                settled[number]: (itemgetter(0), filled[number]),
                above[number + 1]: (itemgetter(1), filled[number]),
            }
        )
    return settled


def _fuse(stack: _Stack, decided: _Decided | None) -> list[Key]:
    """The tiles, row by row; each is a mapping of all outputs."""
    blending = [method for method in stack.methods if method.weights is not None]
    turns = stack.turns("fuse", decided and decided.strips[-1])
    fused: list[Key] = []
    for number, row in enumerate(stack.rows):
        boxes = {stack.key("fuse", number, at): box for at, box in enumerate(row)}
        # Maps are the decision map itself, and read nothing.
        windows = {key: stack.window(box, blending) for key, box in boxes.items() if blending}
        read = turns.take({key: [windows[key]] if blending else [] for key in boxes})
        for key, box in boxes.items():
            work = partial(tasks.fuse, stack.job, box, read[key].places)
            stack.graph[key] = (work, read[key].keys)
            if decided is not None:
                cells = _cut_cells(stack, windows.get(key, box), decided, key, turns.gate)
                stack.graph[key] += (decided.shown, cells)
        turns.end(boxes)
        fused += boxes
    return fused


def _cut_cells(
    stack: _Stack, window: Box, decided: _Decided, key: Key, gate: Key | None
) -> list[Key]:
    """What a window looks at of the strips of a map."""
    # A pixel's nearest cell may be the one after that it lies in.
    side = 1 << map_level(coarsest(stack.job.options))
    seen, keys = window.grown(side).aligned(side, stack.job.shape), []
    for number, (row, strip) in enumerate(zip(stack.rows, decided.strips, strict=True)):
        if row[0].top < seen.bottom and seen.top < row[0].bottom:
            keys.append((f"cells-{key[0]}", *key[1:], number))
            stack.graph[keys[-1]] = (partial(tasks.cut_cells, seen), strip, decided.shown, gate)
    return keys


def _output(stack: _Stack, output: str, fused: Sequence[Key]) -> Any:
    """One output as an array, whose chunks are the tiles."""
    job, rows, name = stack.job, stack.rows, f"{output}-{stack.name}"
    frame = job.shape if job.channels is None else (*job.shape, job.channels)
    shape, dtype = output_form(output, stack.methods, frame, job.dtype)
    chunks = (
        (shape[2] if len(shape) == 3 else 1,),
        tuple(row[0].shape[0] for row in rows),
        tuple(box.shape[1] for box in rows[0]),
    )
    graph = {(name, 0, *key[1:]): (partial(tasks.output, output), key) for key in fused}
    below = f"fuse-{stack.name}"
    layers, needs = {below: stack.graph, name: graph}, {below: set(), name: {below}}
    return da.Array(HighLevelGraph(layers, needs), name, chunks, dtype)
