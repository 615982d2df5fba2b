"""What tasks tell while they go on: that a stack is begun, and how far it is.

Each phase of a stack counts as a share of its work, by a rough guess of what it costs: it is for
people who wait, and nothing depends on it.
A task adds up what it has done, and what has gathered on its thread is told at most once a
second: to the client if the thread is a worker's, else to whoever listens in this process.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from batchstack.batch.jobs import Job
from batchstack.fusion.methods import METHODS
from batchstack.fusion.tiles import ReadWindow
from batchstack.geometry import Box

# Topics of the messages by which a worker says what it begins, and what it has done of it.
STARTED, PROGRESS = "batchstack-started", "batchstack-progress"
# Seconds between two messages of a thread about a stack.
INTERVAL = 1.0
# What a frame costs to be read, aligned, and fused by one method; what an output costs.
_READ, _ALIGN, _FUSE, _WRITE = 1.0, 4.0, 1.5, 1.0

READING, ALIGNING, FUSING, WRITING = "reading", "aligning", "fusing", "writing"


@dataclass(frozen=True)
class Advance:
    """What the parts of a stack that are done on one thread amount to by now.

    Attributes
    ----------
    phase : str
        What it is doing.
    shares : dict of str to float
        For each part that changed, how much of the whole stack's work is done of it.
    """

    phase: str
    shares: Mapping[str, float]


@dataclass(frozen=True)
class UnderWay:
    """A stack is being worked on.

    Attributes
    ----------
    job : Job
    fraction : float
        Of its work that is done, roughly, from 0 to 1.
    phase : str
        What is being done, such as "fusing"; empty if it has just begun.
    worker : str
        Address of the worker that says so; empty in the client's own process.
    """

    job: Job
    fraction: float
    phase: str
    worker: str = ""


Told = Callable[[UnderWay], None]
_Tell = Callable[[Job, Advance], None]


def nobody(told: UnderWay) -> None:
    """Whom nothing needs to be told."""


def phase_shares(job: Job) -> dict[str, float]:
    """What each phase of a stack is of its work; they add up to one."""
    n, methods = len(job.frames), [METHODS[name] for name in job.methods]
    costs = {
        READING: _READ * n,
        ALIGNING: 0.0 if job.alignment.is_off else _ALIGN * n,
        FUSING: _FUSE * n * len(methods),
        WRITING: _WRITE * sum(len(method.outputs) for method in methods),
    }
    total = sum(costs.values())
    return {phase: cost / total for phase, cost in costs.items()}


class Reached:
    """How far one attempt at a stack is, from all that was told of it.

    A part that is done again after a death counts once.
    """

    def __init__(self) -> None:
        self._shares: dict[str, float] = {}
        self.phase = ""

    def take(self, advance: Advance) -> None:
        """Add what was told."""
        for part, share in advance.shares.items():
            self._shares[part] = max(share, self._shares.get(part, 0.0))
        self.phase = advance.phase

    @property
    def fraction(self) -> float:
        """Of the stack's work, from 0 to 1."""
        return min(sum(self._shares.values()), 1.0)


class _Thread(threading.local):
    """What this thread works on, and what it has done and not told of yet."""

    job: Job | None = None
    part = ""
    told = 0.0
    worker: Any = None  # that it works for, if it is not the worker's own thread

    def __init__(self) -> None:
        self.shares: dict[str, float] = {}


_thread = _Thread()
_listeners: list[_Tell] = []  # in this process
_one_at_a_time = threading.Lock()


@contextmanager
def hearing(told: Told) -> Iterator[None]:
    """Hear of a stack that is worked on in this process, from the threads that do."""
    reached = Reached()

    def tell(job: Job, advance: Advance) -> None:
        reached.take(advance)
        told(UnderWay(job, reached.fraction, reached.phase))

    _listeners.append(tell)
    try:
        yield
    finally:
        _listeners.remove(tell)


def begin(job: Job, part: str) -> None:
    """This thread begins to work on a part of a stack, of a name unique within it.

    The client is told: if the worker dies now, it was this.
    """
    if _thread.job is None or _thread.job.name != job.name:
        _thread.job, _thread.shares, _thread.told = job, {}, time.monotonic()
    _thread.part = part
    worker = this_worker()
    if worker:
        message = {"run": job.held.run, "worker": worker.address}
        worker.log_event(STARTED, message | {"task": str(worker.get_current_task())})


def joined() -> Callable[[], None]:
    """What another thread calls to go on with what this one works on.

    What they say they have done is how far all of them are.
    """
    job, part, worker = _thread.job, _thread.part, this_worker()

    def join() -> None:
        _thread.job, _thread.part, _thread.worker = job, part, worker
        _thread.told = time.monotonic()

    return join


def done(phase: str, fraction: float) -> None:
    """So much of a phase of the whole stack, from 0 to 1, this thread's part has done."""
    job = _thread.job
    share = phase_shares(job)[phase] if job else 0.0
    if job is None or not share:
        return
    _thread.shares[f"{_thread.part} {phase}"] = share * fraction
    now = time.monotonic()
    if now - _thread.told < INTERVAL:
        return
    advance, _thread.shares, _thread.told = Advance(phase, _thread.shares), {}, now
    with suppress(Exception):  # those who wait must not keep others from working
        _tell(job, advance)


def counted(read: ReadWindow, pixels: int, fraction: float = 1.0) -> ReadWindow:
    """A function that reads windows, and tells how much is fused by what of a frame it has read.

    Parameters
    ----------
    read : callable
    pixels : int
        That are going to be read of each frame, or somewhat less.
    fraction : float
        Of all fusing, that they are read for.
    """
    seen, one_at_a_time = 0, threading.Lock()

    def reading(index: int, box: Box) -> npt.NDArray[Any]:
        nonlocal seen
        if index == 0:
            with one_at_a_time:
                seen += box.shape[0] * box.shape[1]
            done(FUSING, fraction * min(seen / pixels, 1.0))
        return read(index, box)

    return reading


def _tell(job: Job, advance: Advance) -> None:
    with _one_at_a_time:
        for tell in _listeners:
            tell(job, advance)
    worker = this_worker()
    if worker:
        message = {"run": job.held.run, "name": job.name, "worker": worker.address}
        shares = {"phase": advance.phase, "shares": dict(advance.shares)}
        worker.log_event(PROGRESS, message | shares)


def this_worker() -> Any:
    """The worker of a cluster that this thread belongs to, or None."""
    if _thread.worker:
        return _thread.worker
    distributed = sys.modules.get("distributed")
    try:
        return distributed and distributed.get_worker()
    except ValueError:
        return None
