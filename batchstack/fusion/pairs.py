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

import numpy as np

from batchstack.fusion import kernels, leans, pixels
from batchstack.fusion.activity import gaussian_reach
from batchstack.fusion.blend import MAX_DIFFERENCE, soft_reach
from batchstack.fusion.blocks import (
    NO_COUNTS,
    NOTHING,
    Pair,
    Scratch,
    blocks,
    panels,
    ring_rows,
    strips,
)
from batchstack.fusion.codes import CODE_MAX
from batchstack.fusion.compiled import Pixels, Planes
from batchstack.fusion.consistency import median_reach
from batchstack.fusion.decision import DecisionMap
from batchstack.fusion.levels import NAMES, Place, Sink, Source, Target
from batchstack.fusion.methods import LAPLACIAN_SIGMA, METHODS, Method, median_sizes
from batchstack.fusion.pair_map import PairMap
from batchstack.fusion.passes import LookedAt, Rule, first_pass, second_pass, wanted
from batchstack.fusion.prior import prior_reach
from batchstack.fusion.pyramid import EXPAND_REACH
from batchstack.fusion.tiles import Box, TilePlan
from batchstack.options import FusionOptions

# Methods that follow the decision map, and those that compare activities.
_MAPPED = frozenset({"bayesian", "guided"})
_ACTIVE = frozenset(NAMES)
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
        self._coming = strips(self._analysed, self.held, number)
        self._waiting = deque(
            strips(self.held, self.held, number) if names & _LOOKING_AROUND else ()
        )
        self._fused = self.held.top
        sizes = median_sizes(options)
        reaches = [median_reach(max(sizes)) if "median_mask" in blended else 0]
        reaches += [gaussian_reach(LAPLACIAN_SIGMA) if "laplacian" in blended else 0]
        self._around = max(reaches) if names & _LOOKING_AROUND else 0
        kept = ring_rows(number, max(reaches))
        self._median_size = sizes[number] if number < len(sizes) else 0
        # A lean is 2 w - 1, and the weight w the logistic function of beta times this.
        self._rule = Rule(float(MAX_DIFFERENCE), options.beta / 2)
        self._looked_at = self._make_looked_at(kept)
        self.deviations: dict[str, Planes] = {}
        if number:
            rows, columns = self.held.shape
            shape = (pair.channels, min(rows, kept), columns)
            for name in names:
                self.deviations[name] = scratch.planes(f"{name} {number}", *shape)
        self._target = self._make_target()

    def _make_looked_at(self, kept: int) -> LookedAt:
        rows, columns = self._analysed.shape
        corner = self._analysed.within(self._pair.window(self._number))
        rough, votes = NOTHING, NO_COUNTS
        if "laplacian" in self._names:
            name = f"rough {self._number}"
            rough = self._scratch.planes(name, 1, min(rows, kept), columns)
        if "median_mask" in self._names:
            votes = self._scratch.counts(f"votes {self._number}", min(rows, kept), columns)
        return LookedAt(rough, votes, rows, corner.top, corner.left)

    def _make_target(self) -> Target:
        pair, window = self._pair, self._pair.window(self._number)
        coarse: dict[str, Planes] = {}
        coarse_top = coarse_left = coarse_height = 0
        if self._coarser is not None:
            coarse, below = self._coarser.deviations, self._coarser.held
            coarse_top, coarse_left = 2 * below.top - window.top, 2 * below.left - window.left
            coarse_height = below.shape[0]
        none = np.empty((0, 0), pair.dtype)
        written, mask = dict.fromkeys(NAMES, none), NO_COUNTS
        if self._number == 0:
            for name in self._names & _ACTIVE:
                image, *masks = (self._outputs[output] for output in METHODS[name].outputs)
                written[name] = image.reshape(len(image), -1)
                mask = masks[0] if masks else mask
        sinks = (
            Sink(coarse.get(name, NOTHING), self.deviations.get(name, NOTHING), written[name])
            for name in NAMES
        )
        corner, scale = self.held.within(window), pair.data_range / CODE_MAX
        place = Place(
            corner.top, corner.left, coarse_top, coarse_left, coarse_height, scale, pair.white
        )
        return Target(tuple(sinks), mask, place)  # type: ignore[arg-type]

    def fuse_until(self, bottom: int) -> None:
        """Both passes, strip by strip, until the held box is done down to `bottom`."""
        while self._fused < min(bottom, self.held.bottom):
            strip = next(self._coming)
            if self._coarser is not None:
                self._coarser.fuse_until(-(-strip.bottom // 2) + EXPAND_REACH)
            self._fuse_strip(strip)

    def _fuse_strip(self, strip: Box) -> None:
        for panel in panels(strip, self.held):
            self._first_pass(panel)
        if "median_mask" in self._names:
            top, bottom = strip.top - self._analysed.top, strip.bottom - self._analysed.top
            leans.count_across(self._looked_at.votes, top, bottom, self._median_size)
        if not self._names & _LOOKING_AROUND:
            self._fused = strip.bottom
        last = strip.bottom == self._analysed.bottom
        while self._waiting and (last or self._waiting[0].bottom + self._around <= strip.bottom):
            behind = self._waiting.popleft()
            for panel in panels(behind, self.held):
                self._second_pass(panel)
            self._fused = behind.bottom

    def _first_pass(self, panel: Box) -> None:
        """Find the leans of a panel, and finish the methods that need no more."""
        names = self._names
        if panel.intersection(self.held) != panel:
            names = names & _LOOKING_AROUND
        if names & _ACTIVE:
            source, place = self._source(names, panel), self._place(panel)
            rows = self._pair.rows(panel.shape[1], self._options.kernel)
            first_pass(
                source, self._rule, wanted(names), self._looked_at, self._target, rows, *place
            )
        if names & _MAPPED:
            for block in blocks(panel):
                self._follow_map(names & _MAPPED, block)

    def _second_pass(self, panel: Box) -> None:
        """Finish the methods whose leans depend on the leans around a panel."""
        names, looked_at = self._names & _LOOKING_AROUND, self._looked_at
        row, column = panel.top - self._analysed.top, panel.left - self._analysed.left
        smoothed = self._scratch.planes("smoothed", 1, *panel.shape)
        majorities = self._scratch.planes("majorities", 1, *panel.shape)
        if "laplacian" in names:
            taps = leans.gaussian_taps(LAPLACIAN_SIGMA)
            leans.smooth(looked_at.rough, looked_at.height, taps, row, column, smoothed)
        if "median_mask" in names:
            votes, size = looked_at.votes, self._median_size
            leans.majority(votes, looked_at.height, size, row, column, majorities)
        source, (top, _, left) = self._source(names, panel), self._place(panel)
        rows = self._pair.rows(panel.shape[1], 0)
        second_pass(source, wanted(names), self._target, smoothed, majorities, rows, top, left)

    def _source(self, names: set[str], panel: Box) -> Source:
        """What a pass over a panel reads."""
        # `direct` alone blends frames.
        residual = not names & _ALIKE - self._last
        return self._pair.source(self._number, panel.bottom + self._margin, residual=residual)

    def _place(self, panel: Box) -> tuple[int, int, int]:
        """Where a panel begins and ends, and its left side, in the window of the level."""
        box = panel.within(self._pair.window(self._number))
        return box.top, box.bottom, box.left

    def _follow_map(self, names: set[str], block: Box) -> None:
        """Finish a block of the methods that follow the decision map."""
        margin = self._margin
        frames, bands = self._frames_and_bands(names, block.grown(margin))
        for name in names:
            found = self._mapped_leans(name, block, bands[name])
            self._blend(name, block, frames, bands[name], margin, found)

    def _mapped_leans(self, name: str, block: Box, values: Planes) -> Planes:
        """Leans of a method that follows the decision map."""
        assert self._mapped is not None
        if name == "guided":
            return self._mapped.guided(block, values, self._margin)
        residual = name in self._last
        return self._mapped.likelier(self._number, block, values, residual=residual)

    def _frames_and_bands(self, names: set[str], block: Box) -> tuple[Planes, dict[str, Planes]]:
        """A block of the frames, if it is needed, and what each method blends of it."""
        pair, number = self._pair, self._number
        frames = bands = NOTHING
        if number == 0 or names & self._last:
            frames = pair.frames(number, block)
        if names - self._last:
            bands = pair.bands(number, block, frames)
        return frames, {name: frames if name in self._last else bands for name in names}

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
        image = self._outputs[METHODS[name].outputs[0]]
        scale = pair.data_range / CODE_MAX
        hard, shrink = NOTHING, 0.0
        if name == "bayesian":
            assert self._mapped is not None
            hard, shrink = self._mapped.hard(0, block), self._options.shrink
        rows = image.reshape(len(image), -1)
        pixels.pack(frames, *source, hard, shrink, scale, pair.white, row, column, rows)
