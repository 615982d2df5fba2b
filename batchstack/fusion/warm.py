"""Loading or compiling the kernels before they are needed."""

from collections.abc import Callable, Iterable
from threading import Timer

import numpy as np

from batchstack.compiled import COMPILED, KEPT
from batchstack.fusion.decision import settle
from batchstack.fusion.engine import fuse

ANNOUNCED_AFTER = 2.0  # seconds
_COMPILING = "compiling for this machine, which happens once and takes half a minute"


def warm_up(
    methods: Iterable[str] = ("all",), announce: Callable[[str], None] = lambda text: None
) -> bool:
    """Fuse a tiny pair, so that the kernels are loaded, or compiled and kept on disk.

    Parameters
    ----------
    methods : iterable of str
        Keys of `METHODS`, or "all".
    announce : callable
        Told what takes so long, if it does and kernels are compiled.

    Returns
    -------
    bool
        Whether any was compiled.
    """
    before = len(COMPILED)

    def compiled() -> bool:
        return len(COMPILED) > before or not kernels_are_kept()

    def say() -> None:
        if compiled():
            announce(_COMPILING)

    timer = Timer(ANNOUNCED_AFTER, say)
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
    return compiled()


def kernels_are_kept() -> bool:
    """Whether compiled kernels can be kept for the next process."""
    return all(KEPT)
