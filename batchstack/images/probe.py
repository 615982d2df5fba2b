"""Headers of image files, never their pixels."""

from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from batchstack.errors import ImageError
from batchstack.images.info import ImageInfo

_MAGIC = {
    b"\xff\xd8\xff": "jpeg",
    b"\x89PNG\r\n\x1a\n": "png",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
}


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
    ImageError
        The file is missing, unreadable, no image, damaged, or of a kind that is not
        supported (alpha, CMYK, page stacks, ...).
    """
    if isinstance(path, str):
        path = Path(path)
    with open_image(path) as file:
        return probe_file(path, file)


def image_kind(path: Path | str) -> str:
    """Return "jpeg", "png" or "tiff" by the first bytes of a file.

    Raises
    ------
    ImageError
        The file cannot be read or is none of them.
    """
    path = Path(path)
    with open_image(path) as file:
        return kind_of(path, file)


def open_image(path: Path) -> BufferedReader:
    """Open a file for reading; what the system refuses becomes an `ImageError`."""
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise ImageError(f"{path}: does not exist; check the path") from error
    except IsADirectoryError as error:
        raise ImageError(f"{path}: is a folder, not an image; name a file in it") from error
    except PermissionError as error:
        raise ImageError(f"{path}: may not be read; check its permissions") from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be opened: {error.strerror or error}") from error


def probe_file(path: Path, file: BinaryIO) -> ImageInfo:
    """Read the headers from an open file or buffer; `path` is for messages only."""
    kind = kind_of(path, file)
    # Imported here so that the codecs load only for the kinds in use.
    if kind == "jpeg":
        from batchstack.images import jpeg

        return jpeg.read_header(path, file)
    if kind == "png":
        from batchstack.images import png

        return png.read_header(path, file)
    from batchstack.images import tiff

    with tiff.open_tiff(path, file) as page:
        return tiff.read_header(path, page)


def kind_of(path: Path, file: BinaryIO) -> str:
    """Return "jpeg", "png" or "tiff" by the first bytes; the position is kept at 0."""
    file.seek(0)
    head = file.read(8)
    file.seek(0)
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if not head:
        raise ImageError(f"{path}: is empty (0 bytes); copy it again from the source")
    raise ImageError(
        f"{path}: is not a JPEG, PNG or TIFF file (it starts with {head!r}); "
        "convert it first, e.g. to TIFF"
    )
