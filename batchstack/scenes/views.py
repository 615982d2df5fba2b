"""Scenes as a lens sees them: layers, or a plane, of pictures without end."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from batchstack.errors import OptionError
from batchstack.scenes.foregrounds import FOREGROUNDS, Coverage, Places, Values, blob

Pixels = npt.NDArray[Any]
Kind = Literal["blob", "hair", "lace", "slant"]

TEXTURES = (
    *("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel"),
    *("hubble_deep_field", "immunohistochemistry", "moon", "page", "rocket", "text"),
)


class View(Protocol):
    """A scene as a lens sees it."""

    def render(self, rows: Places, columns: Places, focus: float, blur: float) -> Values:
        """Linear light of a window; within `blur` pixels of its edges it is not valid."""
        ...

    def depth(self, rows: Places, columns: Places) -> Values:
        """0 at the back to 1 at the front."""
        ...


def scene_view(
    kind: str,
    shape: tuple[int, int],
    pictures: tuple[Pixels, Pixels],
    rng: np.random.Generator,
) -> View:
    """A scene of one kind for an image of `shape`, of pictures of its background and foreground."""
    back, front = (_texture(picture, rng) for picture in pictures)
    if kind == "slant":
        return _Plane(back, shape[0])
    return _Layers(back, front, FOREGROUNDS[kind](blob(shape, rng), rng))


@dataclass(frozen=True)
class _Layers:
    """A foreground at depth 1 over a background at depth 0."""

    background: "_Texture"
    foreground: "_Texture"
    alpha: Coverage

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


def _defocus(image: Values, radius: float) -> Values:
    """Convolve with an anti-aliased disc; up to half a pixel it is a point."""
    if radius <= 0.5:
        return image
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    blurred: Values = cv2.filter2D(image, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT_101)
    return blurred


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


def _decode_table() -> Values:
    """Linear light of the 256 sRGB code values."""
    code = np.arange(256) / 255
    curve = ((code + 0.055) / 1.055) ** 2.4
    return np.where(code <= 0.04045, code / 12.92, curve).astype(np.float32)
