"""Results become records, events and a summary."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from batchstack import files
from batchstack.batch import placement
from batchstack.batch.broken import frames_left, without_broken
from batchstack.batch.claim import Claim
from batchstack.batch.events import (
    Listener,
    RunStarted,
    StackDone,
    StackFailed,
    StackUnderWay,
    Summary,
)
from batchstack.batch.jobs import Input, Job, Result
from batchstack.batch.ledger import Ledger
from batchstack.batch.leftovers import clear_leftovers
from batchstack.batch.manifest import Row
from batchstack.batch.progress import UnderWay
from batchstack.batch.records import Record
from batchstack.batch.steps import Step
from batchstack.fusion.methods import METHODS

BROKEN = "meta_broken"  # the column of `failed.csv` for the frame that is damaged
# Seconds between which records are put to the disk: what a power cut takes is done again.
SYNC = 1.0
# How long the outputs of another host may take to be seen here, in seconds.
SEEN_WITHIN = 10.0


class Recorder:
    """Turns results into records, events and a summary."""

    def __init__(
        self,
        steps: Sequence[Step],
        claim: Claim,
        ledger: Ledger,
        listener: Listener,
        again: Callable[[Step, Job], None],
    ) -> None:
        self._again = again
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
        clear_leftovers(result.job)
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
        if alignment and alignment.shrink is not None:
            facts["shrink"] = round(alignment.shrink, 3)
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
