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

import json
import re
import time
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any

from batchstack import files
from batchstack.batch.claim import FOLDER, refused
from batchstack.batch.jobs import Input, Scores
from batchstack.batch.manifest import Row, row_record
from batchstack.batch.output_names import place
from batchstack.errors import OptionError
from batchstack.images import Written
from batchstack.options import DEFAULT_NAME, OutputOptions, declared

JOURNAL = "journal.jsonl"

# A line as it is written here: no part of it starts and ends like the whole, so that a torn one
# is told without taking it apart.
_START = re.compile(rb'\{"id":"([^"\\\x00-\x1f]+)",("error":)?')
_RUN = b'{"run":'
_VERSION = {"v": 2}
_END = b',"v":2}'
_TEMPLATES = declared(OutputOptions)["name"].kind


@dataclass(frozen=True)
class Record:
    """What the ledger knows of a finished stack and method.

    Attributes
    ----------
    key : dict
        Everything but the inputs that the outputs depend on.
    inputs : tuple of Input
    outputs : dict of str to Written
        By the output with its ending, wherever it is.
    scores : dict of str to dict
        Output name to its scores; empty if none were asked for.
        Scores do not decide whether the method is done.
    """

    key: dict[str, Any]
    inputs: tuple[Input, ...]
    outputs: dict[str, Written]
    scores: dict[str, Scores] = field(default_factory=dict)

    @property
    def template(self) -> str:
        """What its outputs are called; a key names it only if it is not the usual one."""
        return str(self.key.get("name", DEFAULT_NAME))

    def place(self, stack_id: str, file: str) -> str:
        """Where an output of it is, from the output directory."""
        return place(self.template, stack_id, file)


@dataclass
class StackHistory:
    """All that the journal says of one stack.

    Attributes
    ----------
    records : dict of str to Record
        By method.
    error : str, optional
        Why it failed, if that was the last thing that happened to it.
    row : dict of str to str, optional
        The row of the manifest that failed, as `row_record` makes it.
    facts : dict
        What is worth knowing and decides nothing.
    """

    records: dict[str, Record] = field(default_factory=dict)
    error: str | None = None
    row: dict[str, str] | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def frames(self) -> tuple[Input, ...]:
        """Its frames, back to front: as they were read, or as asked for if it only failed."""
        for record in self.records.values():
            return record.inputs
        row = self.row or {}
        paths = (
            row["frames"].split("|") if row.get("frames") else [row.get("back"), row.get("front")]
        )
        return tuple(Input(path, 0, 0, "") for path in paths if path)

    def take(self, later: "StackHistory") -> None:
        """Add what a later line says."""
        self.error, self.row = later.error, later.row
        self.records |= later.records
        if later.error is None:
            self.facts = later.facts

    def missing(self, directory: Path, stack_id: str) -> list[str]:
        """The outputs that are not there in their recorded size."""
        return [
            file
            for record in self.records.values()
            for file, output in record.outputs.items()
            if files.size_of(f"{directory}/{record.place(stack_id, file)}") != output.size
        ]


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
        (inputs,) = {record.inputs for record in records.values()}
        shared = _shared([record.key for record in records.values()])
        self._append(
            {
                "id": stack_id,
                "inputs": [list(asdict(frame).values()) for frame in inputs],
                "key": shared,
                "methods": {name: _as_data(record, shared) for name, record in records.items()},
                "facts": facts or {},
            }
        )

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
        self._file.append(json.dumps({"run": about} | _VERSION, separators=(",", ":")).encode())

    def sync(self) -> None:
        """Wait until what was appended is on the disk.

        Without it a power cut may take the last lines, and the work is done again.
        """
        self._file.sync()

    def _append(self, entry: dict[str, Any]) -> None:
        text = json.dumps(entry | _VERSION, ensure_ascii=False, separators=(",", ":"))
        line = text.encode(errors="replace")  # of what is no text, such as half a character
        if len(line) >= files.LONGEST_LINE and entry.get("facts"):
            self._append(
                entry | {"facts": {}}
            )  # what is read is worth more than what decides nothing
            return
        self._learn(self._file.append(line), line)

    def _learn(self, offset: int, line: bytes) -> None:
        """Remember where a line is, if it is a record."""
        about = _about(line)
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


def about_run(line: bytes) -> dict[str, Any] | None:
    """What a line of the journal notes of a run; None of any other line."""
    if not line.startswith(_RUN):
        return None
    with suppress(ValueError, RecursionError):
        about = json.loads(line)["run"]
        return about if isinstance(about, dict) else None
    return None


# --- lines of the journal: records as data, and data of any origin as records


def _as_data(record: Record, shared: Mapping[str, Any]) -> dict[str, Any]:
    """A record but for its inputs and what its key shares with others."""
    data = {
        "key": {name: value for name, value in record.key.items() if name not in shared},
        "outputs": {
            name: output.size if output.digest is None else [output.size, output.digest]
            for name, output in record.outputs.items()
        },
    }
    return data | ({"scores": record.scores} if record.scores else {})


def _shared(keys: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What all keys agree on; most of a line would be repetitions of it."""
    first, *others = keys
    return {
        name: value
        for name, value in first.items()
        if all(name in other and other[name] == value for other in others)
    }


def _about(line: bytes) -> tuple[str, bool] | None:
    """Which stack a line is about and whether that failed; None if it is no record."""
    start = _START.match(line)
    if start and line.rstrip(b"\r\n").endswith(_END):
        try:
            stack_id = start[1].decode()
        except UnicodeDecodeError:
            return None
        return (stack_id, start[2] is not None) if _is_folder(stack_id) else None
    known = said(line)
    return known and (known[0], known[1].error is not None)


def said(line: bytes) -> tuple[str, StackHistory] | None:
    """The stack that a line of the journal is about and what it says; None if it is no record."""
    try:
        entry = _typed(dict, _loaded(line))
        stack_id = _typed(str, entry["id"])
        if not _is_folder(stack_id):
            return None
        if entry.get("error") is not None:
            return stack_id, StackHistory(error=_typed(str, entry["error"]), row=_row(entry))
        inputs = tuple([_input(*values) for values in _typed(list, entry["inputs"])])
        shared = _typed(dict, entry.get("key", {}))
        methods = _typed(dict, entry["methods"]).items()
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    records = {
        name: record
        for name, data in methods
        if (record := _record(data, shared, inputs)) is not None
    }
    facts = entry.get("facts")
    history = StackHistory(records, facts=facts if isinstance(facts, dict) else {})
    return (stack_id, history) if records else None


def _loaded(line: bytes) -> Any:
    entry = json.loads(line.decode())
    if b"\\u" in line:
        # Half of a surrogate pair is no text: it cannot be printed and names no file.
        entry = json.loads(json.dumps(entry, ensure_ascii=False).encode(errors="replace"))
    return entry


def _record(data: Any, shared: dict[str, Any], inputs: tuple[Input, ...]) -> Record | None:
    """The record of one method, None if something of it is damaged."""
    try:
        key = shared | _typed(dict, data["key"])
        outputs = dict(map(_output, data["outputs"].items()))
        scores = dict(map(_scores, data.get("scores", {}).items()))
        if not _TEMPLATES.accepts(key.get("name", DEFAULT_NAME)):
            return None  # it leads out of the directory
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    return Record(key, inputs, outputs, scores)


def _input(path: Any, size: Any, mtime_ns: Any, digest: Any) -> Input:
    return Input(_typed(str, path), _typed(int, size), _typed(int, mtime_ns), _typed(str, digest))


def _output(item: tuple[str, Any]) -> tuple[str, Written]:
    name, value = item
    output = Written(value) if isinstance(value, int) else Written(*value)
    if not (isinstance(output.size, int) and isinstance(output.digest, (str, NoneType))):
        raise TypeError(value)
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise ValueError(name)  # it may lead out of the directory
    return name, output


def _scores(item: tuple[str, Any]) -> tuple[str, Scores]:
    name, values = item
    return name, {measure: float(_typed((int, float), value)) for measure, value in values.items()}


def _row(entry: dict[str, Any]) -> dict[str, str] | None:
    row = entry.get("row")
    if not isinstance(row, dict) or not all(isinstance(text, str) for text in row.values()):
        return None
    return row


def _typed(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(kind)
    return value


def _is_folder(stack_id: str) -> bool:
    """Whether an id leads to a folder below the output directory."""
    return "\0" not in stack_id and not {"", ".", ".."} & set(stack_id.split("/"))


# --- what makes a record valid


def why_not_done(record: Record, key: dict[str, Any], directory: Path, stack_id: str) -> str | None:
    """Why a method must be computed whatever its frames, or None.

    Parameters
    ----------
    record : Record
        What the ledger has.
    key : dict
        The key computed now.
    directory : Path
        The output directory.
    stack_id : str
    """
    if record.key != key:
        return _difference(record.key, key)
    for name, output in record.outputs.items():
        # Text is joined ten times as fast as paths, and a long run has many.
        found = files.size_of(f"{directory}/{record.place(stack_id, name)}")
        if found is None:
            return f"{name} is missing"
        if found != output.size:
            return f"{name} has {found} bytes instead of {output.size}"
    return None


def what_changed(
    inputs: Sequence[Input], frames: Sequence[str], digest: Callable[[Path], str]
) -> str | None:
    """How frames differ from those recorded, or None.

    Parameters
    ----------
    inputs : sequence of Input
        As recorded.
    frames : sequence of str
        Their paths, back to front.
    digest : callable
        Digest of a file's content; called only for a frame whose path, size or time
        are not the recorded ones.
    """
    if len(inputs) != len(frames):
        return f"{len(frames)} frames instead of {len(inputs)}"
    for known, path in zip(inputs, frames, strict=True):
        if not same_content(known, path, digest):
            if path != known.path and {frame.path for frame in inputs} == set(frames):
                return "frames are in another order"
            return f"{Path(path).name} changed"
    return None


def is_as_recorded(inputs: Sequence[Input], frames: Sequence[str]) -> bool:
    """Whether frames have the recorded paths, sizes and times, so that none need be read."""
    found = ((path, files.status(path)) for path in frames)
    return len(inputs) == len(frames) and all(
        (known.path, known.size, known.mtime_ns) == (path, now.st_size, now.st_mtime_ns)
        for known, (path, now) in zip(inputs, found, strict=True)
    )


def same_content(known: Input, path: str, digest: Callable[[Path], str]) -> bool:
    """Whether a file has the recorded content."""
    status = files.status(path)
    if status.st_size != known.size:
        return False
    if path == known.path and status.st_mtime_ns == known.mtime_ns:
        return True
    return digest(Path(path)) == known.digest


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    changed = [
        f"{name.replace('_', '-')} {old.get(name)} -> {new.get(name)}"
        for name in old | new
        if old.get(name) != new.get(name)
    ]
    return "changed: " + ", ".join(changed)
