"""Small pictures of image files, for looking at and comparing, not for fusing."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from batchstack.images.codecs import codec
from batchstack.images.info import Pixels
from batchstack.images.orientation import orient, oriented_size
from batchstack.images.read import read_image
from batchstack.images.source import image_file


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
        scale = min(1.0, side / max(info.height, info.width))
        least = round(info.height * scale), round(info.width * scale)
        # What JPEG alone can; other codecs have no such function.
        read_reduced = getattr(module, "read_reduced", None)
        if read_reduced is None:
            pixels = read_image(path)
        else:
            stored = oriented_size(*least, info.orientation)
            pixels = orient(read_reduced(info, file, stored), info.orientation)
    return _eight_bit(cv2.resize(pixels, least[::-1], interpolation=cv2.INTER_AREA))


def _eight_bit(pixels: Pixels) -> npt.NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels  # type: ignore[return-value]
    top = 1.0 if pixels.dtype == np.float32 else float(np.iinfo(pixels.dtype.name).max)
    small = np.clip(pixels * np.float32(255 / top) + np.float32(0.5), 0, 255)
    return np.asarray(small, np.uint8)
