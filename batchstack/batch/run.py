"""The run: from a plan to outputs, records and a summary."""

import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from batchstack.batch.alignment import describe
from batchstack.batch.engines import Engine, StopRequest, Work
from batchstack.batch.jobs import Input, Job, Result, Scores
from batchstack.batch.ledger import FOLDER, Ledger, Output, Record
from batchstack.batch.manifest import Row, write_manifest
from batchstack.batch.plan import RunOptions, Step, is_split, output_key, row_options
from batchstack.fusion.methods import METHODS

FAILED = "failed.csv"


@dataclass(frozen=True)
class StackDone:
    """A stack is fused and recorded."""

    row: Row
    result: Result


@dataclass(frozen=True)
class StackFailed:
    """A stack is refused or has failed; the message is complete."""

    row: Row
    message: str


Event = StackDone | StackFailed
Listener = Callable[[Event], None]


@dataclass
class Summary:
    """What a run came to."""

    done: int = 0
    skipped: int = 0
    failures: list[StackFailed] = field(default_factory=list)
    remaining: int = 0
    megapixels: float = 0.0
    aligned: int = 0  # stacks of which some frame was moved
    not_aligned: int = 0  # stacks of which some frame could not be
    scores: dict[str, dict[str, Scores]] = field(default_factory=dict)  # by stack and output
    seconds: float = 0.0
    peak_memory: int = 0
    interrupted: bool = False
    gave_up: bool = False  # after too many failures


def run_plan(
    steps: Sequence[Step],
    directory: Path,
    options: RunOptions,
    ledger: Ledger,
    engine: Engine,
    *,
    memory_limit: int | None = None,
    max_failures: int | None = None,
    listener: Listener = lambda event: None,
    stop: StopRequest | None = None,
) -> Summary:
    """Fuse what a plan says, record it, and leave `failed.csv` if anything failed.

    Parameters
    ----------
    steps : sequence of Step
        None of them hopeless.
    directory : Path
        The output directory, locked by the caller.
    options : RunOptions
        Those the plan was made with.
    ledger : Ledger
    engine : Engine
    memory_limit : int, optional
        Bytes one worker may use: stacks predicted above it are split.
    max_failures : int, optional
        Start nothing new after this many.
    listener : callable
        Told of every stack that finishes or fails.
    stop : StopRequest, optional
        Set from outside to stop the run.

    Raises
    ------
    ClusterLostError
        If the cluster goes away; what finished before is recorded.
    """
    start = time.monotonic()
    stop = stop or StopRequest()
    recorder = _Recorder(steps, options, ledger, listener)
    _clear_scratch(directory)
    try:
        recorder.start()
        for result in engine.results(_work(steps, memory_limit), stop):
            recorder.take(result)
            if max_failures is not None and len(recorder.summary.failures) >= max_failures:
                recorder.summary.gave_up = not stop.drain
                stop.drain = True
    finally:
        summary = recorder.summary
        summary.seconds = time.monotonic() - start
        summary.interrupted = stop.drain and not summary.gave_up
        _leave_failed(directory, summary)
    return summary


class _Recorder:
    """Turns results into records, events and a summary."""

    def __init__(
        self, steps: Sequence[Step], options: RunOptions, ledger: Ledger, listener: Listener
    ) -> None:
        self._steps = {step.row.id: step for step in steps}
        self._options = options
        self._ledger = ledger
        self._listener = listener
        self.summary = Summary(
            skipped=sum(step.action == "skip" for step in steps),
            remaining=sum(step.action == "fuse" for step in steps),
        )

    def start(self) -> None:
        """Deal with the stacks that need no work."""
        for step in self._steps.values():
            if step.action == "refuse":
                row = step.row
                self._fail(row, f"{row.place} {row.id}: {step.reasons[0]}")
            elif step.action == "skip":
                self._refresh(step)

    def take(self, result: Result) -> None:
        # A worker that died on this job, before another did it, has left its traces.
        _clear_leftovers(result.job)
        summary, row = self.summary, self._steps[result.job.id].row
        summary.remaining -= 1
        if result.error:
            self._fail(row, result.error)
            return
        facts: dict[str, Any] = {
            "seconds": round(result.seconds, 3),
            "megapixels": round(result.megapixels, 3),
            "peak_memory": result.peak_memory,
        }
        options = result.job.alignment
        if not options.is_off:
            facts["align"] = [describe(transform, options) for transform in result.transforms]
        self._ledger.append_done(row.id, self._records(row, result), facts)
        summary.done += 1
        summary.aligned += result.is_moved
        summary.not_aligned += bool(result.warnings)
        if result.scores:
            summary.scores[row.id] = result.scores
        summary.megapixels += result.megapixels * len(result.job.frames)
        summary.peak_memory = max(summary.peak_memory, result.peak_memory)
        self._listener(StackDone(row, result))

    def _fail(self, row: Row, message: str) -> None:
        self._ledger.append_failed(row.id, message, row)
        failure = StackFailed(row, message)
        self.summary.failures.append(failure)
        self._listener(failure)

    def _records(self, row: Row, result: Result) -> dict[str, Record]:
        job, options = result.job, row_options(row, self._options)
        return {
            name: Record(
                output_key(METHODS[name], options, job.suffix, resized=job.resize),
                result.inputs,
                {
                    job.output_path(output).name: Output(result.sizes[output])
                    for output in METHODS[name].outputs
                },
                {
                    output: {measure: round(value, 6) for measure, value in scores.items()}
                    for output, scores in result.scores.items()
                    if output in METHODS[name].outputs
                },
            )
            for name in job.methods
        }

    def _refresh(self, step: Step) -> None:
        """Remember where a moved or touched data set is now, to spare reading it again."""
        history = self._ledger.history(step.row.id)
        known = {record.inputs for record in history.records.values()}
        found = {inputs: _as_they_are(inputs, step.row.frames) for inputs in known}
        moved: dict[tuple[Input, ...], dict[str, Record]] = {}
        for name, record in history.records.items():
            inputs = found[record.inputs]
            if inputs != record.inputs:
                moved.setdefault(inputs, {})[name] = replace(record, inputs=inputs)
        for records in moved.values():
            self._ledger.append_done(step.row.id, records, history.facts)


def _as_they_are(inputs: Sequence[Input], frames: Sequence[Path]) -> tuple[Input, ...]:
    status = [path.stat() for path in frames]
    return tuple(
        Input(str(path), now.st_size, now.st_mtime_ns, known.digest)
        for known, path, now in zip(inputs, frames, status, strict=False)
    )


def _work(steps: Sequence[Step], memory_limit: int | None) -> Iterator[Work]:
    """Graphs, made when the engine wants the next one."""
    from batchstack.batch.graph import split_graph, whole_graph

    run = uuid.uuid4().hex[:8]
    for number, step in enumerate(steps):
        if step.job is None:
            continue
        _clear_leftovers(step.job)
        name = f"{step.row.id}-{number}-{run}"
        if is_split(step, memory_limit):
            yield step.job, split_graph(step.job, name, step.shape)
        else:
            yield step.job, whole_graph(step.job, name)


def _clear_scratch(directory: Path) -> None:
    """Remove what a killed run left behind; the lock says that none is alive."""
    shutil.rmtree(directory / FOLDER / "scratch", ignore_errors=True)


def _clear_leftovers(job: Job) -> None:
    shutil.rmtree(job.scratch, ignore_errors=True)
    for part in job.folder.glob(".*.part"):
        part.unlink(missing_ok=True)


def _leave_failed(directory: Path, summary: Summary) -> None:
    path = directory / FAILED
    if summary.failures:
        write_manifest(path, [failure.row for failure in summary.failures])
    else:
        path.unlink(missing_ok=True)


@contextmanager
def interruptible(stop: StopRequest, announce: Callable[[str], None]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM stop a run: the first drains, the second aborts.

    Parameters
    ----------
    stop : StopRequest
    announce : callable
        Told what is going to happen.
    """

    def on_signal(number: int, frame: Any) -> None:
        if stop.drain:
            stop.abort = True
            raise KeyboardInterrupt
        stop.drain = True
        announce("stopping after the stacks under way; interrupt again to stop at once")

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
