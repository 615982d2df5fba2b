"""Small pictures of image files, for looking at and comparing, not for fusing."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from batchstack.formats import FORMATS
from batchstack.images.codecs import codec
from batchstack.images.info import ImageInfo, Pixels
from batchstack.images.orientation import orient, oriented_size
from batchstack.images.read import read_image
from batchstack.images.source import image_file
from batchstack.images.white import held, white_of, white_of_type

_STRIP = 2**20  # pixels that are made smaller at once, while they are near


Small: TypeAlias = npt.NDArray[np.uint8]


def read_preview(path: Path | str, side: int, data_range: float | None = None) -> Small:
    """Read a small picture of an image.

    JPEG is decoded at an eighth, a quarter or half of its size where that is enough, which
    takes a fraction of the time and of the memory.

    Parameters
    ----------
    path : Path
        A file of one of `FORMATS`.
    side : int
        Pixels of the longer side; images that are smaller keep their size.
    data_range : float, optional
        The stored value that means white; None to go by what the file states or holds.

    Returns
    -------
    ndarray of uint8, (h, w) or (h, w, 3)
        RGB, the right way up, 255 for white.

    Raises
    ------
    FileError, ImageError
        As `read_image`.
    """
    return read_preview_and_white(path, side, data_range)[0]


def read_preview_and_white(
    path: Path | str, side: int, data_range: float | None = None
) -> tuple[Small, float, str]:
    """Read a small picture as `read_preview`, which stored value is white in it, and their type."""
    import cv2  # here, so that importing the room loads no codec

    path = Path(path)
    with image_file(path) as (kind, file):
        module = codec(kind)
        info = module.read_header(path, file)
        file.seek(0)
        least = _least(info.height, info.width, side)
        # What JPEG alone can; other codecs have no such function.
        read_reduced = getattr(module, "read_reduced", None)
        if read_reduced is None:
            pixels = read_image(path)
        else:
            stored = oriented_size(*least, info.orientation)
            pixels = orient(read_reduced(info, file, stored), info.orientation)
    white = _white_of(pixels, info, data_range)
    small = cv2.resize(pixels, least[::-1], interpolation=cv2.INTER_AREA)
    return _eight_bit(small, white), white, info.dtype


def _white_of(pixels: Pixels, info: ImageInfo, given: float | None) -> float:
    if pixels.dtype == np.uint8:  # which browsers show as they are
        return white_of_type(pixels.dtype)
    found = white_of(info.data_range, [held(pixels, info.data_range)]).value
    return given or found or white_of_type(pixels.dtype)


def is_shown(info: ImageInfo) -> bool:
    """Whether browsers show a file as it is and the right way up."""
    return FORMATS[info.format].in_browsers and info.orientation == 1


def reduced(
    rows: Callable[[int, int], Pixels],
    shape: tuple[int, ...],
    side: int,
    data_range: float | None = None,
) -> Small:
    """Make a small picture of an image that is in memory, or is read by rows.

    It is halved, by means of four pixels, as often as it stays larger than asked for, then
    resized bilinearly: a quarter of the time that means over areas of any size take.

    Parameters
    ----------
    rows : callable
        First row, and the one behind the last, to their pixels.
    shape : tuple of int
        (H, W) or (H, W, 3) of the image.
    side : int
        Pixels of the longer side; images that are smaller keep their size.
    data_range : float, optional
        The stored value that means white; None if it is that of the type.

    Returns
    -------
    ndarray of uint8, (h, w) or (h, w, 3)
        New memory, 255 for white.
    """
    import cv2  # here, so that importing the room loads no codec

    height, width = shape[:2]
    least = _least(height, width, side)
    halvings = max(0, (max(height, width) // max(side, 1)).bit_length() - 1)
    step = 2**halvings
    whole = height // step * step or height
    step *= max(1, _STRIP // (step * width))
    strips = []
    for top in range(0, whole, step):
        strip = rows(top, min(top + step, whole))
        for _ in range(halvings):
            strip = _halved(strip)
        strips.append(_eight_bit(strip, data_range or white_of_type(strip.dtype)))
    small = strips[0] if len(strips) == 1 else np.concatenate(strips)
    resized = cv2.resize(small, least[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def _least(height: int, width: int, side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _halved(pixels: Pixels) -> Pixels:
    """Half as many rows and columns; the last odd one is left out, a single one stays."""
    import cv2

    height, width = pixels.shape[:2]
    size = max(width // 2, 1), max(height // 2, 1)
    even = pixels[: max(size[1] * 2, 1), : max(size[0] * 2, 1)]
    half: Pixels = cv2.resize(even, size, interpolation=cv2.INTER_AREA)
    return half


def _eight_bit(pixels: Pixels, white: float) -> Small:
    if pixels.dtype == np.uint8:
        return pixels  # type: ignore[return-value]
    small = np.clip(pixels, 0, np.float32(white)) * np.float32(255 / white) + np.float32(0.5)
    return np.asarray(np.nan_to_num(small), np.uint8)
