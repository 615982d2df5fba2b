"""Image files as they are opened: of which kind, and who is to blame when reading them fails.

Three can be: the system (a `FileError`), the file (an `ImageError`), or batchstack itself,
whose mistakes must not send anyone after a sound file.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from batchstack import files
from batchstack.errors import BatchstackError, ImageError

_MAGIC = {
    b"\xff\xd8\xff": "jpeg",
    b"\x89PNG\r\n\x1a\n": "png",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
}
_REWRITE = {
    "jpeg": "jpegtran -copy all in.jpg > out.jpg",
    "png": "magick in.png out.png",
    "tiff": "magick in.tif out.tif",
}
_HOME = __name__.partition(".")[0]


@contextmanager
def image_file(path: Path) -> Iterator[tuple[str, BinaryIO]]:
    """Give the kind of an image file ("jpeg", "png" or "tiff") and the file, open at its start.

    Raises
    ------
    FileError
        The system does not let it be read.
    ImageError
        It is none of them, or what reads it in the block finds it damaged.
    """
    with files.read_file(path) as file, image_in(path, file) as kind:
        yield kind, file


@contextmanager
def image_in(path: Path, file: BinaryIO) -> Iterator[str]:
    """Give the kind of an image in an open file, which is read in the block.

    Raises
    ------
    ImageError
        As `image_file`; `path` is for messages only.
    """
    kind = _kind(path, file)
    with blamed_on_file(
        lambda error: (
            f"{path}: is damaged or incomplete, or has a {kind.upper()} header that is "
            f"not supported ({error}); copy it again from the source, or if it looks right in a "
            f"viewer rewrite it, e.g. {_REWRITE[kind]}"
        )
    ):
        yield kind


@contextmanager
def blamed_on_file(message: Callable[[Exception], str]) -> Iterator[None]:
    """Have what libraries raise in a block become an `ImageError`.

    A damaged header or tag can make them fail anywhere, with any exception.
    Errors of the system, and exceptions from batchstack's own lines, stay what they are.
    """
    try:
        yield
    except (BatchstackError, MemoryError):
        raise
    except Exception as error:
        of_system = isinstance(error, OSError) and error.errno is not None
        if of_system or _is_own(error.__traceback__):
            raise
        raise ImageError(message(error)) from error


def _is_own(trace: TracebackType | None) -> bool:
    """Whether the innermost frame, where the exception was raised, is in batchstack."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    # Frames of compiled code may have no name.
    name = trace and trace.tb_frame.f_globals.get("__name__")
    return (name or "").partition(".")[0] == _HOME


def _kind(path: Path, file: BinaryIO) -> str:
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
