"""The run that goes on in an output directory, shown from another terminal or host."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from batchstack.batch.ledger import existing_ledger
from batchstack.batch.looking_on import Onlooker, RunSeen
from batchstack.cli import screen
from batchstack.cli.screen import tell
from batchstack.cli.words import clock, count, seconds_left
from batchstack.errors import ExitCode, OptionError

_LOOK_SECONDS = 1.0  # between looks at the journal
_LINE_SECONDS = 10.0  # between lines where there is no terminal
# Seconds without a record after which that is said: stacks may take long.
_QUIET = 120.0


def follow(directory: Path) -> ExitCode:
    """Show how far the last run is until it has ended, or whoever looks on has seen enough.

    Raises
    ------
    OptionError
        If no run has written there, or none of a version that tells of itself.
    FileError
        If the journal cannot be read.
    """
    existing_ledger(directory).close()
    onlooker = Onlooker(directory)
    run = onlooker.look()
    if run is None:
        raise OptionError(f"{directory}: no run has begun there that can be watched")
    try:
        with _shown(onlooker) as show:
            while not run.how:
                show(run)
                time.sleep(_LOOK_SECONDS)
                run = onlooker.look() or run
    except KeyboardInterrupt:
        return ExitCode.OK
    tell(f"{run.how}: {_words(run, run.seconds)}")
    return ExitCode.FAILED if run.pace.failed else ExitCode.OK


@contextmanager
def _shown(onlooker: Onlooker) -> Iterator[Callable[[RunSeen], None]]:
    """Give a function that shows a run: live on a terminal, by lines elsewhere."""
    if not screen.is_terminal():
        yield _by_lines(onlooker)
        return
    from rich.live import Live

    from batchstack.cli.live import Shown, render

    at = screen.console()
    with Live(console=at, transient=True, redirect_stdout=False, redirect_stderr=False) as live:

        def show(run: RunSeen) -> None:
            seconds = run.seconds + onlooker.silent
            failures, finished = tuple(run.failures)[-3:], tuple(run.finished)
            shown = Shown(run.pace, 0.0, seconds, (), failures, finished, _note(onlooker.silent))
            live.update(render(shown, at.height, at.width), refresh=True)

        yield show


def _by_lines(onlooker: Onlooker) -> Callable[[RunSeen], None]:
    last = float("-inf")

    def show(run: RunSeen) -> None:
        nonlocal last
        if time.monotonic() - last >= _LINE_SECONDS:
            last = time.monotonic()
            words = _words(run, run.seconds + onlooker.silent)
            tell("; ".join(filter(None, (words, _note(onlooker.silent)))))

    return show


def _words(run: RunSeen, seconds: float) -> str:
    pace = run.pace
    words = f"{count(pace.ended)} of {count(pace.stacks)} stacks, {pace.failed} failed"
    if (rate := pace.rate(seconds)) is None:
        return words
    left = "" if run.how else f", {seconds_left(pace.seconds_left(seconds))}"
    return f"{words}, {rate:.1f} MP/s{left}"


def _note(silent: float) -> str:
    if silent < _QUIET:
        return ""
    return f"nothing was recorded for {clock(silent)}: stacks take long, or the run was killed"
