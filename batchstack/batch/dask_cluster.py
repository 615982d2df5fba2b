"""A Dask cluster as the dispatcher sees it: every call has a deadline, every event a name.

What happened to workers comes from the scheduler's own topics of events; what they begin they
tell themselves (`progress.begin`), and how far they are.
"""

import asyncio
import queue
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future as Answer
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from typing import Any

import dask

from batchstack.batch import progress, tasks
from batchstack.batch.claim import Claim
from batchstack.batch.crew import WorkerState
from batchstack.batch.dispatch import Advanced, Broken, Died, Event, Finished, Started
from batchstack.batch.engines import Work
from batchstack.batch.graph import SEPARATOR
from batchstack.batch.jobs import Job
from batchstack.errors import ClusterLostError

# Seconds a call to the scheduler may take, and the first answer of a worker; a worker that has
# just started may still have to import what it needs.
CALL, FIRST_ANSWER = 20.0, 5.0
# A stack of very many tiles is a large graph, which is no cause to warn of data in it.
_LARGE_GRAPHS = {"distributed.admin.large-graph-warning-threshold": "1TiB"}
_ALL, _MEMORY = "all", "worker-restart-memory"
_GONE = "the scheduler went away; finished work is recorded, run again to resume"


class DaskCluster:
    """A `Cluster` of `dispatch` behind a Dask client.

    Parameters
    ----------
    client : distributed.Client
    claim : Claim
        Of the run.
    """

    def __init__(self, client: Any, claim: Claim) -> None:
        self._client, self._claim = client, claim
        self._events: queue.Queue[Any] = queue.Queue()
        self._futures: dict[str, Any] = {}
        self._answers: dict[str, Answer[Any]] = {}
        self._over_limit: set[str] = set()

    def __enter__(self) -> "DaskCluster":
        with _cluster_calls():
            self._client.subscribe_topic(_ALL, self._on_event)
            self._client.subscribe_topic(_MEMORY, self._on_memory)
            self._client.subscribe_topic(progress.STARTED, self._on_started)
            self._client.subscribe_topic(progress.PROGRESS, self._on_progress)
        return self

    def __exit__(self, *error: object) -> None:
        for answer in self._answers.values():
            answer.cancel()
        with suppress(Exception):  # the run is over, whatever the cluster says
            for topic in (_ALL, _MEMORY, progress.STARTED, progress.PROGRESS):
                self._client.unsubscribe_topic(topic)

    # --- workers

    def now(self) -> float:
        return time.monotonic()

    def workers(self) -> Mapping[str, WorkerState] | None:
        if self._client.status != "running":
            raise ClusterLostError(_GONE)
        try:
            info = self._call(self._client.scheduler.identity, n_workers=-1)
        except TimeoutError:
            return None
        return {address: _state(worker) for address, worker in info["workers"].items()}

    def unfit(self, addresses: Collection[str]) -> Mapping[str, str | None]:
        new = [address for address in addresses if address not in self._answers]
        for address in new:
            self._answers[address] = self._ask(address)
        if new:
            wait([self._answers[address] for address in new], timeout=FIRST_ANSWER)
        known = {}
        for address in addresses:
            answer = self._answers[address]
            if not answer.done():
                continue
            del self._answers[address]
            # A worker that cannot be reached may be soon, and is asked again.
            if not isinstance(answer.exception(), OSError):
                known[address] = _unfitness(answer)
        return known

    def _ask(self, address: str) -> Answer[Any]:
        # Not client.run: it waits for all workers, and for ever.
        question = self._client._run(tasks.unfitness, self._claim, workers=[address])
        return asyncio.run_coroutine_threadsafe(question, self._client.loop.asyncio_loop)

    def remove(self, worker: str) -> None:
        # In the background: a process that is stopped takes its nanny seconds to end.
        restart = self._client.scheduler.restart_workers(
            workers=[worker],
            client=self._client.id,
            timeout=CALL,
            wait_for_workers=False,
            on_error="return",
            stimulus_id=f"batchstack-frozen-{time.monotonic()}",
        )
        asyncio.run_coroutine_threadsafe(restart, self._client.loop.asyncio_loop)

    # --- jobs

    def submit(self, job: Job, work: Work, workers: Collection[str] | None) -> None:
        chosen = {} if workers is None else {"workers": list(workers)}
        with _cluster_calls(), dask.config.set(_LARGE_GRAPHS):
            future = self._client.compute(work.graph(job, job.name), **chosen)
        self._futures[job.name] = future
        future.add_done_callback(self._events.put)

    def next_event(self, seconds: float) -> Event | None:
        try:
            event = self._events.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(event, Started | Advanced | Died):
            return event
        return self._outcome(event)

    def _outcome(self, future: Any) -> Event | None:
        name = _name(future.key)
        if name not in self._futures or self._futures[name] is not future:
            return None  # dropped meanwhile
        if future.status == "cancelled":
            raise ClusterLostError(_GONE)
        try:
            # One that is not finished any more has lost its result with a worker.
            if future.status != "finished" and (error := future.exception(timeout=CALL)):
                why = f"{type(error).__name__}: {error}"
                return Broken(name, f"the cluster could not run it: {why}")
            with _cluster_calls():
                return Finished(name, future.result(timeout=CALL))
        except TimeoutError:
            return Broken(name, "the worker that has its result does not give it")

    def lost(self, names: Collection[str]) -> Collection[str]:
        keys = {self._futures[name].key: name for name in names}
        try:
            states = self._call(self._client.scheduler.get_task_status, keys=list(keys))
        except TimeoutError:
            return ()
        alive = ("waiting", "no-worker", "queued", "processing")
        return [name for key, name in keys.items() if states.get(key) not in alive]

    def drop(self, name: str) -> None:
        future = self._futures.pop(name)
        with suppress(Exception):  # a cluster that is gone has forgotten it
            future.release()

    def _call(self, function: Any, **arguments: Any) -> Any:
        with _cluster_calls():
            return self._client.sync(function, callback_timeout=CALL, **arguments)

    # --- events, told on the client's own thread

    def _on_event(self, event: tuple[float, Any]) -> None:
        _, message = event
        if not isinstance(message, dict) or message.get("action") != "remove-worker":
            return
        worker = message["worker"]
        self._events.put(
            Died(
                worker,
                frozenset(_name_and_part(key) for key in message.get("processing-tasks", ())),
                by_memory_limit=worker in self._over_limit,
                expected=bool(message.get("expected")),
            )
        )

    def _on_memory(self, event: tuple[float, Any]) -> None:
        self._over_limit.add(event[1]["worker"])

    def _on_started(self, event: tuple[float, Any]) -> None:
        message = event[1]
        if message["run"] == self._claim.run:
            name, part = _name_and_part(message["task"])
            self._events.put(Started(name, message["worker"], part))

    def _on_progress(self, event: tuple[float, Any]) -> None:
        message = event[1]
        if message["run"] == self._claim.run:
            advance = progress.Advance(message["phase"], message["shares"])
            self._events.put(Advanced(message["name"], advance, message["worker"]))


def _name(key: Any) -> str:
    """The name of the job that a task's key belongs to."""
    return _name_and_part(key)[0]


def _name_and_part(key: Any) -> tuple[str, str]:
    """The name of the job that a task's key belongs to, and which of its tasks it is."""
    name, _, part = str(key).partition(SEPARATOR)
    return name, part


def _state(worker: Mapping[str, Any]) -> WorkerState:
    threads = max(1, worker["nthreads"])
    memory = worker["memory_limit"]
    return WorkerState(
        threads=threads,
        memory=memory // threads if memory else None,
        paused=worker["status"] != "running",
        heartbeat=worker["last_seen"],
    )


def _unfitness(answer: Answer[Any]) -> str | None:
    error = answer.exception()
    if error:
        return f"it cannot run batchstack ({error}); install the same version on every worker"
    (reason,) = answer.result().values() or (None,)
    return None if reason is None else str(reason)


@contextmanager
def _cluster_calls() -> Iterator[None]:
    """Any call may find the scheduler gone; only then is it no matter of time."""
    try:
        yield
    except TimeoutError:
        raise
    except OSError as error:
        raise ClusterLostError(_GONE) from error
