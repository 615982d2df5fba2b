"""Fusing a stack tile by tile, all requested methods at once."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack.errors import OptionError, StackError
from batchstack.fusion.bands import Band, Bands, expand_held
from batchstack.fusion.blend import Blend, HardBlend
from batchstack.fusion.methods import Method, level_reaches, select_methods
from batchstack.fusion.tiles import Box, TilePlan, partition, tile_plan
from batchstack.options import DEFAULT_TILE, FusionOptions

Pixels = npt.NDArray[Any]
Image = npt.NDArray[np.float32]
ReadWindow = Callable[[int, Box], Pixels]

CODE_MAX = 255.0  # frames are computed in units of 8-bit code values
DATA_RANGES = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}


def fuse(
    frames: Sequence[Pixels],
    methods: Iterable[str] = ("all",),
    options: FusionOptions | None = None,
    *,
    tile: int = DEFAULT_TILE,
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
    tile : int
        Side of the tiles in pixels.  It changes memory and speed, never the result.

    Returns
    -------
    dict of str to ndarray
        Output name to image in the shape and type of the frames; decision maps are
        uint8 of shape (H, W), 255 = back and 0 = front.

    Raises
    ------
    StackError
        If the frames do not fit together.
    OptionError
        If a method is unknown.
    """
    options = options or FusionOptions()
    shape, dtype = check_frames(frames)
    chosen = select_methods(methods)
    size = (shape[0], shape[1])
    outputs: dict[str, Pixels] = {}
    for method in chosen:
        outputs[method.output] = np.empty(shape, dtype)
        if method.mask:
            outputs[method.mask] = np.empty(shape[:2], np.uint8)
    for box in tiles(size, tile, chosen, options):
        fused = fuse_tile(
            lambda index, window: frames[index][window.slices],
            len(frames),
            box,
            size,
            chosen,
            options,
        )
        for name, values in fused.items():
            outputs[name][box.slices] = values
    return outputs


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
    shape: tuple[int, int], tile: int, methods: Sequence[Method], options: FusionOptions
) -> list[Box]:
    """The tiles of an image of `shape` (rows, columns), in reading order."""
    if tile < 1:
        raise OptionError(f"tile is {tile}; give a number of pixels from 1 up")
    return list(partition(shape, tile, len(level_reaches(methods, options))))


def fuse_tile(
    read: ReadWindow,
    n_frames: int,
    tile: Box,
    shape: tuple[int, int],
    methods: Sequence[Method],
    options: FusionOptions,
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

    Returns
    -------
    dict of str to ndarray
        Output name to the pixels of the tile, in the type of the frames.
    """
    plan = tile_plan(tile, shape, level_reaches(methods, options))
    stack = _Stack(read, n_frames, plan, options)
    if n_frames == 2:
        fused = _level_by_level(stack, methods, options)
    else:
        fused = _frame_by_frame(stack, methods, options)
    return {
        name: values if values.dtype == np.uint8 else to_pixels(values, stack.dtype, options)
        for name, values in fused.items()
    }


class _Stack:
    """The frames of one tile, taken apart one at a time."""

    def __init__(
        self, read: ReadWindow, n_frames: int, plan: TilePlan, options: FusionOptions
    ) -> None:
        self._read = read
        self._options = options
        self.n_frames = n_frames
        self.plan = plan
        self.dtype: np.dtype[np.generic] = np.dtype(np.uint8)

    def bands(self, index: int) -> Bands:
        pixels = self._read(index, self.plan.guard)
        self.dtype = pixels.dtype
        window = to_code_values(pixels, self._options)
        return Bands(window, self.plan, self._options.kernel)


def _level_by_level(
    stack: _Stack, methods: Sequence[Method], options: FusionOptions
) -> dict[str, Pixels]:
    """Pairs: both frames are held, the activities of one level at a time."""
    frames = [stack.bands(index) for index in range(stack.n_frames)]
    fusing = {method.output: _Collapse(stack.plan) for method in methods}
    masks: dict[str, Pixels] = {}
    for level in reversed(range(len(stack.plan.levels))):
        bands = [frame.band(level) for frame in frames]
        for method in methods:
            if not _blends(method, level):
                continue
            blend = method.blend(options, level)
            inputs = bands if method.pyramid else [frame.frame() for frame in frames]
            for sweep in range(blend.sweeps):
                for index, band in enumerate(inputs):
                    blend.add(sweep, index, band)
            fusing[method.output].add(level, blend.result())
            _keep_mask(masks, method, blend, level, stack)
    return {name: collapse.image for name, collapse in fusing.items()} | masks


def _frame_by_frame(
    stack: _Stack, methods: Sequence[Method], options: FusionOptions
) -> dict[str, Pixels]:
    """Longer stacks: one frame is held at a time, the running results of all levels."""
    levels = range(len(stack.plan.levels))
    blends = {
        (method.name, level): method.blend(options, level)
        for method in methods
        for level in levels
        if _blends(method, level)
    }
    for sweep in range(max(blend.sweeps for blend in blends.values())):
        for index in range(stack.n_frames):
            frame = stack.bands(index)
            for level in levels:
                _sweep_level(frame, level, methods, blends, sweep, index)
    fused: dict[str, Pixels] = {}
    for method in methods:
        collapse = _Collapse(stack.plan)
        for level in reversed(levels):
            if _blends(method, level):
                blend = blends.pop((method.name, level))
                collapse.add(level, blend.result())
                _keep_mask(fused, method, blend, level, stack)
        fused[method.output] = collapse.image
    return fused


def _sweep_level(
    frame: Bands,
    level: int,
    methods: Sequence[Method],
    blends: dict[tuple[str, int], Blend],
    sweep: int,
    index: int,
) -> None:
    band: dict[bool, Band] = {}
    for method in methods:
        blend = blends.get((method.name, level))
        if blend is None or sweep >= blend.sweeps:
            continue
        if method.pyramid not in band:
            band[method.pyramid] = frame.band(level) if method.pyramid else frame.frame()
        blend.add(sweep, index, band[method.pyramid])


def _blends(method: Method, level: int) -> bool:
    return method.pyramid or level == 0


class _Collapse:
    """Collapses a pyramid level by level, coarsest first, as its bands arrive."""

    def __init__(self, plan: TilePlan) -> None:
        self._plan = plan
        self._image: Image | None = None

    def add(self, level: int, band: Image) -> None:
        here = self._plan.levels[level]
        band = band[here.held.within(here.analysed).slices]
        if self._image is None:
            self._image = band
        else:
            self._image = expand_held(self._image, self._plan.levels[level + 1], here) + band

    @property
    def image(self) -> Image:
        assert self._image is not None
        return self._image[self._plan.tile.within(self._plan.levels[0].held).slices]


def _keep_mask(
    masks: dict[str, Pixels], method: Method, blend: Blend, level: int, stack: _Stack
) -> None:
    if level == 0 and method.mask and isinstance(blend, HardBlend):
        index = blend.decision[stack.plan.tile.within(stack.plan.levels[0].analysed).slices]
        last = stack.n_frames - 1
        masks[method.mask] = np.rint((last - index.astype(np.float64)) * (CODE_MAX / last)).astype(
            np.uint8
        )


def to_code_values(pixels: Pixels, options: FusionOptions) -> Image:
    """Pixels of any supported type as float32 in units of 8-bit code values."""
    data_range = options.data_range or DATA_RANGES[pixels.dtype.name]
    values = np.ascontiguousarray(pixels, np.float32)
    if data_range == CODE_MAX:
        return values
    return values * np.float32(CODE_MAX / data_range)


def to_pixels(values: Image, dtype: np.dtype[np.generic], options: FusionOptions) -> Pixels:
    """8-bit code values back in the type of the frames: rounded, clipped, then cast."""
    data_range = options.data_range or DATA_RANGES[dtype.name]
    if data_range != CODE_MAX:
        values = values * np.float32(data_range / CODE_MAX)
    if dtype.kind == "f":
        return values.astype(dtype)
    rounded = np.rint(values)
    white = min(data_range, np.iinfo(dtype.name).max)
    return np.clip(rounded, 0, white, out=rounded).astype(dtype)
