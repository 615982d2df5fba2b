"""What people see while a run goes on: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from pathlib import Path
from types import TracebackType

import click
from tqdm import tqdm

from batchstack.batch.jobs import Result
from batchstack.batch.manifest import Row
from batchstack.batch.placement import cost_of_crop
from batchstack.batch.run import FAILED, Event, StackDone, StackUnderWay, Summary
from batchstack.batch.scoring import worst_first
from batchstack.cli.screen import tell

SECONDS_BETWEEN_LINES = 10.0
WORST_SHOWN = 3
_BAR = "{percentage:3.0f}%|{bar}| {desc} [{elapsed}<{remaining}]"


class Progress:
    """A listener of a run: the bar grows within stacks too.

    Parameters
    ----------
    total : int
        Stacks to fuse.
    verbose : bool
        Name every stack when it is done.
    alone : bool
        The stack is the only one that there can be: none is counted, and nothing stays.
    """

    def __init__(self, total: int, *, verbose: bool = False, alone: bool = False) -> None:
        self._verbose, self._alone = verbose, alone
        self._total = total
        self._done = self._failed = 0
        self._megapixels = 0.0
        self._under_way: dict[str, StackUnderWay] = {}
        self._lost: set[str] = set()
        self._start = self._last_line = time.monotonic()
        self._bar = tqdm(
            total=total,
            bar_format=_BAR,
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
            leave=not alone,
            delay=1 if alone else 0,
        )
        self._show()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def __call__(self, event: Event) -> None:
        self._under_way.pop(event.row.id, None)
        if isinstance(event, StackUnderWay):
            self._under_way[event.row.id] = event
        elif isinstance(event, StackDone):
            self._done += 1
            self._megapixels += event.result.megapixels * len(event.result.job.frames)
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
        else:
            self._failed += 1
            tell(event.message)
        self._show()
        self._line_now_and_then()

    def _tell_losses(self, row: Row, result: Result) -> None:
        """Say what outputs do not have of the metadata of frames, once for all stacks."""
        for what in result.lost:
            if what not in self._lost:
                self._lost.add(what)
                tell(f"{row.place} {row.id}: {loss(what)} (said once a run)")

    def _show(self) -> None:
        """Have the bar stand where all stacks are, finished or not."""
        within = sum(stack.fraction for stack in self._under_way.values())
        self._bar.set_description_str(self._words(), refresh=False)
        self._bar.update(self._done + self._failed + within - self._bar.n)

    def _words(self) -> str:
        """How far the run is, and the stack that was heard of last."""
        words = f"{self._done + self._failed} of {self._total} stacks, {self._failed} failed"
        if self._megapixels:
            rate = self._megapixels / max(time.monotonic() - self._start, 1e-9)
            words += f", {rate:.1f} MP/s"
        if not self._under_way:
            return "" if self._alone else words
        last = list(self._under_way.values())[-1]
        doing = f"{100 * last.fraction:.0f} % done, {last.phase}"
        return doing if self._alone else f"{words}; {last.row.id} {doing}"

    def _line_now_and_then(self) -> None:
        now = time.monotonic()
        if self._bar.disable and now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            tell(self._words())


def loss(what: str) -> str:
    """That outputs do not have something of the metadata of their frames."""
    return f"the first frame has {what}; outputs do without"


def closing_summary(summary: Summary, output: Path) -> str:
    """The last words of a run."""
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
    lines.append(f"  outputs: {click.format_filename(output)}/<id>/")
    return "\n".join(lines)
