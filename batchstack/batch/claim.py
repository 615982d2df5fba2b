"""A run's claim on an output directory, and what proves it to a worker.

The directory is locked, a token in it says whose it is, and a scratch folder of the run's own
stands ready.
A task begins only where both are seen and the program is the same, and puts a file under its
name only while the token is still there: the tasks of a run whose client was killed go on for a
while, and must not replace what a newer run writes.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

from batchstack import files
from batchstack.batch.versions import version_fault, versions
from batchstack.errors import FileError, OptionError, OutputInUseError, OutputLostError

FOLDER = ".batchstack"
_LOCK, _TOKEN = "lock", "run"
_SCRATCH = "batchstack-scratch-"
_OWNER = "owner"


@dataclass(frozen=True)
class Claim:
    """What a task must find before it works for a run.

    Attributes
    ----------
    directory : Path
        The output directory.
    run : str
        Unique among all runs; the token holds it.
    scratch : Path
        A folder that the run has made and will remove.
    versions : tuple of (str, str)
        Of the program and what its pixels depend on; none if nothing is recorded.
    """

    directory: Path
    run: str
    scratch: Path
    versions: tuple[tuple[str, str], ...]

    def check(self) -> None:
        """Raise unless the output directory still belongs to the run, and the scratch is there.

        Raises
        ------
        OutputLostError
        """
        found = _text(self.directory / FOLDER / _TOKEN)
        if found != self.run:
            why = "another run has taken it" if found else "the run's token in it is not seen"
            raise OutputLostError(
                f"{self.directory}: no longer belongs to this run, {why}; finished work is "
                "recorded, run again to resume"
            )
        if _text(self.scratch / _OWNER) is None:
            raise OutputLostError(
                f"{self.scratch}: the run's scratch folder is not seen any more; finished work is "
                "recorded, give a folder that nobody clears as --scratch and run again to resume"
            )

    def unfitness(self) -> str | None:
        """Why this process cannot work for the run, or None."""
        fault = version_fault(self.versions)
        if fault:
            return fault
        for folder, token in ((self.directory, FOLDER + "/" + _TOKEN), (self.scratch, _OWNER)):
            if _text(folder / token) is None:
                return (
                    f"it does not see {folder}; use a folder on storage that all hosts share "
                    "under the same path"
                )
        return None


def _text(path: Path) -> str | None:
    try:
        return os.fsdecode(files.read_bytes(path))
    except OSError:
        return None


@contextmanager
def claim(directory: Path, scratch: Path | None = None, *, lasting: bool = True) -> Iterator[Claim]:
    """Take an output directory for this run.

    Parameters
    ----------
    directory : Path
        Absolute; made if it is missing.
    scratch : Path, optional
        Absolute folder in which the run makes a scratch folder of its own; by default the
        folder of records.
    lasting : bool
        Leave the folder of records, which the next run finds, also if nothing is recorded.

    Raises
    ------
    OutputInUseError
        If another run holds it, or it cannot be written.
    """
    records = directory / FOLDER
    with refused(), ExitStack() as undo:
        files.make_folder(records)
        if not lasting:
            undo.callback(files.remove_empty, records)
        if not undo.enter_context(files.only_one(records / _LOCK)):
            raise OutputInUseError(
                f"{directory}: another run is writing here; wait for it to end or give another "
                "output directory"
            )
        if not lasting:
            undo.callback(_remove_lock, records)
        known = versions() if lasting else ()
        held = undo.enter_context(_token(directory, scratch or records, known))
        # From here on errors are those of the run.
        undo = undo.pop_all()
    with undo:
        yield held


def is_claimed(directory: Path) -> bool:
    """Whether an output directory has the token of a run: of one that goes on, or was killed."""
    return files.size_of(directory / FOLDER / _TOKEN) is not None


def refuse_scratch(scratch: Path | None, directory: Path, frames: Iterable[Path]) -> None:
    """Refuse a scratch folder in which people keep something.

    Parameters
    ----------
    scratch : Path, optional
    directory : Path
        The output directory.
    frames : iterable of Path

    Raises
    ------
    OptionError
    """
    if scratch is None:
        return
    place = scratch.resolve()
    if place == directory.resolve():
        raise OptionError(
            f"scratch is {scratch}, the output directory; give another folder, or leave "
            "--scratch out to have it inside"
        )
    folders = {frame.parent for frame in frames}
    for folder in sorted(folders):
        if folder.resolve().is_relative_to(place):
            raise OptionError(
                f"scratch is {scratch}, which holds frames ({folder}); give a folder of its own"
            )


@contextmanager
def _token(directory: Path, where: Path, known: tuple[tuple[str, str], ...]) -> Iterator[Claim]:
    """The token and the scratch folder, for as long as the run."""
    records, run = directory / FOLDER, uuid4().hex
    owner = _owner(directory)
    _clear(directory, {records, where}, owner)
    held = Claim(directory, run, where / f"{_SCRATCH}{run}", known)
    with ExitStack() as undo:
        # Promised before it is made: a signal may come between the two.
        undo.callback(files.remove_tree, held.scratch)
        files.make_folder(held.scratch)
        files.replace_file(held.scratch / _OWNER, os.fsencode(owner))
        undo.callback(_withdraw, held)
        files.replace_file(records / _TOKEN, run.encode())
        yield held


def _owner(directory: Path) -> str:
    """What tells an output directory from others that use the same place for scratch.

    Another host may have a directory of its own under the same path.
    """
    with files.told(directory, "cannot be read"):
        return f"{directory.resolve()}\n{files.status(directory / FOLDER).st_ino}"


def _clear(directory: Path, places: set[Path], owner: str) -> None:
    """Remove what runs on this directory that were killed have left; none is alive.

    Another run may use the same place for another directory: its scratch folders name that one.
    """
    files.remove_parts(directory / FOLDER, {_TOKEN}.__contains__)
    for place in places:
        for name in files.names_in(place):
            folder = place / name
            ours = place == directory / FOLDER or _text(folder / _OWNER) == owner
            if name.startswith(_SCRATCH) and ours:
                files.remove_tree(folder)


def _withdraw(held: Claim) -> None:
    """Remove the token, unless it is another run's by now."""
    token = held.directory / FOLDER / _TOKEN
    if _text(token) == held.run:
        _try(partial(files.remove, token))


def _remove_lock(records: Path) -> None:
    """Remove the lock of a folder in which nothing else is kept, which no run needs then."""
    if files.names_in(records) == [_LOCK]:
        _try(partial(files.remove, records / _LOCK))


def _try(removal: Callable[[], None]) -> None:
    with suppress(FileError):
        removal()


@contextmanager
def refused() -> Iterator[None]:
    """A directory that cannot be written keeps a run from starting.

    Raises
    ------
    OutputInUseError
        Instead of a `FileError`.
    """
    try:
        yield
    except FileError as error:
        raise OutputInUseError(str(error)) from error
