"""Moving frames to the reference: a tile moved alone equals the frame moved whole."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from batchstack.errors import StackError
from batchstack.geometry import Box
from batchstack.registration.light import Light, white_of

Pixels = npt.NDArray[Any]
Values = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.floating[Any]]

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Transform:
    """Where a frame lies relative to the reference.

    Parameters
    ----------
    matrix : tuple of 6 floats
        (a, b, c, d, e, f): pixel (x, y) of the reference, which is also the output's, shows what
        pixel (a x + b y + c, d x + e y + f) of the frame shows; x is the column, y the row and
        whole numbers are centres of pixels.
        As a 2 x 3 matrix it fits `cv2.warpAffine` with `WARP_INVERSE_MAP`.
    model : str
        "identity", "translation", "similarity" or "affine".
    score : float
        Correlation of the aligned frame's detail with the reference's, -1..1.
    error : float
        Standard error of the corners in pixels, as the fit predicts it.
    note : str
        Why the frame stays where its neighbour is, for people; empty if all is well.
    """

    matrix: tuple[float, ...] = IDENTITY
    model: str = "identity"
    score: float = 1.0
    error: float = 0.0
    note: str = ""

    @property
    def is_identity(self) -> bool:
        """Whether the frame's pixels are used as they are."""
        return self.matrix == IDENTITY

    @property
    def array(self) -> Matrix:
        """The matrix as a (2, 3) array."""
        return np.array(self.matrix, dtype=np.float64).reshape(2, 3)


def source_window(transform: Transform, box: Box, shape: tuple[int, int]) -> Box:
    """The pixels of a frame of `shape` that `warp_window` needs for a box of output."""
    if transform.is_identity:
        return box
    x, y = transform.array @ corner_pixels(box)
    # One pixel more than the taps: rounding of the corners must not matter.
    top, bottom = _needed(float(y.min()), float(y.max()), shape[0])
    left, right = _needed(float(x.min()), float(x.max()), shape[1])
    return Box(top, left, bottom, right)


def _needed(low: float, high: float, size: int) -> tuple[int, int]:
    low, high = np.clip([low, high], 0, size - 1)
    return max(int(low) - _TAPS // 2, 0), min(int(high) + _TAPS // 2 + 2, size)


def warp_window(
    source: Pixels | Callable[[Box], Pixels],
    transform: Transform,
    box: Box,
    shape: tuple[int, int] | None = None,
    *,
    light: Light | None = None,
    data_range: float | None = None,
) -> Pixels:
    """A box of the output: the frame moved to the reference.

    Every value depends on its own place alone, never on the box: tiles equal the whole image bit
    for bit, and sides are not limited.
    Interpolation is Lanczos with 8 x 8 taps [1]_, whose weights are exact to 1e-6 at every
    fraction of a pixel; a cubic spline would soften frames that are sharp to the pixel.
    Beyond the frame its edge pixels repeat: they have no detail that could win over a real frame.

    Parameters
    ----------
    source : (H, W) or (H, W, 3) array, or callable
        The frame, or a function that returns the pixels of a `Box` of it.
    transform : Transform
        Where the frame lies; the identity returns pixels untouched.
    box : Box
        Pixels of the output.
    shape : tuple of two int, optional
        Size of the frame, needed with a callable.
    light : Light, optional
        What brings the frame to the light of its stack.
    data_range : float, optional
        The stored value that means 1.0 and that results of whole-number types are clipped at; by
        default the largest of the type.

    Returns
    -------
    array of the box's size and the frame's type
        Rounded and clipped for whole-number types, unclipped for float32.

    References
    ----------
    .. [1] C. E. Duchon, "Lanczos filtering in one and two dimensions", Journal of Applied
       Meteorology 18(8), 1016-1022, 1979.
       :doi:`10.1175/1520-0450(1979)018<1016:LFIOAT>2.0.CO;2`
    """
    if not callable(source):
        shape = cast(tuple[int, int], source.shape[:2])
    if shape is None:
        raise StackError("the size of a frame that is read by a function is needed to warp it")
    window = source_window(transform, box, shape)
    pixels = source(window) if callable(source) else np.asarray(source[window.slices])
    relit = light is not None and not light.is_identity
    if transform.is_identity and not relit:
        return pixels
    values = pixels.astype(np.float32)
    if not transform.is_identity:
        values = _moved(values, window, transform, box, shape)
    if light is not None and relit:
        values = light.applied(values, box, shape, data_range or white_of(pixels.dtype))
    return _stored(values, pixels.dtype, data_range)


def _moved(
    values: Values, window: Box, transform: Transform, box: Box, shape: tuple[int, int]
) -> Values:
    # The edges repeat; what is added beside pixels of the frame that were not read is not used.
    sides = [(_TAPS // 2, _TAPS // 2)] * 2 + [(0, 0)] * (values.ndim - 2)
    wide = np.pad(values, sides, mode="edge")
    channels = values.shape[2] if values.ndim == 3 else 1
    moved = np.empty((*box.shape, channels), np.float32)
    _resampler(channels)(
        wide.reshape(wide.shape[0], -1),
        (window.top - _TAPS // 2, window.left - _TAPS // 2),
        shape,
        transform.matrix,
        (box.top, box.left),
        _weights(),
        moved,
    )
    return moved.reshape(*box.shape, *values.shape[2:])


def _stored(values: Values, dtype: np.dtype[Any], data_range: float | None) -> Pixels:
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    top = data_range or white_of(dtype)
    return np.clip(np.rint(values), 0, top).astype(dtype)


def valid_area(transforms: Iterable[Transform], shape: tuple[int, int]) -> Box:
    """The largest upright box that every moved frame covers.

    Parameters
    ----------
    transforms : iterable of Transform
        The transforms of a stack.
    shape : tuple of two int
        (height, width) of the frames in pixels.

    Raises
    ------
    StackError
        If the frames have no pixel in common.
    """
    area = Box(0, 0, *shape)
    corners = corner_pixels(area)
    for transform in transforms:
        if transform.is_identity:
            continue
        back = cv2.invertAffineTransform(transform.array)
        (x00, x01, x10, x11), (y00, y01, y10, y11) = back @ corners
        # Towards the inside by a hair, so that rounding leaves no pixel that is not covered.
        inner = (max(y00, y01), max(x00, x10), min(y10, y11), min(x01, x11))
        top, left = (int(np.ceil(value + 1e-6)) for value in inner[:2])
        bottom, right = (int(np.floor(value - 1e-6)) + 1 for value in inner[2:])
        area = area.intersection(Box(top, left, bottom, right))
    if area.top >= area.bottom or area.left >= area.right:
        raise StackError(
            "the aligned frames have no area in common; check that they belong together"
        )
    return area


_TAPS = 8
_STEPS = 2048


@cache
def _weights() -> Values:
    """Lanczos weights of the taps at every 2048th of a pixel; each row sums to 1."""
    fraction = np.arange(_STEPS + 1)[:, None] / _STEPS
    distance = fraction - np.arange(1 - _TAPS // 2, _TAPS // 2 + 1)
    weights = np.sinc(distance) * np.sinc(distance / (_TAPS // 2))
    weights[np.abs(distance) >= _TAPS // 2] = 0
    return cast(Values, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))


@cache
def _resampler(channels: int) -> Callable[..., None]:
    """Compiled for one number of channels: loops of constant length become vector code.

    The function fills `out`, whose first pixel is `start`, from a window of a frame of `shape`.
    Rows of `window` hold the channels of a pixel side by side; the window begins at `corner`,
    which may lie outside the frame.
    Coordinates are float64 from absolute places and nothing is carried from pixel to pixel, so
    that a value does not depend on the window.
    """
    from batchstack.compiled import kernel

    span = _TAPS * channels
    # Unsigned indices spare the test for negative ones.
    one, wide, all_taps, all_channels = (np.uintp(n) for n in (1, span, _TAPS, channels))
    behind = 1 - _TAPS // 2

    @kernel
    def resample(
        window: Values,
        corner: tuple[int, int],
        shape: tuple[int, int],
        matrix: tuple[float, ...],
        start: tuple[int, int],
        weights: Values,
        out: Values,
    ) -> None:
        flat, stride = window.ravel(), np.uintp(window.shape[1])
        rows, columns = np.empty(_TAPS, np.float32), np.empty(_TAPS, np.float32)
        across = np.empty(span, np.float32)
        for i in range(out.shape[0]):
            for j in range(out.shape[1]):
                x = matrix[0] * (start[1] + j) + matrix[1] * (start[0] + i) + matrix[2]
                y = matrix[3] * (start[1] + j) + matrix[4] * (start[0] + i) + matrix[5]
                x, y = min(max(x, 0.0), shape[1] - 1.0), min(max(y, 0.0), shape[0] - 1.0)
                left, top = int(x), int(y)
                u, v = (x - left) * _STEPS, (y - top) * _STEPS
                at_u, at_v = np.uintp(u), np.uintp(v)
                share_u, share_v = np.float32(u - at_u), np.float32(v - at_v)
                begin = np.uintp(top + behind - corner[0]) * stride
                begin += np.uintp((left + behind - corner[1]) * channels)
                for tap in range(all_taps):
                    low, high = weights[at_v, tap], weights[at_v + one, tap]
                    rows[tap] = low + share_v * (high - low)
                    low, high = weights[at_u, tap], weights[at_u + one, tap]
                    columns[tap] = low + share_u * (high - low)
                for k in range(wide):
                    value = np.float32(0)
                    for tap in range(all_taps):
                        value += rows[tap] * flat[begin + np.uintp(tap) * stride + k]
                    across[k] = value
                for c in range(all_channels):
                    value = np.float32(0)
                    for tap in range(all_taps):
                        value += columns[tap] * across[np.uintp(tap) * all_channels + c]
                    out[i, j, c] = value

    return cast(Callable[..., None], resample)


def corner_pixels(box: Box) -> Matrix:
    """Homogeneous (x, y, 1) of the corner pixels, one per column."""
    columns, rows = (box.left, box.right - 1), (box.top, box.bottom - 1)
    return np.array([(x, y, 1.0) for y in rows for x in columns]).T
