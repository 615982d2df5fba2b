"""The formats of a manifest: CSV, TSV, JSONL and YAML as entries, texts with their places."""

import codecs
import csv
import io
import json
import re
import stat
from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from batchstack import files
from batchstack.errors import ManifestError, unknown
from batchstack.options import RunOptions, declared

Value = str | tuple[str, ...]
Text = str | Callable[[], str]
META_PREFIX = "meta_"
FRAME_COLUMNS = ("back", "front", "frames")
OPTION_COLUMNS = {name: known for name, known in declared(RunOptions).items() if known.column}
COLUMNS = ("id", *FRAME_COLUMNS, "methods", *OPTION_COLUMNS)
_HEADERS = (*COLUMNS, f"{META_PREFIX}*")
_TOLD = 100  # problems
_LONGEST_LINE = 2000
_PIECE = 2**20  # bytes
_DEEPEST = 200  # levels of YAML
_REPEATED = 10_000_000  # characters that aliases of YAML may stand for


class Report:
    """The first hundred problems in the order of their places, and how many there are.

    Parameters
    ----------
    name : str
        The file the places are in.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.count = 0
        self._told: list[tuple[tuple[int, int, int], str]] = []

    def add(self, line: int | None, column: int | None, text: Text, *, about: str = "") -> None:
        """Take up a problem of a place, about a column if that is named.

        A text that takes time to make is given as a function, and made only if it is told.
        """
        place = ":".join(str(part) for part in (self.name, line, column) if part is not None)
        self._add((line or 0, column or 0), f"{place} {about}: " if about else f"{place} ", text)

    def add_row(self, place: str, text: Text) -> None:
        """Take up a problem of a row of which the place is known as a text ("pairs.csv:14").

        Such problems are told in the order in which they are taken up.
        """
        self._add((0, 0), f"{place} ", text)

    def _add(self, where: tuple[int, int], start: str, text: Text) -> None:
        self.count += 1
        order = (*where, self.count)
        if len(self._told) == _TOLD:
            if order > self._told[-1][0]:
                return
            self._told.pop()
        insort(self._told, (order, _one_line(start + (text if isinstance(text, str) else text()))))

    def raise_if_any(self) -> None:
        """Raise ManifestError with all that is told, one problem per line."""
        if not self.count:
            return
        lines = [text for _, text in self._told]
        if more := self.count - len(lines):
            lines.append(f"and {more:,} more problem{'s' * (more > 1)}")
        raise ManifestError("\n".join(lines))


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
    """Make line breaks and other unprintable characters visible, and cut what is very long."""
    if len(text) > _LONGEST_LINE:
        text = f"{text[: _LONGEST_LINE - 500]} ... {text[-500:]}"
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


# --- one reader per format: text to entries


# A field may list thousands of frames; the limit holds for the whole process.
csv.field_size_limit(2**31 - 1)


def manifest_text(path: Path) -> str:
    """The text of a manifest.

    Raises
    ------
    ManifestError
        If it cannot be read, is empty, or is not UTF-8.
    """
    try:
        # What is no file may have no end, or nobody who writes to it.
        if not stat.S_ISREG(files.status(path).st_mode):
            raise ManifestError(_one_line(f"{path}: is not a file; give the file of a manifest"))
        with files.open_to_read(path) as file:
            text = "".join(_decoded(file, path.name))
    except OSError as error:
        raise ManifestError(_one_line(f"{path}: cannot be read: {error.strerror}")) from error
    except MemoryError:
        raise ManifestError(_one_line(f"{path}: is too large for the memory; split it")) from None
    if not text or text.isspace():
        raise ManifestError(_one_line(f"{path.name} is empty; a manifest needs at least one stack"))
    return text


def _decoded(file: BinaryIO, name: str) -> Iterator[str]:
    """The text piece by piece, up to the first byte that is none: the file may be huge."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    line, more = 1, True
    while more:
        data = file.read(_PIECE)
        more = bool(data)
        try:
            piece, damaged = decoder.decode(data, final=not more), data.find(b"\0")
        except UnicodeDecodeError as error:
            data, damaged = error.object, error.start
        if damaged >= 0:
            line += data.count(b"\n", 0, damaged)
            fault = f"not UTF-8 text (byte 0x{data[damaged]:02x}); save it as UTF-8"
            raise ManifestError(_one_line(f"{name}:{line} {fault}"))
        line += data.count(b"\n")
        yield piece


def _read_table(text: str, delimiters: str, report: Report) -> Iterator[Entry]:
    """Entries of CSV or TSV, separated by the first delimiter that yields a column id."""
    lines = io.StringIO(text, newline="")
    first = next(line.strip() for line in lines if not line.isspace())
    lines.seek(0)
    fitting = [d for d in delimiters if "id" in (name.strip(' "') for name in first.split(d))]
    delimiter = fitting[0] if fitting else delimiters[0]
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
    seen: set[str] = set()
    usable = True
    for i, (name, column) in enumerate(zip(names, columns, strict=True), start=1):
        if not name.strip():
            report.add(line, i, "column without a name; name it or remove it")
        elif not column:
            report.add(line, i, partial(unknown, "column", name, _HEADERS))
        elif column in seen:
            report.add(line, i, "is there twice", about=column)
            usable = False
        seen.add(column)
    if "id" not in seen:
        report.add(line, None, f"no column 'id'; the header is {', '.join(map(repr, names))}")
        usable = False
    if "frames" not in seen and not {"back", "front"} <= seen:
        report.add(line, None, "no frames; a header needs 'back' and 'front', or 'frames'")
        usable = False
    return columns if usable else None


def _read_jsonl(text: str, report: Report) -> Iterator[Entry]:
    # Only \n ends a line: JSON may have other line breaks inside a text.
    for line, record in enumerate(io.StringIO(text, newline="\n"), start=1):
        if record.isspace():
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

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        if _yaml_excess(yaml.parse(text, Loader=loader), report):
            return
        root = yaml.compose(text, Loader=loader)
    except yaml.YAMLError as error:
        report.add(*_yaml_error_place(error, text), f"not YAML: {_yaml_reason(error)}")
        return
    for node in _yaml_stacks(root, report):
        if node.id == "mapping":
            keyed = [(_yaml_key(key), _yaml_item(item), *_mark(item)) for key, item in node.value]
            yield from _keyed(_mark(node)[0], keyed, report)
        else:
            report.add(*_mark(node), "not a mapping; each item of the list is one stack")


def _yaml_excess(events: Iterable[Any], report: Report) -> bool:
    """Report nesting that would overflow the stack of `compose`, which recurses in C, and
    aliases that stand for ever so much; events come one by one, without recursion.

    A value weighs ten characters more than it has, an alias what it stands for.
    """
    import yaml

    weights: dict[str | None, int] = {}  # by anchor; those without one are in nobody's way
    open_weights, open_anchors, written = [0], [None], 0
    for event in events:
        own = 10 + len(getattr(event, "value", ""))
        written += own
        if isinstance(event, yaml.CollectionStartEvent):
            open_weights.append(own)
            open_anchors.append(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            weights[open_anchors.pop()] = weight = open_weights.pop()
            open_weights[-1] += weight
        elif isinstance(event, yaml.NodeEvent):  # a scalar or an alias
            if isinstance(event, yaml.ScalarEvent):
                weights[event.anchor] = own
            open_weights[-1] += weights.get(event.anchor, own)
        if len(open_weights) > _DEEPEST + 1:
            report.add(
                *_mark(event), "nested too deeply; each stack is a mapping of texts or lists"
            )
            return True
        if open_weights[-1] > written + _REPEATED:
            report.add(*_mark(event), "aliases stand for too much; write out what is needed of it")
            return True
    return False


def _yaml_stacks(root: Any, report: Report) -> Iterator[Any]:
    """The nodes of the stacks: the root's items or those under `stacks`."""
    if root is None:
        return
    if root.id != "mapping":
        yield from _yaml_stacks_of(root, report)
        return
    for key, item in root.value:
        name = _yaml_key(key)
        if name == "stacks":
            yield from _yaml_stacks_of(item, report)
        else:
            report.add(*_mark(key), partial(unknown, "key", name, ("stacks",)))


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
            report.add(at, column, partial(unknown, "column", key, _HEADERS))
        elif fault := _value_fault(value) or ("is there twice" if name in cells else None):
            report.add(at, column, fault, about=name)
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
