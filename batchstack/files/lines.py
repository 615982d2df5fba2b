"""A file of lines that is appended to."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from batchstack.files import calls
from batchstack.files.calls import told
from batchstack.files.reading import read_bytes
from batchstack.files.writing import make_folder, replace_file, sync_file


class LineFile:
    """A file of lines that is appended to, and read at any place.

    It is held open from first use until `close`: on a file system of the network, to open and
    close a file for a line waits for the server each time.
    A line is written at once, and on the disk after `sync`.

    Parameters
    ----------
    path : Path
        It need not exist; the first line makes it and its folder.
    """

    longest = 1 << 24
    """Bytes of a line; the record of a stack of 50,000 frames is shorter."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: BinaryIO | None = None
        self._writer: BinaryIO | None = None
        self._is_synced = True

    def __del__(self) -> None:
        self.close()

    def lines(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Each line with its offset; none of a file that is missing, nor one above 16 MiB.

        Parameters
        ----------
        start : int
            Offset of the first of them.

        Raises
        ------
        FileError
        """
        with told(self._path, "cannot be read"):
            try:
                file = calls.system.open(self._path, "rb")
            except FileNotFoundError:
                return
            with file:
                offset, inside = file.seek(start), False
                while piece := file.readline(self.longest):
                    follows, inside = inside, not piece.endswith(b"\n")
                    if not follows and (not inside or len(piece) < self.longest):
                        yield offset, piece
                    offset += len(piece)

    def line_at(self, offset: int) -> bytes:
        """The line that starts at an offset in bytes.

        Raises
        ------
        FileError
        """
        with told(self._path, "cannot be read"):
            if self._reader is None:
                self._reader = calls.system.open(self._path, "rb")
            self._reader.seek(offset)
            return self._reader.readline(self.longest)

    def make_ready(self) -> None:
        """Find out now whether lines can be appended.

        Raises
        ------
        FileError
        """
        with told(self._path, "cannot be written"):
            if self._writer is None:
                self._writer = self._open_to_append()

    def append(self, line: bytes) -> int:
        """Append a line, given without its end, and return its offset.

        A line that was torn before it, because the machine died or the disk was full, is
        ended first.

        Raises
        ------
        FileError
        """
        with told(self._path, "cannot be written"):
            self._is_synced = False
            try:
                self.make_ready()
                assert self._writer is not None
                offset = self._writer.seek(0, os.SEEK_END)
                self._writer.write(line + b"\n")
                self._writer.flush()
            except BaseException:
                # What the next line meets is found out when the file is opened for it.
                self.close()
                raise
            return offset

    def _open_to_append(self) -> BinaryIO:
        make_folder(self._path.parent)
        self._part_from_copies()
        file = calls.system.open(self._path, "a+b")
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        return file

    def _part_from_copies(self) -> None:
        """Make it a file of its own: one copied by links (cp -al) is also that of the original."""
        with suppress(FileNotFoundError):
            if calls.system.stat(self._path).st_nlink > 1:
                replace_file(self._path, read_bytes(self._path))
                self.close()

    def sync(self) -> None:
        """Wait until the lines are on the disk; at once if none was appended since.

        Raises
        ------
        FileError
        """
        if not self._is_synced:
            sync_file(self._path)
            self._is_synced = True

    def close(self) -> None:
        """Close the file; whatever comes next opens it again."""
        for file in (self._reader, self._writer):
            if file is not None:
                with suppress(OSError):
                    file.close()
        self._reader = self._writer = None
