"""A file system of which the N-th call fails, once or from then on."""

import errno
import io
import os

from batchstack.files import System

FAULTS = {
    "EIO": errno.EIO,
    "ENOSPC": errno.ENOSPC,
    "EINTR": errno.EINTR,
    "short write": errno.ENOSPC,
}


class FaultySystem(System):
    """Counts the calls of a process to the file system and makes some fail.

    Parameters
    ----------
    first : int, optional
        Number of the first call that fails, from 1; None to count only.
    fault : str
        One of `FAULTS`.
    for_good : bool
        All later calls fail as well.
    """

    def __init__(self, first=None, fault="EIO", *, for_good=False):
        self.calls = 0
        self._first, self._fault, self._for_good = first, fault, for_good
        self.names = []

    def called(self, name, path=None):
        """Count a call, and fail if it is its turn."""
        self.calls += 1
        self.names.append(name)
        if self._first is None or self.calls < self._first:
            return
        if self.calls == self._first or self._for_good:
            code = FAULTS[self._fault]
            raise OSError(code, os.strerror(code), path and str(path))

    def open(self, path, mode):
        self.called("open", path)
        raw = _FaultyFile(path, mode.replace("b", ""), self)
        if "+" in mode:
            return io.BufferedRandom(raw)
        return io.BufferedReader(raw) if mode == "rb" else io.BufferedWriter(raw)

    def close_quietly(self, file):
        file.raw.close()


def _counting(name):
    def method(self, *arguments):
        self.called(name, arguments[0])
        return getattr(System, name)(self, *arguments)

    return method


# All other calls that a `System` has.
for _name in vars(System):
    if not _name.startswith("_") and _name != "open":
        setattr(FaultySystem, _name, _counting(_name))


class _FaultyFile(io.FileIO):
    def __init__(self, path, mode, system):
        super().__init__(path, mode)
        self._system = system

    def readinto(self, buffer):
        self._system.called("read", self.name)
        return super().readinto(buffer)

    def readall(self):
        self._system.called("read", self.name)
        return super().readall()

    def write(self, data):
        try:
            self._system.called("write", self.name)
        except OSError:
            # The disk takes a part before it is full.
            if self._system._fault == "short write":
                super().write(bytes(data)[: len(bytes(data)) // 2])
            raise
        return super().write(data)
