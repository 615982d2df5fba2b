"""Records of finished stacks, and the lines of the journal that hold them.

A line that is no record - torn, damaged, of a stranger - is None here, whatever is in it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any

from batchstack import files
from batchstack.batch.jobs import Input, Scores
from batchstack.batch.output_names import place
from batchstack.images import Written
from batchstack.options import DEFAULT_NAME, OutputOptions, declared

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


def about_run(line: bytes) -> dict[str, Any] | None:
    """What a line of the journal notes of a run; None of any other line."""
    if not line.startswith(_RUN):
        return None
    with suppress(ValueError, RecursionError):
        about = json.loads(line)["run"]
        return about if isinstance(about, dict) else None
    return None


def as_line(entry: Mapping[str, Any]) -> bytes:
    """A line of the journal, without its end."""
    text = json.dumps({**entry, **_VERSION}, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="replace")  # of what is no text, such as half a character


def done(stack_id: str, records: Mapping[str, Record], facts: dict[str, Any]) -> dict[str, Any]:
    """What a line says of methods of a stack that are finished, by their names.

    The inputs are the same for all.
    """
    (inputs,) = {record.inputs for record in records.values()}
    shared = _shared([record.key for record in records.values()])
    return {
        "id": stack_id,
        "inputs": [list(asdict(frame).values()) for frame in inputs],
        "key": shared,
        "methods": {name: _as_data(record, shared) for name, record in records.items()},
        "facts": facts,
    }


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


def subject(line: bytes) -> tuple[str, bool] | None:
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
