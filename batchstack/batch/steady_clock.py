"""Dask's event loops on a clock that is never set.

Tornado counts its timeouts, and Dask the pauses between its messages, on the wall clock: when
that is set back, heartbeats and messages stop for as long as the jump.
"""

import time
from typing import Any


def use() -> None:
    """Let the event loops of this process go by the monotonic clock.

    Tornado leaves the choice of the clock to `IOLoop.time`.
    """
    import distributed.batched
    from tornado.ioloop import IOLoop

    def steady(loop: Any) -> float:
        return time.monotonic()

    IOLoop.time = steady  # type: ignore[method-assign, assignment]
    distributed.batched.time = time.monotonic
