"""Writing files: whole under their names or not at all, and with their data on the disk."""

import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR
from typing import Any, BinaryIO

from batchstack.files import calls
from batchstack.files.calls import failure, told
from batchstack.files.removing import try_to_remove


def tell_system(path: Path, word: bytes) -> bool:
    """Write to a file by which the system is told something; whether it took it."""
    try:
        with calls.system.open(path, "wb") as file:
            file.write(word)
    except OSError:
        return False
    return True


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
        file = opened.enter_context(calls.system.open(part, "x+b"))
        yield part, file
        file.flush()
        check(part)
        closing = opened.pop_all()

    def name() -> None:
        with _removed_on_failure(part, path):
            with closing:
                if durable:
                    calls.system.sync(file)
            publish()
            calls.system.replace(part, path)

    finish(name)


@contextmanager
def _removed_on_failure(part: Path, path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        try_to_remove(part)
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
        calls.system.sync_folder(folder)
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
        with calls.system.open(path, "r+b") as file:
            calls.system.sync(file)
        calls.system.sync_folder(path.parent)


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
                calls.system.mkdir(missing[-1])
            except FileNotFoundError:
                # Some systems say so in a folder that is there, as /proc does.
                if not parents or missing[-1].parent in (missing[-1], there):
                    raise
                missing.append(missing[-1].parent)
            except FileExistsError:
                if not S_ISDIR(calls.system.stat(missing[-1]).st_mode):
                    raise
                there = missing.pop()
            else:
                there = missing.pop()
                made.append(there)
    return made


@contextmanager
def only_one(path: Path) -> Iterator[bool]:
    """Hold a lock file; False if another process holds it.

    Raises
    ------
    FileError
        If it cannot be made.
    """
    with told(path, "cannot be written"):
        held = calls.system.lock(path)
    try:
        yield held is not None
    finally:
        if held is not None:
            held.release()


def let_go(stream: Any) -> None:
    """Have what is still written to a stream whose reader went away come to nothing."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
