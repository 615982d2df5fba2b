"""The largest resident size of this process while a task runs."""

import resource
import sys
import threading
from pathlib import Path
from types import TracebackType

from batchstack import files

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_lock, _running = threading.Lock(), 0
_of_thread = threading.local()


class Peak:
    """While it is entered, the system counts the largest resident size anew.

    Tasks of other threads that run beside it are counted in.
    Where the system does not count anew, as but for Linux, the size is the largest since the
    process began: never too small.

    Attributes
    ----------
    size : int
        In bytes; set when it is left.
    """

    size = 0

    def __enter__(self) -> "Peak":
        global _running
        with _lock:
            # What another task has reached must not be forgotten.
            if not _running:
                files.tell_system(_CLEAR, b"5")
            _running += 1
        _of_thread.peak = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Take the size; nothing that comes later counts."""
        global _running
        if self.size:
            return
        with _lock:
            _running -= 1
        self.size = _largest()


def leave() -> None:
    """Take the size of this thread's task now, for it only waits from here on."""
    _of_thread.peak.leave()


def _largest() -> int:
    # The resource usage of a young process still counts what its parent held.
    try:
        status = files.read_bytes(_STATUS).decode()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
