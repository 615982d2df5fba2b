"""Light: what brings the frames of a stack to one brightness and white balance.

Light acts on what the sensor counts, pixels hold a curve of it.
Of sRGB code values v above its straight toe, (v + 0.055)^2.4 is proportional to light, so other
light makes a v + (a - 1) 0.055 of them: a straight line that leaves -0.055 where it is.
Values proportional to light, with or without a dark level, follow the same line with another
value that stays: nothing, or the dark level.
"""

from dataclasses import dataclass
from typing import Any

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
        # Who only plans does not wait for the kernels.
        from batchstack.registration.kernels.light import relight

        factors = np.zeros((len(self.gain), 6))
        factors[:, 0] = self.gain
        if self.slopes:
            factors[:, 1:] = self.slopes
        planes = np.ascontiguousarray(values).reshape(*values.shape[:2], -1)
        lit = np.empty_like(planes)
        at = np.array([box.top, box.left, *(max(side - 1, 1) for side in shape)], np.float64)
        relight(planes, at, factors, self.dark * white, self.dark == SRGB_DARK, lit)
        return lit.reshape(values.shape)


def white_of(dtype: np.dtype[Any]) -> float:
    """The stored value that means 1.0 unless something else is said."""
    return 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)


def terms(x: Numbers, y: Numbers) -> Numbers:
    """1, x, y, x^2, x y and y^2, along a new first axis."""
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y])
