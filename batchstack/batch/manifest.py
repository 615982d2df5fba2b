"""Read and write manifests: the list of stacks a run is to fuse.

CSV, TSV, JSONL and YAML load into the same rows.
`manifest_formats` turns each format into entries, that is texts with their places;
`manifest_rows` knows one schema only.
Problems are collected and reported together, each with its place.
"""

import codecs
import csv
import gc
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from batchstack.batch.manifest_formats import COLUMNS, META_PREFIX, READERS, Report, manifest_text
from batchstack.batch.manifest_patterns import same_name
from batchstack.batch.manifest_rows import (
    OWN_NAMES,
    PROPOSAL,
    OptionValue,
    Row,
    RowChecker,
    allowed_id,
)
from batchstack.errors import ManifestError
from batchstack.files import part_file

__all__ = [
    "COLUMNS",
    "OWN_NAMES",
    "PROPOSAL",
    "Manifest",
    "Report",
    "Row",
    "allowed_id",
    "collector_paused",
    "load_manifest",
    "row_record",
    "same_name",
    "write_manifest",
    "write_records",
]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The rows of one file, in its order."""

    path: Path
    rows: tuple[Row, ...]


def load_manifest(path: str | Path, *, known_methods: Collection[str] | None = None) -> Manifest:
    """Read a manifest and check all that can be known without opening an image.

    Parameters
    ----------
    path : str or Path
        A .csv, .tsv, .jsonl, .ndjson, .yaml or .yml file; relative paths in it are
        relative to its folder.
    known_methods : collection of str, optional
        The names `methods` may use, in the order `all` stands for; by default those of `METHODS`.

    Raises
    ------
    ManifestError
        With the problems of the file, one per line, in the order of their places:
        `pairs.csv:14:3 front: file not found: 'img/x.tif' (resolved to /data/img/x.tif)`.
        After the first hundred the rest is counted.
        The second number is the field in CSV and TSV, the key in JSONL and the
        character in YAML.

    Examples
    --------
    >>> import batchstack
    >>> manifest = batchstack.load_manifest("pairs.csv")
    >>> [(row.id, len(row.frames)) for row in manifest.rows]
    [('first', 2), ('second', 2)]
    """
    path = Path(path).absolute()
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ManifestError(
            f"{path}: unknown kind of manifest {path.suffix!r}; give one of {', '.join(READERS)}"
        )
    if known_methods is None:
        from batchstack.fusion.methods import METHODS

        known_methods = METHODS
    report = Report(path.name)
    checker = RowChecker(path.parent, tuple(known_methods), report)
    with collector_paused():
        entries = reader(manifest_text(path), report)
        rows = [row for entry in entries if (row := checker.row(entry)) is not None]
    if not rows and not report.count:
        report.add(None, None, "no rows; a manifest needs at least one stack")
    report.raise_if_any()
    return Manifest(path, tuple(rows))


def write_manifest(path: str | Path, rows: Iterable[Row]) -> None:
    """Write rows as CSV that `load_manifest` reads again to equal rows.

    Paths are absolute, so the file can be moved.

    Raises
    ------
    ManifestError
        If a stack of three or more frames has a path with `|` in it.
    FileError
        If the file cannot be written.
    """
    write_records(path, [row_record(row) for row in rows])


def write_records(path: str | Path, records: Collection[Mapping[str, str]]) -> None:
    """Write rows as `row_record` made them; the file appears at once or not at all.

    Parameters
    ----------
    path : str or Path
    records : collection of mapping of str to str
        Column to field; names that are no column of a manifest are left out.

    Raises
    ------
    FileError
        If the file cannot be written.
    """
    used = set().union(*records)
    metas = sorted(name for name in used if name.startswith(META_PREFIX))
    columns = [name for name in COLUMNS if name in used or name == "id"] + metas
    with part_file(Path(path)) as (_, file):
        text = codecs.getwriter("utf-8")(file)
        writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(records)


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


def row_record(row: Row) -> dict[str, str]:
    """One row as CSV fields, its paths absolute; a pair keeps its own columns.

    Raises
    ------
    ManifestError
        If a stack of three or more frames has a path with `|` in it.
    """
    paths = row.paths
    if len(paths) == 2:
        frames = {"back": paths[0], "front": paths[1]}
    elif any("|" in path for path in paths):
        raise ManifestError(f"{row.id!r} has a frame with | in its path; | separates frames")
    else:
        frames = {"frames": "|".join(paths)}
    methods = {} if row.methods is None else {"methods": "|".join(row.methods)}
    options = {name: _option_text(value) for name, value in row.options}
    return {"id": row.id, **frames, **methods, **options, **dict(row.meta)}


def _option_text(value: OptionValue) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
