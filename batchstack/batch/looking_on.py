"""The run that goes on in an output directory, as its journal tells whoever looks on.

Nothing but the journal is read, so that it may be done from another host, and costs a run
nothing; of each look only what was appended since the last one is read.
"""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchstack import files
from batchstack.batch.claim import FOLDER
from batchstack.batch.ledger import JOURNAL
from batchstack.batch.pace import Pace
from batchstack.batch.records import StackHistory, about_run, said

_KEPT = 5  # stacks that are remembered by name


@dataclass
class RunSeen:
    """What is known of the last run that was begun.

    Attributes
    ----------
    pace : Pace
    began : float
        By the clock of the run, in seconds since the epoch, like the next.
    told : float
        When something was recorded last.
    failures : deque of str
        The last ones.
    finished : deque of (str, float)
        The last stacks with the seconds that each took.
    how : str
        How it ended; empty while it goes on.
    refused : int
        Stacks among those of the run that were refused before it began.
    """

    pace: Pace
    began: float
    told: float
    failures: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT))
    finished: deque[tuple[str, float]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    how: str = ""
    refused: int = 0

    @property
    def seconds(self) -> float:
        """From its beginning to what was recorded last."""
        return max(self.told - self.began, 0.0)


class Onlooker:
    """Looks at the journal of an output directory now and then.

    Parameters
    ----------
    directory : Path
    """

    def __init__(self, directory: Path) -> None:
        self._file = files.LineFile(directory / FOLDER / JOURNAL)
        self._read = 0  # bytes
        self._changed = time.monotonic()
        self._refused: deque[str] = deque(maxlen=_KEPT)  # recorded before their run begins
        self.run: RunSeen | None = None

    def look(self) -> RunSeen | None:
        """The last run, with what was recorded of it by now; None if none has begun.

        Raises
        ------
        FileError
            If the journal cannot be read.
        """
        for offset, line in self._file.lines(self._read):
            if not line.endswith(b"\n"):  # it is being written
                break
            self._read, self._changed = offset + len(line), time.monotonic()
            self._take(line)
        return self.run

    @property
    def silent(self) -> float:
        """Seconds since something new was read, by the clock here."""
        return time.monotonic() - self._changed

    def _take(self, line: bytes) -> None:
        about = about_run(line)
        if about is not None:
            self._take_run(about)
        elif (known := said(line)) is not None:
            self._take_stack(*known)

    def _take_run(self, about: Mapping[str, Any]) -> None:
        if "started" in about:
            began = _number(about["started"])
            stacks, megapixels = _number(about.get("stacks")), _number(about.get("megapixels"))
            self.run = RunSeen(Pace(int(stacks), megapixels), began, began, self._refused.copy())
            self.run.refused = min(int(_number(about.get("refused"))), int(stacks))
            for _ in range(self.run.refused):
                self.run.pace.give_up(0.0)
            self._refused.clear()
        elif self.run is not None:
            self.run.how = str(about.get("how", "finished"))
            self.run.told = max(self.run.told, _number(about.get("ended")))

    def _take_stack(self, stack: str, history: StackHistory) -> None:
        run = self.run
        if run is None or run.how:
            if history.error is not None:
                self._refused.append(history.error)
            return
        if history.error is not None:
            # What it would have been is not recorded.
            run.pace.give_up(run.pace.megapixels / max(run.pace.stacks - run.refused, 1))
            run.failures.append(history.error)
            return
        facts, frames = history.facts, len(next(iter(history.records.values())).inputs)
        if "finished" in facts:
            run.pace.take(_number(facts.get("megapixels")) * frames)
            run.told = max(run.told, _number(facts["finished"]))
            run.finished.append((stack, _number(facts.get("seconds"))))


def _number(value: Any) -> float:
    """A number of the journal, 0 for what is none."""
    good = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if good and abs(value) < 1e18 else 0.0
