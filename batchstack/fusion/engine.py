"""Fusing a stack tile by tile, all requested methods at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import gcd, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack.errors import OptionError, StackError
from batchstack.fusion.codes import DATA_RANGES
from batchstack.fusion.decision import (
    DecisionMap,
    Planes,
    cell_box,
    depth,
    index_type,
    nearest,
    settle,
    survey,
)
from batchstack.fusion.methods import (
    Method,
    asks_frames,
    level_margins,
    level_reaches,
    select_methods,
)
from batchstack.fusion.pyramid import level_shape
from batchstack.fusion.rules import Weights, drawn_from, map_level
from batchstack.fusion.scale import coarsest, shown
from batchstack.fusion.scratch import Scratch
from batchstack.fusion.stack import Canvas, Stack
from batchstack.fusion.team import Team
from batchstack.fusion.tiles import ReadWindow, TilePlan, grid_step, partition, tile_plan
from batchstack.geometry import Box
from batchstack.options import DEFAULT_TILE, FusionOptions

Pixels = npt.NDArray[Any]

# Frames times columns of a stripe, and its columns at least and at most.
_COLUMNS, _LEAST, _MOST = 131072, 2048, 4096
# Rows that a large tile has at least: what is read round them is then a small part of the work.
_LEAST_ROWS = 512
# Rows of a depth map that are made at once.
_DEPTH_ROWS = 64


@dataclass(frozen=True, eq=False)
class StackToFuse:
    """The frames of a stack, and what is made of them.

    Attributes
    ----------
    read : callable
        Frame index and box to the pixels of that frame in that box.
    n_frames : int
    shape : (int, int)
        Rows and columns of the whole image.
    methods : sequence of Method
    options : FusionOptions
        With the `map_level` of the image wherever the decision map is made or looked up.
    """

    read: ReadWindow
    n_frames: int
    shape: tuple[int, int]
    methods: Sequence[Method]
    options: FusionOptions

    @property
    def form(self) -> Stack:
        """What the frames are like."""
        pixel = self.pixel
        return Stack(self.n_frames, prod(pixel.shape[2:]), pixel.dtype, self.options)

    @property
    def pixel(self) -> Pixels:
        """The first pixel of the first frame, of shape (1, 1) or (1, 1, C)."""
        return self.read(0, Box(0, 0, 1, 1))

    @property
    def is_decided(self) -> bool:
        """Whether any of the methods looks up the decision map."""
        return any(method.decided for method in self.methods)

    @property
    def is_deep(self) -> bool:
        """Whether any of the methods writes depth."""
        return any(method.writes_depth for method in self.methods)

    def plan(self, tile: Box) -> TilePlan:
        """What the methods look at for a tile."""
        reaches = level_reaches(self.methods, self.options)
        return tile_plan(tile, self.shape, reaches, level_margins(self.methods, self.options))


def fuse(
    frames: Sequence[Pixels],
    methods: Iterable[str] = ("all",),
    options: FusionOptions | None = None,
    *,
    tile: int | None = None,
) -> dict[str, Pixels]:
    """Fuse the frames of a stack into images that are sharp throughout.

    Parameters
    ----------
    frames : sequence of ndarray, shape (H, W) or (H, W, C)
        Two or more, from back (focused far) to front (focused near); uint8, uint16 or
        float32, all of the same shape and type.
    methods : iterable of str
        Keys of `METHODS`, or "all".
    options : FusionOptions, optional
    tile : int, optional
        Columns that are fused at once, by default `stripe_columns`.  They change memory and speed,
        never the result.

    Returns
    -------
    dict of str to ndarray
        Output name to image in the shape and type of the frames; maps are of shape (H, W):
        `blending_mask` is uint8, 255 = back and 0 = front, `depth_map` uint16, 0 = back and
        65535 = front.

    Raises
    ------
    StackError
        If the frames do not fit together.
    OptionError
        If a method is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> import batchstack
    >>> back, front = np.full((2, 60, 80, 3), 128, np.uint8)
    >>> fused = batchstack.fuse([back, front], ["direct", "depth_map"])
    >>> sorted(fused)
    ['depth_confidence', 'depth_map', 'focus_stacked_direct']
    >>> fused["focus_stacked_direct"].shape, fused["depth_map"].dtype
    ((60, 80, 3), dtype('uint16'))
    """
    shape, _ = check_frames(frames)
    chosen = select_methods(methods)

    def read(index: int, window: Box) -> Pixels:
        return frames[index][window.slices]

    size = shape[0], shape[1]
    stack = StackToFuse(read, len(frames), size, chosen, options or FusionOptions())
    return fuse_image(stack, tile)


def fuse_image(
    stack: StackToFuse, tile: int | None = None, team: Team | None = None
) -> dict[str, Pixels]:
    """Fuse a whole image, in stripes from top to bottom.

    Parameters
    ----------
    stack : StackToFuse
    tile : int, optional
        Columns of the stripes, by default `stripe_columns`.
    team : Team, optional
        Threads that share the work, by stripes or parts of them, and their working memory, which
        is kept from call to call; by default the one that asks.

    Returns
    -------
    dict of str to ndarray
        As of `fuse`; if `team` is given they lie in its memory, until its next call.
    """
    stack, team = as_shown(stack), team or Team([Scratch()])
    columns = stripe_columns(tile, stack.n_frames)
    boxes = _stripes(stack.shape, columns, stack.methods, stack.options)
    if team.size > 1:
        stack = replace(stack, read=team.reading(stack.read))
        like = stack.n_frames, stack.methods, stack.options
        boxes = large_tiles(stack.shape, team.size, tile, *like)
    decision = decide(stack, boxes, team)
    outputs = _Outputs(stack, Box(0, 0, *stack.shape), team.scratch)
    team.each(lambda box, scratch: outputs.fuse(box, decision, scratch), boxes)
    return outputs.by_name


def as_shown(stack: StackToFuse) -> StackToFuse:
    """A stack whose options have what its frames show, as far as its methods ask for it.

    Those are the level of the decision map, and how far details are drawn to its frame; what is
    given stays.
    """
    options = stack.options
    level, shrink = options.map_level if stack.is_decided else None, options.shrink
    if asks_frames(stack.methods, options):
        found = shown(stack.read, stack.n_frames, stack.shape, options.data_range)
        level = found.level if level is None else level
        shrink = drawn_from(found.noise) if shrink is None else shrink
    return replace(stack, options=replace(options, map_level=level, shrink=shrink))


def check_frames(frames: Sequence[Pixels]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape and type that all frames share.

    Raises
    ------
    StackError
        If there are fewer than two, they differ, or their type is not supported.
    """
    if len(frames) < 2:
        raise StackError(f"a stack needs two or more frames, not {len(frames)}")
    shape, dtype = frames[0].shape, frames[0].dtype
    for index, frame in enumerate(frames):
        if frame.shape != shape or frame.dtype != dtype:
            raise StackError(
                f"frame {index} is {frame.shape} {frame.dtype}, frame 0 is {shape} {dtype}; "
                "all frames of a stack must agree"
            )
    if dtype.name not in DATA_RANGES:
        raise StackError(f"frames are {dtype}; convert them to uint8, uint16 or float32")
    if len(shape) not in (2, 3) or 0 in shape:
        raise StackError(f"frames have shape {shape}; give (H, W) or (H, W, C), none of them 0")
    return shape, dtype


def stripe_columns(tile: int | None, n_frames: int) -> int:
    """Columns of the stripes of an image that is fused at once: those of its tiles if given.

    By default they are as many as rows of so many frames may have: the wider stripes are, the less
    is computed twice, and the more memory their rows take.
    """
    if tile is None:
        return min(max(_COLUMNS // n_frames, _LEAST), _MOST)
    return _checked(tile)


def tiles(
    shape: tuple[int, int], tile: int | None, methods: Sequence[Method], options: FusionOptions
) -> list[Box]:
    """The tiles of an image of `shape` (rows, columns), in reading order.

    Their side is `tile` pixels, by default `DEFAULT_TILE`, rounded up to the grid of the coarsest
    decision map that the image may have: what the frames show is not known yet.
    """
    side = DEFAULT_TILE if tile is None else _checked(tile)
    return list(partition(shape, side, len(level_reaches(methods, coarsest(options)))))


def large_tiles(
    shape: tuple[int, int],
    count: int,
    tile: int | None,
    n_frames: int,
    methods: Sequence[Method],
    options: FusionOptions,
) -> list[Box]:
    """Tiles for `count` threads that share the work on one image, in reading order.

    They are the stripes of `fuse_image`, cut across only as often as it takes to share them
    evenly: what is computed twice is little, unlike with many small `tiles`.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the image.
    count : int
    tile : int, optional
        Columns of the stripes, by default `stripe_columns`.
    n_frames, methods, options
        As for `fuse_tile`.
    """
    options = coarsest(options)
    stripes = _stripes(shape, stripe_columns(tile, n_frames), methods, options)
    # A multiple of the threads, or two for each, among which the last to end matters less.
    cuts = min(count // gcd(count, len(stripes)), -(-2 * count // len(stripes)))
    step = grid_step(len(level_reaches(methods, options)))
    rows = -(-max(-(-shape[0] // cuts), _LEAST_ROWS) // step) * step
    return [
        Box(top, stripe.left, min(top + rows, shape[0]), stripe.right)
        for top in range(0, shape[0], rows)
        for stripe in stripes
    ]


def _checked(tile: int) -> int:
    if tile < 1:
        raise OptionError(f"tile is {tile}; give a number of pixels from 1 up")
    return tile


def _stripes(
    shape: tuple[int, int], columns: int, methods: Sequence[Method], options: FusionOptions
) -> list[Box]:
    """Tiles as high as the image, of at most so many columns and alike as far as possible."""
    step = grid_step(len(level_reaches(methods, options)))
    count = -(-shape[1] // (-(-columns // step) * step))
    width = -(-shape[1] // (count * step)) * step
    return [
        Box(0, left, shape[0], min(left + width, shape[1])) for left in range(0, shape[1], width)
    ]


def output_form(
    name: str, methods: Sequence[Method], shape: tuple[int, ...], dtype: np.dtype[np.generic]
) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape and type of an output: those of the frames, but for maps."""
    for method in methods:
        if name in method.maps:
            return shape[:2], np.dtype(method.maps[name])
    return shape, dtype


def decide(
    stack: StackToFuse, boxes: Sequence[Box], team: Team | None = None
) -> DecisionMap | None:
    """The decision map of a whole image, if any of the methods looks it up.

    Parameters
    ----------
    stack : StackToFuse
    boxes : sequence of Box
        That partition the image, such as all `tiles`.
    team : Team, optional
        As for `fuse_image`.
    """
    if not stack.is_decided:
        return None
    stack, team = as_shown(stack), team or Team([Scratch()])
    level = map_level(stack.options)
    cells = level_shape(stack.shape, level)
    index = np.empty(cells, index_type(stack.n_frames))
    confidence = np.empty(cells, np.uint8)
    offset = np.empty(cells, np.uint8) if stack.is_deep else None

    def look(box: Box, scratch: Scratch) -> None:
        at = cell_box(box, level).slices
        index[at], confidence[at], *beside = survey_tile(stack, box, scratch)
        if offset is not None:
            offset[at] = beside[0]

    team.each(look, boxes)
    return DecisionMap(
        *settle(index, confidence, stack.options.evidence), level, stack.options.shrink, offset
    )


def survey_tile(
    stack: StackToFuse, tile: Box, scratch: Scratch | None = None
) -> tuple[Pixels, ...]:
    """What one tile contributes to the decision map, before it is settled.

    Parameters
    ----------
    stack, tile, scratch
        As for `fuse_tile`; the options have a `map_level`, see `as_shown`.

    Returns
    -------
    index : ndarray of uint8 or uint16
        Index of the frame with the most activity, over `cell_box` of the tile.
    confidence : ndarray of uint8, the same shape
    offset : ndarray of uint8, the same shape
        As of `DecisionMap`; only if a method writes depth.
    """
    surveyed = replace(stack, methods=(survey(stack.options.focus_sigma),))
    level, plan = map_level(stack.options), surveyed.plan(tile)
    held = plan.levels[level].held if level else tile
    index, confidence = np.empty(held.shape, np.uint16), np.empty(held.shape, np.uint8)
    nothing = np.empty((0, 0, 0), stack.pixel.dtype)
    offset = np.empty(held.shape if stack.is_deep else (0, 0), np.uint8)
    canvas = Canvas(nothing, nothing.astype(np.uint8), index, confidence, offset, (0, 0))
    _run(surveyed, plan, canvas, scratch or Scratch())
    wanted = cell_box(tile, level).within(held).slices
    maps = index[wanted].astype(index_type(stack.n_frames)), confidence[wanted]
    return (*maps, offset[wanted]) if stack.is_deep else maps


def fuse_tile(
    stack: StackToFuse,
    tile: Box,
    decision: DecisionMap | None = None,
    scratch: Scratch | None = None,
) -> dict[str, Pixels]:
    """Fuse one tile of a stack.

    Parameters
    ----------
    stack : StackToFuse
    tile : Box
        One of `tiles`.
    decision : DecisionMap, optional
        Of the whole image, for methods that look it up; see `decide`.
    scratch : Scratch, optional
        Working memory to keep from call to call; not for two threads at once.

    Returns
    -------
    dict of str to ndarray
        Output name to the pixels of the tile, in the type of the frames; if `scratch` is given
        they lie in it, until its next call.
    """
    if decision is not None:
        found = replace(stack.options, map_level=decision.level, shrink=decision.shrink)
        stack = replace(stack, options=found)
    scratch = scratch or Scratch()
    outputs = _Outputs(stack, tile, scratch)
    outputs.fuse(tile, decision, scratch)
    return outputs.by_name


class _Outputs:
    """All outputs of a box of the image.

    Attributes
    ----------
    by_name : dict of str to ndarray
    """

    def __init__(self, stack: StackToFuse, box: Box, scratch: Scratch) -> None:
        blending = tuple(method for method in stack.methods if method.weights is not None)
        voting = [method for method in blending if method.weights == Weights.HARD]
        self._stack, self._blending = stack, replace(stack, methods=blending)
        self._box = box
        pixel, (rows, columns) = stack.pixel, box.shape
        shape = len(blending), rows, columns * prod(pixel.shape[2:])
        images = scratch.array("images", shape, pixel.dtype)
        masks = scratch.array("masks", (len(voting), rows, columns), np.uint8)
        nothing = np.empty((0, 0), np.uint8)
        corner = box.top, box.left
        self._canvas = Canvas(images, masks, nothing.astype(np.uint16), nothing, nothing, corner)
        self.by_name: dict[str, Pixels] = {}
        for method in stack.methods:
            if method in blending:
                image = images[blending.index(method)]
                self.by_name[method.outputs[0]] = image.reshape(rows, columns, *pixel.shape[2:])
            for name, dtype in method.maps.items():
                self.by_name[name] = (
                    masks[voting.index(method)]
                    if method in voting
                    else scratch.array(name, box.shape, dtype)
                )

    def fuse(self, tile: Box, decision: DecisionMap | None, scratch: Scratch) -> None:
        """Fill in what lies in a tile, with some working memory."""
        if self._blending.methods:
            plan, cells = self._blending.plan(tile), []
            if decision is not None:
                window = cell_box(plan.window, decision.level).slices
                cells = [decision.index[window], decision.trust[window]]
            _run(self._blending, plan, self._canvas, scratch, *cells)
        for method in self._stack.methods:
            if decision is not None and decision.offset is not None and method.writes_depth:
                for top in range(tile.top, tile.bottom, _DEPTH_ROWS):
                    rows = min(_DEPTH_ROWS, tile.bottom - top)
                    band = Box(top, tile.left, top + rows, tile.right)
                    self._look_up_depth(band, method, decision, decision.offset)

    def _look_up_depth(
        self, band: Box, method: Method, decision: DecisionMap, offset: Planes
    ) -> None:
        depths, confidences = (self.by_name[name] for name in method.maps)
        at, level = band.within(self._box).slices, decision.level
        index, beside, confidence = (
            nearest(plane, level, band) for plane in (decision.index, offset, decision.confidence)
        )
        depths[at] = depth(index, beside, confidence, self._stack.n_frames)
        confidences[at] = confidence


def _run(
    stack: StackToFuse, plan: TilePlan, canvas: Canvas, scratch: Scratch, *cells: Pixels
) -> None:
    # Who only plans does not wait for the kernels.
    from batchstack.fusion.fusing import Fusion

    Fusion(stack.read, stack.form, plan, tuple(stack.methods), canvas, scratch, *cells).run()
