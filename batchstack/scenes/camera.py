"""The camera: frames of a scene, each focused at another depth."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from batchstack.errors import OptionError
from batchstack.scenes.foregrounds import FOREGROUNDS
from batchstack.scenes.views import Kind, View, sample_texture, scene_view

Pixels = npt.NDArray[Any]
Values = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]

# The stored value that means 1.0, by data type.
DTYPES = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
SMALLEST_SIDE = 8
STRIP_ROWS = 512
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of linear light, Rec. 709


@dataclass(frozen=True)
class Camera:
    """How a scene is photographed; exposure and geometry drift from the back frame to the front.

    Parameters
    ----------
    dtype : str
        "uint8", "uint16" or "float32"; 255, 65535 and 1.0 are white.
    grey : bool
        Give the luminance, as (H, W).
    noise : float
        Standard deviation of the frames' Gaussian noise, in 8-bit code values.
        Shot noise has about the same deviation at every brightness once it is encoded.
    exposure_ev : float
        How much brighter the front frame is, in stops.
    breathing : float
        How much larger the front frame shows the scene: 0.01 is one percent.
    shift : (float, float)
        Where the front frame sees the scene's centre, in columns and rows from its own.
    rotation : float
        How far the front frame shows the scene turned about the centre, counterclockwise
        in degrees.

    Raises
    ------
    OptionError
        For an unknown data type.
    """

    dtype: str = "uint8"
    grey: bool = False
    noise: float = 0.0
    exposure_ev: float = 0.0
    breathing: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    rotation: float = 0.0

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise OptionError(f"dtype is {self.dtype!r}; give one of {', '.join(DTYPES)}")

    def warp(self, shape: tuple[int, int], t: float) -> Matrix:
        """The matrix that takes (x, y, 1) of the scene to (x, y) of a frame focused at depth t."""
        centre = ((shape[1] - 1) / 2, (shape[0] - 1) / 2)
        warp: Matrix = cv2.getRotationMatrix2D(centre, self.rotation * t, 1 + self.breathing * t)
        warp[:, 2] += np.array(self.shift) * t
        return warp

    def stored(self, light: Values, grain: np.random.Generator | None = None) -> Pixels:
        """Linear light as pixels, with noise if a source of it is given."""
        code = _encode(light @ LUMINANCE if self.grey else light)
        if self.noise and grain is not None:
            code += np.float32(self.noise / 255) * grain.standard_normal(code.shape, np.float32)
        return _quantise(code, self.dtype)


@dataclass(frozen=True, eq=False)
class SyntheticStack:
    """Frames and what is known about them.

    Parameters
    ----------
    frames : tuple of ndarray, shape (H, W, 3) or (H, W)
        Back to front, of the data type asked for.
    truth : ndarray, shape (H, W, 3) or (H, W)
        The scene in focus everywhere, with the geometry and the exposure of the back
        frame, without noise.
    depth : ndarray of float32, shape (H, W)
        0 where the back frame is in focus, 1 where the front frame is, in the geometry of
        the back frame. Of a scene with a foreground it is the foreground's coverage.
    warps : tuple of ndarray, shape (2, 3)
        For each frame the matrix that takes (x, y, 1) of the scene, which is the back
        frame's, to (x, y) of the frame; x is the column and y the row of a pixel's centre.
    """

    frames: tuple[Pixels, ...]
    truth: Pixels
    depth: Values
    warps: tuple[Matrix, ...]


def make_stack(
    shape: tuple[int, int],
    *,
    frames: int = 2,
    scene: Kind = "blob",
    textures: tuple[Pixels, Pixels] | None = None,
    blur: float = 4.0,
    seed: int = 0,
    camera: Camera = Camera(),
) -> SyntheticStack:
    """Render a stack of frames focused from the back of a scene to its front.

    Frame i of N is focused at depth t = i / (N - 1).
    Geometry and exposure may drift with t as well, so the back frame is the reference.
    The same arguments give the same arrays, and the scene does not depend on how it
    is photographed.

    Parameters
    ----------
    shape : (int, int)
        Height and width, 8 or more pixels a side.
    frames : int
        How many, 2 or more.
    scene : str
        "blob", a ragged foreground over a background; "hair", the same with thin hairs
        around it; "lace", the same full of holes; "slant", one plane that comes nearer
        from the first row to the last.
    textures : two uint8 arrays, shape (h, w, 3) or (h, w), optional
        sRGB pictures of the background and the foreground, mirrored as far as needed;
        by default grass and stained tissue. "slant" shows the first.
    blur : float
        Radius in pixels of the disc a point becomes when the focus is at the other end.
    seed : int
        Another seed gives another scene and other noise.
    camera : Camera
        How the scene is photographed; by default 8 bits, nothing drifts, and there is no noise.

    Raises
    ------
    OptionError
        For an unknown scene, fewer than two frames or too small a shape.
    """
    _check(shape, frames, scene)
    rng = np.random.default_rng(seed)
    pictures = textures or (sample_texture("grass"), sample_texture("immunohistochemistry"))
    view = scene_view(scene, shape, pictures, rng)
    steps = [i / (frames - 1) for i in range(frames)]
    warps = tuple(camera.warp(shape, t) for t in steps)
    taken = []
    for index, (t, warp) in enumerate(zip(steps, warps, strict=True)):
        light = _expose(view, shape, warp, t, blur) * np.float32(2 ** (camera.exposure_ev * t))
        taken.append(camera.stored(light, np.random.default_rng((seed, index))))
    truth = camera.stored(_expose(view, shape, warps[0], 0.0, 0.0))
    depth = view.depth(np.arange(shape[0]), np.arange(shape[1]))
    return SyntheticStack(tuple(taken), truth, depth, warps)


def _check(shape: tuple[int, int], frames: int, scene: str) -> None:
    if min(shape) < SMALLEST_SIDE:
        raise OptionError(f"shape is {shape}; give {SMALLEST_SIDE} or more pixels a side")
    if frames < 2:
        raise OptionError(f"frames is {frames}; a stack needs two or more")
    if scene not in ("slant", *FOREGROUNDS):
        raise OptionError(f"scene is {scene!r}; give one of slant, {', '.join(FOREGROUNDS)}")


def _expose(view: View, shape: tuple[int, int], warp: Matrix, focus: float, blur: float) -> Values:
    """Linear light of one frame, shape (H, W, 3)."""
    height, width = shape
    frame = np.empty((height, width, 3), np.float32)
    for top in range(0, height, STRIP_ROWS):
        strip = frame[top : top + STRIP_ROWS]
        strip[:] = _expose_strip(view, (top, len(strip), width), warp, focus, blur)
    return frame


def _expose_strip(
    view: View, strip: tuple[int, int, int], warp: Matrix, focus: float, blur: float
) -> Values:
    """The rows `strip` = (top, height, width) of a frame."""
    top, height, width = strip
    inverse = cv2.invertAffineTransform(warp)
    corners = np.array([[x, y, 1.0] for x in (0, width - 1) for y in (top, top + height - 1)])
    seen = corners @ inverse.T
    margin = int(np.ceil(blur)) + 4  # 4 for the interpolation
    first = np.floor(seen.min(axis=0)).astype(int) - margin
    last = np.ceil(seen.max(axis=0)).astype(int) + margin
    columns, rows = (np.arange(a, b + 1) for a, b in zip(first, last, strict=True))
    light = view.render(rows, columns, focus, blur)
    if np.array_equal(warp, np.eye(2, 3)):
        return light[margin : margin + height, margin : margin + width]
    # From the pixels of the strip to those of the window.
    inverse[:, 2] += inverse[:, :2] @ (0, top) - first
    return _resampled(light, inverse, (height, width))


def _resampled(light: Values, inverse: Matrix, shape: tuple[int, int]) -> Values:
    # The cubic of cv2.warpAffine displaces by up to 0.04 pixels; this one keeps ramps.
    from skimage.transform import warp

    square = np.vstack([inverse, [0, 0, 1]])
    moved = warp(light, square, output_shape=shape, order=3, clip=False, preserve_range=True)
    return np.asarray(moved, np.float32)


def _quantise(code: Values, dtype: str) -> Pixels:
    """Values of 0 to 1 as the data type stores them."""
    scaled = np.clip(code, 0, 1) * np.float32(DTYPES[dtype])
    return scaled if dtype == "float32" else np.rint(scaled).astype(dtype)


def _encode(light: Values) -> Values:
    """Linear light as sRGB, both 0 to 1 (IEC 61966-2-1)."""
    light = np.clip(light, 0, 1)
    curve = np.float32(1.055) * np.power(light, np.float32(1 / 2.4)) - np.float32(0.055)
    return np.where(light <= 0.0031308, np.float32(12.92) * light, curve)
