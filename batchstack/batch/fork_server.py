"""Where the workers of an embedded cluster come from, without loading Dask here.

They are forked from a process that has imported all that they need: it is imported once
instead of once per worker, held in memory once, and that while the run is prepared here.
"""

import os
import signal
from collections.abc import Collection
from multiprocessing import forkserver, get_context
from typing import Any

from batchstack.errors import ClusterError

# A worker does one task on one core: no library starts threads of its own.
# The C library would give every freed array back to the system at once; getting the
# memory again, page by page, costs as much time as the fusion.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "MALLOC_TRIM_THRESHOLD_": str(512 * 2**20),
    "MALLOC_MMAP_THRESHOLD_": str(512 * 2**20),
}
START_SECONDS = 600.0  # for what takes half a minute on a machine that does nothing else
KERNELS = "BATCHSTACK_KERNELS"  # what needs kernels, which the server loads


def start(kernels: Collection[str] = ()) -> None:
    """Start the server, unless it runs; it imports, and loads kernels, in the background.

    Workers ignore Ctrl-C: the client decides what an interrupt means.

    Parameters
    ----------
    kernels : collection of str
        What needs kernels that the workers will use, as `warm.warm_up` takes it.

    Raises
    ------
    ClusterError
        If it cannot be started.
    """
    # A configuration that it cannot read fails here, where it is told in a sentence.
    import dask  # noqa: F401

    os.environ.update(_ENVIRONMENT)
    if kernels:
        os.environ[KERNELS] = ",".join(kernels)
    forkserver.set_forkserver_preload(["batchstack.batch.preload"])
    before = _on_interrupt(signal.SIG_IGN)  # the server inherits it, and its workers
    try:
        forkserver.ensure_running()
    except OSError as error:  # such as a TMPDIR too long for the name of a socket
        raise ClusterError(
            f"workers cannot be started on this machine ({error}); see that TMPDIR is a short "
            "path that can be written, or use --workers 0 to work in this process"
        ) from error
    finally:
        _on_interrupt(before)


def wait() -> None:
    """Wait until the server can fork: seconds if it must compile kernels first.

    Raises
    ------
    ClusterError
        If it does not come to that.
    """
    process = get_context("forkserver").Process(target=os.getpid, daemon=True)
    process.start()
    process.join(START_SECONDS)
    if process.is_alive():
        raise ClusterError(
            f"no worker has started on this machine within {START_SECONDS:.0f} seconds; see what "
            "keeps it busy, or use --workers 0 to work in this process"
        )
    # Every worker imports the script that was started, which must not start a run again.
    if process.exitcode:
        raise ClusterError(
            "workers cannot be started on this machine (the first one ended with code "
            f"{process.exitcode}); a script that starts a run must do so below "
            "'if __name__ == \"__main__\":', or with no workers"
        )


def _on_interrupt(handler: Any) -> Any:
    # Only the main thread may, and only there do they arrive.
    try:
        return signal.signal(signal.SIGINT, handler)
    except ValueError:
        return handler
