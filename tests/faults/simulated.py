"""A cluster in one process on a virtual clock, which does by seed what real ones do rarely.

Workers come late, leave, die, freeze, pause, do not answer, have another version or do not see
the outputs; completions are lost, doubled, delayed and reordered; stacks kill their workers;
the scheduler is silent or goes away.
A stack that is spread has a part for each thread; what a worker has done of it is lost with it.
"""

import heapq
import random
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from batchstack.batch.claim import Claim
from batchstack.batch.crew import WorkerState
from batchstack.batch.dispatch import (
    WINDOW_PER_THREAD,
    Advanced,
    Broken,
    Died,
    Finished,
    Started,
)
from batchstack.batch.engines import Work
from batchstack.batch.jobs import Job, Result
from batchstack.batch.progress import Advance
from batchstack.errors import ClusterLostError
from batchstack.options import AlignOptions, FusionOptions

CLAIM = Claim(Path("/out"), "f" * 32, Path("/scratch"), (("batchstack", "1"),))
LIMIT = 4_000.0  # virtual seconds after which a run hangs


def job(number):
    return Job(
        id=f"s{number}",
        place=f"pairs.csv:{number}",
        frames=(),
        methods=("direct",),
        fusion=FusionOptions(),
        alignment=AlignOptions(),
        suffix=".png",
        quality=95,
        resize=False,
        tile=None,
        hold=False,
        score=False,
        directory=Path("/out"),
        number=number,
        claim=CLAIM,
    )


@dataclass
class Worker:
    """A simulated worker; `kind` is what is wrong with it, a part is its stack and number."""

    kind: str  # good, old, blind, small, silent
    threads: int = 1
    paused_until: float = 0.0
    frozen_at: float = 0.0
    frozen_until: float = 0.0
    held: list = field(default_factory=list)  # parts, in the order they came


@dataclass
class Task:
    job: Job
    work: Work
    allowed: frozenset | None
    worker: str | None = None
    done_by: str | None = None
    running: bool = False
    turn: int = 0  # grows whenever it is started anew, so that old ends are told from new ones


class SimulatedCluster:
    """See the module; what it did is kept for the oracle."""

    def __init__(self, seed, n_stacks):
        self.random = random.Random(seed)
        self.clock = 0.0
        self.workers_ = {}
        self.tasks = {}  # by part
        self.done = set()  # names that the cluster has finished with, told or not
        self.bad = {}  # name to the worker that did a part of it and should not have
        self.drawn = 0  # stacks that the dispatcher has asked for
        self.handed_out = set()  # stacks
        self.n_stacks = n_stacks
        self.heap = []
        self.order = count()
        self.names = count()
        self.deaths = Counter()  # of workers, by stack that they were working on
        self.last_beside = {}  # stack to how many others its worker held at the last death
        self.most_threads = 0
        self.gone = False
        self.silent_until = 0.0
        chance = self.random.random
        # Each seed has its own weather: mostly fair, sometimes one kind of storm.
        self.weather = {
            name: (self.random.uniform(0.02, 0.3) if chance() < 0.3 else 0.0)
            for name in ("lose", "double", "delay", "break", "die", "freeze", "pause", "leave")
        }
        self.poison = {f"s{i}" for i in range(n_stacks) if chance() < 0.05 * (seed % 3 == 0)}
        self.split = {f"s{i}" for i in range(n_stacks) if chance() < 0.2}
        self.large = {f"s{i}" for i in range(n_stacks) if chance() < 0.5} - self.split
        self.one_machine = seed % 2 == 0
        for _ in range(self.random.randint(0, 3)):
            self.join("good")
        for _ in range(self.random.randint(1, 5)):
            kind = self.random.choice(["good", "good", "good", "old", "blind", "small", "silent"])
            self.at(self.random.uniform(0, 60), "join", kind)
        if chance() < 0.9:
            self.at(self.random.uniform(0, 100), "join", "good")
        if chance() < 0.05:
            self.at(self.random.uniform(0, 60), "scheduler goes")
        if chance() < 0.1:
            self.at(self.random.uniform(0, 60), "silence", self.random.choice([10, 60, 400]))
        if chance() < 0.05:
            self.at(self.random.uniform(0, 60), "all leave")
        self.when_all_pause = lambda: None
        if chance() < 0.1:
            self.at(self.random.uniform(0, 60), "all pause", self.random.choice([20, 1e9]))
        elif seed % 14 == 0:
            self.at(self.random.uniform(1, 20), "all pause", 1e9)

    # --- the world

    def at(self, delay, what, *values):
        heapq.heappush(self.heap, (self.clock + delay, next(self.order), what, values))

    def join(self, kind):
        threads = self.random.choice([1, 1, 1, 2])
        self.workers_[f"tcp://w{next(self.names)}"] = Worker(kind, threads)
        self.assign()

    def happens(self, name):
        return self.random.random() < self.weather[name]

    def assign(self):
        """Give what waits to the workers that hold least, as Dask does."""
        for part, task in self.tasks.items():
            if task.worker is None and not task.done_by and part[0] not in self.done:
                able = [
                    address
                    for address, worker in self.workers_.items()
                    if (task.allowed is None or address in task.allowed)
                    and self.clock >= worker.paused_until
                ]
                if able:
                    task.worker = min(able, key=lambda a: len(self.workers_[a].held))
                    self.workers_[task.worker].held.append(part)
        for worker in self.workers_.values():
            self.start(worker)

    def start(self, worker):
        if self.clock < max(worker.paused_until, worker.frozen_until):
            return
        busy = sum(self.tasks[part].running for part in worker.held)
        for part in worker.held:
            task = self.tasks[part]
            if busy < worker.threads and not task.running:
                busy += 1
                task.running, task.turn = True, task.turn + 1
                if worker.kind == "good" or worker.kind == "small":
                    self.tell(Started(part[0], task.worker, str(part[1])))
                    self.tell(Advanced(part[0], Advance("fusing", {str(part[1]): 0.1})))
                # Some end before anyone has looked who works on them.
                longest = self.random.choice([0.05, 20, 20])
                self.at(self.random.uniform(0.01, longest), "end", part, task.turn)

    def tell(self, event):
        delay = self.random.uniform(0, 30) if self.happens("delay") else 0.001
        self.at(delay, "tell", event)

    def end(self, part, turn):
        """A task comes to its end, if its worker still works on it."""
        task, name = self.tasks.get(part), part[0]
        if task is None or name in self.done or not task.running or task.turn != turn:
            return
        worker = self.workers_[task.worker]
        if self.clock < worker.frozen_until:
            self.at(worker.frozen_until - self.clock + 0.1, "end", part, turn)
            return
        if task.job.id in self.poison or self.happens("die"):
            self.die(task.worker, expected=False)
            return
        if self.happens("freeze"):
            worker.frozen_at = self.clock
            worker.frozen_until = self.clock + self.random.choice([20, 200, 1e9])
            self.at(worker.frozen_until - self.clock + 0.1, "end", part, turn)
            return
        if self.happens("pause"):
            worker.paused_until = self.clock + self.random.choice([5, 100])
            self.at(worker.paused_until - self.clock + 0.1, "assign")
        worker.held.remove(part)
        address, task.worker, task.done_by, task.running = task.worker, None, task.worker, False
        if worker.kind in ("blind", "old"):
            self.bad.setdefault(name, (worker.kind, address))
        if all(one.done_by for one in self.parts(name)):
            self.complete(task.job, worker.kind, address)
        if self.happens("leave"):
            self.die(address, expected=True)
        self.assign()

    def parts(self, name):
        return [task for part, task in self.tasks.items() if part[0] == name]

    def complete(self, job, kind, address):
        """All parts are done: the result is on its way, if nothing happens to it."""
        self.done.add(job.name)
        if not self.happens("lose"):
            event = Broken(job.name, "the network broke") if self.happens("break") else None
            event = event or Finished(
                job.name, self.result(job, *self.bad.get(job.name, (kind, address)))
            )
            self.tell(event)
            if self.happens("double"):
                self.tell(event)

    def result(self, job, kind, address):
        if kind == "blind":
            return Result(job, unfit="it does not see /out", worker=address)
        version = "0" if kind == "old" else "1"
        return Result(job, worker=address, versions=(("batchstack", version),))

    def die(self, address, *, expected):
        worker = self.workers_.pop(address)
        held = [self.tasks[part] for part in worker.held]
        names = frozenset(task.job.name for task in held)
        if not expected:
            for stack in {task.job.id for task in held if task.running}:
                self.deaths[stack] += 1
                self.last_beside[stack] = len(names) - 1
        for task in held:
            task.worker, task.running = None, False
        for task in self.tasks.values():
            if task.done_by == address:
                task.done_by = None
        limit = bool(self.poison) and self.random.random() < 0.5
        parts = frozenset((name, str(number)) for name, number in worker.held)
        self.tell(Died(address, parts, by_memory_limit=limit, expected=expected))
        if not expected or self.random.random() < 0.8:
            self.at(self.random.uniform(1, 10), "join", worker.kind)
        self.assign()

    # --- what the dispatcher asks

    def answer(self):
        if self.gone:
            raise ClusterLostError("gone")
        return self.clock >= self.silent_until

    def now(self):
        return self.clock

    def workers(self):
        if not self.answer():
            self.clock += 1
            return None
        self.count_threads()
        return {
            address: WorkerState(
                threads=worker.threads,
                memory=1 if worker.kind == "small" else 100,
                paused=self.clock < worker.paused_until,
                heartbeat=worker.frozen_at if self.clock < worker.frozen_until else self.clock,
            )
            for address, worker in self.workers_.items()
        }

    def unfit(self, addresses):
        self.answer()
        return {
            address: "it has batchstack 0" if self.workers_[address].kind == "old" else None
            for address in addresses
            if address in self.workers_
            and self.workers_[address].kind not in ("silent",)
            and self.clock >= self.workers_[address].frozen_until
            and not (self.workers_[address].kind == "blind" and self.random.random() < 0.5)
        }

    def submit(self, job, work, workers):
        self.answer()
        assert not self.parts(job.name), "a name is used once"
        self.handed_out.add(job.id)
        self.count_threads()
        if job.threads > 1:
            assert self.one_machine, "threads of others are used that are elsewhere"
            assert not job.spread, "shared in two ways"
            assert 2 <= job.threads <= min(self.most_threads, work.most_threads)
            others = {name for name, _ in self.tasks}
            assert len(others) < self.most_threads, "waits for a worker that may be the last"
        if job.spread or job.threads > 1:
            assert job.id in self.large, "spread though it is not worth it"
            assert self.drawn == self.n_stacks, "spread though others may come"
        if job.spread:
            assert 2 <= job.spread <= self.most_threads
        for number in range(max(1, job.spread)):
            self.tasks[job.name, number] = Task(job, work, workers)
        assert len({name for name, _ in self.tasks}) <= WINDOW_PER_THREAD * self.most_threads
        self.assign()

    def count_threads(self):
        threads = sum(worker.threads for worker in self.workers_.values())
        self.most_threads = max(threads, self.most_threads)

    def draw(self):
        """The dispatcher asks for one more stack: not long before it is handed out."""
        self.drawn += 1
        self.count_threads()
        assert self.drawn - len(self.handed_out) <= max(1, self.most_threads), "not lazy"

    def next_event(self, seconds):
        self.answer()
        assert self.clock < LIMIT, "the run hangs"
        end = self.clock + seconds
        while self.heap and self.heap[0][0] <= end:
            time, _, what, values = heapq.heappop(self.heap)
            self.clock = max(self.clock, time)
            if what == "tell":
                return values[0]
            if what == "end":
                self.end(*values)
            elif what == "join":
                self.join(*values)
            elif what == "assign":
                self.assign()
            elif what == "silence":
                self.silent_until = self.clock + values[0]
            elif what == "scheduler goes":
                self.gone = True
                self.answer()
            elif what == "all pause":
                self.when_all_pause()
                for worker in self.workers_.values():
                    worker.paused_until = self.clock + values[0]
                self.heap = [entry for entry in self.heap if entry[2] != "join"]
                heapq.heapify(self.heap)
            elif what == "all leave":
                self.workers_.clear()
                self.heap = [entry for entry in self.heap if entry[2] not in ("join", "end")]
                heapq.heapify(self.heap)
                for task in self.tasks.values():
                    task.worker, task.running = None, False
        self.clock = end
        self.assign()
        return None

    def lost(self, names):
        if not self.answer():
            return ()
        return [name for name in names if name in self.done or not self.parts(name)]

    def drop(self, name):
        self.done.add(name)
        for part in [part for part in self.tasks if part[0] == name]:
            task = self.tasks.pop(part)
            if task.worker in self.workers_ and part in self.workers_[task.worker].held:
                self.workers_[task.worker].held.remove(part)

    def remove(self, worker):
        if worker in self.workers_ and self.random.random() < 0.8:
            self.die(worker, expected=False)


def works(cluster, n_stacks):
    for number in range(n_stacks):
        one = job(number)
        cluster.draw()
        yield Work(
            one,
            is_split=one.id in cluster.split,
            graph=lambda job, name: None,
            can_spread=one.id in cluster.large,
            most_threads=1 + number % 3 if one.id in cluster.large else 1,
        )
