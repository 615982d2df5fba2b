"""What the program says to people: on stderr, and never at the cost of the work."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:  # it is loaded only where there is a terminal
    from rich.console import Console


class _BestEffort(io.TextIOBase):
    """A stream whose reader may go away: what it cannot take is dropped."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        return self._try("isatty") is True

    def fileno(self) -> int:
        number: int = self._stream.fileno()
        return number

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        self._try("write", text)
        return len(text)

    def flush(self) -> None:
        self._try("flush")

    def close(self) -> None:
        """Leave the stream open: it is not ours."""

    def _try(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._stream, method)(*arguments)
        except (OSError, ValueError, AttributeError, RuntimeError):
            # The terminal was closed, the log's disk is full, there is no stream at all, or a
            # signal has come while another message was written.
            return None


def protect() -> None:
    """Let messages be best effort: whoever writes them, to a closed stderr or a full disk."""
    if not isinstance(sys.stderr, _BestEffort):
        sys.stderr = _BestEffort(sys.stderr)


# Who shows a message in place of stderr, the last one that came; and who hears of all.
_shown_by: list[Callable[[str], None]] = []
_heard_by: list[Callable[[str], None]] = []


@contextmanager
def shown_by(show: Callable[[str], None]) -> Iterator[None]:
    """Have messages shown by a function, such as one that makes room in a live view."""
    with _among(_shown_by, show):
        yield


@contextmanager
def heard_by(hear: Callable[[str], None]) -> Iterator[None]:
    """Have a function hear of all messages, wherever they are shown."""
    with _among(_heard_by, hear):
        yield


@contextmanager
def _among(
    functions: list[Callable[[str], None]], function: Callable[[str], None]
) -> Iterator[None]:
    functions.append(function)
    try:
        yield
    finally:
        functions.remove(function)


def say(text: str) -> None:
    """One message, as it is; what is shown live makes room for it."""
    for hear in _heard_by:
        hear(text)
    if _shown_by:
        _shown_by[-1](text)
    else:
        click.echo(text, err=True)


def tell(text: str) -> None:
    """One message that says who speaks."""
    say(f"batchstack: {text}")


# --- a terminal


def is_terminal() -> bool:
    """Whether something can be shown on stderr that changes."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


def columns(stream: TextIO) -> int | None:
    """Characters of a line where a stream is shown; None if it is no terminal."""
    if stream is None or not stream.isatty():
        return None
    from rich.console import Console

    return Console(file=stream).width


def console() -> "Console":
    """The terminal on stderr."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False, markup=False, emoji=False)


@contextmanager
def bar(total: int, words: str) -> Iterator[Callable[[int], None]]:
    """Give a function that is told how many are done; on a terminal they are shown by a bar.

    Parameters
    ----------
    total : int
    words : str
        What is done, such as "report".
    """
    if not is_terminal():
        yield lambda done: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    at = console()
    # What goes to a terminal as data has to make room for the bar, data for files has not.
    to_terminal = sys.stdout is not None and sys.stdout.isatty()
    with (
        Progress(
            *columns,
            TimeRemainingColumn(),
            console=at,
            transient=True,
            redirect_stdout=to_terminal,
            redirect_stderr=False,
        ) as progress,
        shown_by(partial(at.print, soft_wrap=True)),
    ):
        task = progress.add_task(words, total=total)
        yield lambda done: progress.update(task, completed=done)
