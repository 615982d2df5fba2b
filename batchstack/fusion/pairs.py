"""Fusing a pair, the main case, in blocks that fit the processor's cache.

For two frames every method says one thing per coefficient: how far it *leans* towards
the back frame, from -1 (front alone) through 0 (their mean) to 1 (back alone).
A fused image is therefore the mean of both frames plus a deviation that is collapsed
from the coarsest level up,

    deviation[level] = expand(deviation[level + 1]) + lean * (back - front) / 2

with the bands of back and front.  On each level, a first pass over the blocks finds all
leans and finishes the methods that need no more; a second pass finishes those whose
leans are smoothed or voted on by their neighbours.
Methods that follow the decision map have their leans from `pair_map`.
All levels advance together, from top to bottom of the image, so that what one leaves in
the cache the next finds there.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack.fusion import kernels, leans
from batchstack.fusion.activity import box_reach, gaussian_reach
from batchstack.fusion.blend import MAX_DIFFERENCE, soft_reach
from batchstack.fusion.blocks import NOTHING, Pair, Planes, Scratch, blocks, ring_rows, strips
from batchstack.fusion.codes import CODE_MAX
from batchstack.fusion.consistency import median_reach
from batchstack.fusion.decision import DecisionMap
from batchstack.fusion.methods import LAPLACIAN_SIGMA, METHODS, Method, median_sizes
from batchstack.fusion.pair_map import PairMap
from batchstack.fusion.prior import prior_reach
from batchstack.fusion.pyramid import EXPAND_REACH
from batchstack.fusion.tiles import Box, TilePlan
from batchstack.options import FusionOptions

Pixels = npt.NDArray[Any]

# Methods that follow the decision map, and those that compare activities.
_MAPPED = frozenset({"bayesian", "guided"})
_ACTIVITY = {  # which of `leans.differences`
    "all_channels": "total",
    "by_channel": "channels",
    "laplacian": "around",
    "median_mask": "total",
    "direct": "total",
}
_ACTIVE = frozenset(_ACTIVITY)
PAIR_METHODS = _MAPPED | _ACTIVE
# Those that compare the bands of the same levels.
_ALIKE = _ACTIVE - {"direct"}
# Methods whose leans depend on the leans around them.
_LOOKING_AROUND = frozenset({"laplacian", "median_mask"})


def fuse_pair(
    back: Pixels,
    front: Pixels,
    plan: TilePlan,
    methods: Sequence[Method],
    options: FusionOptions,
    scratch: Scratch | None = None,
    outputs: dict[str, Pixels] | None = None,
    decision: DecisionMap | None = None,
) -> dict[str, Pixels]:
    """Fuse one tile of a pair.

    Parameters
    ----------
    back, front : ndarray, shape (H, W) or (H, W, C)
        Pixels of both frames over `plan.guard`; uint8, uint16 or float32.
    plan : TilePlan
        For the reach of the methods, at least.
    methods : sequence of Method
        Of those named in `PAIR_METHODS`.
    options : FusionOptions
        Resolved for the image if any of the methods is `decided`.
    scratch : Scratch, optional
        Working memory to keep from call to call, since fresh memory is slow when it is
        first touched; not for two threads at once.
    outputs : dict of str to ndarray, optional
        C-contiguous arrays to fill, such as an earlier call has returned for a tile of
        the same size; by default new ones.
    decision : DecisionMap, optional
        Of the whole image, for methods that look it up.

    Returns
    -------
    dict of str to ndarray
        `outputs`: output name to the pixels of `plan.tile`, in the type of the frames; the mask is
        uint8, 255 = back and 0 = front.
    """
    levels = max(method.levels(options) for method in methods)
    if outputs is None:
        outputs = {}
        for method in methods:
            image, *masks = method.outputs
            outputs[image] = np.empty((*plan.tile.shape, *back.shape[2:]), back.dtype)
            outputs |= {mask: np.empty(plan.tile.shape, np.uint8) for mask in masks}
    pair = Pair(back, front, plan, options, levels, scratch or Scratch())
    mapped = None if decision is None else PairMap(decision, pair)
    level: _Level | None = None
    for number in reversed(range(levels)):
        level = _Level(pair, mapped, methods, number, level, outputs)
    assert level is not None
    level.fuse_until(plan.tile.bottom)
    return outputs


class _Level:
    """The fusion of one level.

    Leans are found over its analysed box, deviations over the smaller held one; on level
    0 pixels are written, over the tile.
    """

    def __init__(
        self,
        pair: Pair,
        mapped: PairMap | None,
        methods: Sequence[Method],
        number: int,
        coarser: "_Level | None",
        outputs: dict[str, Pixels],
    ) -> None:
        plan, scratch, options = pair.plan.levels[number], pair.scratch, pair.options
        self._activity_planes = {"channels": pair.channels, "total": 1, "around": 1}
        self._pair, self._scratch, self._options = pair, scratch, options
        self._mapped, self._number, self._coarser, self._outputs = mapped, number, coarser, outputs
        blended = {method.name: method.blended_levels(options) for method in methods}
        self._names = names = {name for name, levels in blended.items() if number in levels}
        # On its last level a method blends what is left of the frames, not a band.
        self._last = {name for name in names if number == blended[name][-1]}
        self._margin = max(
            soft_reach(options.kernel) if names & _ACTIVE else 0,
            prior_reach() if "bayesian" in names else 0,
        )
        self._analysed = plan.analysed
        self.held = plan.held if number else pair.plan.tile
        # The strips still to come, and those that wait for their second pass.
        self._coming = strips(self._analysed, self.held)
        self._waiting = deque(strips(self.held, self.held) if names & _LOOKING_AROUND else ())
        self._fused = self.held.top
        sizes = median_sizes(options)
        reaches = [median_reach(max(sizes)) if "median_mask" in blended else 0]
        reaches += [gaussian_reach(LAPLACIAN_SIGMA) if "laplacian" in blended else 0]
        self._around = max(reaches) if names & _LOOKING_AROUND else 0
        kept = ring_rows(max(reaches))
        rows, columns = self._analysed.shape
        if "laplacian" in names:
            self._rough = scratch.planes(f"rough {number}", 1, min(rows, kept), columns)
            self._taps = leans.gaussian_taps(LAPLACIAN_SIGMA)
        if "median_mask" in names:
            self._votes = scratch.counts(f"votes {number}", min(rows, kept), columns)
            self._median_size = sizes[number]
        self.deviations: dict[str, Planes] = {}
        if number:
            rows, columns = self.held.shape
            shape = (pair.channels, min(rows, kept), columns)
            for name in names:
                self.deviations[name] = scratch.planes(f"{name} {number}", *shape)

    def fuse_until(self, bottom: int) -> None:
        """Both passes, strip by strip, until the held box is done down to `bottom`."""
        while self._fused < min(bottom, self.held.bottom):
            strip = next(self._coming)
            if self._coarser is not None:
                self._coarser.fuse_until(-(-strip.bottom // 2) + EXPAND_REACH)
            self._fuse_strip(strip)

    def _fuse_strip(self, strip: Box) -> None:
        for block in blocks(strip, self.held):
            self._first_pass(block)
        if "median_mask" in self._names:
            top, bottom = strip.top - self._analysed.top, strip.bottom - self._analysed.top
            leans.count_across(self._votes, top, bottom, self._median_size)
        if not self._names & _LOOKING_AROUND:
            self._fused = strip.bottom
        last = strip.bottom == self._analysed.bottom
        while self._waiting and (last or self._waiting[0].bottom + self._around <= strip.bottom):
            behind = self._waiting.popleft()
            for block in blocks(behind, self.held):
                self._second_pass(block)
            self._fused = behind.bottom

    def _first_pass(self, block: Box) -> None:
        """Find the leans of a block, and finish the methods that need no more."""
        names, margin = self._names, self._margin
        wanted = block.intersection(self.held) == block
        if not wanted:
            names = names & _LOOKING_AROUND
        if not names:
            return
        wide = block.grown(margin)
        frames, bands = self._frames_and_bands(names, wide, 2 * self._pair.channels)
        for name in names & _MAPPED:
            found = self._mapped_leans(name, block, bands[name])
            self._blend(name, block, frames, bands[name], margin, found)
        if "direct" in names:
            self._compare({"direct"}, block, frames)
            self._lean_and_blend("direct", block, frames, frames)
        alike = names & _ALIKE
        if alike:
            self._compare(alike, block, bands[min(alike)])
        row, column = block.top - self._analysed.top, block.left - self._analysed.left
        if "laplacian" in names:
            self._lean(self._activity("laplacian", block), row, column, self._rough)
        if "median_mask" in names:
            activity = self._activity("median_mask", block)
            leans.vote(activity, self._options.kernel, row, column, self._votes)
        for name in ("by_channel", "all_channels"):
            if name in names:
                self._lean_and_blend(name, block, frames, bands[name])

    def _compare(self, names: set[str], block: Box, bands: Planes) -> None:
        """Find the activities that some methods lean on, in the same bands."""
        rows, columns = block.grown(box_reach(self._options.kernel)).shape
        wanted = {_ACTIVITY[name] for name in names}
        found = [
            self._scratch.planes(kind, planes, rows if kind in wanted else 1, columns)
            for kind, planes in self._activity_planes.items()
        ]
        leans.differences(bands, (bands.shape[1] - rows) // 2, *found)

    def _activity(self, name: str, block: Box) -> Planes:
        wide = block.grown(box_reach(self._options.kernel))
        kind = _ACTIVITY[name]
        return self._scratch.planes(kind, self._activity_planes[kind], *wide.shape)

    def _mapped_leans(self, name: str, block: Box, values: Planes) -> Planes:
        """Leans of a method that follows the decision map."""
        assert self._mapped is not None
        if name == "guided":
            return self._mapped.guided(block, values, self._margin)
        residual = name in self._last
        return self._mapped.likelier(self._number, block, values, residual=residual)

    def _second_pass(self, block: Box) -> None:
        """Finish the methods whose leans depend on the leans around a block."""
        names = self._names & _LOOKING_AROUND
        frames, halves = self._frames_and_bands(names, block, self._pair.channels)
        row, column = block.top - self._analysed.top, block.left - self._analysed.left
        height = self._analysed.shape[0]
        settled = self._scratch.planes("leans", 1, *block.shape)
        if "laplacian" in names:
            leans.smooth(self._rough, height, self._taps, row, column, settled)
            self._blend("laplacian", block, frames, halves["laplacian"], 0, settled)
        if "median_mask" in names:
            leans.majority(self._votes, height, self._median_size, row, column, settled)
            self._blend("median_mask", block, frames, halves["median_mask"], 0, settled)
            if self._number == 0:
                (mask,) = METHODS["median_mask"].outputs[1:]
                pixels = self._outputs[mask][block.within(self.held).slices]
                np.greater(settled[0], 0, out=pixels.view(np.bool_))
                pixels *= np.uint8(255)

    def _frames_and_bands(
        self, names: set[str], block: Box, planes: int
    ) -> tuple[Planes, dict[str, Planes]]:
        """A block of the frames, if it is needed, and what each method blends of it."""
        pair, number = self._pair, self._number
        frames = bands = NOTHING
        if number == 0 or names & self._last:
            frames = pair.frames(number, block)
        if names - self._last:
            bands = pair.bands(number, block, planes, frames)
        return frames, {name: frames[-planes:] if name in self._last else bands for name in names}

    def _lean(self, activity: Planes, row: int, column: int, out: Planes) -> None:
        # A lean is 2 w - 1, and the weight w the logistic function of beta times this.
        slope = self._options.beta / 2
        leans.lean(activity, self._options.kernel, MAX_DIFFERENCE, slope, row, column, out)

    def _lean_and_blend(self, name: str, block: Box, frames: Planes, bands: Planes) -> None:
        activity = self._activity(name, block)
        found = self._scratch.planes("leans", len(activity), *block.shape)
        self._lean(activity, 0, 0, found)
        self._blend(name, block, frames, bands, self._margin, found)

    def _blend(
        self, name: str, block: Box, frames: Planes, bands: Planes, margin: int, found: Planes
    ) -> None:
        """Write a block of a method: its deviation, or its pixels on level 0."""
        pair, held = self._pair, self.held
        halves = bands[-pair.channels :]
        coarse, coarse_height, coarse_row, coarse_column = NOTHING, 0, 0, 0
        if self._coarser is not None and name in self._coarser.deviations:
            below = self._coarser.held
            coarse, coarse_height = self._coarser.deviations[name], below.shape[0]
            coarse_row, coarse_column = block.top - 2 * below.top, block.left - 2 * below.left
        source = halves, margin, found, coarse, coarse_height, coarse_row, coarse_column
        row, column = block.top - held.top, block.left - held.left
        if self._number:
            kernels.deviate(*source, row, column, self.deviations[name])
            return
        pixels = self._outputs[METHODS[name].outputs[0]]
        scale = pair.data_range / CODE_MAX
        hard, shrink = NOTHING, 0.0
        if name == "bayesian":
            assert self._mapped is not None
            hard, shrink = self._mapped.hard(0, block), self._options.shrink
        rows = pixels.reshape(len(pixels), -1)
        kernels.pack(frames, *source, hard, shrink, scale, pair.white, row, column, rows)
