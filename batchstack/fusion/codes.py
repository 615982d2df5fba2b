"""Units: pixels of any type as code values, the unit that everything is computed in."""

from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack.options import FusionOptions

Pixels = npt.NDArray[Any]
Image = npt.NDArray[np.float32]

CODE_MAX = 255.0  # frames are computed in units of 8-bit code values
DATA_RANGES = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}


def to_code_values(pixels: Pixels, options: FusionOptions) -> Image:
    """Pixels of any supported type as float32 in units of 8-bit code values."""
    data_range = options.data_range or DATA_RANGES[pixels.dtype.name]
    values = np.ascontiguousarray(pixels, np.float32)
    if data_range == CODE_MAX:
        return values
    return values * np.float32(CODE_MAX / data_range)


def to_pixels(values: Image, dtype: np.dtype[np.generic], options: FusionOptions) -> Pixels:
    """8-bit code values back in the type of the frames: rounded, clipped, then cast."""
    data_range = options.data_range or DATA_RANGES[dtype.name]
    if data_range != CODE_MAX:
        values = values * np.float32(data_range / CODE_MAX)
    if dtype.kind == "f":
        return values.astype(dtype)
    rounded = np.rint(values)
    white = min(data_range, np.iinfo(dtype.name).max)
    return np.clip(rounded, 0, white, out=rounded).astype(dtype)
