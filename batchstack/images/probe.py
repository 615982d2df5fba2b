"""Headers of image files, never their pixels."""

from pathlib import Path
from typing import BinaryIO

from batchstack.images.info import ImageInfo
from batchstack.images.source import image_file


def probe(path: Path | str) -> ImageInfo:
    """Read the headers of an image file.

    Parameters
    ----------
    path : Path
        A JPEG, PNG or TIFF file; the suffix does not matter.

    Returns
    -------
    ImageInfo
        What `read_image` is going to return.

    Raises
    ------
    FileError
        The system does not let it be read: it is missing, its disk fails, ...
    ImageError
        The file is no image, damaged, or of a kind that is not supported (alpha, CMYK,
        page stacks, ...); or it claims more pixels than so many bytes can hold.
    """
    if isinstance(path, str):  # to make a path of a path takes a tenth of the time
        path = Path(path)
    with image_file(path) as (kind, file):
        return probe_file(path, kind, file)


def image_kind(path: Path | str) -> str:
    """Return "jpeg", "png" or "tiff" by the first bytes of a file.

    Raises
    ------
    FileError
        The file cannot be read.
    ImageError
        It is none of them.
    """
    with image_file(Path(path)) as (kind, _):
        return kind


def probe_file(path: Path, kind: str, file: BinaryIO) -> ImageInfo:
    """Read the headers from an open file at its start; `path` is for messages only."""
    # Imported here so that the codecs load only for the kinds in use.
    if kind == "jpeg":
        from batchstack.images import jpeg

        return jpeg.read_header(path, file)
    if kind == "png":
        from batchstack.images import png

        return png.read_header(path, file)
    from batchstack.images import tiff

    with tiff.open_page(path, file) as page:
        return tiff.read_header(path, page)
