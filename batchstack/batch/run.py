"""The run: from a plan to outputs, records and a summary."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from batchstack import files
from batchstack.batch.claim import Claim
from batchstack.batch.engines import Engine, StopRequest, Work
from batchstack.batch.events import Listener, Summary
from batchstack.batch.failed_list import leave_failed
from batchstack.batch.jobs import Job
from batchstack.batch.ledger import Ledger
from batchstack.batch.leftovers import clear_leftovers, clear_shared_folders
from batchstack.batch.manifest import OWN_NAMES
from batchstack.batch.recorder import Recorder
from batchstack.batch.steps import Step, can_spread, is_split, most_threads
from batchstack.errors import FileError


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
    recorder = Recorder(plan.steps, claim, ledger, listener, work.again)
    summary = recorder.summary
    jobs = [step.job for step in plan.steps if step.job]
    files.remove_parts(claim.directory, OWN_NAMES.__contains__)
    clear_shared_folders(jobs)

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
    clear_shared_folders(jobs)
    recorder.end("interrupted" if summary.interrupted else "finished")
    _close(claim.directory, ledger, plan.manifest)
    return summary


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
        clear_leftovers(job)
        memory_limit = self._plan.memory_limit
        split = is_split(step, memory_limit)
        graph = partial(stack_graph, shape=step.shape, is_split=split)
        return Work(
            job,
            split,
            graph,
            can_spread=can_spread(step, memory_limit),
            most_threads=most_threads(step, memory_limit),
        )


def _close(directory: Path, ledger: Ledger, manifest: Path | None) -> None:
    leave_failed(directory, ledger, manifest)
    ledger.sync()
