"""The calls to the file system, and what is said when one fails."""

import errno
import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from batchstack.errors import FileError

_REMEDIES = {
    errno.ENOENT: "check the path",
    errno.EISDIR: "rename the folder, or name a file in it",
    errno.EEXIST: "rename what has this name",
    errno.ENOTDIR: "rename the file that stands where a folder is needed",
    errno.EIO: "check the disk, or the server that it belongs to",
    errno.ESTALE: "check the server, and run again",
    errno.ETIMEDOUT: "check the server, and run again",
    errno.ENOSPC: "make room and run again",
    errno.EDQUOT: "make room within your quota and run again",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.ENAMETOOLONG: "choose shorter names or a folder nearer to the root",
    errno.EMFILE: "raise the limit of open files (ulimit -n) or use fewer workers",
    errno.ENFILE: "close other programs; the system has too many files open",
}


class System:
    """The calls to the file system, one method each."""

    def open(self, path: Path, mode: str) -> BinaryIO:
        """A buffered binary file; `mode` as for the built-in `open`."""
        return open(path, mode)  # type: ignore[return-value] # noqa: PTH123

    def sync(self, file: BinaryIO) -> None:
        """Wait until what was written to an open file is on the disk."""
        os.fsync(file.fileno())

    def sync_folder(self, path: Path) -> None:
        """Wait until the names in a folder are on the disk."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def stat(self, path: Path | str) -> os.stat_result:
        return os.stat(path)  # noqa: PTH116

    def lstat(self, path: Path) -> os.stat_result:
        return os.lstat(path)

    def replace(self, source: Path, target: Path) -> None:
        source.replace(target)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def mkdir(self, path: Path) -> None:
        path.mkdir()

    def rmdir(self, path: Path) -> None:
        path.rmdir()

    def scan(self, path: Path) -> list[tuple[str, bool]]:
        """Names in a folder, and whether each is a folder itself; links are not."""
        with os.scandir(path) as entries:
            return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]

    def glob(self, pattern: str, folder: Path) -> list[str]:
        """Names that match a shell pattern, relative to a folder; hidden ones do not."""
        return glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207

    def lock(self, path: Path) -> Any:
        """A held lock, None if another process holds it; the file stays when it is released."""
        from filelock import FileLock, Timeout

        held = FileLock(path)
        try:
            held.acquire(timeout=0)
        except Timeout:
            return None
        return held


system = System()


def failure(path: Path | str, what: str, error: OSError) -> FileError:
    """The error for a call that failed: what could not be done, the system's words, a remedy.

    Parameters
    ----------
    path : Path
    what : str
        Such as "cannot be read".
    error : OSError
    """
    # NumPy's own writing gives no system error when the disk takes only a part.
    reason = error.strerror or str(error) or type(error).__name__
    remedy = _REMEDIES.get(error.errno or 0)
    return FileError(f"{path}: {what}: {reason}" + (f"; {remedy}" if remedy else ""))


@contextmanager
def told(path: Path | str, what: str) -> Iterator[None]:
    """Have every `OSError` in a block become a `FileError`, as `failure` makes it."""
    try:
        yield
    except OSError as error:
        raise failure(path, what, error) from error
