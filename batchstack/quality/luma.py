"""The grey images that all measures see, and what several of them do with one."""

import cv2
import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]

CODES = 256
PEAK = 255.0

# Luma of Rec. 601 as MATLAB's rgb2gray rounds it: the published scores were computed with it.
_RED, _GREEN, _BLUE = 0.298936021293775, 0.587043074451121, 0.114020904255103
_FULL_SCALE = {"uint8": PEAK, "uint16": 65535.0}


def grey(image: Pixels, data_range: float | None = None) -> Grey:
    """Grey image in units of 8-bit code values.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) array
        Grey or RGB pixels, uint8, uint16 or float32.
    data_range : float, optional
        The stored value that means 1.0; by default 255, 65535 or 1.0 by data type.

    Returns
    -------
    (H, W) float64 array
        Values on 0..255, whole numbers for uint8 images: the published scores round there.
    """
    full = data_range or _FULL_SCALE.get(image.dtype.name, 1.0)
    values = image.astype(np.float64)
    if values.ndim == 3:
        values = _BLUE * values[..., 2] + _GREEN * values[..., 1] + _RED * values[..., 0]
    if image.dtype == np.uint8:
        values = _rounded(values)
    return values if full == PEAK else values * (PEAK / full)


def luma(image: Pixels, data_range: float | None = None) -> npt.NDArray[np.float32]:
    """The same as `grey` in a twentieth of the time, with Rec. 601's own three digits.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) array
        Grey or RGB pixels, uint8, uint16 or float32.
    data_range : float, optional
        The stored value that means 1.0; by default 255, 65535 or 1.0 by data type.

    Returns
    -------
    (H, W) float32 array
        Values on 0..255, of whole stored values.
    """
    full = data_range or _FULL_SCALE.get(image.dtype.name, 1.0)
    values = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    return np.multiply(values, PEAK / full, dtype=np.float32)


def stretched(image: Grey) -> Grey:
    """The image stretched to whole numbers on 0..255; zeros if it is flat."""
    low, high = image.min(), image.max()
    if high == low:
        return np.zeros_like(image)
    return _rounded((image - low) / (high - low) * (CODES - 1))


def _rounded(values: Grey) -> Grey:
    """Halves go up, as MATLAB rounds what is not negative; NumPy would go to even numbers."""
    return np.floor(values + 0.5)


def bell(radius: int, sigma: float) -> Grey:
    """A Gaussian at whole pixels, 1 in the middle."""
    offsets = np.arange(-radius, radius + 1)
    return np.asarray(np.exp(-(offsets**2) / (2 * sigma * sigma)))
