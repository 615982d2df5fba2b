"""The ledger: what is done, so that it is not done again.

One journal per output directory, `.batchstack/journal.jsonl`, appended to by the client
alone, one line per stack that finished or failed; for each stack and method the last
line counts.  A line that is torn (the machine died while it was written) is passed over.

A stack's method is done if and only if its record has the key computed now, its inputs
are the recorded ones and its outputs exist in their recorded size.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from batchstack.batch.jobs import Input, Scores
from batchstack.errors import OutputInUseError

FOLDER = ".batchstack"
JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class Record:
    """What the ledger knows of a finished stack and method.

    Attributes
    ----------
    key : dict
        Everything but the inputs that the outputs depend on.
    inputs : tuple of Input
    outputs : dict of str to int
        File name to bytes.
    scores : dict of str to dict
        Output name to its scores; empty if none were asked for.
        Scores do not decide whether the method is done.
    """

    key: dict[str, Any]
    inputs: tuple[Input, ...]
    outputs: dict[str, int]
    scores: dict[str, Scores] = field(default_factory=dict)


@dataclass
class StackHistory:
    """All that the journal says of one stack."""

    records: dict[str, Record] = field(default_factory=dict)
    error: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


class Ledger:
    """The records of one output directory.

    Parameters
    ----------
    directory : Path
        The output directory; it need not exist to be read.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FOLDER / JOURNAL
        self.stacks: dict[str, StackHistory] = {}
        for line in self._lines():
            self._learn(line)

    def history(self, stack_id: str) -> StackHistory:
        return self.stacks.get(stack_id) or StackHistory()

    def append_done(
        self, stack_id: str, records: dict[str, Record], facts: dict[str, Any] | None = None
    ) -> None:
        """Record that methods of a stack are finished; the inputs are the same for all."""
        (inputs,) = {record.inputs for record in records.values()}
        self._append(
            {
                "id": stack_id,
                "inputs": [list(asdict(frame).values()) for frame in inputs],
                "methods": {
                    name: {"key": record.key, "outputs": record.outputs, "scores": record.scores}
                    for name, record in records.items()
                },
                "facts": facts or {},
            }
        )

    def append_failed(self, stack_id: str, error: str) -> None:
        """Record that a stack failed; its earlier records stay valid."""
        self._append({"id": stack_id, "error": error})

    def _append(self, entry: dict[str, Any]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        with self._path.open("ab+") as file:
            if file.seek(0, os.SEEK_END) and not _ends_with_newline(file):
                line = b"\n" + line
            file.write(line)
        self._learn(entry)

    def _lines(self) -> Iterator[dict[str, Any]]:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return
        for line in content.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and "id" in entry:
                yield entry

    def _learn(self, entry: dict[str, Any]) -> None:
        history = self.stacks.setdefault(entry["id"], StackHistory())
        history.error = entry.get("error")
        if history.error is not None:
            return
        history.facts = entry.get("facts", {})
        inputs = tuple(Input(*values) for values in entry["inputs"])
        for name, method in entry["methods"].items():
            scores = method.get("scores", {})
            history.records[name] = Record(method["key"], inputs, method["outputs"], scores)


def _ends_with_newline(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) == b"\n")


def lock(directory: Path) -> FileLock:
    """Take the output directory for this run until the lock is released.

    Raises
    ------
    OutputInUseError
        If another run holds it.
    """
    folder = directory / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    held = FileLock(folder / "lock")
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise OutputInUseError(
            f"{directory}: another run is writing here; wait for it to end or give "
            "another output directory"
        ) from None
    return held


def why_not_done(record: Record, key: dict[str, Any], folder: Path) -> str | None:
    """Why a method must be computed whatever its frames, or None.

    Parameters
    ----------
    record : Record
        What the ledger has.
    key : dict
        The key computed now.
    folder : Path
        Where the outputs are.
    """
    if record.key != key:
        return _difference(record.key, key)
    for name, size in record.outputs.items():
        path = folder / name
        try:
            found = path.stat().st_size
        except OSError:
            return f"{name} is missing"
        if found != size:
            return f"{name} has {found} bytes instead of {size}"
    return None


def what_changed(
    inputs: Sequence[Input], frames: Sequence[Path], digest: Callable[[Path], str]
) -> str | None:
    """How frames differ from those recorded, or None.

    Parameters
    ----------
    inputs : sequence of Input
        As recorded.
    frames : sequence of Path
        Back to front.
    digest : callable
        Digest of a file's content; called only for a frame whose path, size or time
        are not the recorded ones.
    """
    if len(inputs) != len(frames):
        return f"{len(frames)} frames instead of {len(inputs)}"
    for known, path in zip(inputs, frames, strict=True):
        if not same_content(known, path, digest):
            return f"{path.name} changed"
    return None


def same_content(known: Input, path: Path, digest: Callable[[Path], str]) -> bool:
    """Whether a file has the recorded content."""
    status = path.stat()
    if status.st_size != known.size:
        return False
    if str(path) == known.path and status.st_mtime_ns == known.mtime_ns:
        return True
    return digest(path) == known.digest


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    changed = [
        f"{name.replace('_', '-')} {old.get(name)} -> {new.get(name)}"
        for name in new
        if old.get(name) != new.get(name)
    ]
    return "changed: " + ", ".join(changed)
