"""Fusing a stack tile by tile, all requested methods at once."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from batchstack.errors import OptionError, StackError
from batchstack.fusion.blend import Blend, HardBlend
from batchstack.fusion.codes import CODE_MAX, DATA_RANGES, to_pixels
from batchstack.fusion.decision import (
    Confidence,
    DecisionMap,
    Index,
    Survey,
    TileDecision,
    cell_box,
    index_type,
    map_level,
    resolved,
    settle,
    survey_reach,
)
from batchstack.fusion.methods import (
    Method,
    TileSetting,
    level_margins,
    level_reaches,
    select_methods,
)
from batchstack.fusion.prior import CompositeBlend
from batchstack.fusion.pyramid import level_shape
from batchstack.fusion.sweeps import Collapse, ReadWindow, Stack, show
from batchstack.fusion.tiles import Box, TilePlan, partition, tile_plan
from batchstack.options import DEFAULT_TILE, FusionOptions

if TYPE_CHECKING:
    from batchstack.fusion.blocks import Scratch

Pixels = npt.NDArray[Any]
Image = npt.NDArray[np.float32]


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
        Side of the tiles in pixels.  It changes memory and speed, never the result.

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
    """
    shape, dtype = check_frames(frames)
    chosen = select_methods(methods)
    size = (shape[0], shape[1])
    options = resolved(options or FusionOptions(), size)
    outputs = {
        name: np.empty(*output_form(name, chosen, shape, dtype))
        for method in chosen
        for name in method.outputs
    }

    def read(index: int, window: Box) -> Pixels:
        return frames[index][window.slices]

    fuse_image(read, len(frames), size, chosen, options, tile, outputs)
    return outputs


def fuse_image(
    read: ReadWindow,
    n_frames: int,
    shape: tuple[int, int],
    methods: Sequence[Method],
    options: FusionOptions,
    tile: int | None,
    outputs: dict[str, Pixels],
    scratch: "Scratch | None" = None,
) -> None:
    """Fuse a whole image into given arrays.

    Parameters
    ----------
    read, n_frames, shape, methods, options, scratch
        As for `fuse_tile`.
    tile : int, optional
        Side of the tiles in pixels.  By default methods that work in blocks of their own
        take the image at once, the others tiles of `DEFAULT_TILE`.
    outputs : dict of str to ndarray
        The arrays to fill, C-contiguous, of the forms that `output_form` gives.
    """
    options = resolved(options, shape)
    at_once = tile is None and n_frames == 2
    whole = Box(0, 0, *shape)
    boxes = [whole] if at_once else tiles(shape, tile, methods, options)
    decision = decide(read, n_frames, boxes, shape, methods, options, scratch)
    if at_once:
        swift, methods = _split(methods)
        if swift:
            mine = {name: outputs[name] for method in swift for name in method.outputs}
            _fuse_pair(read, whole, shape, swift, options, decision, scratch, mine)
        if not methods:
            return
        boxes = tiles(shape, tile, methods, options)
    for box in boxes:
        fused = fuse_tile(read, n_frames, box, shape, methods, options, decision, scratch)
        for name, values in fused.items():
            outputs[name][box.slices] = values


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


def tiles(
    shape: tuple[int, int], tile: int | None, methods: Sequence[Method], options: FusionOptions
) -> list[Box]:
    """The tiles of an image of `shape` (rows, columns), in reading order.

    Their side is `tile` pixels, by default `DEFAULT_TILE`, rounded up to the grid.
    """
    tile = DEFAULT_TILE if tile is None else tile
    if tile < 1:
        raise OptionError(f"tile is {tile}; give a number of pixels from 1 up")
    return list(partition(shape, tile, len(level_reaches(methods, resolved(options, shape)))))


def output_form(
    name: str, methods: Sequence[Method], shape: tuple[int, ...], dtype: np.dtype[np.generic]
) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape and type of an output: those of the frames, but for maps."""
    for method in methods:
        if name in method.maps:
            return shape[:2], np.dtype(method.maps[name])
    return shape, dtype


def decide(
    read: ReadWindow,
    n_frames: int,
    boxes: Sequence[Box],
    shape: tuple[int, int],
    methods: Sequence[Method],
    options: FusionOptions,
    scratch: "Scratch | None" = None,
) -> DecisionMap | None:
    """The decision map of a whole image, if any of the methods looks it up.

    Parameters
    ----------
    read, n_frames, shape, methods, options, scratch
        As for `fuse_tile`.
    boxes : sequence of Box
        All `tiles` of the image, or one box that is the image.
    """
    if not any(method.decided for method in methods):
        return None
    options = resolved(options, shape)
    level = map_level(options)
    cells = level_shape(shape, level)
    index = np.empty(cells, index_type(n_frames))
    confidence = np.empty(cells, np.uint8)
    for box in boxes:
        place = cell_box(box, level).slices
        index[place], confidence[place] = survey_tile(read, n_frames, box, shape, options, scratch)
    return DecisionMap(*settle(index, confidence, options.evidence), level)


def survey_tile(
    read: ReadWindow,
    n_frames: int,
    tile: Box,
    shape: tuple[int, int],
    options: FusionOptions,
    scratch: "Scratch | None" = None,
) -> tuple[Index, Confidence]:
    """What one tile contributes to the decision map, before it is settled.

    Parameters
    ----------
    read, n_frames, tile, shape, options, scratch
        As for `fuse_tile`.

    Returns
    -------
    index : ndarray of uint8 or uint16
        Index of the frame with the most activity, over `cell_box` of the tile.
    confidence : ndarray of uint8, the same shape
    """
    options = resolved(options, shape)
    level = map_level(options)
    reaches = (0,) * level + (survey_reach(options),)
    plan = tile_plan(tile, shape, reaches)
    if n_frames == 2:
        from batchstack.fusion.pair_map import survey_pair

        back, front = (read(index, plan.guard) for index in range(2))
        return survey_pair(back, front, plan, options, scratch)
    survey = Survey(n_frames, options.focus_sigma)
    stack = Stack(read, n_frames, plan, options)
    for index in range(n_frames):
        survey.add(index, stack.frame(index).gaussian(level))
    wanted = cell_box(tile, level).within(plan.levels[level].analysed).slices
    return survey.index[wanted], survey.confidence()[wanted]


def fuse_tile(
    read: ReadWindow,
    n_frames: int,
    tile: Box,
    shape: tuple[int, int],
    methods: Sequence[Method],
    options: FusionOptions,
    decision: DecisionMap | None = None,
    scratch: "Scratch | None" = None,
) -> dict[str, Pixels]:
    """Fuse one tile of a stack.

    Parameters
    ----------
    read : callable
        Frame index and box to the pixels of that frame in that box.
    n_frames : int
    tile : Box
        One of `tiles`.
    shape : (int, int)
        Rows and columns of the whole image.
    methods : sequence of Method
    options : FusionOptions
    decision : DecisionMap, optional
        Of the whole image, for methods that look it up; see `decide`.
    scratch : Scratch, optional
        Working memory to keep from call to call; not for two threads at once.

    Returns
    -------
    dict of str to ndarray
        Output name to the pixels of the tile, in the type of the frames.
    """
    options = resolved(options, shape)
    fused: dict[str, Pixels] = {}
    if n_frames == 2:
        swift, methods = _split(methods)
        if swift:
            fused = _fuse_pair(read, tile, shape, swift, options, decision, scratch)
        if not methods:
            return fused
    plan = _plan(tile, shape, methods, options)
    stack = Stack(read, n_frames, plan, options)
    setting = TileSetting(
        options,
        plan,
        None if decision is None else TileDecision(decision, plan, options),
    )
    blends: dict[tuple[str, int], Blend] = {
        (method.name, level): method.blend(setting, level)
        for method in methods
        if method.blend is not None
        for level in method.blended_levels(options)
    }
    composite = None
    if setting.decision is not None and any(method.finish for method in methods):
        composite = blends["composite", 0] = CompositeBlend(setting.decision)
    show(stack, blends)
    for method in methods:
        fused |= _maps(method, blends.get((method.name, 0)), setting, n_frames)
        if method.output is not None:
            collapse = Collapse(plan)
            for level in reversed(method.blended_levels(options)):
                collapse.add(level, blends.pop((method.name, level)).result())
            image = collapse.image
            if method.finish is not None and composite is not None:
                wanted = tile.within(plan.levels[0].analysed).slices
                image = method.finish(options, image, composite.result()[wanted])
            fused[method.output] = to_pixels(image, stack.dtype, options)
    return fused


def _split(methods: Sequence[Method]) -> tuple[list[Method], list[Method]]:
    """The methods that have a faster way for pairs, and the others."""
    swift = [method for method in methods if method.swift]
    return swift, [method for method in methods if method not in swift]


def _fuse_pair(
    read: ReadWindow,
    tile: Box,
    shape: tuple[int, int],
    methods: Sequence[Method],
    options: FusionOptions,
    decision: DecisionMap | None,
    scratch: "Scratch | None",
    outputs: dict[str, Pixels] | None = None,
) -> dict[str, Pixels]:
    from batchstack.fusion.pairs import fuse_pair

    plan = _plan(tile, shape, methods, options)
    back, front = (read(index, plan.guard) for index in range(2))
    return fuse_pair(back, front, plan, methods, options, scratch, outputs, decision)


def _plan(
    tile: Box, shape: tuple[int, int], methods: Sequence[Method], options: FusionOptions
) -> TilePlan:
    reaches, margins = level_reaches(methods, options), level_margins(methods, options)
    return tile_plan(tile, shape, reaches, margins)


def _maps(
    method: Method, blend: Blend | None, setting: TileSetting, n_frames: int
) -> dict[str, Pixels]:
    """The maps of a method over the tile."""
    tile = setting.plan.tile
    if isinstance(blend, HardBlend):
        index = blend.decision[tile.within(setting.plan.levels[0].analysed).slices]
        last = n_frames - 1
        mask = np.rint((last - index.astype(np.float64)) * (CODE_MAX / last)).astype(np.uint8)
        return dict.fromkeys(method.maps, mask)
    if not method.maps:
        return {}
    assert setting.decision is not None
    maps = setting.decision.depth(n_frames), setting.decision.confidence()
    return dict(zip(method.maps, maps, strict=True))
