"""Image files as they are opened: of which kind, and who is to blame when reading them fails.

Three can be: the system (a `FileError`), the file (an `ImageError`), or batchstack itself,
whose mistakes must not send anyone after a sound file.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from batchstack import files
from batchstack.errors import BatchstackError, DamagedError, ImageError
from batchstack.formats import (
    FOREIGN_HEAD,
    FORMATS,
    either,
    foreign,
    longest_magic,
    of_magic,
    widest,
)
from batchstack.images.claims import file_size
from batchstack.images.info import Empty

HEAD = max(longest_magic(), FOREIGN_HEAD)
"""Bytes by which the kind of a file is known."""
_HOME = __name__.partition(".")[0]

_reading = threading.local()


def _is_asked_for(record: logging.LogRecord) -> bool:
    """Whether what a library logs is for others than us: what it notices here, errors say."""
    return not getattr(_reading, "files", 0)


for library in ("imagecodecs", "tifffile"):
    logging.getLogger(library).addFilter(_is_asked_for)


@contextmanager
def image_file(path: Path) -> Iterator[tuple[str, BinaryIO]]:
    """Give the kind of an image file, a key of `FORMATS`, and the file, open at its start.

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
    """Give the kind of an image in a file that is open at its start, and read in the block.

    Raises
    ------
    ImageError
        As `image_file`; `path` is for messages only.
    """
    kind = kind_of(path, file.read(HEAD))
    file.seek(0)
    _reading.files = getattr(_reading, "files", 0) + 1
    try:
        yield kind
    except Exception as error:
        if not is_damage(error):
            raise
        row = FORMATS[kind]
        raise DamagedError(
            path,
            f"is damaged or incomplete, or has a {row.label} header that is "
            f"not supported ({error}); copy it again from the source, or if it looks right in a "
            f"viewer rewrite it, e.g. {row.rewrite}",
        ) from error
    finally:
        _reading.files -= 1


def is_damage(error: Exception) -> bool:
    """Whether an exception from reading a file is to be blamed on what is in it.

    A damaged header or tag can make a library fail anywhere, with any exception.
    Errors of the system, and exceptions from batchstack's own lines, are something else.
    """
    if isinstance(error, (BatchstackError, MemoryError)):
        return False
    if isinstance(error, OSError) and error.errno is not None:
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    # Where it was raised; frames of compiled code may have no name.
    name = trace and trace.tb_frame.f_globals.get("__name__")
    return (name or "").partition(".")[0] != _HOME


def kind_of(path: Path, head: bytes) -> str:
    """The key of `FORMATS` that the first bytes of a file stand for.

    Raises
    ------
    ImageError
        They are of none of them; `path` is for the message only.
    """
    found = of_magic(head)
    if found is not None:
        return found.name
    if not any(head):
        what = "begins with zeros instead of an image" if head else "is empty (0 bytes)"
        raise DamagedError(path, f"{what}; copy it again from the source")
    if any(magic.startswith(head) for row in FORMATS.values() for magic in row.magic):
        raise DamagedError(path, f"ends after {len(head)} bytes; copy it again from the source")
    known = foreign(head)
    if known is not None:
        raise ImageError(f"{path}: is a {known.label} file, which is not read; {known.remedy}")
    raise DamagedError(
        path,
        f"is not a {either(row.label for row in FORMATS.values())} file (it starts with "
        f"{head[: longest_magic()]!r}); convert it first, e.g. to {widest().label}, or if "
        "it was one copy it again from the source",
    )


def held(file: BinaryIO, room: Empty) -> memoryview:
    """All of a file, in memory that it is given: new memory takes longer than reading."""
    data = room((file_size(file),), np.uint8).data
    return data[: file.readinto(data)]  # type: ignore[attr-defined]


def to_change(file: BinaryIO) -> memoryview:
    """All of a file that is at its start, and is not looked at in any other way any more."""
    memory = files.memory_of(file)
    return held(file, np.empty) if memory is None else memory
