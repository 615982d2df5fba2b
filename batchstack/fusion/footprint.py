"""How much working memory a tile takes, from its streams alone."""

from collections.abc import Sequence
from dataclasses import replace

from batchstack.fusion.decision import survey
from batchstack.fusion.flows import LevelFlow, TileFlow, reading_order, strip_rows
from batchstack.fusion.methods import Method, level_margins, level_reaches
from batchstack.fusion.rules import Weights, map_level
from batchstack.fusion.scale import possible
from batchstack.fusion.stack import Stack
from batchstack.fusion.streams import Stream
from batchstack.fusion.tiles import tile_plan
from batchstack.geometry import Box

_FLOAT = 4
# Rows that several small arrays of a pass take together, per frame and once.
_ROWS_OF_FRAME, _ROWS = 8, 24


def working_bytes(
    tile: Box, shape: tuple[int, int], methods: Sequence[Method], stack: Stack
) -> int:
    """Bytes of working memory of the fusion of a tile, without its outputs.

    Parameters
    ----------
    tile : Box
        In an image of `shape` (rows, columns).
    shape : (int, int)
    methods : sequence of Method
    stack : Stack

    Returns
    -------
    int
        An upper bound, at most a few hundredths too high for the size of cells that takes the
        most; it does not depend on the size of the image if that of the tile does not.
    """
    if not any(method.decided for method in methods):
        return _working_bytes(tile, shape, methods, stack)
    stacks = [replace(stack, options=options) for options in possible(stack.options)]
    return max(_working_bytes(tile, shape, methods, each) for each in stacks)


def _working_bytes(
    tile: Box, shape: tuple[int, int], methods: Sequence[Method], stack: Stack
) -> int:
    options = stack.options
    blending = tuple(method for method in methods if method.weights is not None)
    groups = [blending] if blending else []
    if any(method.decided for method in methods):
        groups.append((survey(options.focus_sigma),))
    shared, levels = 0, 0
    for group in groups:
        reaches, margins = level_reaches(group, options), level_margins(group, options)
        plan = tile_plan(tile, shape, reaches, margins)
        flow = TileFlow(plan, group, options, strip_rows(stack.n_frames))
        flow.rehearse()
        shared = max(shared, _shared_bytes(flow, stack))
        levels += sum(_level_bytes(level, flow, stack) for level in flow.levels)
    return shared + levels


def _shared_bytes(flow: TileFlow, stack: Stack) -> int:
    """The frames, their Gaussian levels, and what is known of the cells."""
    n, channels = stack.n_frames, stack.channels
    columns = [window.shape[1] for window in flow.windows]
    total = n * flow.gaussian[0].rows * columns[0] * channels * stack.dtype.itemsize
    for level, stream in enumerate(flow.gaussian[1:], 1):
        total += n * channels * stream.rows * columns[level] * _FLOAT
    if flow.bases:
        total += _cell_bytes(flow, stack)
    return total


def _level_bytes(level: LevelFlow, flow: TileFlow, stack: Stack) -> int:
    """Deviations, weights that are smoothed, and the rows of both passes."""
    n, others, channels = stack.n_frames, stack.n_frames - 1, stack.channels
    methods = [*level.now, *level.later]
    if not methods:
        return 0
    held, found = level.held.shape[1], level.found.shape[1]
    total = 0
    if level.number > flow.finest:
        rows = len(level.now) * level.first.rows + len(level.later) * level.second.rows
        total += channels * rows * held * _FLOAT
    for method in level.later:
        once = channels if method.by_channel else 1
        hard, step = method.weights == Weights.HARD, held * level.second.step
        total += once * others * found * level.first.rows * (1 if hard else _FLOAT)
        # The median of the votes of all frames is one plane.
        total += once * step * (2 if hard else others * _FLOAT)
    margin = level.margin
    batch = reading_order(n, found + 2 * margin)[1] if margin else 1
    kept = max(margin, 2) + batch if margin else 1
    bands = [_of_band(method, level) for method in methods]
    frames = n * any(bands)
    if not (level.number and all(bands)):
        frames += n if level.keeps_frames else 2
    planes = sum(n * (channels if m.by_channel else 1) for m in methods if level.measures[m])
    rows = channels * (frames * kept + 3 * n) + planes * (2 * margin + batch - 1)
    rows += n * _ROWS_OF_FRAME + (3 * len(methods) + 1) * channels + _ROWS
    total += rows * (found + 2 * margin + 5) * _FLOAT
    if not level.number and any(method.based for method in methods):
        # The least and the most that frames have stored.
        total += 2 * (kept + 1) * channels * found * stack.dtype.itemsize
    if level.later:
        rows = channels * (frames + 3 * n) + n * _ROWS_OF_FRAME
        total += (rows + (3 * len(level.later) + 1) * channels + _ROWS) * (held + 64) * _FLOAT
    return total


def _of_band(method: Method, level: LevelFlow) -> bool:
    return method.pyramid and method not in level.last


def _cell_bytes(flow: TileFlow, stack: Stack) -> int:
    """What is known of the cells, and of the levels round theirs."""
    n, others, channels = stack.n_frames, stack.n_frames - 1, stack.channels
    level = map_level(stack.options)
    width = flow.windows[level].shape[1]

    def bytes_of(streams: dict[int, Stream], planes: int) -> int:
        return sum(
            planes * stream.rows * flow.windows[at].shape[1] * _FLOAT
            for at, stream in streams.items()
        )

    total = bytes_of(flow.lines, 2 * others) + bytes_of(flow.shares, others)
    total += bytes_of(flow.support, n) + bytes_of(flow.strengths, n)
    total += bytes_of(flow.bases, n * channels) + (n + 2) * flow.windows[-1].shape[1] * _FLOAT
    total += width * _FLOAT * (flow.guide.rows + 2 * others * flow.raw.rows)
    if not level:
        total += n * channels * flow.cells.rows * width * _FLOAT
    # Rows of the finest level with the bases, and beside them what frames differ by.
    total += flow.windows[0].shape[1] * n * channels * (1 + 3) * _FLOAT
    return total + flow.windows[level].shape[0] * width * (2 + 1)
