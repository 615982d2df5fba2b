"""Whether an output is still what was written."""

from pathlib import Path

from batchstack import files
from batchstack.errors import ImageError
from batchstack.images.codecs import codec
from batchstack.images.info import Written
from batchstack.images.read import checksum, stored_pieces
from batchstack.images.source import image_file


def check_image(path: Path | str, known: Written) -> str | None:
    """Read an image file again, all its bytes and all its pixels.

    Memory holds a band of rows where the format is read by rows, otherwise the whole image.

    Parameters
    ----------
    path : Path
    known : Written
        As it was written.

    Returns
    -------
    str, optional
        What is wrong, to follow the name of the file: that it is missing, has another size,
        other bytes, or does not decode.

    Raises
    ------
    FileError
        It may be there, but the system does not let it be read.
    """
    path = Path(path)
    with files.told(path, "cannot be read"):
        try:
            size = files.status(path).st_size
        except FileNotFoundError:
            return "is missing"
    if size != known.size:
        return f"has {size} bytes instead of {known.size}"
    with files.read_file(path) as file:
        if known.digest is not None and checksum(file) != known.digest:
            return "has other content than was written"
    try:
        _decode(path)
    except ImageError as error:
        reason = str(error).removeprefix(f"{path}: ")
        return f"does not decode ({reason})"
    return None


def _decode(path: Path) -> None:
    with image_file(path) as (kind, file):
        info = codec(kind).read_header(path, file)
        file.seek(0)
        for _ in stored_pieces(info, file):
            pass
