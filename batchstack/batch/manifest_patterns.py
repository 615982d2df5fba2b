"""Patterns of a manifest: which files they match."""

import fnmatch
import os
import stat
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path, PurePath

from batchstack import files
from batchstack.errors import ManifestError

_LONGEST = 4096  # characters, what Linux takes for a path
_MOST = 100_000  # places; links and .. can lead to ever more of them


def is_pattern(text: str) -> bool:
    return not {*"*?["}.isdisjoint(text)


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
            else (name for at in found for name in _children(base, at, part, folders=True))
        )
    return _bounded(name for at in found for name in _children(base, at, last, folders=False))


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


def _children(base: Path, at: str, part: str, *, folders: bool) -> Iterator[str]:
    """What one part of a pattern matches in a folder: folders, or all but folders."""
    if not is_pattern(part):
        name = os.path.join(at, part)  # noqa: PTH118
        # A folder that is not there has nothing in it, which shows when it is read.
        if folders or _is_folder(base / name) is False:
            yield name
        return
    content = dict(_content(base, at))
    for name in fnmatch.filter(content, part):
        if part.startswith(".") or not name.startswith("."):
            path = os.path.join(at, name)  # noqa: PTH118
            if bool(content[name] or _is_folder(base / path)) == folders:
                yield path


def _content(base: Path, at: str) -> list[tuple[str, bool]]:
    """Names in a folder, and whether each is a folder itself; links are not."""
    try:
        return files.system.scan(base / at)
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
