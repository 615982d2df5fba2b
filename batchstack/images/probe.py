"""Headers of image files, never their pixels."""

from pathlib import Path

from batchstack import files
from batchstack.images.codecs import codec
from batchstack.images.info import ImageInfo
from batchstack.images.source import HEAD, image_file, kind_of


def probe(path: Path | str) -> ImageInfo:
    """Read the headers of an image file.

    Parameters
    ----------
    path : Path
        A file of one of `FORMATS`; the suffix does not matter.

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
        return codec(kind).read_header(path, file)


def image_kind(path: Path | str) -> str:
    """Return the key of `FORMATS` that the first bytes of a file stand for.

    Raises
    ------
    FileError
        The file cannot be read.
    ImageError
        It is none of them.
    """
    path = Path(path)
    # Not by `image_file`: of a long run that is resumed this is done for every stack.
    try:
        with files.open_to_read(path) as file:
            head = file.read(HEAD)
    except OSError as error:
        raise files.failure(path, "cannot be read", error) from error
    return kind_of(path, head)
