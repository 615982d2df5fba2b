"""What people see while a run goes on: a live view on a terminal, a line now and then elsewhere."""

import threading
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchstack.batch.events import (
    Event,
    RunStarted,
    StackDone,
    StackFailed,
    StackUnderWay,
    Summary,
)
from batchstack.batch.failed_list import FAILED
from batchstack.batch.jobs import Result
from batchstack.batch.manifest import Row
from batchstack.batch.pace import Pace
from batchstack.batch.placement import cost_of_crop
from batchstack.batch.scoring import worst_first
from batchstack.cli import screen
from batchstack.cli.screen import tell
from batchstack.cli.words import count, seconds_left
from batchstack.options import DEFAULT_NAME

if TYPE_CHECKING:  # rich is loaded only where there is a terminal
    from rich.console import RenderableType

    from batchstack.cli.live import Doing, Shown

SECONDS_BETWEEN_LINES = 10.0
WORST_SHOWN = 3
_FAILURES_SHOWN = 3
_PER_SECOND = 4  # times that a live view is drawn


@dataclass
class _UnderWay:
    """What was heard of a stack last, and when first and last."""

    event: StackUnderWay
    since: float
    heard: float


class Progress(ExitStack):
    """A listener of a run.

    Parameters
    ----------
    verbose : bool
        Name every stack when it is done.
    alone : bool
        The stack is the only one that there can be: none is counted, and what is quick is not
        shown.
    """

    def __init__(self, *, verbose: bool = False, alone: bool = False) -> None:
        super().__init__()
        self._verbose, self._alone = verbose, alone
        self._pace = Pace(0, 0.0)
        self._under_way: dict[str, _UnderWay] = {}
        self._failures: deque[str] = deque(maxlen=_FAILURES_SHOWN)
        self._lost: set[str] = set()
        # A signal may come while the thread that it stops holds the lock.
        self._lock = threading.RLock()
        self._start = self._last_line = time.monotonic()
        self._is_live = False

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._take(event)
        if isinstance(event, RunStarted):
            if event.skipped and event.stacks:
                tell(f"{count(event.skipped)} up to date, {count(event.stacks)} to fuse")
            if not self._alone:
                self._show()
        elif isinstance(event, StackDone):
            self._tell_done(event)
        elif isinstance(event, StackFailed):
            tell(event.message)
        elif self._alone and time.monotonic() - self._start >= 1:
            self._show()
        self._line_now_and_then()

    def _take(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, RunStarted):
            self._pace = Pace(event.stacks, event.megapixels)
            self._start = self._last_line = now
            return
        before = self._under_way.pop(event.row.id, None)
        if isinstance(event, StackUnderWay):
            # The last one to be heard of is the last one here.
            since = before.since if before else now
            self._under_way[event.row.id] = _UnderWay(event, since, now)
        elif isinstance(event, StackDone):
            self._pace.take(event.megapixels)
        elif event.megapixels:  # what was refused was not among those to be fused
            self._pace.give_up(event.megapixels)
            self._failures.append(event.message)

    def _tell_done(self, event: StackDone) -> None:
        for remark in event.result.remarks:
            tell(remark)
        for warning in event.result.warnings:
            tell(f"warning: {warning}")
        self._tell_losses(event.row, event.result)
        if self._verbose:
            methods = ", ".join(event.result.job.methods)
            cost = cost_of_crop(event.result.facts)
            after = f"; {cost}" if cost else ""
            tell(f"{event.row.id}: {methods} in {event.result.seconds:.1f} s{after}")

    def _tell_losses(self, row: Row, result: Result) -> None:
        """Say what outputs do not have of the metadata of frames, once for all stacks."""
        for what in result.lost:
            if what not in self._lost:
                self._lost.add(what)
                tell(f"{row.place} {row.id}: {loss(what, result)} (said once a run)")

    # --- lines

    def _line_now_and_then(self) -> None:
        now = time.monotonic()
        if not self._is_live and now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            tell(self.words())

    def words(self) -> str:
        """How far the run is, in one line, and the stack that was heard of last."""
        with self._lock:
            last = next(reversed(self._under_way.values()), None)
            within, pace = self._within, self._pace
        doing = f"{100 * last.event.fraction:.0f} % done, {last.event.phase}" if last else ""
        if self._alone:
            return doing
        seconds = time.monotonic() - self._start
        words = f"{count(pace.ended)} of {count(pace.stacks)} stacks, {pace.failed} failed"
        if rate := pace.rate(seconds, within):
            left = seconds_left(pace.seconds_left(seconds, within))
            words += f", {rate:.1f} MP/s, {left}"
        return f"{words}; {last.event.row.id} {doing}" if last and last.event.phase else words

    @property
    def seconds_left(self) -> float | None:
        """Until the run is over, None if it is too early to tell."""
        with self._lock:
            return self._pace.seconds_left(time.monotonic() - self._start, self._within)

    @property
    def pace(self) -> Pace:
        """How far the run is."""
        return self._pace

    @property
    def _within(self) -> float:
        """Megapixels that are done of stacks under way."""
        return sum(one.event.fraction * one.event.megapixels for one in self._under_way.values())

    # --- a live view

    def _show(self) -> None:
        """Begin to show on a terminal what goes on, unless it is shown."""
        if self._is_live or not screen.is_terminal():
            return
        from rich.live import Live

        self._is_live = True
        at = screen.console()
        live = Live(
            console=at,
            get_renderable=lambda: self._rendered(at.height, at.width),
            refresh_per_second=_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.enter_context(screen.shown_by(partial(at.print, soft_wrap=True)))
        self.enter_context(live)

    def _rendered(self, height: int, width: int) -> "RenderableType":
        from batchstack.cli.live import render, render_one

        if not self._alone:
            return render(self._shown(), height, width)
        with self._lock:
            last = next(reversed(self._under_way.values()), None)
        seconds = time.monotonic() - self._start
        return render_one(*(last.event.fraction, last.event.phase) if last else (0.0, ""), seconds)

    def _shown(self) -> "Shown":
        from batchstack.cli.live import Shown

        now = time.monotonic()
        with self._lock:
            doing = sorted(map(partial(_doing, now), self._under_way.values()), key=_by_worker)
            return Shown(self._pace, self._within, now - self._start, doing, tuple(self._failures))


def _doing(now: float, one: _UnderWay) -> "Doing":
    from batchstack.cli.live import Doing

    event = one.event
    worker = event.worker.rpartition("://")[2] or "this process"
    return Doing(
        worker, event.row.id, event.phase, event.fraction, now - one.since, now - one.heard
    )


def _by_worker(doing: "Doing") -> tuple[str, str]:
    return doing.worker, doing.stack


def loss(what: str, result: Result) -> str:
    """That outputs do not have something of the metadata of their frames."""
    return f"the reference frame, {result.reference.name}, has {what}; outputs do without"


def closing_summary(summary: Summary, output: Path, template: str = DEFAULT_NAME) -> str:
    """The last words of a run, which names its outputs by a template."""
    counts = f"{summary.done} done, {summary.skipped} skipped, {len(summary.failures)} failed"
    if summary.remaining:
        counts += f", {summary.remaining} not started"
    lines = [f"batchstack: {counts} in {summary.seconds:.1f} s"]
    if summary.done:
        rate = summary.megapixels / max(summary.seconds, 1e-9)
        lines.append(
            f"  {summary.megapixels:.1f} MP of frames read, {rate:.1f} MP/s, "
            f"at most {summary.peak_memory / 2**20:.0f} MiB in a worker"
        )
    elif summary.skipped and not summary.failures:
        lines.append("  everything is up to date; nothing to do")
    if summary.aligned or summary.not_aligned:
        lines.append(
            f"  {summary.aligned} aligned, {summary.not_aligned} with frames that could not be"
        )
    worst = worst_first(summary.scores)[:WORST_SHOWN]
    if worst:
        named = (f"{stack} {own.value:.4f} ({own.output})" for stack, own in worst)
        measure = worst[0][1].measure
        lines.append(f"  {len(summary.scores)} scored, lowest {measure}: {', '.join(named)}")
    if summary.failures:
        lines.append(f"  failed stacks are a manifest of their own: {output / FAILED}")
    if summary.gave_up:
        lines.append("  stopped after so many failures, as --max-failures asks")
    if summary.interrupted:
        lines.append("  interrupted; run the same command again to resume")
    shown = template.replace("{", "<").replace("}", ">")
    shown = "<id>/" if template == DEFAULT_NAME else shown
    lines.append(f"  outputs: {click.format_filename(output)}/{shown}")
    return "\n".join(lines)
