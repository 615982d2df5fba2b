"""The formats of a manifest: CSV, TSV, JSONL and YAML as entries, texts with their places."""

import csv
import dataclasses
import difflib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from batchstack.errors import ManifestError
from batchstack.options import FusionOptions

Value = str | tuple[str, ...]
META_PREFIX = "meta_"
FRAME_COLUMNS = ("back", "front", "frames")
OPTION_COLUMNS = (
    *(item.name for item in dataclasses.fields(FusionOptions)),
    *("align", "border", "match_exposure"),
    *("format", "quality", "resize"),
)
COLUMNS = ("id", *FRAME_COLUMNS, "methods", *OPTION_COLUMNS)
_HEADERS = (*COLUMNS, f"{META_PREFIX}*")


class Report:
    """The problems found so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[tuple[int, int, str]] = []

    def add(self, line: int | None, column: int | None, text: str) -> None:
        place = ":".join(str(part) for part in (self.name, line, column) if part is not None)
        self.problems.append((line or 0, column or 0, _one_line(f"{place} {text}")))

    def raise_if_any(self) -> None:
        if self.problems:
            raise ManifestError("\n".join(text for _, _, text in sorted(self.problems)))


class Cell(NamedTuple):
    value: Value
    line: int
    column: int | None

    @property
    def filled(self) -> bool:
        return bool(self.value if isinstance(self.value, tuple) else self.value.strip())


class Entry(NamedTuple):
    """What one row says, before it is understood."""

    line: int
    cells: dict[str, Cell]

    def has(self, name: str) -> bool:
        return name in self.cells and self.cells[name].filled


def _one_line(text: str) -> str:
    """Make line breaks and other unprintable characters visible."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@lru_cache(maxsize=1024)
def _column(name: str) -> str | None:
    """The column a header or key means, None if there is no such column."""
    name = name.strip()
    if name.startswith(META_PREFIX) and name != META_PREFIX:
        return None if NOT_TEXT.search(name) else name
    name = name.replace("-", "_")
    return name if name in COLUMNS else None


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name.strip().lower(), list(known), n=1)
    advice = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
    return f"unknown {kind} {name.strip()!r}; {advice}"


# --- one reader per format: text to entries


def read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        text = data.decode("utf-8-sig")
        damaged = data.find(b"\0")
    except UnicodeDecodeError as error:
        text, damaged = "", error.start
    if damaged >= 0:
        line = data.count(b"\n", 0, damaged) + 1
        raise ManifestError(
            f"{path.name}:{line} not UTF-8 text (byte 0x{data[damaged]:02x}); save it as UTF-8"
        )
    if not text.strip():
        raise ManifestError(f"{path.name} is empty; a manifest needs at least one stack")
    return text


def _read_table(text: str, delimiters: str, report: Report) -> Iterator[Entry]:
    """Entries of CSV or TSV, separated by the first delimiter that yields a column id."""
    first = text.lstrip().splitlines()[0]
    fitting = [d for d in delimiters if "id" in (name.strip(' "') for name in first.split(d))]
    delimiter = fitting[0] if fitting else delimiters[0]
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    records = _numbered(reader, report)
    line, header = next(records, (1, []))
    columns = _header(header, line, report)
    for line, fields in records:
        if columns and len(fields) == len(columns):
            cells = zip(columns, fields, range(1, len(fields) + 1), strict=True)
            yield Entry(line, {name: Cell(text, line, i) for name, text, i in cells if name})
        elif columns:
            first_off = min(len(fields), len(columns)) + 1
            count = f"{len(fields)} fields, but the header has {len(columns)}"
            report.add(line, first_off, count)


def _numbered(reader: Any, report: Report) -> Iterator[tuple[int, list[str]]]:
    """Records that are not blank, each with the line it starts on."""
    start = 1
    try:
        for fields in reader:
            if any(map(str.strip, fields)):
                yield start, fields
            start = reader.line_num + 1
    except csv.Error as error:
        report.add(start, None, f"broken quotes in the row that starts here: {error}")


def _header(names: list[str], line: int, report: Report) -> list[str] | None:
    """The columns in order ("" for unknown ones), None if rows cannot be understood."""
    columns = [_column(name) or "" for name in names]
    usable = True
    for i, (name, column) in enumerate(zip(names, columns, strict=True), start=1):
        if not name.strip():
            report.add(line, i, "column without a name; name it or remove it")
        elif not column:
            report.add(line, i, unknown("column", name, _HEADERS))
        elif column in columns[: i - 1]:
            report.add(line, i, f"{column}: is there twice")
            usable = False
    if "id" not in columns:
        report.add(line, None, f"no column 'id'; the header is {', '.join(map(repr, names))}")
        usable = False
    if "frames" not in columns and not {"back", "front"} <= set(columns):
        report.add(line, None, "no frames; a header needs 'back' and 'front', or 'frames'")
        usable = False
    return columns if usable else None


def _read_jsonl(text: str, report: Report) -> Iterator[Entry]:
    for line, record in enumerate(text.split("\n"), start=1):
        if not record.strip():
            continue
        try:
            pairs = _JSON.decode(record.strip())
        except json.JSONDecodeError as error:
            report.add(line, None, f"not JSON: {error.msg} at character {error.colno}")
            continue
        except RecursionError:
            report.add(line, None, "not JSON: nested too deeply")
            continue
        # Objects arrive as tuples of pairs, arrays as lists.
        if isinstance(pairs, tuple):
            keyed = [(key, item, line, i) for i, (key, item) in enumerate(pairs, start=1)]
            yield from _keyed(line, keyed, report)
        else:
            report.add(line, None, "not a JSON object; each line is one stack")


# Numbers stay the text they are, so that an id or a meta value 1.10 is not changed.
_JSON = json.JSONDecoder(
    object_pairs_hook=tuple, parse_int=str, parse_float=str, parse_constant=str
)


def _read_yaml(text: str, report: Report) -> Iterator[Entry]:
    import yaml

    try:
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except RecursionError:
        report.add(None, None, "not YAML: nested too deeply")
        return
    except yaml.YAMLError as error:
        report.add(*_yaml_error_place(error, text), f"not YAML: {_yaml_reason(error)}")
        return
    for node in _yaml_stacks(root, report):
        if node.id == "mapping":
            keyed = [(_yaml_key(key), _yaml_item(item), *_mark(item)) for key, item in node.value]
            yield from _keyed(_mark(node)[0], keyed, report)
        else:
            report.add(*_mark(node), "not a mapping; each item of the list is one stack")


def _yaml_stacks(root: Any, report: Report) -> list[Any]:
    """The nodes of the stacks: the root's items or those under `stacks`."""
    if root is None:
        return []
    if root.id == "mapping":
        others = [key for key, _ in root.value if _yaml_key(key) != "stacks"]
        for key in others:
            report.add(*_mark(key), unknown("key", _yaml_key(key), ("stacks",)))
        lists = [item for key, item in root.value if key not in others]
        return [stack for item in lists for stack in _yaml_stacks_of(item, report)]
    return _yaml_stacks_of(root, report)


def _yaml_stacks_of(node: Any, report: Report) -> list[Any]:
    if node.id == "sequence":
        return list(node.value)
    report.add(*_mark(node), "not a list; give a list of stacks, alone or under 'stacks'")
    return []


def _yaml_key(node: Any) -> str:
    return str(node.value) if node.id == "scalar" else "?"


def _yaml_item(node: Any) -> Any:
    """A node as JSON would give it: text, None, a list, or a tuple for a mapping."""
    if node.id == "scalar":
        return None if node.tag.endswith(":null") else str(node.value)
    if node.id == "mapping":
        return ()
    return [_yaml_item(part) if part.id == "scalar" else () for part in node.value]


def _mark(node: Any) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _yaml_error_place(error: Any, text: str) -> tuple[int | None, int | None]:
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return mark.line + 1, mark.column + 1
    # Characters YAML forbids are found before there are marks, with a position in bytes.
    before = text.encode()[: getattr(error, "position", 0)]
    return before.count(b"\n") + 1, None


def _yaml_reason(error: Any) -> str:
    return getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"


def _keyed(
    line: int, pairs: Iterable[tuple[str, Any, int, int]], report: Report
) -> Iterator[Entry]:
    """The entry of keys with values, as JSONL and YAML have them."""
    cells: dict[str, Cell] = {}
    sound = True
    for key, item, at, column in pairs:
        name, value = _column(key), _value(item)
        if name is None:
            report.add(at, column, unknown("column", key, _HEADERS))
        elif fault := _value_fault(value) or ("is there twice" if name in cells else None):
            report.add(at, column, f"{name}: {fault}")
            sound = False
        elif value is not None:
            cells[name] = Cell(value, at, column)
    if sound:
        yield Entry(line, cells)


def _value_fault(value: Value | None) -> str | None:
    if value is None:
        return "neither a text nor a list of texts"
    if NOT_TEXT.search("".join(value)):
        return "holds a character that no text file can hold"
    return None


# NUL and halves of surrogate pairs: JSON and YAML can escape them.
NOT_TEXT = re.compile("[\0\ud800-\udfff]")


def _value(item: Any) -> Value | None:
    """The cell value of a parsed item, None for what a cell cannot hold."""
    if not isinstance(item, list):
        return _scalar(item)
    texts = [text for part in item if (text := _scalar(part)) is not None]
    return tuple(texts) if len(texts) == len(item) else None


def _scalar(item: Any) -> str | None:
    if item is None:
        return ""
    if isinstance(item, bool):
        return str(item).lower()
    return item if isinstance(item, str) else None


READERS: dict[str, Callable[[str, Report], Iterator[Entry]]] = {
    # A spreadsheet with a decimal comma writes semicolons into its CSV.
    ".csv": lambda text, report: _read_table(text, ",;\t", report),
    ".tsv": lambda text, report: _read_table(text, "\t", report),
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
}
