"""Rows that flow from frames to fused pixels: who makes them, of what, and how long they stay.

Everything that is made of a tile - frames, Gaussian levels, weights, fused levels - is a
`Stream` of rows.  A stream makes some rows at a time, when another asks for them, from rows of
other streams; so all advance together from top to bottom, and each holds only the rows that some
other still looks at: a *ring*, in which row y is at y modulo its rows.
Which rows those are is found by going through the motions once without pixels (`rehearse`).
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

# A stream, and the first and one past the last of its rows that are read.
Reading = tuple["Stream", int, int]
# The number of a stream, and the first and one past the last of the rows that are made of it.
Step = tuple[int, int, int]


def _nothing(top: int, bottom: int) -> None:
    """Make rows that nobody asked for."""


class Stream:
    """Rows made one strip after the other.

    Parameters
    ----------
    top, bottom : int
        First and one past the last of its rows.
    step : int
        Rows that are made at once, at most: as many as are asked for, because every row that
        is made too early waits in its ring, and so do all that it is made of.
    readings : callable
        First and one past the last row of a strip to what is read to make it.  What others of
        these are made of stands behind them, so that its rows are asked for at once.

    Attributes
    ----------
    make : callable
        Makes the rows from the first to one before the second argument.
    done : int
        One past the last row that is made.
    rows : int
        Rows of its ring.
    """

    def __init__(
        self,
        top: int,
        bottom: int,
        step: int,
        readings: Callable[[int, int], Iterable[Reading]] = lambda top, bottom: (),
    ) -> None:
        self.top, self.bottom, self.step = top, bottom, max(step, 1)
        self.readings = readings
        self.make: Callable[[int, int], None] = _nothing
        self.done, self.rows = top, min(self.step, bottom - top)

    def release(self) -> None:
        """Hold no longer what makes its rows."""
        self.make = _nothing

    def until(self, bottom: int) -> None:
        """Make all rows above `bottom`, and before them what they are made of."""
        bottom = min(bottom, self.bottom)
        while self.done < bottom:
            top, end = self.done, min(self.done + self.step, bottom)
            reads = list(self.readings(top, end))
            for stream, _, last in reads:
                stream.until(last)
            for stream, first, _ in reads:
                stream.rows = max(stream.rows, stream.done - max(first, stream.top))
            self.make(top, end)
            self.done = end


def rehearse(
    streams: Sequence[Stream], last: Sequence[Stream], top: int, bottom: int, strip: int
) -> list[Step]:
    """The steps in which the rows of the `last` streams are made together, strip by strip.

    From then on all streams know the rows that their rings need.
    """
    steps: list[Step] = []
    for number, stream in enumerate(streams):
        stream.make = partial(_note, steps, number)
    for row in range(top, bottom, strip):
        for stream in last:
            stream.until(min(row + strip, bottom))
    return steps


def _note(steps: list[Step], number: int, top: int, bottom: int) -> None:
    steps.append((number, top, bottom))


def mirrored_rows(first: int, last: int, height: int) -> tuple[int, int]:
    """The rows within 0 to `height` that rows beyond, mirrored (reflect-101), stand for."""
    low, high = first, last
    if first < 0:
        high = max(high, 1 - first)
    if last > height:
        low = min(low, 2 * height - 1 - last)
    return max(low, 0), min(high, height)


def expanded_rows(first: int, last: int, height: int) -> tuple[int, int]:
    """The rows of a level of `height` that rows of the next finer level are expanded from."""
    return mirrored_rows(first // 2 - 1, (last - 1) // 2 + 2, height)


def reduced_rows(first: int, last: int, height: int) -> tuple[int, int]:
    """The rows of a level of `height` that rows of the next coarser level are reduced from."""
    return mirrored_rows(2 * first - 2, 2 * last + 1, height)
