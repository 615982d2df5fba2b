"""Predicting what a task needs, in bytes, from shapes alone.

The coefficients are upper bounds of what `benchmarks/compute.py`, `frames.py` and
`main_job.py` measure; a test holds the measured peak of a task under its prediction.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

import numpy as np

from batchstack.batch.settling import CELL_BYTES, CHUNK, CHUNK_BYTES, IN_MEMORY
from batchstack.formats import Format, keeping, of_suffix
from batchstack.fusion.engine import stripe_columns
from batchstack.fusion.footprint import working_bytes
from batchstack.fusion.methods import Method
from batchstack.fusion.pyramid import level_shape
from batchstack.fusion.rules import map_level
from batchstack.fusion.scale import possible
from batchstack.fusion.stack import Stack
from batchstack.geometry import Box
from batchstack.images import ImageInfo
from batchstack.images.info import BAND_BYTES
from batchstack.options import DEFAULT_TILE, AlignOptions, FusionOptions
from batchstack.quality import windows

# A worker process with everything imported, before it reads a pixel.
PROCESS = 150 * 2**20

# Values per pixel of a strip while a frame is moved: the window, its padded copy and the result.
_WARP_VALUES = 4
_FLOAT = 4
# Rows of a strip that is read, at most, and what tiles are multiples of at any level.
_STRIP, _GRID = 128, 1 << 16
# Bytes per pixel of the window that is being scored, with one of every frame and output.
_SCORE = 250

# Aligning imports and compiles more; registration holds reduced views of at most four
# frames and looks at a bounded number of their pixels at once, whatever their size.
_ALIGN_PROCESS = 150 * 2**20
_REGISTRATION = 180 * 2**20


@dataclass(frozen=True)
class Way:
    """How a stack is done.

    Attributes
    ----------
    tile : int, optional
        Side of the tiles in pixels.
    hold : bool
        Whether a task that does all holds the frames.
    """

    tile: int | None
    hold: bool


@dataclass(frozen=True)
class Footprint:
    """Predicted peaks of a stack's tasks, in bytes of resident memory.

    Attributes
    ----------
    whole : int
        One task that does everything.
    thread : int
        What each further thread of the process adds to that.
    spread : int
        The largest of the tasks of a stack that one task could do and several threads share.
    stage, align, settle, tile, encode : int
        The tasks of a stack that is split into tiles.
    """

    whole: int
    thread: int
    spread: int
    stage: int
    align: int
    settle: int
    tile: int
    encode: int

    @property
    def split(self) -> int:
        """The largest of the tasks of a stack that is split into tiles."""
        return max(self.stage, self.align, self.settle, self.tile, self.encode)


@lru_cache  # a long manifest has few kinds of stacks
def predict(
    frame: ImageInfo,
    n_frames: int,
    methods: tuple[Method, ...],
    options: FusionOptions,
    alignment: AlignOptions,
    *,
    suffix: str,
    way: Way,
    score: bool = False,
) -> Footprint:
    """Predict the memory of a stack's tasks.

    Parameters
    ----------
    frame : ImageInfo
        Of the first frame; the others have the same shape and type.
    n_frames : int
    methods : tuple of Method
    options : FusionOptions
    alignment : AlignOptions
    suffix : str
        Ending of the outputs.
    way : Way
    score : bool
        Whether the fused images are scored.

    Returns
    -------
    Footprint
    """
    tile, hold = way.tile, way.hold
    process, registration, moving = PROCESS, 0, 0
    if not alignment.is_off:
        process, registration, moving = PROCESS + _ALIGN_PROCESS, _REGISTRATION, _WARP_VALUES
    shape = (frame.height, frame.width)
    stack = Stack(n_frames, frame.channels, np.dtype(frame.dtype), options)
    side = DEFAULT_TILE if tile is None else tile
    at_once = working_bytes(
        _middle(shape, shape[0], stripe_columns(tile, n_frames)), shape, methods, stack
    )
    box = _middle(shape, side, side)
    in_tile = working_bytes(box, shape, methods, stack)
    cells = _cells(shape, methods, options)
    window = prod(windows(Box(0, 0, *shape))[0].shape)
    scoring = window * _SCORE if score else 0
    files = sum(len(method.outputs) for method in methods)
    outputs = files * frame.nbytes
    tile_outputs = files * frame.nbytes * box.shape[0] * box.shape[1] // frame.pixels
    strip = _STRIP * min(2 * side, shape[1]) * frame.channels * _FLOAT
    held = n_frames if hold else 0
    if hold and not alignment.is_off:
        held += 1  # room for a frame that is moved
    # Decoding holds the file beside the pixels, and the pixels twice while they turn.
    decode = 3 * frame.nbytes
    encode = 2 * frame.nbytes
    by_rows = all(one.written_by_rows for one in _formats(methods, suffix))
    band = 3 * min(frame.nbytes, BAND_BYTES)
    # A stack's memory is kept for the next one, which is decoded and aligned beside it.
    beside = encode, cells * CELL_BYTES, scoring, registration, decode
    # A large tile needs no more than a task that does all of what is staged.
    staged = process + outputs + at_once + max(beside)
    found = Footprint(
        whole=staged + held * frame.nbytes,
        # Of a frame that is decoded the pixels are held anyway.
        thread=at_once + decode - frame.nbytes,
        spread=staged,
        stage=process + (band if frame.read_by_rows else decode),
        align=process + registration,
        settle=PROCESS + _settling(cells),
        tile=process + in_tile + tile_outputs + strip * (1 + moving),
        encode=process + max(band if by_rows else 2 * encode, scoring),
    )
    return replace(found, spread=max(staged, found.split))


def _middle(shape: tuple[int, int], rows: int, columns: int) -> Box:
    """A tile of at most so many rows and columns, as far from all edges as it can be."""
    top = max(shape[0] - rows, 0) // 2 // _GRID * _GRID
    left = max(shape[1] - columns, 0) // 2 // _GRID * _GRID
    return Box(top, left, min(top + rows, shape[0]), min(left + columns, shape[1]))


def _cells(shape: tuple[int, int], methods: Sequence[Method], options: FusionOptions) -> int:
    """Cells of the decision map at most."""
    if not any(method.decided for method in methods):
        return 0
    return max(prod(level_shape(shape, map_level(each))) for each in possible(options))


def _formats(methods: Sequence[Method], suffix: str) -> Iterator[Format]:
    """The formats of all outputs."""
    wanted = of_suffix(suffix)
    for method in methods:
        yield wanted
        yield from (keeping(wanted, dtype, 1) for dtype in method.maps.values())


def _settling(cells: int) -> int:
    """Bytes that a decision map in scratch takes while it is settled."""
    if cells <= IN_MEMORY:
        return cells * CELL_BYTES
    return max(IN_MEMORY * CELL_BYTES, CHUNK**2 * CHUNK_BYTES)
