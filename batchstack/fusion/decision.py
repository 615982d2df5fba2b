"""The decision map of a stack: the index of the winning frame, decided once per image.

It is found in two steps:

1. `survey_tile` finds, tile by tile, the frame with the most activity at each cell, and how
   clearly it wins.
2. `settle` cleans the map of regions without evidence.  A region may cross many tiles, so this
   happens once per image; the result is a `DecisionMap` that tiles look up.

A cell is a pixel of the pyramid level that the map is made on.  Large images have coarser cells:
what a lens blurs grows with the number of pixels, and the map of any image fits in memory.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from batchstack.fusion.activity import (
    ACTIVITY_REACH,
    channel_mean,
    gaussian_reach,
    second_difference,
    smoothed,
    spaced_difference,
)
from batchstack.fusion.bands import Bands
from batchstack.fusion.pyramid import expand, level_shape, reduce
from batchstack.fusion.tiles import Box, TilePlan
from batchstack.options import FusionOptions

Image = npt.NDArray[np.float32]
Index = npt.NDArray[np.unsignedinteger[Any]]
Confidence = npt.NDArray[np.uint8]

# The map of an image has at most this many cells.
MAX_CELLS = 1_500_000

# Code values of activity: one frame must be above the others by this much to be told from
# noise, and the ratio of two activities below this says nothing.
CONTRAST, FLOOR = 2.0, 0.1
# Of 255: a cell is evidence if its frame has 1.5 times the activity of the others.
SURE = 84

# A frame is sharp in itself where its activity is above this share of that of pixels `COARSE`
# apart, both under a Gaussian window, in cells.
RISE, COARSE, SHARP_SIGMA = 0.25, 3, 1.0

_LUMA = np.array([[0.299, 0.587, 0.114]], np.float32)


class Planes(Protocol):
    """What can be sliced into arrays: an array or a memory map."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, slices: tuple[slice, slice]) -> npt.NDArray[Any]: ...


@dataclass(frozen=True, eq=False)
class DecisionMap:
    """The cleaned decision map of a whole image.

    Attributes
    ----------
    index : array-like of uint8 or uint16, shape (rows, columns) of the level
        Index of the winning frame.
    confidence : array-like of uint8, the same shape
        How clearly it wins: 0 where nothing tells the frames apart or the cleaning
        overruled what was seen, towards 255 as the others have no detail at all.
    level : int
        Pyramid level whose pixels are the cells.
    """

    index: Planes
    confidence: Planes
    level: int


def resolved(options: FusionOptions, shape: tuple[int, int]) -> FusionOptions:
    """Options for an image of `shape`: the level of its decision map is a number."""
    if options.map_level is not None:
        return options
    level = 0
    while np.prod(level_shape(shape, level), dtype=float) > MAX_CELLS:
        level += 1
    return replace(options, map_level=level)


def map_level(options: FusionOptions) -> int:
    """Level of the decision map in resolved options."""
    assert options.map_level is not None
    return options.map_level


def survey_reach(options: FusionOptions) -> int:
    """How many cells away the survey looks."""
    return ACTIVITY_REACH + gaussian_reach(options.focus_sigma)


def cell_box(tile: Box, level: int) -> Box:
    """The cells of a tile whose corner is a multiple of the cell's side."""
    step = 1 << level
    return Box(tile.top // step, tile.left // step, -(-tile.bottom // step), -(-tile.right // step))


def luma(image: Image) -> Image:
    """Brightness of each pixel: ITU-R BT.601 for three channels, else their mean.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W) or (H, W, C)
        Three channels are red, green, blue.

    Returns
    -------
    ndarray of float32, shape (H, W)
    """
    if image.ndim == 2:
        return image
    return cv2.transform(image, luma_shares(image.shape[2]))  # type: ignore[no-any-return]


def luma_shares(channels: int) -> Image:
    """What each channel adds to `luma`, shape (1, channels)."""
    return _LUMA if channels == 3 else np.full((1, channels), 1 / channels, np.float32)


class Survey:
    """Takes in the frames of one tile, back to front; its state does not grow with them.

    The focus measure is the modified Laplacian, the mean of all channels, under a Gaussian window.

    Parameters
    ----------
    n_frames : int
    sigma : float
        Standard deviation of the window, in cells.

    Attributes
    ----------
    index : ndarray of uint8 or uint16, shape (H, W)
        Index of the frame with the most activity so far; ties go to the back.
    """

    def __init__(self, n_frames: int, sigma: float) -> None:
        self._n_frames = n_frames
        self._sigma = sigma
        self._best: Image | None = None
        self._total: Image
        self.index: Index

    def add(self, index: int, image: Image) -> None:
        """Take in frame `index` on the level of the cells, (H, W) or (H, W, C)."""
        focus = smoothed(channel_mean(second_difference(image)), self._sigma)
        if self._best is None:
            self._best, self._total = focus, focus.copy()
            self.index = np.zeros(focus.shape, index_type(self._n_frames))
            return
        self.index[focus > self._best] = index
        np.maximum(self._best, focus, out=self._best)
        self._total += focus

    def confidence(self) -> Confidence:
        """`confidence` of the frames so far."""
        assert self._best is not None
        others = np.maximum(self._total - self._best, 0) / np.float32(self._n_frames - 1)
        return confidence(self._best, others)


def confidence(best: Image, others: Image) -> Confidence:
    """How clearly the focus of the winner stands above the mean of the others, 0 to 255."""
    above = best - others
    share = above / (best + np.float32(FLOOR))
    share[above <= CONTRAST] = 0
    scaled: Confidence = np.rint(share * np.float32(255)).astype(np.uint8)
    return scaled


def index_type(n_frames: int) -> np.dtype[np.unsignedinteger[Any]]:
    """Smallest type that holds the index of any of the frames."""
    return np.min_scalar_type(n_frames - 1)


def settle(index: Index, confidence: Confidence, evidence: int) -> tuple[Index, Confidence]:
    """Clean a decision map of regions that nothing supports.

    A 4-connected region of one frame stays if at least `evidence` of its cells are sure
    (the winner has 1.5 times the activity of the others and stands above noise).  The cells of
    all other regions take the frame of the nearest cell that stays; if none stays anywhere,
    the commonest frame.

    Small regions that are clearly sharp - a hair, a grain - survive this, large ones that are
    mere noise do not, which a limit on the area gets wrong both ways.

    Parameters
    ----------
    index : ndarray of unsigned integers, shape (H, W)
    confidence : ndarray of uint8, shape (H, W)
    evidence : int
        Sure cells that a region needs to stay.

    Returns
    -------
    index, confidence : ndarray
        The cleaned map; cells whose frame was changed have confidence 0.
    """
    from scipy.ndimage import distance_transform_edt
    from skimage.measure import label

    # Every value is a region of its own; there is no background.
    regions = label(index.astype(np.int32) + 1, connectivity=1)
    sure = np.bincount(regions[confidence >= SURE], minlength=int(regions.max()) + 1)
    stays = (sure >= evidence)[regions]
    if stays.all():
        return index, confidence
    if stays.any():
        nearest = distance_transform_edt(~stays, return_distances=False, return_indices=True)
        settled = index[tuple(nearest)]
    else:
        settled = np.full_like(index, np.bincount(index.ravel()).argmax())
    return settled, np.where(settled == index, confidence, 0).astype(np.uint8)


def near_reach(options: FusionOptions) -> int:
    """How many cells away `TileDecision.near` looks, on the level of the cells."""
    return options.prior_radius + COARSE + gaussian_reach(SHARP_SIGMA)


def is_sharp(image: Image, sharpness: np.float32) -> npt.NDArray[np.bool_]:
    """Where a frame is sharp in itself, whatever the other frames show.

    In a blurred place the activity of neighbouring pixels is small beside that of pixels three
    apart.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W) or (H, W, C)
        In 8-bit code values.
    sharpness : float
        Least activity, in code values.

    Returns
    -------
    ndarray of bool, shape (H, W)
    """
    fine, coarse = (
        smoothed(_root_mean_square(spaced_difference(image, spacing)), SHARP_SIGMA)
        for spacing in (1, COARSE)
    )
    return (fine > sharpness) & (fine > np.float32(RISE) * coarse)


def _root_mean_square(activity: Image) -> Image:
    if activity.ndim == 2:
        return activity
    return np.sqrt(channel_mean(activity * activity))


def disc(radius: int) -> npt.NDArray[np.uint8]:
    side = 2 * radius + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))  # type: ignore[no-any-return]


class TileDecision:
    """What one tile looks up in the decision map.

    Parameters
    ----------
    decision : DecisionMap
    plan : TilePlan
        Of a pyramid with more levels than `decision.level`.
    options : FusionOptions
    """

    def __init__(self, decision: DecisionMap, plan: TilePlan, options: FusionOptions) -> None:
        self._decision = decision
        self._plan = plan
        self._radius = options.prior_radius
        self._sharpness = np.float32(options.sharpness)
        self._near_index = -1
        self._near_planes: list[Image] = []
        self.level = decision.level

    @cached_property
    def index(self) -> Index:
        """Winning frame of each pixel of the analysed box of the finest level."""
        return self._nearest(self._decision.index, self._plan.levels[0].analysed)

    @cached_property
    def cells(self) -> Index:
        """Winning frame of each cell of the analysed box of the cells' level."""
        return self._decision.index[self._plan.levels[self.level].analysed.slices]

    def near(self, index: int, frame: Bands, level: int) -> Image:
        """Where a frame wins or is sharp in itself, or that is nearby; 0 to 1.

        Over the analysed box of a level, right where the level is held.
        """
        if self._near_index != index:
            self._near_index, self._near_planes = index, self._make_near(index, frame)
        return self._near_planes[level]

    def _make_near(self, index: int, frame: Bands) -> list[Image]:
        plan, levels = self._plan, len(self._plan.levels)
        wins = self._decision.index[cell_box(plan.guard, self.level).slices] == index
        sharp = is_sharp(frame.guarded(self.level), self._sharpness)
        plane = cv2.dilate((wins | sharp).astype(np.uint8), disc(self._radius)).astype(np.float32)
        planes = {self.level: plane}
        for level in range(self.level + 1, levels):
            planes[level] = reduce(planes[level - 1])
        for level in reversed(range(self.level)):
            planes[level] = expand(planes[level + 1], cell_box(plan.guard, level).shape)
        return [
            np.ascontiguousarray(
                planes[level][here.analysed.within(cell_box(plan.guard, level)).slices]
            )
            for level, here in enumerate(plan.levels)
        ]

    def depth(self, n_frames: int) -> npt.NDArray[np.uint16]:
        """The map over the tile as depth: back 0, front 65535, in equal steps."""
        depths = np.rint(np.arange(n_frames) * (65535 / (n_frames - 1))).astype(np.uint16)
        depth: npt.NDArray[np.uint16] = np.take(
            depths, self._nearest(self._decision.index, self._plan.tile)
        )
        return depth

    def confidence(self) -> Confidence:
        """Confidence of the map over the tile."""
        return self._nearest(self._decision.confidence, self._plan.tile)

    def _nearest(self, cells: Planes, box: Box) -> npt.NDArray[Any]:
        return nearest(cells, self.level, box)


def nearest(cells: Planes, level: int, box: Box) -> npt.NDArray[Any]:
    """The nearest cell of each pixel of a box; a cell lies on the pixel its level keeps.

    Parameters
    ----------
    cells : array-like, shape (rows, columns) of `level`
    level : int
    box : Box
        Inside the image, in pixels.

    Returns
    -------
    ndarray of the type of the cells, over `box`
    """
    step = 1 << level
    if step == 1:
        return np.asarray(cells[box.slices])
    rows = np.minimum((np.arange(box.top, box.bottom) + step // 2) // step, cells.shape[0] - 1)
    columns = (np.arange(box.left, box.right) + step // 2) // step
    columns = np.minimum(columns, cells.shape[1] - 1)
    window = cells[slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)]
    across = np.take(window, columns - columns[0], axis=1)
    return np.take(across, rows - rows[0], axis=0)  # type: ignore[no-any-return]
