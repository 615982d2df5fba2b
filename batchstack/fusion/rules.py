"""The rules that methods are made of, and how far each of them looks.

A method says which measure it compares frames by, how the measure becomes weights, and whether
weights are smoothed; `methods` has one row for each.
The rules here are names and whole numbers; what they compute is compiled, in `kernels`.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from batchstack.options import FusionOptions

# How many pixels away every formula looks.
ACTIVITY_REACH = 1

# Of the standard deviation; further out a Gaussian is cut off.
_GAUSSIAN_CUT = 4


class Formula(IntEnum):
    """What is measured at a pixel; what each means is in `kernels.measures`."""

    MODIFIED_LAPLACIAN = 0
    LAPLACIAN = 1
    DETAIL = 2


class Weights(IntEnum):
    """By which rule frames are weighed; what each means is in `kernels.weights`.

    `SOFT` compares activities, `HARD` takes the largest after a median, `LIKELIHOOD` and `EDGES`
    follow the decision map, `NAMED` is the map itself, `SHARED` the map smoothed with its level,
    `STRONGER` and `POSTERIOR` that and the strength of bands, `SHARPEST` makes it.
    """

    SOFT = 0
    HARD = 1
    LIKELIHOOD = 2
    EDGES = 3
    NAMED = 4
    SHARPEST = 5
    SHARED = 6
    STRONGER = 7
    POSTERIOR = 8


@dataclass(frozen=True)
class Measure:
    """What frames are compared by.

    Attributes
    ----------
    formula : Formula
    residual : Formula
        Instead of it on the last level of a pyramid, which is no band.
    sigma : float, optional
        Standard deviation of the Gaussian that it is averaged under, in pixels of the level; by
        default it is summed over a box of `FusionOptions.kernel` pixels.
    """

    formula: Formula
    residual: Formula
    sigma: float | None = None

    def reach(self, kernel: int) -> int:
        """How many pixels away it looks."""
        window = kernel // 2 if self.sigma is None else gaussian_reach(self.sigma)
        return ACTIVITY_REACH + window


def gaussian_reach(sigma: float) -> int:
    """How many pixels away a Gaussian looks."""
    return round(_GAUSSIAN_CUT * sigma)


# An offset between two frames is so many steps; this is that of a peak on a frame.
STEPS, ON_FRAME = 254, 127

# How many cells away the map's shares are smoothed over.
SHARED_REACH = 1

# The trust in a cell of the map that means wholly; 255, about twice as much, means surely.
WHOLLY = 128


def map_level(options: FusionOptions) -> int:
    """Level of the decision map, in options that have it."""
    assert options.map_level is not None
    return options.map_level


# Details are drawn wholly from within so many 8-bit code values, and from the square of the ratio
# less where noise, as of `scale.Shown`, is more than so much.
_DRAWN, _NOISY = 6.0, 0.45


def drawn_from(noise: float) -> float:
    """From how far away details are drawn wholly to those of one frame.

    The fewer the noisier frames are: one alone brings back noise that the others average out.
    """
    ratio = _NOISY / max(noise, _NOISY)
    return _DRAWN * (ratio * ratio)


def compared_level(coarsest: int) -> int:
    """Level on which bases are compared, of levels down to theirs: what shows more is nearer.

    It is the next finer one, as far as that is held in planes.
    """
    return max(coarsest - 1, 1)


def gaussian_taps(sigma: float) -> npt.NDArray[np.float32]:
    """Weights of a Gaussian from its centre outwards; on both sides they add up to one."""
    reach = gaussian_reach(sigma)
    taps = np.exp(-0.5 * (np.arange(reach + 1) / max(sigma, 1e-9)) ** 2)
    weights: npt.NDArray[np.float32] = (taps / (2 * taps.sum() - taps[0])).astype(np.float32)
    return weights


def median_reach(size: int) -> int:
    """How many pixels away a median of side `size` looks."""
    return size // 2


def default_median_sizes(levels: int) -> tuple[int, ...]:
    """Sides of the median filter, finest level first, of the original script.

    Its five levels have 35, 19, 9, 5, 3; for any other number the sizes are 3, 5 and
    then each twice the one before plus one, counted from the coarsest level up.
    """
    if levels == 5:
        return (35, 19, 9, 5, 3)
    sizes = [3, 5]
    while len(sizes) < levels:
        sizes.append(2 * sizes[-1] + 1)
    return tuple(reversed(sizes[:levels]))
