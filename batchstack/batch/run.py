"""The run: from a plan to outputs, records and a summary."""

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from batchstack import files
from batchstack.batch import placement, previews
from batchstack.batch.broken import frames_left, without_broken
from batchstack.batch.claim import Claim
from batchstack.batch.engines import Engine, StopRequest, Work
from batchstack.batch.jobs import Input, Job, Result, Scores
from batchstack.batch.ledger import Ledger, Record
from batchstack.batch.manifest import OWN_NAMES, Row, write_records
from batchstack.batch.output_names import has_own_folder
from batchstack.batch.plan import Step, can_spread, is_split
from batchstack.batch.progress import UnderWay
from batchstack.errors import FileError, OutputInUseError
from batchstack.fusion.methods import METHODS

FAILED = "failed.csv"
BROKEN = "meta_broken"  # its column for the frame that is damaged
_LIST = b"id,"  # how it starts
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Seconds between which records are put to the disk: what a power cut takes is done again.
SYNC = 1.0
# How long the outputs of another host may take to be seen here, in seconds.
SEEN_WITHIN = 10.0


@dataclass(frozen=True)
class Plan:
    """What a run is to do.

    Attributes
    ----------
    steps : sequence of Step
    manifest : Path, optional
        The file that the rows are from, which is never written.
    memory_limit : int, optional
        Bytes one worker may use: stacks predicted above it are split.
    previews : bool
        Whether tasks leave previews for the report.
    """

    steps: Sequence[Step]
    manifest: Path | None = None
    memory_limit: int | None = None
    previews: bool = False


@dataclass(frozen=True)
class RunStarted:
    """The plan is made and the engine ready.

    Attributes
    ----------
    stacks : int
        That are to be fused.
    megapixels : float
        Of all their frames.
    skipped : int
        Stacks that are up to date.
    """

    stacks: int
    megapixels: float = 0.0
    skipped: int = 0


@dataclass(frozen=True)
class StackDone:
    """A stack is fused and recorded; its frames have so many megapixels."""

    row: Row
    result: Result
    megapixels: float = 0.0


@dataclass(frozen=True)
class StackFailed:
    """A stack is refused or has failed; the message is complete.

    The megapixels are those of its frames, 0 if it was refused.
    """

    row: Row
    message: str
    megapixels: float = 0.0


@dataclass(frozen=True)
class StackUnderWay:
    """A stack is being worked on.

    Attributes
    ----------
    row : Row
    fraction : float
        Of its work that is done, from 0 to 1; a rough guess.
    phase : str
        What is being done; empty if it has just begun.
    worker : str
        Address of the worker that says so; empty in the client's own process.
    megapixels : float
        Of its frames.
    """

    row: Row
    fraction: float
    phase: str
    worker: str = ""
    megapixels: float = 0.0


Event = RunStarted | StackUnderWay | StackDone | StackFailed
Listener = Callable[[Event], None]


@dataclass
class Summary:
    """What a run came to.

    Attributes
    ----------
    done, skipped, remaining : int
        Stacks that were fused, that were up to date, and that were not started.
    failures : list of StackFailed
        Stacks that were refused or have failed, with the message of each.
    megapixels : float
        Of the frames that were read.
    aligned, not_aligned : int
        Stacks of which some frame was moved, and of which some frame could not be aligned.
    scores : dict
        Scores of fused images by stack and output.
    seconds : float
        From the start of the first stack to the end of the last.
    peak_memory : int
        Most bytes that a worker used.
    interrupted : bool
        Whether it was stopped from outside.
    gave_up : bool
        Whether it stopped after too many failures.
    """

    done: int = 0
    skipped: int = 0
    failures: list[StackFailed] = field(default_factory=list)
    remaining: int = 0
    megapixels: float = 0.0
    aligned: int = 0
    not_aligned: int = 0
    scores: dict[str, dict[str, Scores]] = field(default_factory=dict)
    seconds: float = 0.0
    peak_memory: int = 0
    interrupted: bool = False
    gave_up: bool = False


def refuse_strange_list(directory: Path, manifest: Path) -> None:
    """Refuse an output directory whose `failed.csv` no run has left: it would be replaced.

    Raises
    ------
    OutputInUseError
    """
    path = directory / FAILED
    if files.size_of(path) is None or _is_same(manifest, path):
        return
    try:
        with files.open_to_read(path) as file:
            is_ours = file.readline(len(_LIST)) == _LIST
    except OSError:  # such as a folder
        is_ours = False
    if not is_ours:
        raise OutputInUseError(
            f"{path}: is not a list that a run has left; rename or remove it, because a run keeps "
            "the list of its failed stacks there"
        )


def run_plan(
    plan: Plan,
    claim: Claim,
    ledger: Ledger,
    engine: Engine,
    *,
    max_failures: int | None = None,
    listener: Listener = lambda event: None,
    stop: StopRequest | None = None,
) -> Summary:
    """Fuse what a plan says, record it, and leave `failed.csv` if anything failed.

    Parameters
    ----------
    plan : Plan
    claim : Claim
        On the output directory.
    ledger : Ledger
    engine : Engine
    max_failures : int, optional
        Start nothing new after this many.
    listener : callable
        Told of the start, of every stack that begins, finishes or fails, and now and then how far
        one is that lasts.
    stop : StopRequest, optional
        Set from outside to stop the run.

    Raises
    ------
    ClusterLostError
        If the cluster goes away; what finished before is recorded.
    OutputLostError
        If the output directory is taken from the run; likewise.
    FileError
        If records cannot be written.
    """
    start = time.monotonic()
    stop = stop or StopRequest()
    work = _Works(plan, claim)
    recorder = _Recorder(plan, claim, ledger, listener, work.again)
    summary = recorder.summary
    files.remove_parts(claim.directory, OWN_NAMES.__contains__)
    _clear_shared_folders(plan)

    def give_up_if_enough() -> None:
        # What is under way still comes in after that.
        if max_failures is not None and len(summary.failures) >= max_failures and not stop.drain:
            summary.gave_up = stop.drain = True

    try:
        recorder.start()
        give_up_if_enough()
        for result in engine.results(work, stop, recorder.fault, recorder.hear):
            recorder.take(result)
            give_up_if_enough()
    except BaseException:
        # What the run ends with matters more.
        with suppress(FileError):
            recorder.end("lost")
            _close(claim.directory, ledger, plan.manifest)
        raise
    finally:
        summary.seconds = time.monotonic() - start
        summary.interrupted = stop.drain and not summary.gave_up
    _clear_shared_folders(plan)
    recorder.end("interrupted" if summary.interrupted else "finished")
    _close(claim.directory, ledger, plan.manifest)
    return summary


class _Recorder:
    """Turns results into records, events and a summary."""

    def __init__(
        self,
        plan: Plan,
        claim: Claim,
        ledger: Ledger,
        listener: Listener,
        again: Callable[[Step, Job], None],
    ) -> None:
        steps, self._again = plan.steps, again
        # What is up to date needs no memory for each stack.
        self._steps = {step.row.id: step for step in steps if step.action == "fuse"}
        self._refused = [step for step in steps if step.action == "refuse"]
        # What failed, and is as it was before again, is recorded again: it fails no longer.
        self._stale = [
            step.row
            for step in steps
            if step.action == "skip" and (step.moved or ledger.failed_last(step.row.id))
        ]
        self._claim, self._ledger, self._listener = claim, ledger, listener
        self._synced = time.monotonic()
        self.summary = Summary(
            skipped=sum(step.action == "skip" for step in steps), remaining=len(self._steps)
        )

    def start(self) -> None:
        """Say what there is to do, and deal with the stacks that need no work."""
        started = RunStarted(
            len(self._steps),
            sum(step.all_megapixels for step in self._steps.values()),
            self.summary.skipped,
        )
        if self._ledger.is_under_way:  # whoever looks on waits for the end of one that was killed
            self._ledger.append_end("lost")
        self._listener(started)
        for step in self._refused:
            row = step.row
            self._fail(row, f"{row.place} {row.id}: {step.reasons[0]}", broken=step.broken)
        for row in self._stale:
            self._refresh(row)
        # What comes after it in the journal is what the run does.
        refused = len(self._refused)
        if started.stacks or refused:
            self._ledger.append_start(started.stacks + refused, started.megapixels, refused)

    def end(self, how: str) -> None:
        """Record that the run is over."""
        if self._ledger.is_under_way:
            self._ledger.append_end(how)

    def fault(self, result: Result) -> str | None:
        """Why a result cannot be relied on, or None.

        Raises
        ------
        OutputLostError
            If it is the run itself that has lost its directory.
        """
        if result.unfit:
            self._claim.check()
            return result.unfit
        if result.versions != self._claim.versions:
            there = dict(result.versions).get("batchstack", "an older version")
            here = dict(self._claim.versions)["batchstack"]
            return f"it has batchstack {there}, the client has {here}; install the same on both"
        if result.error:
            return None
        unseen = _unseen(result)
        if unseen:
            self._claim.check()
            return f"{unseen} of it is not seen here; use an output directory that all hosts share"
        return None

    def hear(self, told: UnderWay) -> None:
        """Pass on how far a stack is."""
        step = self._steps[told.job.id]
        self._listener(
            StackUnderWay(step.row, told.fraction, told.phase, told.worker, step.all_megapixels)
        )

    def take(self, result: Result) -> None:
        """Record a result whose outputs are there."""
        # A worker that died on this job, before another did it, has left its traces.
        _clear_leftovers(result.job)
        self._claim.check()
        summary, step = self.summary, self._steps[result.job.id]
        row = step.row
        if result.error and (job := without_broken(result)):
            self._again(step, job)
            return
        summary.remaining -= 1
        if result.error:
            self._fail(row, result.error, step.all_megapixels, result.broken)
            return
        facts: dict[str, Any] = {
            "seconds": round(result.seconds, 3),
            "megapixels": round(result.megapixels, 3),
            "peak_memory": result.peak_memory,
            "finished": round(time.time()),
            "versions": dict(result.versions),
        }
        if meta := {name: text for name, text in row.meta if name != BROKEN}:
            facts["meta"] = meta
        alignment = result.alignment
        facts |= result.facts
        if alignment and alignment.map_level is not None:
            facts["map_level"] = alignment.map_level
        self._ledger.append_done(row.id, self._records(result), facts)
        self._sync_now_and_then()
        summary.done += 1
        summary.aligned += result.is_moved
        summary.not_aligned += placement.not_aligned(facts)
        if result.scores:
            summary.scores[row.id] = result.scores
        megapixels = result.megapixels * len(result.job.frames)
        summary.megapixels += megapixels
        summary.peak_memory = max(summary.peak_memory, result.peak_memory)
        self._listener(StackDone(row, result, megapixels))

    def _sync_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._synced >= SYNC:
            self._synced = now
            self._ledger.sync()

    def _fail(
        self, row: Row, message: str, megapixels: float = 0.0, broken: Path | None = None
    ) -> None:
        # The list of what failed names the frame in a column of its own.
        meta = {name: text for name, text in row.meta if name != BROKEN}
        if broken:
            meta[BROKEN] = str(broken)
        listed = replace(row, meta=tuple(sorted(meta.items())))
        self._ledger.append_failed(row.id, message, listed)
        failure = StackFailed(row, message, megapixels)
        self.summary.failures.append(failure)
        self._listener(failure)

    def _records(self, result: Result) -> dict[str, Record]:
        job = result.job
        return {
            name: Record(
                job.keys[name],
                result.inputs,
                {job.file_name(output): result.outputs[output] for output in METHODS[name].outputs},
                {
                    output: {measure: round(value, 6) for measure, value in scores.items()}
                    for output, scores in result.scores.items()
                    if output in METHODS[name].outputs
                },
            )
            for name in job.methods
        }

    def _refresh(self, row: Row) -> None:
        """Record what is done as it is now.

        A moved or touched data set need not be read again, and what failed meanwhile has not.
        """
        history = self._ledger.history(row.id)
        moved: dict[tuple[Input, ...], dict[str, Record]] = {}
        # A frame that vanished since is for the next run to find.
        with suppress(OSError):
            for name, record in history.records.items():
                inputs = _as_they_are(record.inputs, frames_left(row.frames, record.key))
                if inputs != record.inputs or history.error is not None:
                    moved.setdefault(inputs, {})[name] = replace(record, inputs=inputs)
        for records in moved.values():
            self._ledger.append_done(row.id, records, history.facts)


def _as_they_are(inputs: Sequence[Input], frames: Sequence[Path]) -> tuple[Input, ...]:
    found = [files.status(path) for path in frames]
    return tuple(
        Input(str(path), now.st_size, now.st_mtime_ns, known.digest)
        for known, path, now in zip(inputs, frames, found, strict=False)
    )


def _unseen(result: Result) -> str | None:
    """The name of an output that cannot be seen as it was written, or None."""
    deadline = time.monotonic() + SEEN_WITHIN
    for name, written in result.outputs.items():
        path = result.job.output_path(name)
        while files.size_of(path) != written.size:
            if time.monotonic() >= deadline:
                return path.name
            time.sleep(0.2)
    return None


class _Works(Iterator[Work]):
    """Stacks with their graphs, one by one as the engine wants them; some come again."""

    def __init__(self, plan: Plan, claim: Claim) -> None:
        self._plan, self._claim = plan, claim
        self._first = ((n, step, step.job) for n, step in enumerate(plan.steps) if step.job)
        self._number, self._others = len(plan.steps), deque[tuple[int, Step, Job]]()

    def again(self, step: Step, job: Job) -> None:
        """Have a stack done in another way, when those before it are handed out."""
        self._others.append((self._number, step, job))
        self._number += 1

    def __next__(self) -> Work:
        from batchstack.batch.graph import stack_graph

        # Also after its end there may be some again.
        found = next(self._first, None) or (self._others.popleft() if self._others else None)
        if found is None:
            raise StopIteration
        number, step, job = found
        job = replace(job, number=number, claim=self._claim, previews=self._plan.previews)
        _clear_leftovers(job)
        memory_limit = self._plan.memory_limit
        split = is_split(step, memory_limit)
        graph = partial(stack_graph, shape=step.shape, is_split=split)
        return Work(job, split, graph, can_spread=can_spread(step, memory_limit))


def _clear_leftovers(job: Job) -> None:
    """Remove what a killed worker left of a stack; only names that are made here."""
    files.remove_tree(job.scratch)
    if has_own_folder(job.template):
        _clear_parts([job])
    previews.clear_leftovers(job)


def _clear_shared_folders(plan: Plan) -> None:
    """Remove what killed workers left in folders that are too full to be looked at for each stack.

    The stacks of a run are named alike.
    """
    jobs = [step.job for step in plan.steps if step.job]
    if jobs and not has_own_folder(jobs[0].template):
        _clear_parts(jobs)


def _clear_parts(jobs: Sequence[Job]) -> None:
    """Remove parts of outputs that these jobs, or others of their stacks, make."""
    outputs = [name for method in METHODS.values() for name in method.outputs]

    @cache
    def ours() -> set[Path]:  # of many stacks, and mostly there is no part at all
        return {job.output_path(name) for job in jobs for name in outputs}

    def is_ours(folder: Path, name: str) -> bool:
        return folder / name in ours()

    folders = {job.output_path(name).parent for job in jobs for name in outputs}
    for folder in folders:
        files.remove_parts(folder, partial(is_ours, folder))


def _close(directory: Path, ledger: Ledger, manifest: Path | None) -> None:
    _leave_failed(directory, ledger, manifest)
    ledger.sync()


def _leave_failed(directory: Path, ledger: Ledger, manifest: Path | None) -> None:
    """List all stacks that the ledger holds as failed, as a manifest that runs."""
    path = directory / FAILED
    if manifest is not None and _is_same(manifest, path):
        return
    records = [row for _, _, row in ledger.failed() if row is not None]
    if records:
        write_records(path, records)
    else:
        files.remove(path)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return os.path.samestat(files.status(one), files.status(other))
    except OSError:
        return False


@contextmanager
def interruptible(stop: StopRequest, announce: Callable[[str], None]) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and a closed terminal stop a run: the first drains, the second aborts.

    Parameters
    ----------
    stop : StopRequest
    announce : callable
        Told what is going to happen.
    """

    def on_signal(number: int, frame: Any) -> None:
        if not stop.drain:
            stop.drain = True
            announce("stopping after the stacks under way; interrupt again to stop at once")
        elif number != signal.SIGHUP:  # which a terminal that closes sends more than once
            stop.abort = True
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in _STOPPING}
    # What nohup has ignored stays ignored.
    caught = [n for n in _STOPPING if n != signal.SIGHUP or before[n] is not signal.SIG_IGN]
    for number in caught:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, before[number])
