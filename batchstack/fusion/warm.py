"""Loading or compiling the kernels before they are needed."""

import time
from collections.abc import Iterable

import numpy as np

from batchstack.fusion.engine import fuse


def warm_up(methods: Iterable[str] = ("all",)) -> float:
    """Fuse a tiny pair, so that the kernels are loaded, or compiled and kept on disk.

    Parameters
    ----------
    methods : iterable of str
        Keys of `METHODS`, or "all".

    Returns
    -------
    float
        Seconds it took: less than one if the kernels were kept before, about ten if not.
    """
    start = time.perf_counter()
    frame = np.zeros((16, 16, 3), np.uint8)
    fuse([frame, frame], methods)
    return time.perf_counter() - start


def kernels_are_kept() -> bool:
    """Whether compiled kernels can be kept for the next process."""
    from batchstack.fusion.kernels import KEPT

    return all(KEPT)
