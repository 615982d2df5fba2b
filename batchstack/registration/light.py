"""Light: what brings the frames of a stack to one brightness and white balance.

Light acts on what the sensor counts, pixels hold a curve of it.
Of sRGB code values v above its straight toe, (v + 0.055)^2.4 is proportional to light, so other
light makes a v + (a - 1) 0.055 of them: a straight line that leaves -0.055 where it is.
Values proportional to light, with or without a dark level, follow the same line with another
value that stays: nothing, or the dark level.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from batchstack.geometry import Box

Values = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]

# What stays of sRGB code values, and the exponent that makes light of the rest (IEC 61966-2-1).
SRGB_DARK, SRGB_POWER = -0.055, 2.4


@dataclass(frozen=True)
class Light:
    """What brings a frame to the light of its stack.

    Parameters
    ----------
    gain : tuple of float
        Factor of the distance of stored values from `dark`, in the middle of the image; one for
        each channel.
    slopes : tuple of tuple of 5 float
        For each channel what the factor grows by with x, y, x^2, x y and y^2, which run from -1
        to 1 over the image; empty where it is the same everywhere.
    dark : float
        The value that no light changes, with 1.0 for white.
    """

    gain: tuple[float, ...] = (1.0,)
    slopes: tuple[tuple[float, ...], ...] = ()
    dark: float = SRGB_DARK

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        return not self.slopes and all(factor == 1 for factor in self.gain)

    def applied(self, values: Values, box: Box, shape: tuple[int, int], white: float) -> Values:
        """The values of a box of an image in this light.

        A value depends on its own place alone, so tiles equal the whole image.

        Parameters
        ----------
        values : (h, w) or (h, w, C) array
        box : Box
            Where they are in the image.
        shape : tuple of two int
            Rows and columns of the image.
        white : float
            The stored value that means 1.0.
        """
        factors = np.zeros((len(self.gain), 6))
        factors[:, 0] = self.gain
        if self.slopes:
            factors[:, 1:] = self.slopes
        planes = np.ascontiguousarray(values).reshape(*values.shape[:2], -1)
        lit = np.empty_like(planes)
        at = np.array([box.top, box.left, *(max(side - 1, 1) for side in shape)], np.float64)
        _relight()(planes, at, factors, self.dark * white, self.dark == SRGB_DARK, lit)
        return lit.reshape(values.shape)


def white_of(dtype: np.dtype[Any]) -> float:
    """The stored value that means 1.0 unless something else is said."""
    return 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)


def terms(x: Numbers, y: Numbers) -> Numbers:
    """1, x, y, x^2, x y and y^2, along a new first axis."""
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y])


@cache
def _relight() -> Callable[..., None]:
    from batchstack.compiled import kernel

    @kernel
    def relight(
        values: Values, at: Numbers, factors: Numbers, dark: float, has_toe: bool, lit: Values
    ) -> None:
        """Fill `lit`; the factor is found for each pixel anew, so that none depends on others."""
        channels = factors.shape[0]
        one, fixed = np.float32(1), np.float32(dark)
        for i in range(values.shape[0]):
            y = 2 * (at[0] + i) / at[2] - 1
            for j in range(values.shape[1]):
                x = 2 * (at[1] + j) / at[3] - 1
                for c in range(channels):
                    grow = factors[c, 1] * x + factors[c, 2] * y
                    grow += factors[c, 3] * x * x + factors[c, 4] * x * y + factors[c, 5] * y * y
                    factor = np.float32(factors[c, 0] + grow)
                    value = values[i, j, c]
                    line = factor * value + (one - factor) * fixed
                    if has_toe:
                        # Of small values light itself is held: the lines cross near the toe's end.
                        toe = factor * factor * value
                        line = max(line, toe) if factor < one else min(line, toe)
                    lit[i, j, c] = line

    return cast(Callable[..., None], relight)
