"""Errors and exit codes.

Every error batchstack raises on purpose is a `BatchstackError`.
It carries a complete message (what, where, and what to do next) in its arguments,
so that it survives pickling, and the exit code its kind leads to.
"""

import difflib
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """What the process says to the shell."""

    OK = 0  # everything fused or already up to date
    FAILED = 1  # the run finished, at least one stack failed
    REFUSED = 2  # nothing was started: bad option, manifest or memory budget
    RUN_LOST = 3  # the cluster or the output went away; finished work is recorded, run again
    INTERRUPTED = 130  # finished work is recorded


class BatchstackError(Exception):
    """Base of all errors raised on purpose; `str(error)` is fit for the user."""

    exit_code = ExitCode.FAILED


class ImageError(BatchstackError, ValueError):
    """A file cannot be read or written as an image; the message starts with the path."""


class DamagedError(ImageError):
    """What is in a file is cut off, damaged, or no image at all.

    Parameters
    ----------
    path : Path
        The file.
    what : str
        What is wrong with it, and what to do.
    """

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(path, what)
        self.path, self.what = path, what

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


class PageStackError(ImageError):
    """A file holds several images where a frame is one; the message says how to split it."""


class FileError(BatchstackError):
    """The system refuses a file (missing, no permission, full or failing disk); names the path."""


class StackError(BatchstackError, ValueError):
    """The frames of one stack do not fit together or cannot be fused as asked."""


class OptionError(BatchstackError, ValueError):
    """An option has a value that can never work."""

    exit_code = ExitCode.REFUSED


class ManifestError(BatchstackError, ValueError):
    """The manifest has problems; the message lists them, one per line."""

    exit_code = ExitCode.REFUSED


class PlanError(BatchstackError):
    """No stack of a run can be fused as asked; the message lists why, one stack per line."""

    exit_code = ExitCode.REFUSED


class OutputInUseError(BatchstackError):
    """The output directory cannot be taken: another run writes to it, or it cannot be written."""

    exit_code = ExitCode.REFUSED


class OutputLostError(BatchstackError):
    """The output directory was taken from the run, or went away."""

    exit_code = ExitCode.RUN_LOST


class ClusterError(BatchstackError):
    """The cluster cannot be reached or does not fit this run."""

    exit_code = ExitCode.REFUSED


class ClusterLostError(ClusterError):
    """The cluster went away while the run was going on."""

    exit_code = ExitCode.RUN_LOST


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """That there is no such name, and which was meant or which there are."""
    known = list(known)
    # No name is close to one that is much longer.
    close = difflib.get_close_matches(name.strip().lower()[:50], known, n=1)
    advice = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
    return f"unknown {kind} {name.strip()!r}; {advice}"
