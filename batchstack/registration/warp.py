"""Moving frames to the reference: a tile moved alone equals the frame moved whole."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
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
_TAPS = 8
# Cosine of the turn or shear beyond which two passes would lose detail, or have no meaning.
_STEEPEST = 0.7


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
    residual : float, optional
        What the best affine transform between the frame and its neighbour leaves, in pixels; see
        `residuals`.
    """

    matrix: tuple[float, ...] = IDENTITY
    model: str = "identity"
    score: float = 1.0
    error: float = 0.0
    note: str = ""
    residual: float | None = None

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
    y = (transform.array @ corner_pixels(box))[1]
    top, bottom = _needed(y, shape[0])
    by_x, by_row, fixed = across(transform.matrix)
    ends = np.array([box.left, box.right - 1])[:, None], np.array([top, bottom - 1])
    left, right = _needed(by_x * ends[0] + by_row * ends[1] + fixed, shape[1])
    return Box(top, left, bottom, right)


def _needed(places: Matrix, size: int) -> tuple[int, int]:
    # One pixel more than the taps: rounding of the corners must not matter.
    low, high = np.clip([places.min(), places.max()], 0, size - 1)
    return max(int(low) - _TAPS // 2, 0), min(int(high) + _TAPS // 2 + 2, size)


def across(matrix: tuple[float, ...]) -> tuple[float, float, float]:
    """Where a row of the frame shows a column of the output.

    That is at column p x + q v + r of the frame, if x is the output's column and v the frame's
    row; returned are p, q and r.

    Raises
    ------
    StackError
        If the frame is turned or sheared too far for that.
    """
    if turns_too_far(matrix):
        raise StackError(
            "a transform turns or shears a frame by more than 45 degrees; give one that is nearly "
            "upright"
        )
    a, b, c, d, e, f = matrix
    return a - b * d / e, b / e, c - b * f / e


def turns_too_far(matrix: tuple[float, ...]) -> bool:
    """Whether rows of the output cross those of the frame too steeply for two passes."""
    a, b, _, d, e, _ = matrix
    return not (a > _STEEPEST * np.hypot(a, d) and e > _STEEPEST * np.hypot(b, e))


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
    Interpolation is Lanczos with 8 taps along rows, then 8 along columns [1]_ [2]_, with weights
    exact to 1e-6 at every fraction of a pixel; a cubic spline would soften frames that are sharp
    to the pixel.
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

    Raises
    ------
    StackError
        If the transform turns or shears the frame by more than 45 degrees, or the size is missing.

    Returns
    -------
    array of the box's size and the frame's type
        Rounded and clipped for whole-number types, unclipped for float32.

    References
    ----------
    .. [1] C. E. Duchon, "Lanczos filtering in one and two dimensions", Journal of Applied
       Meteorology 18(8), 1016-1022, 1979.
       :doi:`10.1175/1520-0450(1979)018<1016:LFIOAT>2.0.CO;2`
    .. [2] E. Catmull and A. R. Smith, "3-D transformations of images in scanline order",
       SIGGRAPH 1980, 279-285. :doi:`10.1145/800250.807505`
    """
    if not callable(source):
        shape = cast(tuple[int, int], source.shape[:2])
    if shape is None:
        raise StackError("the size of a frame that is read by a function is needed to warp it")
    window = source_window(transform, box, shape)
    pixels = source(window) if callable(source) else np.asarray(source[window.slices])
    if light is not None and not light.is_identity:
        # Not rounded in between.
        values = pixels.astype(np.float32)
        if not transform.is_identity:
            values = _moved(values, window, transform, box, shape, np.inf)
        values = light.applied(values, box, shape, data_range or white_of(pixels.dtype))
        return _stored(values, pixels.dtype, data_range)
    if transform.is_identity:
        return pixels
    top = np.inf if pixels.dtype.kind == "f" else data_range or white_of(pixels.dtype)
    return _moved(pixels, window, transform, box, shape, top)


def _moved(
    pixels: Pixels,
    window: Box,
    transform: Transform,
    box: Box,
    shape: tuple[int, int],
    top: float,
) -> Pixels:
    # Who only plans does not wait for the kernels.
    from batchstack.registration.kernels.resampling import resample, spare

    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    moved = np.empty((box.shape[0], box.shape[1] * channels), pixels.dtype)
    matrix = tuple(map(float, transform.matrix))
    resample(
        np.ascontiguousarray(pixels).reshape(window.shape[0], window.shape[1] * channels),
        channels,
        (window.top, window.left),
        shape,
        matrix,
        across(matrix),
        (box.top, box.left),
        np.float32(top),
        spare(channels, matrix, across(matrix)),
        moved,
    )
    return moved.reshape(*box.shape, *pixels.shape[2:])


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


def corner_pixels(box: Box) -> Matrix:
    """Homogeneous (x, y, 1) of the corner pixels, one per column."""
    columns, rows = (box.left, box.right - 1), (box.top, box.bottom - 1)
    return np.array([(x, y, 1.0) for y in rows for x in columns]).T
