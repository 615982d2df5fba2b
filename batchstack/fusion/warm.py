"""Running the kernels of methods once, before they are needed."""

from collections.abc import Iterable

import numpy as np

from batchstack.fusion.decision import settle
from batchstack.fusion.engine import fuse


def run_kernels(methods: Iterable[str]) -> None:
    """Fuse a tiny pair: kernels are loaded, or compiled and kept on disk.

    Parameters
    ----------
    methods : iterable of str
        Keys of `METHODS`, or "all".
    """
    frame = np.zeros((16, 16, 3), np.uint8)
    fuse([frame, frame], methods)
    # A map of which something stays and something goes, which that of flat frames is not.
    settle(np.array([[0, 1]], np.uint8), np.array([[255, 0]], np.uint8), evidence=1)
