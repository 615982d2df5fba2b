"""The workers of a cluster: which of them can be given work, and what is waited for.

A worker that comes while the run goes on is asked whether it fits before it is handed work; one
that does not fit, does not answer or does not move is named and passed over.
The scheduler may give it what waits before that: tasks look at version and folders themselves, and
one that is too large for it is done elsewhere when it has ended its worker.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass
from typing import Protocol

from batchstack.batch.engines import Say
from batchstack.errors import ClusterLostError

# Seconds.  Between looks at the workers:
LOOK = 2.0
# What waits says so after the first, and then after every second of these.
PATIENCE, STALLED = 10.0, 60.0
# A worker whose heartbeat stands still for so long is taken out, its work done elsewhere.
FROZEN = 120.0
# How long a scheduler that does not answer is waited for.
SILENT = 300.0


@dataclass(frozen=True)
class WorkerState:
    """A worker as its cluster sees it.

    Attributes
    ----------
    threads : int
    memory : int, optional
        Bytes for each thread; None if unlimited.
    paused : bool
        It begins nothing new.
    heartbeat : float
        Any value that changes while the worker lives.
    """

    threads: int = 1
    memory: int | None = None
    paused: bool = False
    heartbeat: float = 0.0


class Workers(Protocol):
    """What is asked of a cluster about its workers; every answer comes within a deadline."""

    def now(self) -> float:
        """Seconds on a clock that is never set."""

    def workers(self) -> Mapping[str, WorkerState] | None:
        """Workers by address; None if the cluster did not answer in time."""

    def unfit(self, addresses: Collection[str]) -> Mapping[str, str | None]:
        """Why each worker cannot work for the run, or None; those that have not answered miss."""

    def remove(self, worker: str) -> None:
        """Take out a worker that does not move, so that others do its work."""


@dataclass
class _Member:
    state: WorkerState
    came: float
    moved: float  # when its heartbeat last changed
    fit: bool = False
    frozen: bool = False
    is_named: bool = False  # as one that does not answer


class Crew:
    """The workers that are there.

    Parameters
    ----------
    cluster : Workers
    wait_workers : float
        Seconds to wait while no worker can be used.
    memory_needed : int, optional
        Bytes for each thread that the plan relies on.
    say : callable
        Told in one line who is refused and what is waited for.
    visits : Counter
        Counts how often each way of recovery was taken.
    """

    def __init__(
        self,
        cluster: Workers,
        wait_workers: float,
        memory_needed: int | None,
        say: Say,
        visits: Counter[str],
    ) -> None:
        self._cluster, self._say, self._visits = cluster, say, visits
        self._wait_workers, self._memory_needed = wait_workers, memory_needed
        self._members: dict[str, _Member] = {}
        self._refused: dict[str, str] = {}
        now = cluster.now()
        self._looked = self._told = float("-inf")
        self._answered = self._usable_seen = now

    @property
    def usable(self) -> dict[str, int]:
        """Threads of the workers that can be given work, by address."""
        return {
            address: member.state.threads
            for address, member in self._members.items()
            if member.fit
            and not member.frozen
            and not member.state.paused
            and address not in self._refused
        }

    @property
    def present(self) -> Set[str]:
        """Addresses of all that are there, usable or not."""
        return self._members.keys()

    @property
    def is_mixed(self) -> bool:
        """Whether work must be kept from some workers; one may be there that is not seen yet."""
        return bool(self._refused) or len(self.usable) < len(self._members)

    @property
    def stuck(self) -> bool:
        """Whether a worker is there that may hold work and does not do it."""
        return any(member.frozen or member.state.paused for member in self._members.values())

    @property
    def seconds_without(self) -> float:
        """For how long no worker could be used."""
        return 0.0 if self.usable else self._cluster.now() - self._usable_seen

    def refuse(self, address: str, reason: str) -> None:
        """Give a worker no more work, and say why."""
        if address not in self._refused:
            self._visits["refused a worker"] += 1
            self._refused[address] = reason
            self._say(f"worker {address} is not used: {reason}")

    def gone(self, address: str) -> None:
        """Forget a worker that has died."""
        self._members.pop(address, None)

    def look(self) -> list[str]:
        """See who is there, and ask new ones whether they fit.

        Returns
        -------
        list of str
            Workers found frozen, whose work is to be done elsewhere.

        Raises
        ------
        ClusterLostError
            If the scheduler does not answer, or no worker can be used, for too long.
        """
        now = self._cluster.now()
        if now - self._looked < LOOK and not self._unanswered():
            return []
        self._looked = now
        states = self._cluster.workers()
        if states is None:
            self._on_silence(now)
            return []
        self._answered = now
        self._members = {
            address: self._as_seen(address, state, now) for address, state in states.items()
        }
        self._ask(now)
        frozen = self._find_frozen(now)
        self._wait(now)
        return frozen

    def _unanswered(self) -> bool:
        """Whether a worker that has just come may answer at any moment."""
        return any(
            not (member.fit or member.is_named or address in self._refused)
            for address, member in self._members.items()
        )

    def _as_seen(self, address: str, state: WorkerState, now: float) -> _Member:
        known = self._members.get(address) or _Member(state, now, now)
        if state.heartbeat != known.state.heartbeat:
            known.moved, known.frozen = now, False
        known.state = state
        return known

    def _on_silence(self, now: float) -> None:
        self._visits["scheduler did not answer"] += 1
        if now - self._answered >= SILENT:
            raise ClusterLostError(
                f"the scheduler has not answered for {SILENT:.0f} seconds; finished work is "
                "recorded, run again to resume"
            )

    def _ask(self, now: float) -> None:
        new = [
            address
            for address, member in self._members.items()
            if not member.fit and address not in self._refused
        ]
        answers = self._cluster.unfit(new) if new else {}
        for address in new:
            member = self._members[address]
            if address in answers:
                reason = answers[address] or self._too_small(member.state)
                member.fit = not reason
                if reason:
                    self.refuse(address, reason)
            elif now - member.came >= PATIENCE and not member.is_named:
                self._visits["worker did not answer"] += 1
                member.is_named = True
                self._say(f"worker {address} does not answer; it is not used until it does")

    def _too_small(self, state: WorkerState) -> str | None:
        needed = self._memory_needed
        if not needed or state.memory is None or state.memory >= needed:
            return None
        return (
            f"it has {state.memory / 2**20:.0f} MiB of memory per thread, the plan relies on "
            f"{needed / 2**20:.0f} MiB; plan for less with --memory-limit"
        )

    def _find_frozen(self, now: float) -> list[str]:
        frozen = []
        for address, member in self._members.items():
            if member.frozen or now - member.moved < FROZEN:
                continue
            self._visits["took work from a frozen worker"] += 1
            member.frozen = True
            self._say(
                f"worker {address} has given no sign of life for {FROZEN:.0f} seconds; its work "
                "is done elsewhere"
            )
            self._cluster.remove(address)
            frozen.append(address)
        return frozen

    def _wait(self, now: float) -> None:
        """A cluster without a worker to use is waited for, but not for ever."""
        if self.usable:
            self._usable_seen, self._told = now, float("-inf")
            return
        waited = now - self._usable_seen
        if waited >= self._wait_workers:
            self._visits["no workers for too long"] += 1
            raise ClusterLostError(
                f"no worker could be used for {self._wait_workers:.0f} seconds{self._why()}; "
                "finished work is recorded, start workers and run again"
            )
        if waited >= PATIENCE and now - self._told >= STALLED:
            self._visits["waited for workers"] += 1
            self._told = now
            self._say(f"waiting for workers{self._why()}, up to {self._wait_workers:.0f} seconds")

    def _why(self) -> str:
        members = self._members.items()
        kinds = {
            "paused for want of memory": [m for _, m in members if m.state.paused],
            "refused": [m for address, m in members if address in self._refused],
            "not answering": [
                m for address, m in members if m.frozen or not (m.fit or address in self._refused)
            ],
        }
        found = [f"{len(some)} {kind}" for kind, some in kinds.items() if some]
        return f" ({', '.join(found)})" if found else " (there are none)"
