"""Patterns of a manifest: which files they match."""

import fnmatch
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path, PurePath

from batchstack import files
from batchstack.errors import ManifestError

_LONGEST = 4096  # characters, what Linux takes for a path
_NO_NAMES = {PurePath("/").anchor, ".."}  # parts of a path that no folder has listed
_MOST = 100_000  # places; links and .. can lead to ever more of them


def is_pattern(text: str) -> bool:
    return not {*"*?["}.isdisjoint(text)


def same_name(text: str) -> str:
    """The same for names that are one where case, or how accents are encoded, does not count."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


class Spellings:
    """Finds names that are spelled otherwise than given; every folder is read once."""

    def __init__(self) -> None:
        self._known: dict[Path, dict[str, list[str]]] = {}

    def of(self, base: Path, name: str) -> list[str]:
        """The names that are the same but for case and the encoding of accents.

        Parameters
        ----------
        base : Path
            What the name is relative to.
        name : str
            Of a file, with the folders that it is in.
        """
        found = [""]
        for part in PurePath(name).parts:
            found = [os.path.join(at, one) for at in found for one in self._in(base / at, part)]  # noqa: PTH118
        return found

    def _in(self, folder: Path, part: str) -> list[str]:
        if part in _NO_NAMES:
            return [part]
        names = self._known.get(folder)
        if names is None:
            names = self._known[folder] = {}
            for name, _ in sorted(_content(folder, "")):
                names.setdefault(same_name(name), []).append(name)
        alike = names.get(same_name(part), [])
        return [part] if part in alike else alike


def similar_files(base: Path, pattern: str) -> list[str]:
    """What a pattern would match if case, the encoding of accents and brackets meant nothing.

    Parameters and errors are those of `matching_files`.
    """
    return _matching(base, pattern, _similar)


def is_one_spelling(pattern: str, found: Iterable[str]) -> bool:
    """Whether files that are similar to a pattern differ only where it leaves them free to."""
    given = PurePath(pattern).parts
    spellings = set()
    for name in found:
        parts = PurePath(name).parts
        fixed = () if "**" in given else zip(given, parts, strict=False)
        plain = tuple(part for wanted, part in fixed if not is_pattern(wanted))
        spellings.add((plain, PurePath(name).suffix))
    return len(spellings) == 1


def matching_files(base: Path, pattern: str) -> list[str]:
    """What a pattern matches that is no folder; hidden names only where it begins with a dot.

    `**` is any number of folders and follows no links, which may lead round in a circle.
    Unlike `glob.glob`, this does not recurse, so that folders may lie deep, and a folder that
    cannot be read is an error instead of empty: the stack would lack frames in silence.

    Parameters
    ----------
    base : Path
        What the pattern is relative to.
    pattern : str

    Returns
    -------
    list of str
        Relative to `base` if the pattern is.

    Raises
    ------
    ManifestError
        If a folder cannot be read, or the pattern leads to very many places.
    """
    return _matching(base, pattern, _matches)


Matches = Callable[[Iterable[str], str], list[str]]


def _matches(names: Iterable[str], part: str) -> list[str]:
    """The names that match a part of a pattern; the part itself, if it is a name with brackets.

    Raises
    ------
    ManifestError
        If it is both.
    """
    names = list(names)
    found = fnmatch.filter(names, part)
    if "[" not in part or part not in names or part in found:
        return found
    if found:
        raise ManifestError(
            f"{part!r} is a name, and as a pattern it matches {found[0]!r}; write "
            f"{_plain(part)!r} for the name"
        )
    return [part]


def _plain(name: str) -> str:
    """The pattern that matches a name and nothing else."""
    return re.sub(r"[*?[]", r"[\g<0>]", name)


def _similar(names: Iterable[str], part: str) -> list[str]:
    ways = {same_name(part), same_name(part).replace("[", "[[]")}
    return [
        name for name in names if any(fnmatch.fnmatchcase(same_name(name), way) for way in ways)
    ]


def _matching(base: Path, pattern: str, matches: Matches) -> list[str]:
    if len(pattern) > _LONGEST:
        raise ManifestError(f"a pattern of more than {_LONGEST} characters; shorten it")
    *folders, last = PurePath(pattern).parts
    if last == "**":
        folders, last = [*folders, "**"], "*"
    found = [""]
    for part in folders:
        found = _bounded(
            _below(base, found)
            if part == "**"
            else (n for at in found for n in _children(base, at, part, matches, folders=True))
        )
    return _bounded(n for at in found for n in _children(base, at, last, matches, folders=False))


def _bounded(names: Iterator[str]) -> list[str]:
    found = list(islice(names, _MOST + 1))
    if len(found) > _MOST:
        raise ManifestError(f"the pattern leads to more than {_MOST:,} places; name more of them")
    return found


def _below(base: Path, starts: Iterable[str]) -> Iterator[str]:
    """Folders and all folders in them, each once."""
    todo, seen = list(starts), set[str]()
    while todo:
        at = todo.pop()
        if at not in seen:
            seen.add(at)
            yield at
            names = [name for name, is_folder in _content(base, at) if is_folder]
            todo += [os.path.join(at, name) for name in names if not name.startswith(".")]  # noqa: PTH118


def _children(base: Path, at: str, part: str, matches: Matches, *, folders: bool) -> Iterator[str]:
    """What one part of a pattern matches in a folder: folders, or all but folders."""
    if part in _NO_NAMES or (matches is _matches and not is_pattern(part)):
        name = os.path.join(at, part)  # noqa: PTH118
        # A folder that is not there has nothing in it, which shows when it is read.
        if folders or _is_folder(base / name) is False:
            yield name
        return
    content = dict(_content(base, at))
    for name in matches(content, part):
        if part.startswith(".") or not name.startswith("."):
            path = os.path.join(at, name)  # noqa: PTH118
            if bool(content[name] or _is_folder(base / path)) == folders:
                yield path


def _content(base: Path, at: str) -> list[tuple[str, bool]]:
    """Names in a folder, and whether each is a folder itself; links are not."""
    try:
        return files.entries(base / at)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ManifestError(f"{str(base / at)!r} cannot be read: {error.strerror}") from error


def _is_folder(path: Path) -> bool | None:
    """Whether a name is, or leads to, a folder; None if there is no such name."""
    try:
        return stat.S_ISDIR(files.status(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False if files.is_link(path) else None
    except OSError:  # what keeps it from being seen is told of the frame
        return False
