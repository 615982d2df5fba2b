"""Engines run graphs: a plain loop in this process, or a Dask cluster.

Both take an iterator of graphs and give results as they finish; the loop is the
reference that every other engine must equal.
"""

import queue
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from dask.delayed import Delayed
from dask.local import get_sync

from batchstack.batch.jobs import Job, Result
from batchstack.errors import ClusterLostError

# Graphs in flight per thread: one at work, one waiting, so that no thread idles.
WINDOW_PER_THREAD = 2
# Between looks at the cluster and at the stop request, in seconds.
POLL = 0.5
NO_WORKERS_SECONDS = 60
_LOST = "the scheduler went away; finished work is recorded, run again to resume"


@dataclass
class StopRequest:
    """How an interrupt reaches an engine.

    Attributes
    ----------
    drain : bool
        Start nothing new, finish what is under way.
    abort : bool
        Leave what is under way as well.
    """

    drain: bool = False
    abort: bool = False


Work = tuple[Job, Delayed]


class Engine(Protocol):
    """Something that runs graphs."""

    def results(self, work: Iterable[Work], stop: StopRequest) -> Iterator[Result]:
        """Results in the order they finish; ends early if stopping is requested."""


class LoopEngine:
    """Runs every graph in this process, task after task."""

    def results(self, work: Iterable[Work], stop: StopRequest) -> Iterator[Result]:
        for _, graph in work:
            yield compute_here(graph)
            if stop.drain:
                return


def compute_here(graph: Delayed) -> Result:
    """What `graph.compute(scheduler="sync")` gives, without importing distributed."""
    result: Result = get_sync(graph.__dask_graph__(), graph.key)
    return result


class ClusterEngine:
    """Runs graphs on a Dask cluster, a bounded number at a time.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._done: queue.Queue[Any] = queue.Queue()
        self._jobs: dict[str, tuple[Any, Job]] = {}
        self._last_worker_seen = time.monotonic()

    def results(self, work: Iterable[Work], stop: StopRequest) -> Iterator[Result]:
        waiting = iter(work)
        more = True
        window = WINDOW_PER_THREAD * max(1, self._threads())
        try:
            while True:
                while more and not stop.drain and len(self._jobs) < window:
                    more = self._submit(waiting)
                if not self._jobs or stop.abort:
                    return
                result = self._next()
                if result is not None:
                    yield result
                if stop.drain:
                    more = False
        finally:
            for future, _ in self._jobs.values():
                future.release()

    def _submit(self, waiting: Iterator[Work]) -> bool:
        entry = next(waiting, None)
        if entry is None:
            return False
        job, graph = entry
        with _cluster_calls():
            future = self._client.compute(graph)
        self._jobs[future.key] = (future, job)
        future.add_done_callback(self._done.put)
        return True

    def _next(self) -> Result | None:
        """The next result, or None if nothing finished within a poll."""
        try:
            future = self._done.get(timeout=POLL)
        except queue.Empty:
            self._check_cluster()
            return None
        _, job = self._jobs.pop(future.key)
        if future.status == "finished":
            with _cluster_calls():
                result: Result = future.result()
            return result
        if future.status == "cancelled":
            raise ClusterLostError(_LOST)
        return Result(job, error=f"{job.place} {job.id}: {_explain(future.exception())}")

    def _check_cluster(self) -> None:
        """A cluster that is gone, or has had no workers for a while, is lost."""
        if self._client.status != "running":
            raise ClusterLostError(_LOST)
        now = time.monotonic()
        if self._threads():
            self._last_worker_seen = now
        elif now - self._last_worker_seen > NO_WORKERS_SECONDS:
            raise ClusterLostError(
                f"the cluster has had no workers for {NO_WORKERS_SECONDS} seconds; finished "
                "work is recorded, start workers and run again to resume"
            )

    def _threads(self) -> int:
        with _cluster_calls():
            return sum(self._client.nthreads().values())


@contextmanager
def _cluster_calls() -> Iterator[None]:
    """Any call may find the scheduler gone."""
    try:
        yield
    except OSError as error:
        raise ClusterLostError(_LOST) from error


def _explain(error: BaseException | None) -> str:
    if type(error).__name__ == "KilledWorker":
        return (
            "the workers died that tried it, most likely for want of memory; use fewer "
            "workers, a larger --memory-limit or a smaller --tile"
        )
    return f"the cluster could not run it: {type(error).__name__}: {error}"
