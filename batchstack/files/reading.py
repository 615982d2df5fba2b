"""Reading files, and what the system says of them."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import SEEK_CUR, SEEK_END, SEEK_SET, BufferedReader, RawIOBase
from pathlib import Path
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import Any, BinaryIO

from batchstack.files import calls
from batchstack.files.calls import failure

_BUFFER = 2**15  # bytes; most headers lie in them


def open_to_read(path: Path) -> BinaryIO:
    """A file, open for reading.

    Raises
    ------
    OSError
        Of the system; who knows what the file is for says it in words.
    """
    return calls.system.open(path, "rb")


@contextmanager
def read_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file open for reading, of which libraries may make what they like.

    Some swallow or rename what the system says, or go on without what they could not read.
    Here it is remembered: if any read fails, so does the whole.
    A place outside of the file is moved to its nearer end, as damaged files name any.

    Raises
    ------
    FileError
        In place of every `OSError`.
    """
    failed: list[OSError] = []

    def read_at(place: int, buffer: memoryview) -> int:
        try:
            file.seek(place)
            count: int = file.readinto(buffer)  # type: ignore[attr-defined]
        except OSError as error:
            failed.append(error)
            raise
        return count

    # Not with `told`: of a long manifest this is done for every frame.
    try:
        with calls.system.open(path, "rb") as file:
            try:
                yield random_access(file.seek(0, SEEK_END), read_at)
            except Exception:
                if not failed:
                    raise
        if failed:
            raise failed[0]
    except OSError as error:
        raise failure(path, "cannot be read", error) from error


def random_access(size: int, read_at: Callable[[int, memoryview], int]) -> BinaryIO:
    """As a file, what a function reads at any place.

    Parameters
    ----------
    size : int
        Bytes.
    read_at : callable
        Fills a buffer from a place on, and returns how many bytes it could.
    """
    return _Buffered(_RandomAccess(size, read_at), _BUFFER)


def in_memory(data: memoryview) -> BinaryIO:
    """As a file, what is held in memory; without a copy of it all, as `BytesIO` has."""

    def read_at(place: int, buffer: memoryview) -> int:
        piece = data[place : place + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)

    file = random_access(len(data), read_at)
    file.raw.memory = data  # type: ignore[attr-defined]
    return file


def memory_of(file: BinaryIO) -> memoryview | None:
    """What a file of `in_memory` is made of; None of any other."""
    memory: memoryview | None = getattr(getattr(file, "raw", None), "memory", None)
    return memory


class _Buffered(BufferedReader):
    def read(self, size: int | None = -1) -> bytes:
        # Memory is taken for all that is asked for, which in a damaged file may be any number.
        if size is not None and size > _BUFFER:
            size = min(size, self.raw.size)  # type: ignore[attr-defined]
        return super().read(size)


class _RandomAccess(RawIOBase):
    def __init__(self, size: int, read_at: Callable[[int, memoryview], int]) -> None:
        self.size, self._read_at, self._place = size, read_at, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        start = {SEEK_SET: 0, SEEK_CUR: self._place, SEEK_END: self.size}[whence]
        self._place = min(max(0, start + offset), self.size)
        return self._place

    def readinto(self, buffer: Any) -> int:
        count = self._read_at(self._place, memoryview(buffer).cast("B"))
        self._place += count
        return count

    def readall(self) -> bytes:
        # Not by small pieces, as it is inherited.
        rest = bytearray(self.size - self._place)
        return bytes(memoryview(rest)[: self.readinto(rest)])


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises
    ------
    OSError
    """
    with calls.system.open(path, "rb") as file:
        return file.read()


def status(path: Path | str) -> os.stat_result:
    """Size, times and kind of a file.

    Raises
    ------
    OSError
    """
    return calls.system.stat(path)


def size_of(path: Path | str) -> int | None:
    """Bytes of a file, None if there is none that can be seen."""
    try:
        return calls.system.stat(path).st_size
    except OSError:
        return None


def is_strange(path: Path, start: bytes) -> bool:
    """Whether there is something of this name that does not start as what the program writes."""
    if size_of(path) is None:
        return False
    try:
        with open_to_read(path) as file:
            return file.read(len(start)) != start
    except OSError:  # such as a folder
        return True


def is_file(path: Path) -> bool:
    """Whether a name is, or leads to, a regular file."""
    try:
        return S_ISREG(calls.system.stat(path).st_mode)
    except OSError:
        return False


def is_folder(path: Path | str) -> bool:
    """Whether a name is, or leads to, a folder."""
    try:
        return S_ISDIR(calls.system.stat(path).st_mode)
    except (OSError, ValueError):  # such as a name with a zero byte
        return False


def is_link(path: Path) -> bool:
    """Whether a name is a symbolic link, wherever it leads."""
    try:
        return S_ISLNK(calls.system.lstat(path).st_mode)
    except OSError:
        return False


def entries(folder: Path) -> list[tuple[str, bool]]:
    """Names in a folder, and whether each is a folder itself; links are not.

    Raises
    ------
    OSError
    """
    return calls.system.scan(folder)


def names_in(folder: Path) -> list[str]:
    """Names in a folder, sorted; none if it cannot be read."""
    try:
        return sorted(name for name, _ in calls.system.scan(folder))
    except OSError:
        return []


def matching(pattern: str, folder: Path) -> list[str]:
    """Names that match a shell pattern, relative to a folder, sorted; hidden ones do not.

    Raises
    ------
    OSError
    """
    return sorted(calls.system.glob(pattern, folder))
