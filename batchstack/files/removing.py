"""Removing what the program has made."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from batchstack.files import calls
from batchstack.files.calls import told
from batchstack.files.reading import names_in

_PART = re.compile(r"\.(.+)\.batchstack-[0-9a-f]{12}\.part")


def remove(path: Path) -> None:
    """Remove a file that the program has made, unless it is gone.

    Raises
    ------
    FileError
    """
    with told(path, "cannot be removed"), suppress(FileNotFoundError):
        calls.system.unlink(path)


def remove_tree(folder: Path) -> None:
    """Remove a folder that the program has made with all in it; links are not followed.

    What cannot be removed stays.
    """
    try:
        entries = calls.system.scan(folder)
    except OSError:
        return
    for name, is_folder in entries:
        if is_folder:
            remove_tree(folder / name)
        else:
            try_to_remove(folder / name)
    remove_empty(folder)


def remove_empty(folder: Path) -> None:
    """Remove a folder that the program has made, if nothing is in it."""
    with suppress(OSError):
        calls.system.rmdir(folder)


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
            try_to_remove(folder / name)


def try_to_remove(path: Path) -> None:
    """Remove a file that the program has made, if it can be."""
    with suppress(OSError):
        calls.system.unlink(path)
