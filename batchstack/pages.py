"""Memory that is new to the process."""

import mmap
import sys

import numpy as np
import numpy.typing as npt

# Bytes from which on it is worth a call to the system.
_LEAST = 2**20


def new_pages(size: int) -> npt.NDArray[np.uint8]:
    """Memory of so many bytes, all of which is going to be used.

    Its pages are taken at once where the system can: to take each when it is first written to
    takes up to twice as long.
    They are of the usual size: virtual machines may take long to find larger ones.

    Raises
    ------
    MemoryError
    """
    if size < _LEAST or sys.platform != "linux":
        return np.empty(size, np.uint8)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    try:
        return np.frombuffer(mmap.mmap(-1, size, flags), np.uint8)
    except OSError as error:
        raise MemoryError(f"{size} bytes") from error
