"""A file system that fails when it is told to."""

import os
from io import BufferedRandom, BufferedReader, FileIO

from batchstack.files import System

PIECE = 1000


class FailingSystem(System):
    """Fails once, at one of its calls, reads and writes of small pieces included.

    Parameters
    ----------
    at : int
        Which call, from 1 on.
    code : int
        Error number.
    """

    def __init__(self, at, code):
        self.left, self.code = at, code

    @property
    def failed(self):
        return self.left <= 0

    def count(self):
        self.left -= 1
        if self.left == 0:
            raise OSError(self.code, os.strerror(self.code))

    def open(self, path, mode):
        self.count()
        file = _FailingFile(path, mode.replace("b", ""))
        file.count = self.count
        return BufferedRandom(file, PIECE) if "+" in mode else BufferedReader(file, PIECE)


def _counted(name):
    def call(self, *arguments):
        self.count()
        return getattr(System, name)(self, *arguments)

    return call


for _name in ("sync", "sync_folder", "stat", "replace", "unlink", "mkdir", "rmdir", "scan", "glob"):
    setattr(FailingSystem, _name, _counted(_name))


class _FailingFile(FileIO):
    def readinto(self, buffer):
        self.count()
        return super().readinto(memoryview(buffer)[:PIECE])

    def readall(self):
        self.count()
        return super().readall()

    def write(self, data):
        self.count()
        return super().write(memoryview(data)[:PIECE])
