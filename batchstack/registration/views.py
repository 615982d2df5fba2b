"""Reduced views of two frames, as registration compares them: linear light, band-passed."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast
from weakref import WeakKeyDictionary

import cv2
import numpy as np

from batchstack.geometry import Box
from batchstack.registration.warp import Matrix, Pixels, Values, corner_pixels

# Pixels of a level that is looked at whole; on finer levels, patches.
WHOLE = 1_200_000
PATCH, PATCHES_PER_SIDE = 160, 5
_BRIGHTEST = 1e6  # in units of white
_DARKEST = 1e-3  # mean of a frame, white is 255

# Pixels of a level round a patch that its detail depends on, and the finest detail of a level:
# finer one is what frames differ in, and takes part on finer levels.
_CONTEXT, _FINE = 16, 2.5


@dataclass(frozen=True, eq=False)
class View:
    """A frame reduced by whole factors, fetched strip by strip.

    What is made of it is kept, so that comparing it with several frames costs it once.
    The frame is read once, to the level `base`; finer ones are read in patches.
    """

    pixels: Pixels
    data_range: float | None = None
    kept: dict[object, Values] = field(default_factory=dict)
    beside: "WeakKeyDictionary[View, dict[Any, Any]]" = field(default_factory=WeakKeyDictionary)

    @property
    def shape(self) -> tuple[int, int]:
        return cast(tuple[int, int], self.pixels.shape[:2])

    @property
    def finest(self) -> int:
        """The factor of the finest level that is looked at whole."""
        return factor_for(self.shape, WHOLE)

    @property
    def base(self) -> int:
        """The factor of the finest level that is held whole: patches of it touch most of a frame.

        To read them apart, from scratch for example, would be to read the frame several times.
        """
        return max(1, self.finest // 2)

    def read(self) -> "View":
        """Read the frame now, so that nobody waits for it later."""
        self._whole(self.base)
        return self

    def detail(self, box: Box, factor: int) -> Values:
        """Band-passed linear light of a box (sides divisible by the factor), in % of the mean.

        A lens blurs light, not code values: in these, every edge of a blurred thing would lie
        further on the dark side, and blurred things look smaller or larger than sharp ones.
        Nothing is divided by what varies with the place, for the same reason.
        """
        if (box, factor) not in self.kept:
            detail = band_passed(self.light(box, factor))
            self.kept[box, factor] = np.multiply(detail, self._scale, out=detail)
        return self.kept[box, factor]

    @cached_property
    def _scale(self) -> np.float32:
        mean = float(self._whole(self.finest).mean())
        return np.float32(100 / max(mean, _DARKEST))

    def light(self, box: Box, factor: int) -> Values:
        """Grey linear light of a box of a level; sides of the box are divisible by the factor."""
        if factor < self.base:
            return self._linear(self._read(box, factor))
        at = Box(*(side // factor for side in (box.top, box.left, box.bottom, box.right)))
        return self._whole(factor)[at.slices]

    def _whole(self, factor: int) -> Values:
        if factor not in self.kept:
            if factor == self.base:
                whole = self._read(whole_box(self.shape, factor), factor)
                self.kept[factor] = self._linear(whole)
            else:
                self.kept[factor] = _reduced(self._whole(factor // 2), 2)
        return self.kept[factor]

    def _read(self, box: Box, factor: int) -> Pixels:
        rows = max(1, 4_000_000 // max(1, (box.right - box.left) * factor)) * factor
        parts = [
            _reduced(
                np.asarray(self.pixels[top : min(top + rows, box.bottom), box.left : box.right]),
                factor,
            )
            for top in range(box.top, box.bottom, rows)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @property
    def _white(self) -> float:
        dtype = self.pixels.dtype
        return self.data_range or (1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max))

    def _linear(self, stored: Pixels) -> Values:
        if stored.dtype.kind == "f":
            # Squares of light must stay numbers; no type of whole numbers comes near.
            stored = stored.clip(-_BRIGHTEST * self._white, _BRIGHTEST * self._white)
        # Who only plans does not wait for the kernels.
        from batchstack.registration.kernels.light import linear_grey

        light = np.empty(stored.shape[:2], np.float32)
        planes = np.ascontiguousarray(stored).reshape(*light.shape, -1)
        linear_grey(planes, np.float32(1 / self._white), light)
        return light


@dataclass(frozen=True)
class Pair:
    """A frame and the one it is compared with."""

    reference: View
    frame: View

    @property
    def shape(self) -> tuple[int, int]:
        return self.reference.shape

    @property
    def known(self) -> dict[Any, Any]:
        """What has been found of the two, for as long as both are held."""
        return self.frame.beside.setdefault(self.reference, {})


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


def aligned(pair: Pair, box: Box, matrix: Matrix, factor: int) -> tuple[Values, Values]:
    """The reference in a box and the frame moved there, both band-passed."""
    is_whole = box == whole_box(pair.shape, factor)
    source = box if is_whole else _covering(box, matrix, pair.shape, factor)
    moving = pair.frame.detail(source, factor)
    local = np.linalg.inv(to_full(source, factor)) @ matrix @ to_full(box, factor)
    size = (box.right - box.left) // factor, (box.bottom - box.top) // factor
    return pair.reference.detail(box, factor), moved(moving, local, size)


def moved(image: Values, matrix: Matrix, size: tuple[int, int]) -> Values:
    """Linear, which keeps the place of smooth detail to 0.01 px; OpenCV's cubic is 0.04 px off."""
    if image.shape[1::-1] == size and np.array_equal(matrix, np.eye(3)):
        return image
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    result = cv2.warpAffine(image, matrix[:2], size, flags=how, borderMode=cv2.BORDER_REPLICATE)
    return cast(Values, result)


def band_passed(image: Values) -> Values:
    """Without detail finer than `_FINE` pixels and coarser than 8 (standard deviations)."""
    smooth = cv2.GaussianBlur(image, (13, 13), _FINE)
    return cast(Values, np.subtract(smooth, _widely_smoothed(smooth), out=smooth))


def normalised(detail: Values) -> Values:
    """Divided by local contrast, so that no single bright thing counts for all."""
    # Boxes keep running sums: behind a very bright place they may end below zero.
    contrast = np.maximum(_widely_smoothed(detail * detail), 0)
    contrast += np.float32(1)
    return cast(Values, detail / cv2.sqrt(contrast))


def _widely_smoothed(image: Values) -> Values:
    """Two boxes on half the size, nearly a Gaussian of 8 px and ten times as fast."""
    if min(image.shape) < 2:
        return image
    half = cv2.blur(cv2.blur(cv2.pyrDown(image), (9, 9)), (9, 9))
    return cast(Values, cv2.pyrUp(half, dstsize=image.shape[1::-1]))


def _covering(box: Box, matrix: Matrix, shape: tuple[int, int], factor: int) -> Box:
    """The part of the frame that `matrix` maps a box to, with room for its context.

    On a coarse grid: the next guess, which is close by, finds the same part.
    """
    # A fit that has gone astray leads outside of the image, or nowhere.
    x, y = np.nan_to_num((matrix @ corner_pixels(box))[:2])
    step, margin, whole = 32 * factor, _CONTEXT * factor, whole_box(shape, factor)
    limit = np.array([whole.bottom, whole.right])
    low = np.clip([y.min() - margin, x.min() - margin], 0, limit - step) // step * step
    high = np.clip([y.max() + margin, x.max() + margin], low + step, limit)
    high = np.minimum(-(-high // step) * step, limit)
    return Box(int(low[0]), int(low[1]), int(high[0]), int(high[1]))


def _reduced(image: Pixels, factor: int) -> Pixels:
    """Averaged over factor x factor pixels; a remainder that does not fill one is left out."""
    if factor == 1:
        return image
    rows, columns = (side // factor for side in image.shape[:2])
    image = image[: rows * factor, : columns * factor]
    return cast(Pixels, cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA))
