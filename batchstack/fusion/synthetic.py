"""Synthetic stacks with known truth, for the demo, the tests and the benchmarks.

A scene is made of endless functions of (row, column), so that any part of it can be
looked at: strips bound the memory, and a frame that is turned or shifted sees what
lies beyond the edge instead of a border.

A frame forms as behind a lens, in linear light, from back to front::

    image = D(r) * (alpha rgb) + (1 - D(r) * alpha) image

where D(r) is a disc whose radius r grows with the distance of the layer from the
focus. A defocused foreground so spreads over the background and lets light past,
which cutting and pasting along a mask does not do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from batchstack.errors import OptionError

Pixels = npt.NDArray[Any]
Values = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float64]
Kind = Literal["blob", "hair", "lace", "slant"]

# The stored value that means 1.0, by data type.
DTYPES = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
SMALLEST_SIDE = 8
STRIP_ROWS = 512
TEXTURES = (
    *("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel"),
    *("hubble_deep_field", "immunohistochemistry", "moon", "page", "rocket", "text"),
)
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of linear light, Rec. 709


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
    dtype: str = "uint8",
    grey: bool = False,
    noise: float = 0.0,
    exposure_ev: float = 0.0,
    breathing: float = 0.0,
    shift: tuple[float, float] = (0.0, 0.0),
    rotation: float = 0.0,
    seed: int = 0,
) -> SyntheticStack:
    """Render a stack of frames focused from the back of a scene to its front.

    Frame i of N is focused at depth t = i / (N - 1).
    Geometry and exposure drift with t as well, so the back frame is the reference.
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
    seed : int
        Another seed gives another scene and other noise.

    Raises
    ------
    OptionError
        For an unknown scene or data type, fewer than two frames or too small a shape.
    """
    _check(shape, frames, scene, dtype)
    rng = np.random.default_rng(seed)
    pictures = textures or (sample_texture("grass"), sample_texture("immunohistochemistry"))
    view = _scene(scene, shape, pictures, rng)

    def encoded(light: Values, index: int | None) -> Pixels:
        code = _encode(light @ LUMINANCE if grey else light)
        if noise and index is not None:
            grain = np.random.default_rng((seed, index))
            code += np.float32(noise / 255) * grain.standard_normal(code.shape, np.float32)
        return _quantise(code, dtype)

    steps = [i / (frames - 1) for i in range(frames)]
    warps = tuple(_warp(shape, t, breathing, shift, rotation) for t in steps)
    taken = []
    for index, (t, warp) in enumerate(zip(steps, warps, strict=True)):
        light = _expose(view, shape, warp, t, blur) * np.float32(2 ** (exposure_ev * t))
        taken.append(encoded(light, index))
    truth = encoded(_expose(view, shape, warps[0], 0.0, 0.0), None)
    depth = view.depth(np.arange(shape[0]), np.arange(shape[1]))
    return SyntheticStack(tuple(taken), truth, depth, warps)


def sample_texture(name: str) -> npt.NDArray[np.uint8]:
    """A picture of `TEXTURES`, which come with scikit-image, as RGB of shape (h, w, 3).

    Raises
    ------
    OptionError
        For another name.
    """
    from skimage import data

    if name not in TEXTURES:
        raise OptionError(f"texture is {name!r}; give one of {', '.join(TEXTURES)}")
    picture = np.asarray(getattr(data, name)(), np.uint8)
    return _as_rgb(picture)


def _check(shape: tuple[int, int], frames: int, scene: str, dtype: str) -> None:
    if min(shape) < SMALLEST_SIDE:
        raise OptionError(f"shape is {shape}; give {SMALLEST_SIDE} or more pixels a side")
    if frames < 2:
        raise OptionError(f"frames is {frames}; a stack needs two or more")
    if scene not in ("slant", *_ALPHAS):
        raise OptionError(f"scene is {scene!r}; give one of slant, {', '.join(_ALPHAS)}")
    if dtype not in DTYPES:
        raise OptionError(f"dtype is {dtype!r}; give one of {', '.join(DTYPES)}")


# --- the camera


class _View(Protocol):
    """A scene as a lens sees it."""

    def render(self, rows: Places, columns: Places, focus: float, blur: float) -> Values:
        """Linear light of a region; within `blur` pixels of its edges it is not valid."""
        ...

    def depth(self, rows: Places, columns: Places) -> Values:
        """0 at the back to 1 at the front."""
        ...


def _warp(
    shape: tuple[int, int],
    t: float,
    breathing: float,
    shift: tuple[float, float],
    rotation: float,
) -> Matrix:
    centre = ((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    warp: Matrix = cv2.getRotationMatrix2D(centre, rotation * t, 1 + breathing * t)
    warp[:, 2] += np.array(shift) * t
    return warp


def _expose(view: _View, shape: tuple[int, int], warp: Matrix, focus: float, blur: float) -> Values:
    """Linear light of one frame, shape (H, W, 3)."""
    height, width = shape
    frame = np.empty((height, width, 3), np.float32)
    for top in range(0, height, STRIP_ROWS):
        strip = frame[top : top + STRIP_ROWS]
        strip[:] = _expose_strip(view, (top, len(strip), width), warp, focus, blur)
    return frame


def _expose_strip(
    view: _View, strip: tuple[int, int, int], warp: Matrix, focus: float, blur: float
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
    # From the pixels of the strip to those of the region.
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


def _decode_table() -> Values:
    """Linear light of the 256 sRGB code values."""
    code = np.arange(256) / 255
    curve = ((code + 0.055) / 1.055) ** 2.4
    return np.where(code <= 0.04045, code / 12.92, curve).astype(np.float32)


def _defocus(image: Values, radius: float) -> Values:
    """Convolve with an anti-aliased disc; up to half a pixel it is a point."""
    if radius <= 0.5:
        return image
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    blurred: Values = cv2.filter2D(image, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT_101)
    return blurred


# --- scenes


@dataclass(frozen=True)
class _Layers:
    """A foreground at depth 1 over a background at depth 0."""

    background: "_Texture"
    foreground: "_Texture"
    alpha: Callable[[Places, Places], Values]

    def render(self, rows: Places, columns: Places, focus: float, blur: float) -> Values:
        back = _defocus(self.background(rows, columns), blur * focus)
        alpha = self.alpha(rows, columns)[..., None]
        covered = np.concatenate([alpha * self.foreground(rows, columns), alpha], axis=2)
        covered = _defocus(covered, blur * (1 - focus))
        image: Values = covered[..., :3] + (1 - covered[..., 3:]) * back
        return image

    def depth(self, rows: Places, columns: Places) -> Values:
        return self.alpha(rows, columns)


@dataclass(frozen=True)
class _Plane:
    """A plane from depth 0 at the first row to depth 1 at the last."""

    texture: "_Texture"
    height: int

    def render(self, rows: Places, columns: Places, focus: float, blur: float) -> Values:
        sharp = self.texture(rows, columns)
        radii = blur * np.abs(self._row_depth(rows) - focus)
        image = np.zeros_like(sharp)
        # Between two whole radii the image is a mixture of both.
        for radius in range(int(radii.min()), int(np.ceil(radii.max())) + 1):
            weights = np.clip(1 - np.abs(radii - radius), 0, 1)
            if weights.any():
                image += weights[:, None, None] * _defocus(sharp, radius)
        return image

    def depth(self, rows: Places, columns: Places) -> Values:
        return np.repeat(self._row_depth(rows)[:, None], len(columns), axis=1)

    def _row_depth(self, rows: Places) -> Values:
        return np.clip(rows / (self.height - 1), 0, 1).astype(np.float32)


def _scene(
    kind: str,
    shape: tuple[int, int],
    pictures: tuple[Pixels, Pixels],
    rng: np.random.Generator,
) -> _View:
    back, front = (_texture(picture, rng) for picture in pictures)
    if kind == "slant":
        return _Plane(back, shape[0])
    return _Layers(back, front, _ALPHAS[kind](_blob(shape, rng), rng))


@dataclass(frozen=True)
class _Texture:
    """A picture in linear light, mirrored without end."""

    light: Values
    start: tuple[int, int]

    def __call__(self, rows: Places, columns: Places) -> Values:
        height, width = self.light.shape[:2]
        y = _mirrored(rows + self.start[0], height)
        x = _mirrored(columns + self.start[1], width)
        light: Values = self.light[y[:, None], x]
        return light


def _texture(picture: Pixels, rng: np.random.Generator) -> _Texture:
    row, column = rng.integers(0, picture.shape[:2])
    return _Texture(_decode_table()[_as_rgb(picture)], (int(row), int(column)))


def _mirrored(places: Places, size: int) -> Places:
    folded = places % (2 * size)
    return np.minimum(folded, 2 * size - 1 - folded)


def _as_rgb(picture: Pixels) -> Pixels:
    colour = picture[..., :3] if picture.ndim == 3 else np.stack([picture] * 3, axis=2)
    return np.ascontiguousarray(colour)


# --- foregrounds: coverage 0 to 1 as functions of rows and columns


@dataclass(frozen=True)
class _Blob:
    """A disc with a fractal edge, about two thirds of the image high or wide."""

    centre: tuple[float, float]
    radius: float
    ragged: "_Noise"

    def __call__(self, rows: Places, columns: Places) -> Values:
        distance = np.hypot((rows - self.centre[0])[:, None], columns - self.centre[1])
        inside = self.radius - distance + 0.6 * self.radius * self.ragged(rows, columns)
        coverage: Values = np.clip(0.5 + inside / 2, 0, 1).astype(np.float32)
        return coverage


def _blob(shape: tuple[int, int], rng: np.random.Generator) -> _Blob:
    row, column = rng.uniform(0.4, 0.6, 2) * shape
    side = min(shape)
    return _Blob((float(row), float(column)), 0.33 * side, _noise(side / 3, rng))


@dataclass(frozen=True)
class _Lace:
    """A blob full of holes."""

    blob: _Blob
    holes: "_Noise"

    def __call__(self, rows: Places, columns: Places) -> Values:
        gaps = (0.05 - self.holes(rows, columns)) * self.holes.cell
        coverage: Values = self.blob(rows, columns) * np.clip(0.5 + gaps, 0, 1)
        return coverage


def _lace(blob: _Blob, rng: np.random.Generator) -> _Lace:
    return _Lace(blob, _noise(blob.radius / 4, rng))


@dataclass(frozen=True)
class _Hair:
    """A blob with hairs drawn once on a canvas that begins at `start`."""

    blob: _Blob
    canvas: npt.NDArray[np.uint8]
    start: tuple[int, int]

    def __call__(self, rows: Places, columns: Places) -> Values:
        y, x = rows - self.start[0], columns - self.start[1]
        height, width = self.canvas.shape
        hairs = self.canvas[np.clip(y, 0, height - 1)[:, None], np.clip(x, 0, width - 1)]
        coverage: Values = np.maximum(self.blob(rows, columns), hairs / np.float32(255))
        return coverage


def _hair(blob: _Blob, rng: np.random.Generator) -> _Hair:
    """40 bent hairs that start inside the blob and reach up to its diameter."""
    reach = int(np.ceil(2 * blob.radius)) + 16
    start = (round(blob.centre[0]) - reach, round(blob.centre[1]) - reach)
    canvas = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
    along = np.linspace(0.4, 1, 40)
    for turn in range(40):
        angle = (turn + rng.uniform()) * np.pi / 20 + rng.uniform(-0.6, 0.6) * along**2
        length = blob.radius * rng.uniform(1.2, 1.9) * along
        points = reach + length[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
        thickness = int(rng.integers(1, 4)) * max(1, round(blob.radius / 1000))
        line = np.rint(points * 256).astype(np.int32)  # 8 bits after the point
        cv2.polylines(canvas, [line], False, 255, thickness, cv2.LINE_AA, 8)
    return _Hair(blob, canvas, start)


_ALPHAS: dict[str, Callable[[_Blob, np.random.Generator], Callable[[Places, Places], Values]]] = {
    "blob": lambda blob, rng: blob,
    "hair": _hair,
    "lace": _lace,
}


@dataclass(frozen=True)
class _Noise:
    """Fractal value noise of about -1 to 1; each octave is half as wide and half as strong."""

    grids: Values
    cell: float

    def __call__(self, rows: Places, columns: Places) -> Values:
        total = np.zeros((len(rows), len(columns)), np.float32)
        for octave, grid in enumerate(self.grids):
            scale = 2**octave / self.cell
            tall = _interpolated(grid, rows * scale)
            total += _interpolated(tall.T, columns * scale).T * np.float32(0.5**octave)
        return total


def _noise(cell: float, rng: np.random.Generator) -> _Noise:
    """Noise whose widest features are `cell` pixels and whose finest are about 4."""
    octaves = max(1, int(np.log2(max(cell, 4) / 4)) + 1)
    return _Noise(rng.uniform(-0.7, 0.7, (octaves, 64, 64)).astype(np.float32), max(cell, 2.0))


def _interpolated(grid: Values, places: npt.NDArray[np.float64]) -> Values:
    """Rows of an endlessly repeated grid at fractional places, smooth in between."""
    low = np.floor(places).astype(int)
    t = (places - low).astype(np.float32)[:, None]
    t = t * t * (3 - 2 * t)
    mixed: Values = grid[low % len(grid)] * (1 - t) + grid[(low + 1) % len(grid)] * t
    return mixed
