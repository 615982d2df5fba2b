"""What people see while a run goes on: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from pathlib import Path
from types import TracebackType

import click
from tqdm import tqdm

from batchstack.batch.run import FAILED, Event, StackDone, Summary
from batchstack.batch.scoring import SORT_BY, worst_first
from batchstack.cli.screen import tell

SECONDS_BETWEEN_LINES = 10.0
WORST_SHOWN = 3


class Progress:
    """A listener of a run.

    Parameters
    ----------
    total : int
        Stacks to fuse.
    verbose : bool
        Name every stack when it is done.
    """

    def __init__(self, total: int, *, verbose: bool = False) -> None:
        self._verbose = verbose
        self._total = total
        self._done = self._failed = 0
        self._megapixels = 0.0
        self._start = self._last_line = time.monotonic()
        self._bar = tqdm(
            total=total, unit="stack", disable=not sys.stderr.isatty(), dynamic_ncols=True
        )

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
        if isinstance(event, StackDone):
            self._done += 1
            self._megapixels += event.result.megapixels * len(event.result.job.frames)
            for warning in event.result.warnings:
                tell(f"warning: {warning}")
            if self._verbose:
                methods = ", ".join(event.result.job.methods)
                tell(f"{event.row.id}: {methods} in {event.result.seconds:.1f} s")
            self._bar.update()
        else:
            self._failed += 1
            tell(event.message)
            self._bar.update()
        self._bar.set_postfix_str(f"{self._failed} failed, {self._rate():.1f} MP/s")
        self._line_now_and_then()

    def _rate(self) -> float:
        return self._megapixels / max(time.monotonic() - self._start, 1e-9)

    def _line_now_and_then(self) -> None:
        now = time.monotonic()
        if self._bar.disable and now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            tell(
                f"{self._done + self._failed} of {self._total} stacks, {self._failed} failed, "
                f"{self._rate():.1f} MP/s"
            )


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
        named = (
            f"{stack} {summary.scores[stack][output][SORT_BY]:.4f} ({output})"
            for stack, output in worst
        )
        lines.append(f"  {len(summary.scores)} scored, lowest {SORT_BY}: {', '.join(named)}")
    if summary.failures:
        lines.append(f"  failed stacks are a manifest of their own: {output / FAILED}")
    if summary.gave_up:
        lines.append("  stopped after so many failures, as --max-failures asks")
    if summary.interrupted:
        lines.append("  interrupted; run the same command again to resume")
    lines.append(f"  outputs: {click.format_filename(output)}/<id>/")
    return "\n".join(lines)
