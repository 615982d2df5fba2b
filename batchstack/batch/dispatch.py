"""The engine that runs graphs on a cluster: what goes out when, and what to do when it fails.

It knows no Dask and no clock: both are behind `Cluster`, so that a test can put a simulated
cluster in its place, which loses, doubles, delays and reorders what a real one does rarely.

- As many stacks are handed out as keep the workers busy that are there now; those that come
  later get work, those that leave do not matter.
- What a worker did that turns out not to fit is done elsewhere.
- While more stacks are left than threads, each is one task; the last ones are spread, so that all
  threads share them.  Where all workers are on one machine, such a stack is one task of as many
  threads, if they fit: what they share is then in memory.
- A stack whose worker died while it was worked on is tried once more, alone on a worker when
  all else is done; only then is it called the culprit.  One that was only waiting is not
  blamed.
- Every wait has an end, and whoever waits says for what.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Protocol

from batchstack.batch.crew import PATIENCE, STALLED, Crew, Workers
from batchstack.batch.engines import Say, StopRequest, Work
from batchstack.batch.jobs import Job, Result
from batchstack.batch.progress import Advance, Reached, Told, UnderWay, nobody

# Graphs in flight per thread: one at work, one waiting, so that no thread idles.
WINDOW_PER_THREAD = 2
# Between looks at the stop request, in seconds.
POLL = 0.5
# How often a stack is handed out again for what may be no fault of its own.
TRIES = 5
_SHOWN = 5  # workers named in one message

Fault = Callable[[Result], str | None]


@dataclass(frozen=True)
class Started:
    """A part of a job, or all of it in one, is being worked on."""

    name: str
    worker: str
    part: str = ""


@dataclass(frozen=True)
class Advanced:
    """Something of a job is done; it may be said late or never."""

    name: str
    advance: Advance
    worker: str = ""


@dataclass(frozen=True)
class Finished:
    """A job came to a result, good or bad."""

    name: str
    result: Result


@dataclass(frozen=True)
class Broken:
    """The cluster could not run a job; `reason` says why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Died:
    """A worker is gone with the parts of jobs that it held, running or waiting.

    Attributes
    ----------
    worker : str
    parts : frozenset of (str, str)
        Names of jobs, and which parts of them.
    by_memory_limit : bool
        Whether it was ended for using too much memory.
    expected : bool
        Whether it said good-bye; then nobody is to blame.
    """

    worker: str
    parts: frozenset[tuple[str, str]] = frozenset()
    by_memory_limit: bool = False
    expected: bool = False


Event = Started | Advanced | Finished | Broken | Died


class Cluster(Workers, Protocol):
    """What the dispatcher asks of a cluster; all raise `ClusterLostError` when it is gone."""

    def submit(self, job: Job, work: Work, workers: Collection[str] | None) -> None:
        """Hand out a job, to these workers only if given."""

    def next_event(self, seconds: float) -> Event | None:
        """What happens next, None if nothing did within so many seconds."""

    def lost(self, names: Collection[str]) -> Collection[str]:
        """Of these jobs, those that the cluster is not going to finish, as far as it tells."""

    def drop(self, name: str) -> None:
        """Forget a job; what it does or says from now on does not matter."""


@dataclass
class _Stack:
    """A stack that is not finished, through all its attempts."""

    work: Work
    attempts: int = 0
    returned: int = 0  # times it came back for no fault of its own
    deaths: int = 0  # of workers while they worked on it
    by_memory_limit: bool = False


@dataclass
class _Flight:
    """One attempt at a stack that is handed out."""

    stack: _Stack
    job: Job
    since: float
    workers: frozenset[str] | None  # it may run on, None for all
    alone: str | None = None  # the worker that does nothing else
    started: list[str] = field(default_factory=list)  # workers that have begun with it
    begun: set[tuple[str, str]] = field(default_factory=set)  # by whom, and which part
    reached: Reached = field(default_factory=Reached)
    heard: float = float("-inf")  # when a worker last said that it began or went on with it

    @property
    def in_parts(self) -> bool:
        """Whether it is more tasks than one, of which a death takes only some."""
        return self.stack.work.is_split or self.job.spread > 0

    def forget(self, worker: str) -> None:
        """Nothing of it is with a worker any more."""
        self.started = [other for other in self.started if other != worker]
        self.begun = {(other, part) for other, part in self.begun if other != worker}


class Dispatcher:
    """Runs graphs on a cluster, a bounded number at a time.

    Parameters
    ----------
    cluster : Cluster
    wait_workers : float
        Seconds to wait while no worker can be used.
    memory_needed : int, optional
        Bytes for each thread that the plan relies on.
    one_machine : bool
        Whether a worker may use the cores of others that are idle.
    say : callable
        Told in one line what is waited for, refused or done again.

    Attributes
    ----------
    visits : Counter
        How often each way of recovery was taken.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        wait_workers: float = 60.0,
        memory_needed: int | None = None,
        one_machine: bool = False,
        say: Say = lambda message: None,
    ) -> None:
        self.visits: Counter[str] = Counter()
        self._cluster, self._say, self._one_machine = cluster, say, one_machine
        self._crew = Crew(cluster, wait_workers, memory_needed, say, self.visits)
        self._flying: dict[str, _Flight] = {}
        self._again: deque[_Stack] = deque()
        self._suspects: deque[_Stack] = deque()
        self._removed: set[str] = set()
        self._progress = self._told = cluster.now()
        self._listener: Told = nobody

    def results(
        self, work: Iterable[Work], stop: StopRequest, fault: Fault, told: Told = nobody
    ) -> Iterator[Result]:
        """Results in the order they finish; see `Engine`.

        Raises
        ------
        ClusterLostError
            If the cluster goes away, does not answer, or has no worker to use for too long.
        """
        waiting, self._listener = map(_Stack, work), told
        try:
            while not stop.abort:
                yield from self._take_from(self._crew.look())
                if stop.drain:
                    self._take_back()
                more = not stop.drain and self._fill(waiting)
                if not self._flying and not more:
                    return
                if stop.drain and self._crew.seconds_without > PATIENCE:
                    self.visits["drained without workers"] += 1
                    self._say("no worker can finish what is under way; it is left")
                    return
                event = self._cluster.next_event(POLL)
                if event is not None:
                    yield from self._take(event, fault)
                yield from self._watch()
        finally:
            for name in self._flying:
                self._cluster.drop(name)

    # --- handing out

    def _fill(self, waiting: Iterator[_Stack]) -> bool:
        """Hand out what there is room for; whether anything is left."""
        usable = self._crew.usable
        everyone = usable.keys() if self._crew.is_mixed else None
        threads = sum(usable.values())
        while True:
            # So many are looked at ahead that the last ones are known as such.
            self._again.extend(islice(waiting, max(threads - len(self._again), not self._again)))
            full = len(self._flying) >= WINDOW_PER_THREAD * threads
            if not self._again or full or self._alone():
                break
            shared_by = self._threads_for_next(threads)
            together = min(shared_by, self._again[0].work.most_threads if self._one_machine else 1)
            if together > 1 and len(self._flying) >= threads:
                break  # it is for the worker that is idle first
            stack = self._again.popleft()
            if together > 1:
                self.visits["shared in one process"] += 1
                self._hand_out(stack, everyone, threads=together)
            else:
                self.visits["spread"] += shared_by > 0
                self._hand_out(stack, everyone, spread=shared_by)
        if not self._again and len(self._alone()) == len(self._flying):
            self._try_alone(usable.keys() - self._alone())
        return bool(self._again or self._suspects)

    def _take_back(self) -> None:
        """Forget what was handed out ahead and no worker has begun with."""
        ahead = [flight for flight in self._flying.values() if not self._at_work(flight)]
        for flight in ahead:
            self.visits["taken back"] += 1
            self._land(flight)
        if ahead:
            self._say(f"{len(ahead)} that no worker is at work on are left for the next run")

    def _threads_for_next(self, threads: int) -> int:
        """How many threads share the next stack, 0 if it is done by one.

        What waits is shared out as if each thread had to get as much of it, the last stack
        among all: the threads that end sooner with what they have begun take more of its parts.
        """
        left = len(self._again)
        if left >= threads or not self._again[0].work.can_spread:
            return 0
        return -(-threads // left)

    def _alone(self) -> set[str]:
        """Workers that do one stack and nothing else."""
        return {flight.alone for flight in self._flying.values() if flight.alone}

    def _try_alone(self, workers: Collection[str]) -> None:
        for worker, _ in zip(sorted(workers), list(self._suspects), strict=False):
            self.visits["tried alone"] += 1
            self._hand_out(self._suspects.popleft(), {worker}, alone=worker)

    def _hand_out(
        self,
        stack: _Stack,
        workers: Collection[str] | None,
        *,
        alone: str | None = None,
        spread: int = 0,
        threads: int = 1,
    ) -> None:
        job = replace(stack.work.job, attempt=stack.attempts, spread=spread, threads=threads)
        stack.attempts += 1
        allowed = None if workers is None else frozenset(workers)
        self._flying[job.name] = _Flight(stack, job, self._cluster.now(), allowed, alone)
        self._cluster.submit(job, stack.work, allowed)

    def _land(self, flight: _Flight) -> _Stack:
        del self._flying[flight.job.name]
        self._cluster.drop(flight.job.name)
        return flight.stack

    def _return(self, flight: _Flight, why: str) -> Iterator[Result]:
        """Hand a stack out again for what is no fault of its own, but not for ever."""
        stack = self._land(flight)
        stack.returned += 1
        if stack.returned > TRIES:
            self.visits["given up"] += 1
            yield _failed(flight.job, f"was tried {stack.attempts} times in vain: {why}")
        else:
            self.visits["handed out again"] += 1
            (self._suspects if flight.alone else self._again).append(stack)

    # --- what happens

    def _take(self, event: Event, fault: Fault) -> Iterator[Result]:
        if isinstance(event, Died):
            yield from self._on_death(event)
            return
        flight = self._flying.get(event.name)
        if flight is None:
            self.visits["heard too late"] += 1
        elif isinstance(event, Started):
            flight.started.append(event.worker)
            flight.begun.add((event.worker, event.part))
            self._hear(flight, event.worker)
        elif isinstance(event, Advanced):
            flight.reached.take(event.advance)
            self._hear(flight, event.worker)
        elif isinstance(event, Broken):
            yield from self._return(flight, event.reason)
        else:
            yield from self._on_result(flight, event.result, fault)

    def _hear(self, flight: _Flight, worker: str) -> None:
        """A worker said that it goes on with a stack, which is passed on."""
        flight.heard = self._cluster.now()
        reached = flight.reached
        self._listener(UnderWay(flight.job, reached.fraction, reached.phase, worker))

    def _on_result(self, flight: _Flight, result: Result, fault: Fault) -> Iterator[Result]:
        reason = fault(result)
        if reason:
            self.visits["result was not accepted"] += 1
            if result.worker:
                # It gets no more, so that this comes to an end without counting.
                self._crew.refuse(result.worker, reason)
                flight.stack.returned -= 1
            yield from self._return(flight, reason)
            return
        self._land(flight)
        self._progress = self._cluster.now()
        yield result

    def _on_death(self, event: Died) -> Iterator[Result]:
        blameless = event.expected or event.worker in self._removed
        self._removed.discard(event.worker)
        self._crew.gone(event.worker)
        for name in sorted({name for name, _ in event.parts} & self._flying.keys()):
            flight = self._flying[name]
            # What it has finished it held no longer.
            was_at_work = flight.alone or any(
                (name, part) in event.parts
                for worker, part in flight.begun
                if worker == event.worker
            )
            flight.forget(event.worker)
            if blameless:
                self.visits["left by its worker"] += 1
                if flight.alone:
                    self._suspects.append(self._land(flight))
            elif was_at_work:
                yield from self._on_fatal(flight, event)
            else:
                # The cluster gives it to another worker.
                self.visits["waited on a worker that died"] += 1

    def _on_fatal(self, flight: _Flight, event: Died) -> Iterator[Result]:
        """A worker died while it worked on a stack."""
        stack, job = flight.stack, flight.job
        stack.deaths += 1
        stack.by_memory_limit |= event.by_memory_limit
        how = _how(event.by_memory_limit)
        if flight.alone:
            self.visits["called the culprit"] += 1
            self._land(flight)
            yield _failed(job, _culprit(stack))
        elif flight.in_parts and stack.deaths == 1:
            # The cluster does the tile again that was lost, and keeps the others.
            self.visits["lost a tile"] += 1
            self._say(f"worker {event.worker} {how}; others go on with {job.id}")
        else:
            self.visits["suspected"] += 1
            self._suspects.append(self._land(flight))
            self._say(f"worker {event.worker} {how}; {job.id} is tried once more at the end, alone")

    # --- watching

    def _take_from(self, frozen: Iterable[str]) -> Iterator[Result]:
        for worker in frozen:
            self._removed.add(worker)
            for flight in list(self._flying.values()):
                if worker == flight.alone or worker in flight.started[-1:]:
                    yield from self._return(flight, f"worker {worker} froze")

    def _watch(self) -> Iterator[Result]:
        now = self._cluster.now()
        for flight in list(self._flying.values()):
            there = flight.workers is None or flight.workers & self._crew.present
            if not there and now - flight.since > PATIENCE:
                self.visits["all its workers left"] += 1
                yield from self._return(flight, "all workers left that could do it")
        if self._flying and now - max(self._progress, self._told) >= STALLED:
            self._told = now
            stuck = self._crew.stuck and self._crew.usable
            for name in self._cluster.lost(list(self._flying)):
                self.visits["lost by the cluster"] += 1
                yield from self._return(self._flying[name], "the cluster lost it")
            for flight in list(self._flying.values()):
                if stuck and self._may_wait(flight, now) and now - flight.since >= STALLED:
                    self.visits["may wait on a worker that is stuck"] += 1
                    yield from self._return(flight, "it waited on a worker that is stuck")
            # Of those that wait for a worker nothing can be heard.
            working = [flight for flight in self._flying.values() if self._at_work(flight)]
            silent = [flight for flight in working if now - flight.heard >= STALLED]
            if silent or (self._flying and not working):
                self._say(self._what_takes_so_long(now))

    def _at_work(self, flight: _Flight) -> bool:
        """Whether a worker that is there has begun with it."""
        return not self._crew.present.isdisjoint(flight.started)

    def _may_wait(self, flight: _Flight, now: float) -> bool:
        """Whether it may be nobody's work now: of one in parts, all that began may have ended."""
        is_silent = flight.in_parts and now - flight.heard >= STALLED
        return is_silent or not self._at_work(flight)

    def _what_takes_so_long(self, now: float) -> str:
        flights = sorted(self._flying.values(), key=lambda flight: flight.since)
        held = [_at_it(flight, now) for flight in flights if self._at_work(flight)]
        idle = len(flights) - len(held)
        words = held[:_SHOWN]
        if len(held) > _SHOWN:
            words.append(f"{len(held) - _SHOWN} more are under way")
        if idle:
            words.append(f"{idle} wait for a worker")
        return f"no stack has finished for {now - self._progress:.0f} s: {'; '.join(words)}"


def _at_it(flight: _Flight, now: float) -> str:
    """Who works on a stack since when, and how far it is if that was told."""
    words = f"{flight.started[-1]} has had {flight.job.id} for {now - flight.since:.0f} s"
    done = round(100 * flight.reached.fraction)
    return f"{words}, {done} % done" if done else words


def _failed(job: Job, reason: str) -> Result:
    return Result(job, error=f"{job.place} {job.id}: {reason}")


def _how(by_memory_limit: bool) -> str:
    if by_memory_limit:
        return "was ended for using more than its memory limit"
    return "was killed or crashed"


def _culprit(stack: _Stack) -> str:
    remedy = (
        "use fewer workers, a larger --memory-limit or a smaller --tile"
        if stack.by_memory_limit
        else "the log of the worker, or of the system, which ends processes when memory runs "
        "out, may say why"
    )
    return (
        f"its worker {_how(stack.by_memory_limit)} each of {stack.deaths} times that it was "
        f"worked on, the last time with nothing beside it; {remedy}"
    )
