"""A folder of photographs: what is in it, and what belongs together."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import count
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import TypeAlias, TypeVar

from batchstack import files
from batchstack.errors import BatchstackError
from batchstack.formats import FORMATS, foreign_of_suffix
from batchstack.scan.breathing import Growth, growth
from batchstack.scan.grouping import Group, Left, Proposal, ordered_by_scale, propose, with_holes
from batchstack.scan.looks import Look, look_at
from batchstack.scan.makers import SeriesFacts
from batchstack.scan.nikon import focus_shifts, is_nikon
from batchstack.scan.shots import Shot, read_shot

S = TypeVar("S")
T = TypeVar("T")
_SUFFIXES = {suffix for row in FORMATS.values() for suffix in row.suffixes}
Bar: TypeAlias = Callable[[int, str], AbstractContextManager[Callable[[int], None]]]
"""How many there are to do, and what, to a function that is told how many are done."""

_THREADS = 4  # decoders and reads do not hold the interpreter's lock


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in _SUFFIXES


def _not_read(names: list[str]) -> Iterator[Left]:
    """Pictures of formats that are not read, unless one that is lies beside it under its name."""
    read = {PurePosixPath(name).with_suffix("") for name in names if _is_image(name)}
    for name in names:
        path = PurePosixPath(name)
        if (kind := foreign_of_suffix(path.suffix)) and path.with_suffix("") not in read:
            yield Left(name, f"is of {kind.label}, which is not read; {kind.remedy}")


class Folder:
    """The photographs below a folder; what was read of one is kept until it changes.

    Parameters
    ----------
    path : Path
    skip : collection of Path
        Folders below it that are none of its photographs, such as outputs.
    by_scale : bool
        Whether stacks that no tag orders are put in order by how large they show things, and not
        left as they were taken.
    bar : callable
        Shows how far the reading is.
    prepare : callable
        Called before frames are compared for their scale, which needs compiled kernels.
    """

    def __init__(
        self,
        path: Path,
        skip: tuple[Path, ...] = (),
        *,
        by_scale: bool = False,
        bar: Bar = lambda total, words: nullcontext(lambda done: None),
        prepare: Callable[[], object] = lambda: None,
    ) -> None:
        self.path, self._by_scale = path, by_scale
        self._bar, self._prepare = bar, prepare
        self._skip = {folder.absolute() for folder in skip}
        self._kept: dict[tuple[object, ...], object] = {}
        self._shifts: dict[str, SeriesFacts | None] = {}

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
        names = self._files()
        with ThreadPoolExecutor(_THREADS) as pool:
            found = self._each(pool, self._shot, list(filter(_is_image, names)), "reading headers")
            shots = self._with_shifts([shot for shot in found if isinstance(shot, Shot)])
            left = [one for one in found if isinstance(one, Left)]
            with self._bar(len(shots), "looking at photographs") as show:
                looked = count(1)
                proposal = propose(
                    shots,
                    lambda run: list(_told(pool.map(self._look, run), show, looked)),
                    steady_ids=steady_ids,
                )
            if self._by_scale:
                if not all(group.is_ordered for group in proposal.groups):
                    self._prepare()
                growths = self._each(pool, self._growth, proposal.groups, "ordering stacks")
                proposal = ordered_by_scale(proposal, growths)
        return with_holes(Proposal(proposal.groups, [*proposal.left, *left, *_not_read(names)]))

    def _each(
        self, pool: ThreadPoolExecutor, do: Callable[[S], T], these: Sequence[S], words: str
    ) -> list[T]:
        """What a function makes of each, in threads, while it is shown how far that is."""
        with self._bar(len(these), words) as show:
            return list(_told(pool.map(do, these), show, count(1)))

    def names(self) -> list[str]:
        """Names of all image files, relative to the folder; hidden ones are none.

        Raises
        ------
        FileError
            If a folder cannot be read.
        """
        return list(filter(_is_image, self._files()))

    def _files(self) -> list[str]:
        """Names of all files, relative to the folder, without hidden ones.

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
                content = files.entries(self.path / at)
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
                else:
                    found.append(str(at / name))
        return sorted(found)

    def _shot(self, name: str) -> Shot | Left:
        def read() -> Shot | Left:
            try:
                return read_shot(self.path, name)
            except BatchstackError as error:
                why = str(error).removeprefix(f"{self.path / name}: ")
                return Left(name, why, is_damaged=True)

        try:
            if not S_ISREG(files.status(self.path / name).st_mode):
                return Left(name, "is not a regular file")  # a pipe would be waited for
            return self._once((name,), read)
        except OSError:
            return Left(name, "went away while the folder was read")

    def _with_shifts(self, shots: list[Shot]) -> list[Shot]:
        """The shots with what is known of Nikon's focus shifts, asked for once."""
        new = [shot.name for shot in shots if is_nikon(shot) and shot.name not in self._shifts]
        paths = {(self.path / name).absolute(): name for name in new}
        told = focus_shifts(list(paths))
        self._shifts |= {name: told.get(path) for path, name in paths.items()}
        known = {name: facts for name, facts in self._shifts.items() if facts}
        return [replace(shot, series=known.get(shot.name, shot.series)) for shot in shots]

    def _look(self, shot: Shot) -> Look | None:
        def read() -> Look | None:
            try:
                return look_at(self.path / shot.name)
            except BatchstackError:
                return None

        try:
            return self._once((shot.name,), read)
        except OSError:
            return None

    def _growth(self, group: Group) -> Growth | None:
        def read() -> Growth | None:
            try:
                return growth([self.path / name for name in group.frames])
            except BatchstackError:
                return None

        try:
            return None if group.is_ordered else self._once(group.frames, read)
        except OSError:
            return None

    def _once(self, names: tuple[str, ...], read: Callable[[], T]) -> T:
        found = [files.status(self.path / name) for name in names]
        states = tuple((status.st_size, status.st_mtime_ns) for status in found)
        key = (names, read.__qualname__, states)
        if key not in self._kept:
            self._kept[key] = read()
        return self._kept[key]  # type: ignore[return-value]


def _told(made: Iterable[T], show: Callable[[int], None], numbers: Iterator[int]) -> Iterator[T]:
    """What is made, one after another, each shown to be done."""
    for one in made:
        show(next(numbers))
        yield one
