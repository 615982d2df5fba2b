"""Reduced views of two frames, as registration compares them: linear light, local contrast."""

from dataclasses import dataclass, field
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from batchstack.geometry import Box
from batchstack.registration.warp import Matrix, Pixels, Values, corner_pixels

# Pixels of a level that is looked at whole; on finer levels, patches.
WHOLE = 1_200_000
PATCH, PATCHES_PER_SIDE = 160, 5
_BRIGHTEST = 1e6  # in units of white


@dataclass(frozen=True, eq=False)
class View:
    """A frame reduced by whole factors, fetched strip by strip.

    The finest level that is looked at whole is read once and kept; coarser ones come from it.
    """

    pixels: Pixels
    data_range: float | None = None
    kept: dict[str | int, Values] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        return cast(tuple[int, int], self.pixels.shape[:2])

    @property
    def finest(self) -> int:
        """The factor of the finest level that is looked at whole."""
        return factor_for(self.shape, WHOLE)

    def stored(self) -> Values:
        """The whole frame on that level, (H, W) or (H, W, 3), with 1.0 for white."""
        if "stored" not in self.kept:
            self.kept["stored"] = self._read(whole_box(self.shape, self.finest), self.finest)
        return self.kept["stored"]

    def light(self, box: Box, factor: int) -> Values:
        """Grey linear light of a box (sides divisible by the factor), 255 for white.

        A lens blurs light, not code values: in these, every edge of a blurred thing would lie
        further on the dark side, and blurred things look smaller or larger than sharp ones.
        """
        if factor < self.finest:
            return _linear_grey(self._read(box, factor))
        if factor not in self.kept:
            self.kept[factor] = self._whole(factor)
        rows = slice(box.top // factor, box.bottom // factor)
        return self.kept[factor][rows, box.left // factor : box.right // factor]

    def _whole(self, factor: int) -> Values:
        if factor == self.finest:
            return _linear_grey(self.stored())
        finer = self.light(whole_box(self.shape, factor), self.finest)
        return _reduced(finer, factor // self.finest)

    def _read(self, box: Box, factor: int) -> Values:
        rows = max(1, 4_000_000 // max(1, (box.right - box.left) * factor)) * factor
        parts = (
            np.asarray(self.pixels[top : min(top + rows, box.bottom), box.left : box.right])
            for top in range(box.top, box.bottom, rows)
        )
        return np.concatenate([self._unit(part, factor) for part in parts])

    def _unit(self, part: Pixels, factor: int) -> Values:
        white = self.data_range or (1.0 if part.dtype.kind == "f" else np.iinfo(part.dtype).max)
        unit = _reduced(part, factor).astype(np.float32) * np.float32(1 / white)
        # Squares of light must stay numbers; no type of whole numbers comes near.
        return unit.clip(-_BRIGHTEST, _BRIGHTEST) if part.dtype.kind == "f" else unit


@dataclass(frozen=True)
class Pair:
    """A frame and the one it is compared with."""

    reference: View
    frame: View

    @property
    def shape(self) -> tuple[int, int]:
        return self.reference.shape


def factor_for(shape: tuple[int, int], pixels: int) -> int:
    """The smallest power of 2 that reduces an image to at most so many pixels."""
    factor = 1
    while shape[0] * shape[1] > pixels * factor * factor:
        factor *= 2
    return factor


def whole_box(shape: tuple[int, int], factor: int) -> Box:
    """The image without the last pixels that do not fill a pixel of the level."""
    return Box(0, 0, shape[0] // factor * factor, shape[1] // factor * factor)


def boxes(shape: tuple[int, int], factor: int) -> list[Box]:
    """The whole image if it is small on this level, else a bounded number of patches."""
    whole = whole_box(shape, factor)
    if whole.bottom * whole.right <= WHOLE * factor * factor:
        return [whole]
    size = PATCH * factor
    tops = np.linspace(0, whole.bottom // factor - PATCH, PATCHES_PER_SIDE).astype(int) * factor
    lefts = np.linspace(0, whole.right // factor - PATCH, PATCHES_PER_SIDE).astype(int) * factor
    return [Box(top, left, top + size, left + size) for top in tops for left in lefts]


def to_full(box: Box, factor: int) -> Matrix:
    """From pixels of a box reduced by `factor` to pixels of the image."""
    middle = (factor - 1) / 2
    return np.array([[factor, 0, box.left + middle], [0, factor, box.top + middle], [0, 0, 1.0]])


def aligned(
    pair: Pair, box: Box, matrix: Matrix, factor: int
) -> tuple[Values, Values, npt.NDArray[np.uint8]]:
    """The reference in a box, the frame moved there, and 255 where the frame covers it."""
    source = _covering(box, matrix, pair.shape, factor)
    moving = pair.frame.light(source, factor)
    local = np.linalg.inv(to_full(source, factor)) @ matrix @ to_full(box, factor)
    size = (box.right - box.left) // factor, (box.bottom - box.top) // factor
    valid = covered(moving.shape[1::-1], local, size)
    return pair.reference.light(box, factor), moved(moving, local, size), valid


def moved(image: Values, matrix: Matrix, size: tuple[int, int]) -> Values:
    """Linear, which keeps the place of smooth detail to 0.01 px; OpenCV's cubic is 0.04 px off."""
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    result = cv2.warpAffine(image, matrix[:2], size, flags=how, borderMode=cv2.BORDER_REPLICATE)
    return cast(Values, result)


def covered(
    extent: tuple[int, int], matrix: Matrix, size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """255 where an image of `extent` (width, height) has pixels once it is moved."""
    how = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    result = cv2.warpAffine(np.full(extent[::-1], 255, np.uint8), matrix[:2], size, flags=how)
    return cast(npt.NDArray[np.uint8], result)


def normalised(image: Values) -> Values:
    """Band-passed (sigma 1.5 to 8 px) and divided by local contrast, so that light drops out."""
    smooth = cv2.GaussianBlur(image, (0, 0), 1.5)
    detail = smooth - _widely_smoothed(smooth)
    # Boxes keep running sums: behind a very bright place they may end below zero.
    contrast = np.maximum(_widely_smoothed(detail * detail), 0)
    return cast(Values, detail / np.sqrt(contrast + np.float32(1)))


def _widely_smoothed(image: Values) -> Values:
    """Two boxes, which are nearly a Gaussian of 8 px and four times as fast."""
    return cast(Values, cv2.blur(cv2.blur(image, (19, 19)), (19, 19)))


def _covering(box: Box, matrix: Matrix, shape: tuple[int, int], factor: int) -> Box:
    """The part of the frame that `matrix` maps a box to, with room for the windows' context."""
    # A fit that has gone astray leads outside of the image, or nowhere.
    x, y = np.nan_to_num((matrix @ corner_pixels(box))[:2])
    margin, whole = 16 * factor, whole_box(shape, factor)
    low = np.clip([y.min() - margin, x.min() - margin], 0, np.array(shape)) // factor
    top, left = np.minimum(low.astype(int) * factor, [whole.bottom - factor, whole.right - factor])
    high = -(-np.clip([y.max() + margin, x.max() + margin], 0, np.array(shape)) // factor)
    bottom, right = np.minimum(high.astype(int) * factor, [whole.bottom, whole.right])
    return Box(top, left, max(bottom, top + factor), max(right, left + factor))


def _reduced(image: Pixels, factor: int) -> Pixels:
    """Averaged over factor x factor pixels; a remainder that does not fill one is left out."""
    rows, columns = (side // factor for side in image.shape[:2])
    image = np.ascontiguousarray(image[: rows * factor, : columns * factor])
    return cast(Pixels, cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA))


def _linear_grey(stored: Values) -> Values:
    """sRGB code values to linear light by a cubic that is right to 0.002 of white."""
    code = np.maximum(stored, 0)
    light = code * (
        code * (code * np.float32(0.305306) + np.float32(0.682171)) + np.float32(0.012523)
    )
    light *= 255
    return cast(Values, cv2.cvtColor(light, cv2.COLOR_RGB2GRAY)) if light.ndim == 3 else light
