"""The decision map of a pair, found and looked up in blocks.

Everything here is what `decision`, `prior` and `guided` define for any number of frames.  For a
pair the map itself is a lean, 1 for the back and -1 for the front frame, and one plane says of
both frames how much nearer one is than the other.
"""

from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from batchstack.fusion import cells, kernels
from batchstack.fusion.activity import ACTIVITY_REACH, gaussian_reach
from batchstack.fusion.blocks import Pair, Scratch, blocks, strips
from batchstack.fusion.codes import CODE_MAX
from batchstack.fusion.compiled import Pixels, Planes
from batchstack.fusion.decision import (
    COARSE,
    RISE,
    SHARP_SIGMA,
    Confidence,
    DecisionMap,
    Index,
    cell_box,
    confidence,
    disc,
    index_type,
    luma_shares,
    map_level,
)
from batchstack.fusion.guided import GAIN, guided_lines, moments
from batchstack.fusion.leans import gaussian_taps
from batchstack.fusion.prior import (
    STRENGTH_FLOOR,
    STRENGTH_GAIN,
    STRENGTH_SHARE,
    STRENGTH_SIGMA,
)
from batchstack.fusion.pyramid import EXPAND_REACH, REDUCE_REACH, level_shape
from batchstack.fusion.tiles import Box, TilePlan
from batchstack.options import FusionOptions


def survey_pair(
    back: Pixels,
    front: Pixels,
    plan: TilePlan,
    options: FusionOptions,
    scratch: Scratch | None = None,
) -> tuple[Index, Confidence]:
    """What one tile of a pair contributes to the decision map, before it is settled.

    Parameters
    ----------
    back, front : ndarray, shape (H, W) or (H, W, C)
        Pixels of both frames over `plan.guard`; uint8, uint16 or float32.
    plan : TilePlan
        For `survey_reach` on the level of the cells.
    options : FusionOptions
        Resolved for the image.
    scratch : Scratch, optional
        As for `fuse_pair`.

    Returns
    -------
    index : ndarray of uint8
        Index of the frame with the most activity, over `cell_box` of the tile.
    confidence : ndarray of uint8, the same shape
    """
    level, scratch = map_level(options), scratch or Scratch()
    pair = Pair(back, front, plan, options, level + 1, scratch)
    wanted = cell_box(plan.tile, level)
    index, sure = np.empty(wanted.shape, index_type(2)), np.empty(wanted.shape, np.uint8)
    reach = ACTIVITY_REACH + gaussian_reach(options.focus_sigma)
    for strip in strips(wanted, wanted, level):
        for block in blocks(strip):
            frames = pair.frames(level, block.grown(reach))
            back_focus, front_focus = _smooth_detail(
                frames, 0.0, options.focus_sigma, block, scratch
            )
            place = block.within(wanted).slices
            np.greater(front_focus, back_focus, out=index[place].view(np.bool_))
            best = np.maximum(back_focus, front_focus)
            sure[place] = confidence(best, np.minimum(back_focus, front_focus))
    return index, sure


def _smooth_detail(
    pair: Planes, share: float, sigma: float, block: Box, scratch: Scratch
) -> Planes:
    """`cells.detail` of both frames over a block, under a Gaussian window."""
    reach = gaussian_reach(sigma)
    detail = scratch.planes("detail", 2, *block.grown(reach).shape)
    cells.detail(pair, share, detail)
    return _smooth(detail, sigma, block, scratch)


def _smooth(planes: Planes, sigma: float, block: Box, scratch: Scratch) -> Planes:
    if not gaussian_reach(sigma):
        return planes
    smooth = scratch.planes("smooth", len(planes), *block.shape)
    cells.smooth_block(planes, gaussian_taps(sigma), smooth)
    return smooth


class PairMap:
    """What one tile of a pair looks up in the decision map.

    Parameters
    ----------
    decision : DecisionMap
    pair : Pair
        Of a pyramid with more levels than `decision.level`.
    """

    def __init__(self, decision: DecisionMap, pair: Pair) -> None:
        self._pair, self._options, self._scratch = pair, pair.options, pair.scratch
        # A copy in memory that is no file and may be written to is what kernels know.
        self._index, self._level = np.array(decision.index), decision.level
        self._hard: tuple[tuple[int, Box], Planes] | None = None

    def hard(self, level: int, block: Box) -> Planes:
        """Leans of the bare map; `level` is 0 or that of the cells."""
        if self._hard is None or self._hard[0] != (level, block):
            hard = self._scratch.planes("hard", 1, *block.shape)
            cells.hard(self._index, self._level - level, block.top, block.left, hard)
            self._hard = (level, block), hard
        return self._hard[1]

    def likelier(self, level: int, block: Box, bands: Planes, *, residual: bool) -> Planes:
        """Leans by likelihood times prior; `bands` is wider than the block by `prior_reach`."""
        near = self._near.block(level, block)
        share = 0.0 if residual else STRENGTH_SHARE
        strengths = _smooth_detail(bands, share, STRENGTH_SIGMA, block, self._scratch)
        leans = self._scratch.planes("leans", 1, *block.shape)
        cells.likelier(strengths, STRENGTH_GAIN, STRENGTH_FLOOR, near, self._options.prior, leans)
        return leans

    def guided(self, block: Box, frames: Planes, margin: int) -> Planes:
        """Leans of the map under a guided filter; `frames` is wider than the block by `margin`."""
        if not self._options.guide_radius:
            return self.hard(0, block)
        lines = self._lines.block(0, block)
        guide = self._brightness(frames, margin, self.hard(0, block), block)
        leans = self._scratch.planes("leans", 1, *block.shape)
        cells.along_edges(lines, guide, GAIN, leans)
        return leans

    def _brightness(self, frames: Planes, margin: int, hard: Planes, block: Box) -> Planes:
        """Brightness of the image that the bare map would compose, 0 to 1."""
        shares = luma_shares(self._pair.channels)[0] / np.float32(CODE_MAX)
        bright = self._scratch.planes("brightness", 1, *block.shape)
        cells.brightness(frames, margin, hard, shares, bright)
        return bright

    @cached_property
    def _near(self) -> "_CellPlanes":
        """Where the back frame is a candidate minus where the front frame is, over the window."""
        window = self._pair.window(self._level)
        front = self._index[window.slices].astype(np.bool_)
        candidates = np.stack([~front, front])
        for strip in strips(window, window, self._level):
            for block in blocks(strip):
                candidates[:, *block.within(window).slices] |= self._sharp(block)
        shape = disc(self._options.prior_radius)
        back, front = (cv2.dilate(plane.view(np.uint8), shape) for plane in candidates)
        near = np.subtract(back, front, dtype=np.float32)[np.newaxis]
        planes = _CellPlanes("near", near, window, self._level, self._pair)
        for coarser in range(self._level + 1, self._pair.levels):
            planes.reduce_to(coarser, self._pair.window(coarser))
        return planes

    def _sharp(self, block: Box) -> npt.NDArray[np.bool_]:
        """Where each frame `is_sharp`."""
        reach = gaussian_reach(SHARP_SIGMA)
        frames = self._pair.frames(self._level, block.grown(reach + COARSE), "cells")
        detail = self._scratch.planes("spaced detail", 4, *block.grown(reach).shape)
        cells.spaced_detail(frames, 1, 0, detail)
        cells.spaced_detail(frames, COARSE, 2, detail)
        smooth = _smooth(detail, SHARP_SIGMA, block, self._scratch)
        fine, coarse = smooth[:2], smooth[2:]
        sharpness = np.float32(self._options.sharpness)
        sharp: npt.NDArray[np.bool_] = (fine > sharpness) & (fine > np.float32(RISE) * coarse)
        return sharp

    @cached_property
    def _lines(self) -> "_CellPlanes":
        """Slope and offset of the guided filter, right where the level is held."""
        box = self._pair.plan.levels[self._level].analysed
        guide, target = (np.empty(box.shape, np.float32) for _ in range(2))
        for strip in strips(box, box, self._level):
            for block in blocks(strip):
                place = block.within(box).slices
                hard = self.hard(self._level, block)
                frames = self._pair.frames(self._level, block, "cells")
                guide[place] = self._brightness(frames, 0, hard, block)[0]
                target[place] = hard[0]
        radius, epsilon = self._options.guide_radius, self._options.guide_epsilon
        planes = np.stack(guided_lines(guide, target, moments(guide, radius), radius, epsilon))
        return _CellPlanes("lines", planes, box, self._level, self._pair)


class _CellPlanes:
    """Planes of cells, in blocks of any level: expanded to finer and reduced to coarser ones.

    Parameters
    ----------
    name : str
        Of its arrays in scratch.
    planes : ndarray of float32, shape (planes, rows, columns)
    box : Box
        Where they lie, in cells.
    level : int
        Of the cells.
    pair : Pair
    """

    def __init__(self, name: str, planes: Planes, box: Box, level: int, pair: Pair) -> None:
        self._name, self._scratch, self._level = name, pair.scratch, level
        self._boxes, self._held = {level: box}, {level: planes}
        for finer in reversed(range(level)):
            shape = level_shape(pair.plan.levels[0].shape, finer)
            self._boxes[finer] = self._boxes[finer + 1].expanded(shape)

    def reduce_to(self, level: int, box: Box) -> None:
        """Hold the next coarser level as well, over a box."""
        half = np.empty((len(self._held[level - 1]), *box.shape), np.float32)
        kernels.reduce(self.block(level - 1, box.doubled().grown(REDUCE_REACH)), 0, 0, half)
        self._boxes[level], self._held[level] = box, half

    def block(self, level: int, block: Box) -> Planes:
        """A block of a level, in scratch; where the level is finer than the cells, inside."""
        out = self._scratch.planes(
            f"{self._name} {level}", len(self._held[self._level]), *block.shape
        )
        box = self._boxes[level]
        if level in self._held:
            kernels.crop(self._held[level], block.top - box.top, block.left - box.left, out)
            return out
        # Beyond an edge of the image nothing is mirrored by hand: `expand` does that.
        below = block.halved().grown(EXPAND_REACH).intersection(self._boxes[level + 1])
        coarse = self.block(level + 1, below)
        kernels.expand(coarse, block.top - 2 * below.top, block.left - 2 * below.left, out)
        return out
