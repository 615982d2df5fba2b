"""Engines run graphs; the plain loop here is the reference that every other must equal.

An engine takes an iterator of work and gives results as they finish.
`dispatch` has the engine that does it on a cluster.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from dask.delayed import Delayed
from dask.local import get_sync

from batchstack.batch.jobs import Job, Result

Say = Callable[[str], None]


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


@dataclass(frozen=True)
class Work:
    """One stack to be done.

    Attributes
    ----------
    job : Job
    is_split : bool
        Whether its graph has a task per tile instead of one for all.
    graph : callable
        The Dask graph of the job that it is given, under a name that is given too.
    """

    job: Job
    is_split: bool
    graph: Callable[[Job, str], Delayed]


class Engine(Protocol):
    """Something that runs graphs."""

    def results(
        self, work: Iterable[Work], stop: StopRequest, fault: Callable[[Result], str | None]
    ) -> Iterator[Result]:
        """Results in the order they finish; ends early if stopping is requested.

        Parameters
        ----------
        work : iterable of Work
            The next one is asked for when there is room for it.
        stop : StopRequest
        fault : callable
            Why what a result promises is not there, or None.
        """


class LoopEngine:
    """Runs every graph in this process, task after task."""

    def results(
        self, work: Iterable[Work], stop: StopRequest, fault: Callable[[Result], str | None]
    ) -> Iterator[Result]:
        for one in work:
            if stop.drain:
                return
            result = compute_here(one.graph(one.job, one.job.name))
            reason = result.unfit or (None if result.error else fault(result))
            if reason:
                result = replace(result, error=f"{one.job.place} {one.job.id}: {reason}")
            yield result


def compute_here(graph: Delayed) -> Result:
    """What `graph.compute(scheduler="sync")` gives, without importing distributed."""
    result: Result = get_sync(graph.__dask_graph__(), graph.key)
    return result
