"""The one room through which the program touches files.

Each call to the file system is one method of `System`, so that a test can put another in its
place and make any one of them fail; all else here is made of them.
An `OSError` becomes a `FileError` that keeps the system's own words, because a failing disk,
a full one and a missing permission have other remedies than a damaged image.

A file that is made here appears under its name whole or not at all, and with its data on the
disk: a machine may lose its power at any moment.
"""

import errno
import glob
import os
import re
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from io import SEEK_CUR, SEEK_END, SEEK_SET, BufferedReader, RawIOBase
from pathlib import Path
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import Any, BinaryIO

from batchstack.errors import FileError

LONGEST_LINE = 1 << 24  # bytes; the record of a stack of 50,000 frames is shorter
_PART = re.compile(r"\.(.+)\.batchstack-[0-9a-f]{12}\.part")
_BUFFER = 2**15  # bytes; most headers lie in them
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


# --- reading


def open_to_read(path: Path) -> BinaryIO:
    """A file, open for reading.

    Raises
    ------
    OSError
        Of the system; who knows what the file is for says it in words.
    """
    return system.open(path, "rb")


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
        with system.open(path, "rb") as file:
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
    with system.open(path, "rb") as file:
        return file.read()


def tell_system(path: Path, word: bytes) -> bool:
    """Write to a file by which the system is told something; whether it took it."""
    try:
        with system.open(path, "wb") as file:
            file.write(word)
    except OSError:
        return False
    return True


def status(path: Path | str) -> os.stat_result:
    """Size, times and kind of a file.

    Raises
    ------
    OSError
    """
    return system.stat(path)


def size_of(path: Path | str) -> int | None:
    """Bytes of a file, None if there is none that can be seen."""
    try:
        return system.stat(path).st_size
    except OSError:
        return None


def is_file(path: Path) -> bool:
    """Whether a name is, or leads to, a regular file."""
    try:
        return S_ISREG(system.stat(path).st_mode)
    except OSError:
        return False


def is_folder(path: Path | str) -> bool:
    """Whether a name is, or leads to, a folder."""
    try:
        return S_ISDIR(system.stat(path).st_mode)
    except (OSError, ValueError):  # such as a name with a zero byte
        return False


def is_link(path: Path) -> bool:
    """Whether a name is a symbolic link, wherever it leads."""
    try:
        return S_ISLNK(system.lstat(path).st_mode)
    except OSError:
        return False


def names_in(folder: Path) -> list[str]:
    """Names in a folder, sorted; none if it cannot be read."""
    try:
        return sorted(name for name, _ in system.scan(folder))
    except OSError:
        return []


def matching(pattern: str, folder: Path) -> list[str]:
    """Names that match a shell pattern, relative to a folder, sorted; hidden ones do not.

    Raises
    ------
    OSError
    """
    return sorted(system.glob(pattern, folder))


# --- writing


def at_once(finish: Callable[[], None]) -> None:
    """Do the last step of a file now."""
    finish()


class Behind:
    """Does the last steps of files, on a thread of its own, while the next ones are made.

    The disk answers late; who waits for each file in turn computes nothing meanwhile.
    At the end of its `with` block all is done, or the first failure is raised.
    """

    def __enter__(self) -> "Behind":
        self._thread = ThreadPoolExecutor(1)
        self._steps: list[Future[None]] = []
        return self

    def __call__(self, finish: Callable[[], None]) -> None:
        """Do one step after those that were given before, whether or not they failed."""
        self._steps.append(self._thread.submit(finish))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._thread.shutdown()
        if kind is None:
            for step in self._steps:
                step.result()


@contextmanager
def part_file(
    path: Path,
    *,
    durable: bool = True,
    parents: bool = True,
    check: Callable[[Path], None] = lambda part: None,
    publish: Callable[[], None] = lambda: None,
    finish: Callable[[Callable[[], None]], None] = at_once,
) -> Iterator[tuple[Path, BinaryIO]]:
    """Give a new file beside `path`, and rename it to that at the end.

    Whatever fails in between, the new file is removed and `path` keeps what it held.
    A killed process leaves at most a hidden `.<name>.batchstack-<unique>.part`.

    Parameters
    ----------
    path : Path
        The final name.
    durable : bool
        Have the data on the disk before the name; `sync_names` does the same for the name.
    parents : bool
        Make the folder if it is missing.
    check : callable
        Called with the new file's name when all is written; what it raises leaves `path` as it was.
    publish : callable
        Called just before the file is renamed; what it raises leaves `path` as it was.
    finish : callable
        Calls what it is given, which waits for the disk and renames the file: at once, or
        `Behind`, which then raises what goes wrong.

    Yields
    ------
    (Path, file)
        The new file's name and the file, open for writing and reading.

    Raises
    ------
    FileError
        In place of every `OSError`, such as a full disk.
    """
    part = part_name(path, secrets.token_hex(6))
    with _removed_on_failure(part, path), ExitStack() as opened:
        if parents:
            make_folder(path.parent)
        file = opened.enter_context(system.open(part, "x+b"))
        yield part, file
        file.flush()
        check(part)
        closing = opened.pop_all()

    def name() -> None:
        with _removed_on_failure(part, path):
            with closing:
                if durable:
                    system.sync(file)
            publish()
            system.replace(part, path)

    finish(name)


@contextmanager
def _removed_on_failure(part: Path, path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        _try_to_remove(part)
        if isinstance(error, OSError):
            raise failure(path, "cannot be written", error) from error
        raise


def sync_names(folder: Path, top: Path) -> None:
    """Wait until the names in a folder, and its own in those up to `top`, are on the disk.

    Raises
    ------
    FileError
    """
    with told(folder, "cannot be written"):
        system.sync_folder(folder)
        if folder != top and folder.is_relative_to(top):
            sync_names(folder.parent, top)


def part_name(path: Path, unique: str) -> Path:
    """The name of a file that is not whole yet.

    Parameters
    ----------
    path : Path
        Its final name.
    unique : str
        12 hexadecimal digits.
    """
    return path.with_name(f".{path.name}.batchstack-{unique}.part")


def replace_file(path: Path, content: bytes, *, publish: Callable[[], None] = lambda: None) -> None:
    """Write a small file, whole or not at all.

    Raises
    ------
    FileError
    """
    with part_file(path, publish=publish) as (_, file):
        file.write(content)
    sync_names(path.parent, path.parent)


def sync_file(path: Path) -> None:
    """Wait until a file and its name are on the disk.

    Raises
    ------
    FileError
    """
    with told(path, "cannot be written"):
        with system.open(path, "r+b") as file:
            system.sync(file)
        system.sync_folder(path.parent)


class LineFile:
    """A file of lines that is appended to, and read at any place.

    It is held open from first use until `close`: on a file system of the network, to open and
    close a file for a line waits for the server each time.
    A line is written at once, and on the disk after `sync`.

    Parameters
    ----------
    path : Path
        It need not exist; the first line makes it and its folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: BinaryIO | None = None
        self._writer: BinaryIO | None = None
        self._is_synced = True

    def __del__(self) -> None:
        self.close()

    def lines(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Each line with its offset; none of a file that is missing, nor one above 16 MiB.

        Parameters
        ----------
        start : int
            Offset of the first of them.

        Raises
        ------
        FileError
        """
        with told(self._path, "cannot be read"):
            try:
                file = system.open(self._path, "rb")
            except FileNotFoundError:
                return
            with file:
                offset, inside = file.seek(start), False
                while piece := file.readline(LONGEST_LINE):
                    follows, inside = inside, not piece.endswith(b"\n")
                    if not follows and (not inside or len(piece) < LONGEST_LINE):
                        yield offset, piece
                    offset += len(piece)

    def line_at(self, offset: int) -> bytes:
        """The line that starts at an offset in bytes.

        Raises
        ------
        FileError
        """
        with told(self._path, "cannot be read"):
            if self._reader is None:
                self._reader = system.open(self._path, "rb")
            self._reader.seek(offset)
            return self._reader.readline(LONGEST_LINE)

    def make_ready(self) -> None:
        """Find out now whether lines can be appended.

        Raises
        ------
        FileError
        """
        with told(self._path, "cannot be written"):
            if self._writer is None:
                self._writer = self._open_to_append()

    def append(self, line: bytes) -> int:
        """Append a line, given without its end, and return its offset.

        A line that was torn before it, because the machine died or the disk was full, is
        ended first.

        Raises
        ------
        FileError
        """
        with told(self._path, "cannot be written"):
            self._is_synced = False
            try:
                self.make_ready()
                assert self._writer is not None
                offset = self._writer.seek(0, os.SEEK_END)
                self._writer.write(line + b"\n")
                self._writer.flush()
            except BaseException:
                # What the next line meets is found out when the file is opened for it.
                self.close()
                raise
            return offset

    def _open_to_append(self) -> BinaryIO:
        make_folder(self._path.parent)
        self._part_from_copies()
        file = system.open(self._path, "a+b")
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        return file

    def _part_from_copies(self) -> None:
        """Make it a file of its own: one copied by links (cp -al) is also that of the original."""
        with suppress(FileNotFoundError):
            if system.stat(self._path).st_nlink > 1:
                replace_file(self._path, read_bytes(self._path))
                self.close()

    def sync(self) -> None:
        """Wait until the lines are on the disk; at once if none was appended since.

        Raises
        ------
        FileError
        """
        if not self._is_synced:
            sync_file(self._path)
            self._is_synced = True

    def close(self) -> None:
        """Close the file; whatever comes next opens it again."""
        for file in (self._reader, self._writer):
            if file is not None:
                with suppress(OSError):
                    file.close()
        self._reader = self._writer = None


def make_folder(path: Path, *, parents: bool = True) -> list[Path]:
    """Make a folder unless it is there.

    Returns
    -------
    list of Path
        The folders that were made, outermost first.

    Raises
    ------
    FileError
    """
    made: list[Path] = []
    missing, there = [path], None
    with told(path, "cannot be made"):
        while missing:
            try:
                system.mkdir(missing[-1])
            except FileNotFoundError:
                # Some systems say so in a folder that is there, as /proc does.
                if not parents or missing[-1].parent in (missing[-1], there):
                    raise
                missing.append(missing[-1].parent)
            except FileExistsError:
                if not S_ISDIR(system.stat(missing[-1]).st_mode):
                    raise
                there = missing.pop()
            else:
                there = missing.pop()
                made.append(there)
    return made


# --- removing what the program has made


def remove(path: Path) -> None:
    """Remove a file that the program has made, unless it is gone.

    Raises
    ------
    FileError
    """
    with told(path, "cannot be removed"), suppress(FileNotFoundError):
        system.unlink(path)


def remove_tree(folder: Path) -> None:
    """Remove a folder that the program has made with all in it; links are not followed.

    What cannot be removed stays.
    """
    try:
        entries = system.scan(folder)
    except OSError:
        return
    for name, is_folder in entries:
        if is_folder:
            remove_tree(folder / name)
        else:
            _try_to_remove(folder / name)
    remove_empty(folder)


def remove_empty(folder: Path) -> None:
    """Remove a folder that the program has made, if nothing is in it."""
    with suppress(OSError):
        system.rmdir(folder)


def remove_parts(folder: Path, wanted: Callable[[str], bool]) -> None:
    """Remove what killed processes left of the files that they were writing.

    Parameters
    ----------
    folder : Path
    wanted : callable
        Whether a file of this name is the program's, so that its part may go.
    """
    for name in names_in(folder):
        part = _PART.fullmatch(name)
        if part and wanted(part[1]):
            _try_to_remove(folder / name)


def _try_to_remove(path: Path) -> None:
    with suppress(OSError):
        system.unlink(path)


# --- one at a time


@contextmanager
def only_one(path: Path) -> Iterator[bool]:
    """Hold a lock file; False if another process holds it.

    Raises
    ------
    FileError
        If it cannot be made.
    """
    with told(path, "cannot be written"):
        held = system.lock(path)
    try:
        yield held is not None
    finally:
        if held is not None:
            held.release()


# --- the streams of this process


def let_go(stream: Any) -> None:
    """Have what is still written to a stream whose reader went away come to nothing."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
