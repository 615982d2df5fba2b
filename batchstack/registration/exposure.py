"""Exposure: how the light of a stack's frames differs, and what would bring them to one.

Defocus spreads light and keeps its sum, so the mean light of a block of pixels is the same however
sharp it is, but for what crosses the block's border.
So the logarithm of a block's mean is what the block shows plus what the frame's light adds.
Both are found by medians [1]_, which blocks with other content (a highlight that moved, an edge
that spread) hardly move.

Light that falls off otherwise from frame to frame is a parabola over the image.
It is fitted robustly, and believed only if it foretells blocks that were not used to fit it.

References
----------
.. [1] J. W. Tukey, "Exploratory Data Analysis", Addison-Wesley 1977, chapter 10 (median polish).
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from batchstack.registration.light import SRGB_DARK, SRGB_POWER, Light, Values, terms, white_of
from batchstack.registration.warp import Matrix, Pixels, Transform, valid_area

Numbers = npt.NDArray[np.float64]
Curve = Callable[[Pixels, float], Values]

# Samples of a frame, cells and blocks that they make, and blocks that must be known of a frame.
_SAMPLES, _CELLS, _BLOCKS, _LEAST_BLOCKS = 200_000, 20_000, 192, 12
# A block is known if its mean is above the first of these (below are noise and rounding), and no
# more than so much of it is above the second, that is clipped; 1.0 is white.
_DARKEST, _BRIGHTEST, _CLIPPED = 0.01, 0.995, 0.02

# Frames differ if their light does by more than this and by as many standard errors.
LEAST_DIFFERENCE, _STANDARD_ERRORS = 0.01, 4.0
# A more complicated explanation is taken if it leaves no more than this share of the scatter, and
# speaks for itself at all by the other.
_CLEARLY_LESS, _LESS = 0.8, 0.95
# A block that is not known counts as such a part of one whose light did not change, or else a
# parabola would shoot up where nothing holds it.
_UNKNOWN = 0.2


@dataclass(frozen=True, eq=False)
class Exposures:
    """How the light of the frames of a stack differs from their median.

    Parameters
    ----------
    levels : (N, C, 6) array
        Natural logarithm of each frame's light in each channel, beside the median of the stack:
        in the middle of the image, and what it grows by with x, y, x^2, x y and y^2, which run
        from -1 to 1.
    error : float
        Standard error of the levels; infinite where light could not be compared.
    dark : float
        The stored value that no light changes; see `Light`.
    """

    levels: Numbers
    error: float
    dark: float = SRGB_DARK

    @property
    def is_known(self) -> bool:
        """Whether the frames have enough in common to compare their light."""
        return bool(np.isfinite(self.error))

    @property
    def spread(self) -> float:
        """The largest departure from the median, of any frame and channel, anywhere."""
        ends = terms(*np.meshgrid([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]))
        return float(np.abs(self.levels @ ends.reshape(6, -1)).max())

    @property
    def differ(self) -> bool:
        """Whether the frames' light differs beyond doubt, and by more than rounding hides."""
        return self.differ_by(LEAST_DIFFERENCE)

    @property
    def is_uneven(self) -> bool:
        """Whether light falls off otherwise from frame to frame."""
        return bool(self.levels[..., 1:].any())

    def differ_by(self, least: float) -> bool:
        """Whether the frames' light differs beyond doubt, and by more than `least`."""
        return self.spread > max(least, _STANDARD_ERRORS * self.error)

    @property
    def lights(self) -> tuple[Light, ...]:
        """What brings each frame to the median of the stack."""
        power = SRGB_POWER if self.dark == SRGB_DARK else 1.0
        if not self.is_uneven:
            gains = np.exp(-self.levels[..., 0] / power)
            return tuple(Light(tuple(gain), dark=self.dark) for gain in gains.tolist())
        design = terms(*np.meshgrid(*[np.linspace(-1, 1, 9)] * 2)).reshape(6, -1)
        factors = np.exp(-self.levels @ design / power)
        fields = (factors @ np.linalg.pinv(design)).tolist()
        return tuple(
            Light(tuple(c[0] for c in field), tuple(tuple(c[1:]) for c in field), self.dark)
            for field in fields
        )


def compare_light(
    frames: Sequence[Pixels],
    transforms: Sequence[Transform],
    *,
    data_range: float | None = None,
    threads: int = 1,
) -> Exposures:
    """Compare the light of the frames of a stack over the area that all of them show.

    Parameters
    ----------
    frames : sequence of (H, W) or (H, W, C) arrays
        Anything that can be sliced into arrays works; each is read in bands.
    transforms : sequence of Transform
        Where they lie.
    data_range : float, optional
        The stored value that means 1.0; by default 255, 65535 or 1.0 by data type.
    threads : int
        By which frames are read.

    Raises
    ------
    StackError
        If the frames have no pixel in common.
    """
    means = partial(_block_means, frames, transforms, data_range, threads)
    light, places = means(_linear)
    if min(_known(light)) < _LEAST_BLOCKS:
        return Exposures(np.zeros((*light.shape[:2], 6)), float("inf"))
    found = Exposures(*_levels(np.log(light), places))
    if not found.differ:
        return found
    # What one curve shows and the other hardly does, is what blur makes of something that is not
    # light: it stays.
    stored = means(_plain)[0]
    plain = Exposures(*_levels(np.log(stored), places, _LESS), dark=0.0)
    share = _CLEARLY_LESS if plain.is_uneven else 0.0
    found = Exposures(*_levels(np.log(light), places, share))
    if not plain.differ_by(max(LEAST_DIFFERENCE, found.spread / 2) / SRGB_POWER):
        return Exposures(np.zeros_like(found.levels), found.error)
    logarithms, dark = np.log(light), SRGB_DARK
    if np.abs(found.levels[..., 0]).max() > LEAST_DIFFERENCE:
        logarithms, dark = _of_best_curve(logarithms, stored)
    return Exposures(*_levels(logarithms, places, share), dark)


# --- what frames differ by


def _of_best_curve(light: Numbers, stored: Numbers) -> tuple[Numbers, float]:
    """Logarithms of light, and what no light changes, as pixels are proportional to light or not.

    By the right curve all blocks tell the same, whether dark or bright.
    """
    darkest = float(np.nanmin(stored))
    darks = (0.0, *np.linspace(0, 0.9 * darkest, 8)[1:].tolist())
    others = {dark: np.log(stored - dark) for dark in darks}
    doubts = {dark: _doubt(logarithms) for dark, logarithms in others.items()}
    best = min(doubts, key=lambda dark: doubts[dark])
    if doubts[best] > _CLEARLY_LESS * _doubt(light):
        return light, SRGB_DARK
    dark = best if doubts[best] < _CLEARLY_LESS * doubts[0.0] else 0.0
    return others[dark], dark


def _doubt(logarithms: Numbers) -> float:
    """Scatter of blocks beside what the frames differ by, which curves scale alike."""
    levels = _polished(logarithms)
    return _scatter(_left(logarithms, levels)) / max(float(np.abs(levels).mean()), 1e-9)


def _levels(
    logarithms: Numbers, places: Numbers, share: float = _CLEARLY_LESS
) -> tuple[Numbers, float]:
    """Levels (N, C, 6) and their standard error from (N, C, B) blocks, NaN where not known.

    Light is uneven if parabolas leave no more than this share of the scatter.
    """
    plain = _polished(logarithms)
    levels = np.concatenate([plain, np.zeros((*plain.shape[:2], 5))], axis=2)
    left = _left(logarithms, plain)
    # What does not even explain the blocks that it is fitted to does not foretell others.
    least = share * _scatter(left)
    explained = share > 0 and _scatter(left - _fitted(left, places) @ places) < least
    if explained and _foretold(left, places) < least:
        levels = _with_fields(logarithms, levels, places)
        left = _left(logarithms, levels @ places)
    return levels, _error(left, logarithms)


def _known(blocks: Numbers) -> Numbers:
    """How many blocks of each frame and channel can be compared with others."""
    known = np.isfinite(blocks)
    return np.asarray((known & (known.sum(axis=0) > 1)).sum(axis=2), np.float64).ravel()


def _error(left: Numbers, logarithms: Numbers) -> float:
    """Standard error of a median over blocks."""
    return 1.2533 * _scatter(left) / float(np.sqrt(min(_known(logarithms))))


def _polished(logarithms: Numbers) -> Numbers:
    """Each frame's level (N, C, 1): medians over blocks of what medians over frames leave."""
    # Who only plans does not wait for the kernels.
    from batchstack.registration.kernels.light import polish

    levels = np.empty(logarithms.shape[:2])
    spare = np.empty(2 * logarithms.shape[2] + len(logarithms))
    polish(np.ascontiguousarray(logarithms), 20, 1e-5, spare, levels)
    return np.asarray(levels - np.median(levels, axis=0), np.float64)[:, :, None]


def _left(logarithms: Numbers, levels: Numbers) -> Numbers:
    """What levels leave of the blocks, once what each block shows is taken off."""
    rest = logarithms - levels
    return rest - _median(rest, axis=0)


def _with_fields(logarithms: Numbers, levels: Numbers, places: Numbers) -> Numbers:
    for _ in range(4):
        levels = levels + _fitted(_left(logarithms, levels @ places), places)
        levels = np.asarray(levels - np.median(levels, axis=0), np.float64)
    return levels


def _foretold(left: Numbers, places: Numbers) -> float:
    """Scatter round parabolas fitted to the other half of the blocks."""
    halves = np.arange(left.shape[2]) % 2 == np.array([[0], [1]])
    missed = [
        (left - _fitted(np.where(half, left, np.nan), places) @ places)[..., ~half]
        for half in halves
    ]
    return _scatter(np.concatenate(missed, axis=2))


def _fitted(left: Numbers, places: Numbers) -> Numbers:
    """Robust parabolas (N, C, 6) through blocks; outliers weigh as Huber has them."""
    known = np.isfinite(left)
    values, base = np.where(known, left, 0.0), np.where(known, 1.0, _UNKNOWN)
    products = (places[:, None] * places).reshape(36, -1)
    weights = base
    for _ in range(4):
        stiffness = (weights @ products.T).reshape(*left.shape[:2], 6, 6)
        pull = (weights * values) @ places.T
        found = np.asarray(np.linalg.solve(stiffness, pull[..., None])[..., 0], np.float64)
        missed = np.where(known, np.abs(values - found @ places), np.nan)
        allowed = np.maximum(1.5 * 1.4826 * _median(missed, axis=2), 1e-9)
        weights = base / np.maximum(1.0, np.where(known, missed, 0.0) / allowed)
    return found


def _median(values: Numbers, axis: int) -> Numbers:
    """Of what is known, kept as an axis; 0 where nothing is."""
    ordered = np.sort(values, axis=axis)  # what is not known comes last
    known = np.isfinite(values)
    if known.all():  # mostly so, and much faster
        size = values.shape[axis]
        low, high = (ordered.take([place], axis=axis) for place in ((size - 1) // 2, size // 2))
        return np.asarray((low + high) / 2, np.float64)
    count = known.sum(axis=axis, keepdims=True)
    middle = [np.take_along_axis(ordered, np.maximum(n, 0) // 2, axis) for n in (count - 1, count)]
    return np.where(count > 0, (middle[0] + middle[-1]) / 2, 0.0)


def _scatter(values: Numbers) -> float:
    return 1.4826 * float(np.nanmedian(np.abs(values)))


# --- what frames show


def _block_means(
    frames: Sequence[Pixels],
    transforms: Sequence[Transform],
    data_range: float | None,
    threads: int,
    curve: Curve,
) -> tuple[Numbers, Numbers]:
    """Means (N, C, B) of the frames' values on a grid of blocks, and the terms (6, B) there."""
    rows, columns = frames[0].shape[:2]
    lattice = _lattice(rows * columns)
    cell = lattice.cell
    area = valid_area(transforms, (rows, columns))
    seen = (
        slice(-(-area.top // cell), area.bottom // cell),
        slice(-(-area.left // cell), area.right // cell),
    )
    means = []
    cells = _all_cells(frames, lattice, data_range, curve, threads)
    for (light, clipped), transform in zip(cells, transforms, strict=True):
        values = _moved(light, transform, lattice)[seen]
        grid = _grid(values.shape)
        mean, lost = _averaged(values, grid), np.zeros(1)
        if clipped.any():
            lost = _averaged(_moved(clipped, transform, lattice)[seen], grid)
        means.append(np.where((lost > _CLIPPED) | (mean < _least(curve)), np.nan, mean))
    ticks = [
        2 * cell * (part.start + (np.arange(n) + 0.5) * (part.stop - part.start) / n) / side - 1
        for part, n, side in zip(seen, grid, (rows, columns), strict=True)
    ]
    y, x = np.meshgrid(*ticks, indexing="ij")
    return np.stack(means), terms(x.ravel(), y.ravel())


@dataclass(frozen=True)
class _Lattice:
    """Pixels a step apart are sampled, and those of a cell (a side in samples) averaged.

    What a curve makes of samples can be averaged, what it makes of averages of sharp and of
    blurred pixels differs.
    """

    step: int
    samples: int

    @property
    def cell(self) -> int:
        """Pixels a side."""
        return self.step * self.samples

    @property
    def to_pixels(self) -> Matrix:
        """From cells to pixels of the image: where the samples of a cell lie on average."""
        middle = self.step // 2 + self.step * (self.samples - 1) / 2
        return np.array([[self.cell, 0, middle], [0, self.cell, middle], [0, 0, 1.0]])


def _lattice(pixels: int) -> _Lattice:
    step = max(1, int(np.ceil(np.sqrt(pixels / _SAMPLES))))
    return _Lattice(step, max(1, round(float(np.sqrt(pixels / _CELLS)) / step)))


def _grid(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of nearly square blocks, 8 cells a side or more."""
    per_side = (_BLOCKS / (shape[0] * shape[1])) ** 0.5
    rows, columns = (max(1, min(int(side * per_side), side // 8)) for side in shape[:2])
    return rows, columns


def _averaged(values: Values, grid: tuple[int, int]) -> Numbers:
    """Means (C, B) over blocks."""
    small = cv2.resize(values, grid[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(small.reshape(grid[0] * grid[1], -1).T, np.float64)


def _all_cells(
    frames: Sequence[Pixels],
    lattice: _Lattice,
    data_range: float | None,
    curve: Curve,
    threads: int,
) -> Iterator[tuple[Values, Values]]:
    """The `_cells` of each frame, which are few, however large the frames are."""
    if threads < 2:
        yield from (_cells(frame, lattice, data_range, curve) for frame in frames)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(lambda frame: _cells(frame, lattice, data_range, curve), frames)


def _cells(
    frame: Pixels, lattice: _Lattice, data_range: float | None, curve: Curve
) -> tuple[Values, Values]:
    """What a curve makes of a frame, and how much of it is clipped, averaged over cells."""
    rows, columns = (side // lattice.cell * lattice.cell for side in frame.shape[:2])
    band = max(1, 4_000_000 // (columns * lattice.cell)) * lattice.cell
    parts = [
        _of_band(
            np.asarray(frame[top : min(top + band, rows), 0:columns]), lattice, data_range, curve
        )
        for top in range(0, rows, band)
    ]
    light, clipped = (np.concatenate(part) for part in zip(*parts, strict=True))
    return light, clipped


def _of_band(
    pixels: Pixels, lattice: _Lattice, data_range: float | None, curve: Curve
) -> tuple[Values, Values]:
    white = data_range or white_of(pixels.dtype)
    if pixels.dtype.kind == "f":
        start = lattice.step // 2
        values = curve(pixels[start :: lattice.step, start :: lattice.step], white)
        size = values.shape[1] // lattice.samples, values.shape[0] // lattice.samples
        light = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
        return np.asarray(light, np.float32), np.zeros(light.shape, np.float32)
    # Who only plans does not wait for the kernels.
    from batchstack.registration.kernels.light import average

    shape = pixels.shape[0] // lattice.cell, pixels.shape[1] // lattice.cell, *pixels.shape[2:]
    light, clipped = np.empty(shape, np.float32), np.empty(shape, np.float32)
    planes = np.ascontiguousarray(pixels).reshape(*pixels.shape[:2], -1)
    table, top = _table(pixels.dtype, white, curve), np.float32(_BRIGHTEST * white)
    outputs = (one.reshape(*shape[:2], -1) for one in (light, clipped))
    average(planes, lattice.step, lattice.samples, table, top, *outputs)
    return light, clipped


def _moved(values: Values, transform: Transform, lattice: _Lattice) -> Values:
    """Cells of the frame where those of the reference lie."""
    if transform.is_identity:
        return values
    whole = np.vstack([transform.array, [0.0, 0.0, 1.0]])
    matrix: Matrix = np.linalg.inv(lattice.to_pixels) @ whole @ lattice.to_pixels
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = values.shape[1::-1]
    moved = cv2.warpAffine(values, matrix[:2], size, flags=how, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def _plain(samples: Pixels, white: float) -> Values:
    return samples.astype(np.float32) * np.float32(1 / white)


def _linear(samples: Pixels, white: float) -> Values:
    """Light of sRGB code values (IEC 61966-2-1)."""
    code = samples.astype(np.float32) / np.float32(white)
    above = np.maximum(code + np.float32(0.055), 0) / np.float32(1.055)
    return np.where(code <= 0.04045, code / np.float32(12.92), above ** np.float32(SRGB_POWER))


@cache
def _table(dtype: np.dtype[Any], white: float, curve: Curve) -> Values:
    """What a curve makes of every value of a type."""
    return curve(np.arange(np.iinfo(dtype).max + 1), white)


def _least(curve: Curve) -> float:
    """What `curve` makes of the darkest value that counts."""
    return float(curve(np.array([_DARKEST]), 1.0)[0])
