"""A folder of photographs: what is in it, and what belongs together."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import TypeVar

from batchstack import files
from batchstack.errors import BatchstackError
from batchstack.formats import FORMATS
from batchstack.scan.grouping import Left, Proposal, propose
from batchstack.scan.looks import Look, look_at
from batchstack.scan.shots import Shot, read_shot

T = TypeVar("T")
_SUFFIXES = {suffix for row in FORMATS.values() for suffix in row.suffixes}
_THREADS = 4  # decoders and reads do not hold the interpreter's lock


class Folder:
    """The photographs below a folder; what was read of one is kept until it changes.

    Parameters
    ----------
    path : Path
    skip : collection of Path
        Folders below it that are none of its photographs, such as outputs.
    """

    def __init__(self, path: Path, skip: tuple[Path, ...] = ()) -> None:
        self.path = path
        self._skip = {folder.absolute() for folder in skip}
        self._kept: dict[tuple[object, ...], object] = {}

    def propose(self, *, steady_ids: bool = False) -> Proposal:
        """Propose stacks of what is there now.

        Parameters
        ----------
        steady_ids : bool
            As `grouping.propose`.

        Raises
        ------
        FileError
            If a folder cannot be read.
        """
        with ThreadPoolExecutor(_THREADS) as pool:
            found = list(pool.map(self._shot, self.names()))
            shots = [shot for shot in found if isinstance(shot, Shot)]
            left = [one for one in found if isinstance(one, Left)]
            proposal = propose(
                shots, lambda run: list(pool.map(self._look, run)), steady_ids=steady_ids
            )
        return Proposal(proposal.groups, proposal.left + left)

    def names(self) -> list[str]:
        """Names of all image files, relative to the folder; hidden ones are none.

        A folder below it that goes away meanwhile has none.

        Raises
        ------
        FileError
            If a folder cannot be read.
        """
        found, todo = [], [PurePosixPath()]
        while todo:
            at = todo.pop()
            try:
                content = files.system.scan(self.path / at)
            except (FileNotFoundError, NotADirectoryError) as error:
                if at.parts:  # it went away since the folder around it was read
                    continue
                raise files.failure(self.path, "cannot be read", error) from error
            except OSError as error:
                raise files.failure(self.path / at, "cannot be read", error) from error
            for name, is_folder in content:
                if name.startswith("."):
                    continue
                if is_folder:
                    if (self.path / at / name).absolute() not in self._skip:
                        todo.append(at / name)
                elif PurePosixPath(name).suffix.lower() in _SUFFIXES:
                    found.append(str(at / name))
        return sorted(found)

    def _shot(self, name: str) -> Shot | Left:
        def read() -> Shot | Left:
            try:
                return read_shot(self.path, name)
            except BatchstackError as error:
                return Left(name, str(error).removeprefix(f"{self.path / name}: "))

        try:
            if not S_ISREG(files.status(self.path / name).st_mode):
                return Left(name, "is not a regular file")  # a pipe would be waited for
            return self._once(name, read)
        except OSError:
            return Left(name, "went away while the folder was read")

    def _look(self, shot: Shot) -> Look | None:
        def read() -> Look | None:
            try:
                return look_at(self.path / shot.name)
            except BatchstackError:
                return None

        try:
            return self._once(shot.name, read)
        except OSError:
            return None

    def _once(self, name: str, read: Callable[[], T]) -> T:
        status = files.status(self.path / name)
        key = (name, read.__qualname__, status.st_size, status.st_mtime_ns)
        if key not in self._kept:
            self._kept[key] = read()
        return self._kept[key]  # type: ignore[return-value]
