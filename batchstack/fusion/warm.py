"""Loading or compiling the kernels before they are needed."""

import time
from collections.abc import Callable, Iterable
from threading import Timer

import numpy as np

from batchstack.fusion.decision import settle
from batchstack.fusion.engine import fuse

COLD_SECONDS = 2.0  # loading kernels takes less, compiling them more
_COMPILING = "compiling for this machine, which happens once and takes half a minute"


def warm_up(
    methods: Iterable[str] = ("all",), announce: Callable[[str], None] = lambda text: None
) -> float:
    """Fuse a tiny pair, so that the kernels are loaded, or compiled and kept on disk.

    Parameters
    ----------
    methods : iterable of str
        Keys of `METHODS`, or "all".
    announce : callable
        Told what takes so long, if the kernels must be compiled.

    Returns
    -------
    float
        Seconds it took: less than `COLD_SECONDS` if the kernels were kept before.
    """
    start = time.perf_counter()
    timer = Timer(COLD_SECONDS, announce, [_COMPILING])
    timer.start()
    try:
        frame = np.zeros((16, 16, 3), np.uint8)
        fuse([frame, frame], methods)
        # A map of which something stays and something goes, which that of flat frames is not.
        settle(np.array([[0, 1]], np.uint8), np.array([[255, 0]], np.uint8), evidence=1)
    finally:
        # A process that is forked next must have no other thread.
        timer.cancel()
        timer.join()
    return time.perf_counter() - start


def kernels_are_kept() -> bool:
    """Whether compiled kernels can be kept for the next process."""
    from batchstack.compiled import KEPT

    return all(KEPT)
