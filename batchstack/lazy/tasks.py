"""What the tasks of `lazy.graph` do: NumPy arrays in, NumPy arrays and small values out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack.fusion import strips
from batchstack.fusion.decision import Confidence, DecisionMap, Index, cell_box
from batchstack.fusion.engine import StackToFuse, as_shown, fuse_tile, survey_tile
from batchstack.fusion.methods import select_methods
from batchstack.fusion.pyramid import level_shape
from batchstack.fusion.rules import map_level
from batchstack.fusion.strips import Border, Nearest, Verdict
from batchstack.geometry import Box
from batchstack.lazy.windows import Cells, Frames, Place
from batchstack.options import FusionOptions

Pixels = npt.NDArray[Any]
# The level of the decision map, and from how far away details are drawn to its frame.
Found = tuple[int, float | None]


@dataclass(frozen=True)
class Job:
    """What all tasks of a stack know of it.

    Attributes
    ----------
    n_frames : int
    channels : int or None
        Of a frame; None for frames of shape (Y, X).
    dtype : dtype
    shape : (int, int)
        Rows and columns of a frame.
    methods : tuple of str
        Methods do not travel between processes, their names do.
    options : FusionOptions
    """

    n_frames: int
    channels: int | None
    dtype: np.dtype[Any]
    shape: tuple[int, int]
    methods: tuple[str, ...]
    options: FusionOptions

    def stack(
        self, places: Sequence[Place], pieces: Sequence[Pixels], found: Found | None
    ) -> StackToFuse:
        """The stack as far as it is there, with what its frames show if it is known."""
        frames = Frames(places, pieces, self.channels, self.dtype)
        options = self.options
        if found is not None:
            options = replace(options, map_level=found[0], shrink=found[1])
        methods = select_methods(self.methods)
        return StackToFuse(frames.read, self.n_frames, self.shape, methods, options)


@dataclass(frozen=True, eq=False)
class Strip:
    """A strip of a decision map as surveyed; `top` is its first row in the map.

    `beside` is what stays as it is: the offsets, if a method writes depth.
    """

    index: Index
    confidence: Confidence
    beside: tuple[Confidence, ...]
    top: int


@dataclass(frozen=True, eq=False)
class Settled:
    """Cells of a settled decision map, and the row and column of the map where they begin.

    `planes` are those of a `DecisionMap`, in their order.
    """

    planes: tuple[Pixels, ...]
    corner: tuple[int, int]


def cut(rows: slice, columns: slice, chunk: Pixels) -> Pixels:
    """A part of a chunk, as a copy that does not keep all of it in memory."""
    return np.asarray(chunk)[..., rows, columns].copy()


def nothing(done: object) -> None:
    """What stands for something that is done, without keeping it."""


def find_shown(job: Job, places: Sequence[Place], pieces: Sequence[Pixels]) -> Found:
    """What the frames show in a few windows."""
    options = as_shown(job.stack(places, pieces, None)).options
    return map_level(options), options.shrink


def survey(
    job: Job, box: Box, places: Sequence[Place], pieces: Sequence[Pixels], found: Found
) -> tuple[Pixels, ...]:
    """What a tile contributes to the decision map."""
    return survey_tile(job.stack(places, pieces, found), box)


def make_strip(top: int, tiles: Sequence[tuple[Pixels, ...]], found: Found) -> Strip:
    """The strip of tiles that lie side by side; `top` is in pixels."""
    sides = zip(*tiles, strict=True)
    index, confidence, *beside = (np.concatenate(side, axis=1) for side in sides)
    return Strip(index, confidence, tuple(beside), top >> found[0])


def border(strip: Strip) -> Border:
    """What the neighbours of a strip must know of it."""
    return strips.border(strip.index, strip.confidence)


def judge(evidence: int, borders: Sequence[Border]) -> list[Verdict]:
    """Which regions on the borders of strips stay."""
    return strips.judge(borders, evidence)


def staying(evidence: int, number: int, strip: Strip, verdicts: Sequence[Verdict]) -> Confidence:
    """The cells of a strip, which is the `number`th, that stay."""
    return strips.staying(strip.index, strip.confidence, evidence, verdicts[number])


def note_below(strip: Strip, stays: Confidence, below: Nearest | None = None) -> Nearest:
    """What is nearest below the strip above."""
    below = below or Nearest.none(stays.shape[1])
    return strips.note_below(strip.index, stays, strip.top, below)


def fill(
    strip: Strip,
    stays: Confidence,
    verdicts: Sequence[Verdict],
    above: Nearest | None,
    below: Nearest | None,
) -> tuple[Settled, Nearest]:
    """A settled strip, and what is nearest above the strip below."""
    none = Nearest.none(stays.shape[1])
    cells, noted = strips.fill(
        (strip.index, strip.confidence),
        stays,
        strip.top,
        above or none,
        below or none,
        verdicts[0].commonest,
    )
    return Settled((*cells, *strip.beside), (strip.top, 0)), noted


def cut_cells(window: Box, strip: Settled, found: Found, gate: None = None) -> Settled:
    """The columns of a strip that a window, in pixels, looks at, as a copy, once a gate is open."""
    cells = cell_box(window, found[0])
    columns = slice(cells.left, cells.right)
    planes = tuple(values[:, columns].copy() for values in strip.planes)
    return Settled(planes, (strip.corner[0], cells.left))


def fuse(
    job: Job,
    box: Box,
    places: Sequence[Place],
    pieces: Sequence[Pixels],
    found: Found | None = None,
    settled: Sequence[Settled] = (),
) -> dict[str, Pixels]:
    """All outputs of a tile."""
    decision = None if found is None else _decision(job.shape, settled, found)
    return fuse_tile(job.stack(places, pieces, found), box, decision)


def output(name: str, fused: dict[str, Pixels]) -> Pixels:
    """One output of a tile, of shape (C, Y, X)."""
    pixels = fused[name]
    return pixels[np.newaxis] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


def _decision(shape: tuple[int, int], settled: Sequence[Settled], found: Found) -> DecisionMap:
    """What is there of the decision map, strip upon strip."""
    corner, size = settled[0].corner, level_shape(shape, found[0])
    strips_of = zip(*(one.planes for one in settled), strict=True)
    index, confidence, trust, *offset = (
        Cells(np.concatenate(one), corner, size) for one in strips_of
    )
    return DecisionMap(index, confidence, trust, *found, *offset)
