"""Signals that stop a run."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from batchstack.batch.engines import StopRequest

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible(stop: StopRequest, announce: Callable[[str], None]) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and a closed terminal stop a run: the first drains, the second aborts.

    Parameters
    ----------
    stop : StopRequest
    announce : callable
        Told what is going to happen.
    """

    def on_signal(number: int, frame: Any) -> None:
        if not stop.drain:
            stop.drain = True
            announce("stopping after the stacks under way; interrupt again to stop at once")
        elif number != signal.SIGHUP:  # which a terminal that closes sends more than once
            stop.abort = True
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in _STOPPING}
    # What nohup has ignored stays ignored.
    caught = [n for n in _STOPPING if n != signal.SIGHUP or before[n] is not signal.SIG_IGN]
    for number in caught:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, before[number])
