"""Threads that share the work on one stack."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy.typing as npt

from batchstack.fusion.scratch import Scratch
from batchstack.fusion.tiles import ReadWindow
from batchstack.geometry import Box

Pixels = npt.NDArray[Any]
T = TypeVar("T")
R = TypeVar("R")


def _nothing() -> None:
    """Begin as it is."""


class Team:
    """Threads that share the work on one stack, each with working memory of its own.

    Parameters
    ----------
    scratches : sequence of Scratch
        One for each thread.  If it is one, all is done by the thread that asks.
    join : callable
        What each thread calls before it begins.

    Attributes
    ----------
    scratch : Scratch
        Of the first, where what all share lies.
    size : int
        How many threads they are.
    """

    def __init__(self, scratches: Sequence[Scratch], join: Callable[[], None] = _nothing) -> None:
        self.scratch, self.size = scratches[0], len(scratches)
        self._idle, self._join = deque(scratches), join
        self._is_stopped = False

    def each(self, work: Callable[[T, Scratch], R], things: Iterable[T]) -> list[R]:
        """What becomes of things, in their order.

        The first failure in that order is raised, when all threads have ended.
        """
        if self.size == 1:
            return [work(thing, self.scratch) for thing in things]

        def do(thing: T) -> R:
            scratch = self._idle.popleft()
            try:
                return work(thing, scratch)
            finally:
                self._idle.append(scratch)

        with ThreadPoolExecutor(self.size, initializer=self._join) as pool:
            try:
                waiting = [pool.submit(do, thing) for thing in things]
                return [one.result() for one in waiting]
            except BaseException:
                self._is_stopped = True
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def reading(self, read: ReadWindow) -> ReadWindow:
        """A function that reads windows until one of the threads fails or is interrupted."""

        def reads(index: int, box: Box) -> Pixels:
            if self._is_stopped:
                raise CancelledError
            return read(index, box)

        return reads
