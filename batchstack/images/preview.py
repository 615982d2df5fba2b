"""Small pictures of image files, for looking at and comparing, not for fusing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from batchstack.formats import FORMATS
from batchstack.images.codecs import codec
from batchstack.images.info import ImageInfo, Pixels
from batchstack.images.orientation import orient, oriented_size
from batchstack.images.read import read_image
from batchstack.images.source import image_file

_STRIP = 2**20  # pixels that are made smaller at once, while they are near


def read_preview(path: Path | str, side: int) -> npt.NDArray[np.uint8]:
    """Read a small picture of an image.

    JPEG is decoded at an eighth, a quarter or half of its size where that is enough, which
    takes a fraction of the time and of the memory.

    Parameters
    ----------
    path : Path
        A file of one of `FORMATS`.
    side : int
        Pixels of the longer side; images that are smaller keep their size.

    Returns
    -------
    ndarray of uint8, (h, w) or (h, w, 3)
        RGB, the right way up; deeper pixels are scaled to the range of their type.

    Raises
    ------
    FileError, ImageError
        As `read_image`.
    """
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
    return _eight_bit(cv2.resize(pixels, least[::-1], interpolation=cv2.INTER_AREA))


def is_shown(info: ImageInfo) -> bool:
    """Whether browsers show a file as it is and the right way up."""
    return FORMATS[info.format].in_browsers and info.orientation == 1


def reduced(
    rows: Callable[[int, int], Pixels], shape: tuple[int, ...], side: int
) -> npt.NDArray[np.uint8]:
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

    Returns
    -------
    ndarray of uint8, (h, w) or (h, w, 3)
        New memory; deeper pixels are scaled to the range of their type.
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
        strips.append(_eight_bit(strip))
    resized = cv2.resize(np.concatenate(strips), least[::-1], interpolation=cv2.INTER_LINEAR)
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


def _eight_bit(pixels: Pixels) -> npt.NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels  # type: ignore[return-value]
    top = 1.0 if pixels.dtype == np.float32 else float(np.iinfo(pixels.dtype.name).max)
    small = np.clip(pixels * np.float32(255 / top) + np.float32(0.5), 0, 255)
    return np.asarray(np.nan_to_num(small), np.uint8)
