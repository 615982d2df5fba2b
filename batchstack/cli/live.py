"""What a terminal shows of a run: how far it is, what each worker does, what failed last.

It is loaded only where there is a terminal, because rich takes a tenth of a second.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from batchstack.batch.pace import Pace
from batchstack.cli.words import amount, clock, count, seconds_left

# Stacks under way that are shown at most, and the height that all else takes.
_MOST, _ELSE = 16, 12
# Seconds without a word of a stack after which that is said.
_QUIET = 60.0
_DIM = "dim"


@dataclass(frozen=True)
class Doing:
    """One stack that is being worked on.

    Attributes
    ----------
    worker : str
        As people know it.
    stack : str
    phase : str
        What is being done; empty if it has just begun.
    fraction : float
        Of its work that is done.
    seconds : float
        Since it was begun.
    quiet : float
        Seconds since something was heard of it.
    """

    worker: str
    stack: str
    phase: str
    fraction: float
    seconds: float
    quiet: float


@dataclass(frozen=True)
class Shown:
    """All that there is to show at one time.

    Attributes
    ----------
    pace : Pace
    within : float
        Megapixels that are done of stacks under way.
    seconds : float
        Since the run began.
    doing : sequence of Doing
    failures : sequence of str
        Complete messages, the last one last.
    finished : sequence of (str, float)
        Stacks that ended last, with the seconds that each took.
    note : str
        What else there is to say.
    """

    pace: Pace
    within: float
    seconds: float
    doing: Sequence[Doing] = ()
    failures: Sequence[str] = ()
    finished: Sequence[tuple[str, float]] = ()
    note: str = ""


def render(shown: Shown, height: int) -> RenderableType:
    """Everything as lines of a terminal that has so many."""
    parts: list[RenderableType] = [_head(shown), _figures(shown)]
    if shown.doing:
        parts += [Text(), _workers(shown.doing, max(1, min(_MOST, height - _ELSE)))]
    if shown.finished:
        parts += [Text(), _finished(shown.finished)]
    if shown.failures:
        parts += [Text(), *_failures(shown.failures)]
    if shown.note:
        parts += [Text(), _line(shown.note, "yellow")]
    return Group(*parts)


def render_one(fraction: float, phase: str, seconds: float) -> RenderableType:
    """The only stack that there is: how much of it is done, and since when it is worked on."""
    row = Table.grid(padding=(0, 2, 0, 0), expand=True)
    row.add_column(no_wrap=True, min_width=8)
    row.add_column(ratio=1)
    row.add_column(no_wrap=True)
    row.add_column(no_wrap=True)
    share = 100 * fraction
    row.add_row(Text(phase), ProgressBar(100, share), Text(f"{share:.0f} %"), Text(clock(seconds)))
    return row


def _head(shown: Shown) -> RenderableType:
    pace, share = shown.pace, shown.pace.share(shown.within)
    row = Table.grid(padding=(0, 2, 0, 0), expand=True)
    for column in ({}, {"ratio": 1}, {}, {}):
        row.add_column(no_wrap=True, **column)  # type: ignore[arg-type]
    failed = Text(f"{pace.failed} failed", "bold red" if pace.failed else _DIM)
    stacks = Text(f"{count(pace.ended)} of {count(pace.stacks)} stacks", "bold")
    row.add_row(stacks, ProgressBar(100, 100 * share), Text(f"{100 * share:.0f} %"), failed)
    return row


def _figures(shown: Shown) -> Text:
    pace = shown.pace
    rate = pace.rate(shown.seconds, shown.within)
    words = [
        f"{amount(pace.fused + shown.within)} of {amount(pace.megapixels)}",
        *([f"{rate:.1f} MP/s"] if rate else []),
        f"{clock(shown.seconds)} gone",
        seconds_left(pace.seconds_left(shown.seconds, shown.within)),
    ]
    return _line(" · ".join(words))


def _workers(doing: Sequence[Doing], most: int) -> RenderableType:
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(no_wrap=True, style=_DIM)
    table.add_column(max_width=40)  # the one that gives way where there is little room
    for _ in range(3):
        table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, style="yellow")
    table.add_row(*(Text(word, _DIM) for word in ("worker", "stack", "doing", "done", "for")))
    for one in doing[:most]:
        quiet = f"silent {clock(one.quiet)}" if one.quiet >= _QUIET else ""
        cells = (one.phase or "begun", f"{100 * one.fraction:.0f} %", clock(one.seconds), quiet)
        table.add_row(Text(one.worker), _line(one.stack), *map(Text, cells))
    more = [_line(f"and {len(doing) - most} more")] if len(doing) > most else []
    return Group(table, *more)


def _finished(finished: Iterable[tuple[str, float]]) -> Text:
    words = ", ".join(f"{stack} ({seconds:.1f} s)" for stack, seconds in reversed([*finished]))
    return _line(f"finished last: {words}")


def _failures(failures: Iterable[str]) -> list[RenderableType]:
    return [_line(f"failed: {message.splitlines()[0]}", "red") for message in failures]


def _line(words: str, style: str = "") -> Text:
    return Text(words, style, no_wrap=True, overflow="ellipsis")
