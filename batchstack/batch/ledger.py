"""The ledger: what is done, so that it is not done again.

One journal per output directory, `.batchstack/journal.jsonl`, appended to by the client
alone, one line per stack that finished or failed; for each stack and method the last
line counts.  What is no record - torn because the machine died while it was written,
damaged, of a stranger - is passed over: it costs the work that it recorded and no more.

The journal may be far larger than the memory, so the ledger knows where the lines of each
stack are, and reads them when it is asked.

A stack's method is done if and only if its record has the key computed now, its inputs
are the recorded ones and its outputs exist in their recorded size.
"""

import time
from array import array
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from batchstack import files
from batchstack.batch.claim import FOLDER, refused
from batchstack.batch.manifest import Row, row_record
from batchstack.batch.records import Record, StackHistory, about_run, as_line, done, said, subject
from batchstack.errors import OptionError

JOURNAL = "journal.jsonl"


class Ledger:
    """The records of one output directory.

    Parameters
    ----------
    directory : Path
        The output directory; it need not exist to be read.

    Raises
    ------
    FileError
        Here and in all methods, if the journal cannot be read or written.
    """

    def __init__(self, directory: Path) -> None:
        self._file = files.LineFile(directory / FOLDER / JOURNAL)
        self._last: dict[str, int] = {}  # stack to the number of its last line
        self._offsets = array("q")  # of each line
        self._before = array("q")  # the number of the stack's line before it, or -1
        self._failed: dict[str, None] = {}  # stacks of which the last line is a failure
        self.is_under_way = False
        """Whether a run has begun and left no word of its end."""
        for offset, line in self._file.lines():
            if (about := about_run(line)) is not None:
                self.is_under_way = "started" in about
            self._learn(offset, line)

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the journal."""
        self._file.close()

    def make_ready(self) -> None:
        """Find out now whether records can be written."""
        self._file.make_ready()

    def ids(self) -> Collection[str]:
        """The stacks that the journal names, in the order in which it first does."""
        return self._last.keys()

    def history(self, stack_id: str) -> StackHistory:
        """What the journal says of a stack; nothing of one that it does not know."""
        history = StackHistory()
        for line in self.lines(stack_id):
            history.take(line)
        return history

    def lines(self, stack_id: str) -> Iterator[StackHistory]:
        """What each line of the journal says of a stack, in their order."""
        numbers, number = [], self._last.get(stack_id, -1)
        while number >= 0:
            numbers.append(number)
            number = self._before[number]
        for number in reversed(numbers):
            known = said(self._file.line_at(self._offsets[number]))
            if known is not None and known[0] == stack_id:
                yield known[1]

    def __iter__(self) -> Iterator[tuple[str, StackHistory]]:
        """Each stack and its history, one in memory at a time."""
        for stack_id in list(self._last):
            history = self.history(stack_id)
            if history.records or history.error is not None:
                yield stack_id, history

    def failed_last(self, stack_id: str) -> bool:
        """Whether the last that happened to a stack is that it failed."""
        return stack_id in self._failed

    @property
    def template(self) -> str | None:
        """What the outputs of this directory are called; None if there are none yet."""
        for stack_id, number in self._last.items():
            if stack_id in self._failed and self._before[number] < 0:
                continue  # it has nothing but failed
            for record in self.history(stack_id).records.values():
                return record.template
        return None

    def failed(self) -> Iterator[tuple[str, str, dict[str, str] | None]]:
        """Stacks that failed last, in that order: id, error, and the row if it was recorded."""
        for stack_id in list(self._failed):
            history = self.history(stack_id)
            if history.error is not None:
                yield stack_id, history.error, history.row

    def append_done(
        self, stack_id: str, records: Mapping[str, Record], facts: dict[str, Any] | None = None
    ) -> None:
        """Record that methods of a stack are finished; the inputs are the same for all."""
        self._append(done(stack_id, records, facts or {}))

    def append_failed(self, stack_id: str, error: str, row: Row | None = None) -> None:
        """Record that a stack failed, and its row; its earlier records stay valid."""
        known = {} if row is None else {"row": row_record(row)}
        self._append({"id": stack_id, "error": error, **known})

    def append_start(self, stacks: int, megapixels: float, refused: int = 0) -> None:
        """Note that a run begins, and how much it is to do, for those who look on.

        Parameters
        ----------
        stacks : int
            Those that are to be fused, and those that were refused.
        megapixels : float
            Of those that are to be fused.
        refused : int
            Of which what was wrong is recorded already.
        """
        about = {"started": time.time(), "stacks": stacks, "megapixels": megapixels}
        self._append_run(about | {"refused": refused})

    def append_end(self, how: str) -> None:
        """Note that a run is over: "finished", "interrupted" or "lost"."""
        self._append_run({"ended": time.time(), "how": how})

    def _append_run(self, about: dict[str, Any]) -> None:
        # No record: it names no stack, so that nothing depends on it.
        self.is_under_way = "started" in about
        self._file.append(as_line({"run": about}))

    def sync(self) -> None:
        """Wait until what was appended is on the disk.

        Without it a power cut may take the last lines, and the work is done again.
        """
        self._file.sync()

    def _append(self, entry: dict[str, Any]) -> None:
        line = as_line(entry)
        if len(line) >= self._file.longest and entry.get("facts"):
            # What is read is worth more than what decides nothing.
            line = as_line(entry | {"facts": {}})
        self._learn(self._file.append(line), line)

    def _learn(self, offset: int, line: bytes) -> None:
        """Remember where a line is, if it is a record."""
        about = subject(line)
        if about is None:
            return
        stack_id, failed = about
        self._before.append(self._last.get(stack_id, -1))
        self._last[stack_id] = len(self._offsets)
        self._offsets.append(offset)
        self._failed.pop(stack_id, None)
        if failed:
            self._failed[stack_id] = None


def existing_ledger(directory: Path) -> Ledger:
    """The ledger of a directory that a run has written to.

    Raises
    ------
    OptionError
        If none has.
    FileError
        If the journal cannot be read.
    """
    try:
        files.status(directory / FOLDER / JOURNAL)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise OptionError(f"{directory}: no run has written here; give the -o of a run") from error
    except OSError as error:
        raise files.failure(directory / FOLDER / JOURNAL, "cannot be read", error) from error
    return Ledger(directory)


def ledger_to_write(directory: Path) -> Ledger:
    """The ledger of a directory that a run is going to write to.

    Raises
    ------
    OutputInUseError
        If the journal cannot be read or written.
    """
    with refused():
        ledger = Ledger(directory)
        ledger.make_ready()
        return ledger
