"""Engines run graphs; the plain loop here is the reference that every other must equal.

An engine takes an iterator of work and gives results as they finish.
`dispatch` has the engine that does it on a cluster.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from batchstack.batch.jobs import Job, Result
from batchstack.batch.progress import Told, UnderWay, hearing, nobody

if TYPE_CHECKING:  # one stack on one thread needs no Dask
    from dask.delayed import Delayed

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
    can_spread : bool
        Whether threads that are idle may share it (`Job.spread`).
    most_threads : int
        How many of one process may, in one task (`Job.threads`).
    """

    job: Job
    is_split: bool
    graph: Callable[[Job, str], "Delayed"]
    can_spread: bool = False
    most_threads: int = 1


class Engine(Protocol):
    """Something that runs graphs."""

    def results(
        self,
        work: Iterable[Work],
        stop: StopRequest,
        fault: Callable[[Result], str | None],
        told: Told = nobody,
    ) -> Iterator[Result]:
        """Results in the order they finish; ends early if stopping is requested.

        Parameters
        ----------
        work : iterable of Work
            The next one is asked for when there is room for it.
        stop : StopRequest
        fault : callable
            Why what a result promises is not there, or None.
        told : callable
            Told when a stack begins, and now and then how far one is that lasts.
        """


class LoopEngine:
    """Runs every graph in this process, task after task."""

    def results(
        self,
        work: Iterable[Work],
        stop: StopRequest,
        fault: Callable[[Result], str | None],
        told: Told = nobody,
    ) -> Iterator[Result]:
        for one in work:
            if stop.drain:
                return
            told(UnderWay(one.job, 0.0, ""))
            with hearing(told):
                result = compute_here(one.graph(one.job, one.job.name))
            reason = result.unfit or (None if result.error else fault(result))
            if reason:
                result = replace(result, error=f"{one.job.place} {one.job.id}: {reason}")
            yield result


def compute_here(graph: "Delayed") -> Result:
    """What `graph.compute(scheduler="sync")` gives, without importing distributed."""
    from dask.local import get_sync

    result: Result = get_sync(graph.__dask_graph__(), graph.key)
    return result


def compute_in_threads(graph: "Delayed", threads: int, give_up: Callable[[], None]) -> Result:
    """The same by so many threads of this process; none goes on after it.

    Parameters
    ----------
    graph : Delayed
    threads : int
    give_up : callable
        Called if it is interrupted: has tasks that go on end soon, which are waited for.
    """
    from dask.threaded import get as get_threaded

    with ThreadPoolExecutor(threads) as pool:
        try:
            result: Result = get_threaded(graph.__dask_graph__(), graph.key, pool=pool)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            give_up()
            raise
    return result
