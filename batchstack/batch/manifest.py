"""Read and write manifests: the list of stacks a run is to fuse.

CSV, TSV, JSONL and YAML load into the same rows.
`manifest_formats` turns each format into entries, that is texts with their places;
`manifest_rows` knows one schema only.
All problems are collected and reported together, each with its place.
"""

import csv
import gc
import io
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from batchstack import files
from batchstack.batch.manifest_formats import COLUMNS, META_PREFIX, READERS, Report, read_text
from batchstack.batch.manifest_rows import OptionValue, Row, RowChecker
from batchstack.errors import ManifestError

__all__ = [
    "COLUMNS",
    "Manifest",
    "Row",
    "collector_paused",
    "load_manifest",
    "write_manifest",
]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The rows of one file, in its order."""

    path: Path
    rows: tuple[Row, ...]


def load_manifest(path: str | Path, *, known_methods: Collection[str]) -> Manifest:
    """Read a manifest and check all that can be known without opening an image.

    Parameters
    ----------
    path : str or Path
        A .csv, .tsv, .jsonl, .ndjson, .yaml or .yml file; relative paths in it are
        relative to its folder.
    known_methods : collection of str
        The names `methods` may use, in the order `all` stands for.

    Raises
    ------
    ManifestError
        With all problems of the file, one per line, in the order of their places:
        `pairs.csv:14:3 front: file not found: 'img/x.tif' (resolved to /data/img/x.tif)`.
        The second number is the field in CSV and TSV, the key in JSONL and the
        character in YAML.
    """
    path = Path(path).absolute()
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ManifestError(
            f"{path}: unknown kind of manifest {path.suffix!r}; give one of {', '.join(READERS)}"
        )
    report = Report(path.name)
    checker = RowChecker(path.parent, tuple(known_methods), report)
    with collector_paused():
        entries = reader(read_text(path), report)
        rows = [row for entry in entries if (row := checker.row(entry)) is not None]
    if not rows and not report.problems:
        report.add(None, None, "no rows; a manifest needs at least one stack")
    report.raise_if_any()
    return Manifest(path, tuple(rows))


def write_manifest(path: str | Path, rows: Iterable[Row]) -> None:
    """Write rows as CSV that `load_manifest` reads again to equal rows.

    Paths are absolute, so the file can be moved.
    The file appears at once or not at all.

    Raises
    ------
    ManifestError
        If a stack of three or more frames has a path with `|` in it.
    FileError
        If the file cannot be written.
    """
    records = [_record(row) for row in rows]
    used = set().union(*records)
    metas = sorted(name for name in used if name.startswith(META_PREFIX))
    columns = [name for name in COLUMNS if name in used or name == "id"] + metas
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(records)
    files.replace_file(Path(path), text.getvalue().encode())


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the garbage collector from visiting a growing list again and again.

    It took half of the time for 100,000 rows, where nothing is cyclic garbage.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _record(row: Row) -> dict[str, str]:
    """One row as CSV fields; a pair keeps its own columns."""
    texts = [str(path) for path in row.frames]
    if len(texts) == 2:
        frames = {"back": texts[0], "front": texts[1]}
    elif any("|" in text for text in texts):
        raise ManifestError(f"{row.id!r} has a frame with | in its path; | separates frames")
    else:
        frames = {"frames": "|".join(texts)}
    methods = {} if row.methods is None else {"methods": "|".join(row.methods)}
    options = {name: _option_text(value) for name, value in row.options}
    return {"id": row.id, **frames, **methods, **options, **dict(row.meta)}


def _option_text(value: OptionValue) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
