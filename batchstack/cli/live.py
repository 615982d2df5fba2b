"""What a terminal shows of a run: how far it is, what each worker does, what failed last.

It is loaded only where there is a terminal, because rich takes a tenth of a second.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from batchstack.batch.pace import Pace
from batchstack.cli.words import amount, clock, count, seconds_left

# Stacks under way that are shown at most, and the height that all else takes.
_MOST, _ELSE = 16, 12
# Characters of a line from which there is room for the worker.
_WIDE = 60
# Seconds without a word of a stack after which that is said.
_QUIET = 60.0
_DIM = "dim"
_FOLDERS = re.compile(r"(?<=\s)/(?:[^/:]+/)+")  # of a path, which stands between : and :


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


def render(shown: Shown, height: int, width: int) -> RenderableType:
    """Everything as lines of a terminal that has so many, of so many characters."""
    parts: list[RenderableType] = [_head(shown), _figures(shown)]
    if shown.doing:
        parts += [Text(), _workers(shown.doing, max(1, min(_MOST, height - _ELSE)), width)]
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
    return Text(" · ".join(words))  # in a narrow terminal the time left is worth a line


def _workers(doing: Sequence[Doing], most: int, width: int) -> RenderableType:
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column()  # the one that gives way where there is little room
    for _ in range(3):
        table.add_column(no_wrap=True, justify="right")
    heads = ["stack", "doing", "done", "for"]
    if width >= _WIDE:
        table.add_column(no_wrap=True, style=_DIM)
        heads.append("worker")
    table.add_row(*(Text(word, _DIM) for word in heads))
    for one in doing[:most]:
        cells = (one.phase or "begun", f"{100 * one.fraction:.0f} %", clock(one.seconds))
        is_quiet = one.quiet >= _QUIET
        who = Text(f"silent {clock(one.quiet)}", "yellow") if is_quiet else Text(one.worker)
        table.add_row(_End(one.stack), *map(Text, cells), *([who] if width >= _WIDE else []))
    more = [_line(f"and {len(doing) - most} more")] if len(doing) > most else []
    return Group(table, *more)


def _finished(finished: Iterable[tuple[str, float]]) -> Text:
    words = ", ".join(f"{stack} ({seconds:.1f} s)" for stack, seconds in reversed([*finished]))
    return _line(f"finished last: {words}")


def _failures(failures: Iterable[str]) -> list[RenderableType]:
    """The messages, which were printed in full when they came, without folders."""
    firsts = (_FOLDERS.sub("", message.splitlines()[0]) for message in failures)
    return [_line(f"failed: {first}", "red") for first in firsts]


class _End:
    """Words of which the end is shown where there is no room for all: where names differ."""

    def __init__(self, words: str) -> None:
        self._words = words

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, max(1, cell_len(self._words)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        words, cut = self._words, ""
        while words and cell_len(cut + words) > options.max_width:
            words, cut = words[1:], "…"
        yield Text(cut + words, no_wrap=True, overflow="crop")


def _line(words: str, style: str = "") -> Text:
    return Text(words, style, no_wrap=True, overflow="ellipsis")
