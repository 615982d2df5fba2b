"""A report written to an output directory: one page of all stacks, and one page of each.

    OUTPUT/report.html               totals, failures, the list of stacks
    OUTPUT/batchstack_mqc.tsv        the same list for MultiQC
    OUTPUT/.batchstack/report/       all else: data of the list, scripts, style
        <stack>/index.html, *.jpg    page and previews of a stack (`batch.previews`)

What is unchanged since the last report is kept.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote

from batchstack import files
from batchstack.batch.claim import FOLDER, is_claimed
from batchstack.batch.ledger import Ledger
from batchstack.batch.manifest_rows import MULTIQC, REPORT
from batchstack.batch.previews import (
    THUMB,
    Kept,
    Preview,
    folder_name,
    is_of_report,
    keep,
    kept_in,
    output_name,
    report_folder,
    write,
)
from batchstack.errors import OptionError
from batchstack.fusion.methods import METHODS
from batchstack.report import html, multiqc, previews
from batchstack.report.stacks import (
    STATUSES,
    Stack,
    log,
    parameters,
    rank,
    recommended,
    registration,
    stem,
)

_MARK = b"<!doctype html>\n<!-- a report of batchstack -->"
_DATA = ("stacks.js", "order.js")
_FAILURES_SHOWN = 10
_WORST_SHOWN = 100  # where scripts are off
# Frames of more megapixels are read one at a time.
_LARGE = 50.0
_THREADS = 4

Told = Callable[[int], None]


@dataclass(frozen=True)
class Line:
    """A stack in the list of all stacks.

    Attributes
    ----------
    id, page, status : str
        The stack, the folder of its page, one of `STATUSES`.
    text : str
        What to know of it: why it failed, what is missing, what is worth a look.
    quality, measure, output : float and str, optional
        The quality of the recommended output, by which measure, and which output that is.
    artefacts : float, optional
        How much of the same output are edges of its own, in percent.
    confidence : float, optional
        How sure the depth is in the mean, from 0 to 1.
    frames : int
    megapixels, seconds, cropped, residual : float, optional
        Of one frame; busy; percent; pixels.
    finished : float, optional
        When, in seconds since 1970.
    thumb : (int, int), optional
        Width and height of its picture.
    methods : tuple of str
    """

    id: str
    page: str
    status: str
    text: str
    quality: float | None
    measure: str
    output: str
    artefacts: float | None
    confidence: float | None
    frames: int
    megapixels: float | None
    seconds: float | None
    cropped: float | None
    residual: float | None
    finished: float | None
    thumb: tuple[int, int] | None
    methods: tuple[str, ...]

    @property
    def rank(self) -> tuple[Any, ...]:
        return (*rank(self.status, self.quality, self.measure, self.confidence), self.id)


def write_report(ledger: Ledger, directory: Path, told: Told = lambda done: None) -> Path:
    """Write the report of an output directory, or bring it up to date.

    Parameters
    ----------
    ledger : Ledger
    directory : Path
        The output directory.
    told : callable
        Told after every stack how many are done.

    Returns
    -------
    Path
        The page to open.

    Raises
    ------
    OptionError
        If a file that no report has left stands where it goes.
    FileError
        If something cannot be written.
    """
    directory = directory.absolute()
    _refuse_strangers(directory)
    folder = report_folder(directory)
    files.make_folder(folder)
    lines = sorted(_lines(ledger, directory, folder, told), key=lambda line: line.rank)
    for name in html.ASSETS:
        _replace(folder / name, html.source(name))
    table = _script("batchstackStacks", _table(lines))
    stacks, order = _DATA
    _replace(folder / stacks, table)
    _replace(folder / order, _script("batchstackOrder", [line.page for line in lines]))
    _replace(directory / MULTIQC, multiqc.table(lines))
    digest = sha256((html.fingerprint() + table.decode()).encode()).hexdigest()
    if not _holds(directory / REPORT, digest.encode()):
        _replace(directory / REPORT, _index(directory, lines, digest))
    files.remove_parts(folder, {*html.ASSETS, *_DATA}.__contains__)
    _remove_others(directory, folder, {line.page for line in lines})
    return directory / REPORT


def _refuse_strangers(directory: Path) -> None:
    """Refuse to replace what is no report."""
    for name, mark in ((REPORT, _MARK), (MULTIQC, multiqc.MARK)):
        path = directory / name
        if files.is_strange(path, mark):
            raise OptionError(
                f"{path}: is not what a report has left; rename or remove it, because the report "
                "is written there"
            )


def _remove_others(directory: Path, folder: Path, pages: set[str]) -> None:
    """Remove the pages of stacks that the ledger does not know any more."""
    others = [name for name in files.names_in(folder) if name not in pages and _is_page(name)]
    # Tasks leave previews before their stack is recorded, and stacks were recorded meanwhile.
    if not others or is_claimed(directory):
        return
    with Ledger(directory) as now:
        known = set(map(folder_name, now.ids()))
    for name in others:
        if name not in known:
            files.remove_tree(folder / name)


def _is_page(name: str) -> bool:
    return len(name) == 16 and not set(name) - set("0123456789abcdef")


def _holds(path: Path, content: bytes) -> bool:
    try:
        return content in files.read_bytes(path)
    except OSError:
        return False


def _replace(path: Path, content: bytes) -> None:
    """Write a file, unless it is so already."""
    if files.size_of(path) == len(content) and _holds(path, content):
        return
    write(path, content)


def _script(name: str, data: Any) -> bytes:
    """Data as a script, because pages from a disk may not read other files."""
    return f"window.{name} = {json.dumps(data, separators=(',', ':'))};\n".encode()


# --- stacks


def _lines(ledger: Ledger, directory: Path, folder: Path, told: Told) -> Iterator[Line]:
    """Bring the pages of all stacks up to date, some at a time."""
    stacks = _stacks(ledger, directory)
    page = partial(_page, directory, folder, Lock())
    threads = min(_THREADS, os.cpu_count() or 1)
    done = 0
    with ThreadPoolExecutor(threads) as pool:
        while some := list(islice(stacks, 16 * threads)):
            for line in pool.map(page, some):
                done += 1
                told(done)
                yield line


def _stacks(ledger: Ledger, directory: Path) -> Iterator[Stack]:
    for stack_id, history in ledger:
        missing = history.missing(directory, stack_id)
        yield Stack(stack_id, history, tuple(ledger.lines(stack_id)), tuple(missing))


def _page(directory: Path, top: Path, one_by_one: Lock, stack: Stack) -> Line:
    """Bring the page of a stack up to date, and say what the list has of it."""
    folder = top / stack.folder
    before = kept_in(folder)
    if (stack.number("megapixels") or 0) > _LARGE:
        with one_by_one:
            shown = previews.update(stack, directory, folder, before)
    else:
        shown = previews.update(stack, directory, folder, before)
    confidence = _confidence(stack, shown)
    values = _values(stack, directory, folder, shown, confidence)
    told = json.dumps([html.fingerprint(), values], sort_keys=True, default=str)
    page = sha256(told.encode()).hexdigest()
    path = folder / "index.html"
    if page != before.page or files.size_of(path) is None:
        values["scene"] = _scene(folder, values["pictures"], shown)
        _replace(path, html.render("stack.html", **values))
    kept = Kept({preview.name: preview for preview in shown.values()}, page)
    if kept != before:  # which a killed process has not come to either
        files.remove_parts(folder, is_of_report)
        keep(folder, kept)
    return _line(stack, confidence, shown.get(THUMB))


def _confidence(stack: Stack, shown: dict[str, Preview]) -> float | None:
    name = output_name("depth_confidence")
    return next((preview.mean for preview in shown.values() if preview.name == name), None)


def _line(stack: Stack, confidence: float | None, thumb: Preview | None) -> Line:
    figure = stack.figure
    missing = [f"missing or shortened: {', '.join(stack.missing)}"] if stack.missing else []
    error = [stack.history.error] if stack.history.error is not None else []
    return Line(
        id=stack.id,
        page=stack.folder,
        status=stack.status,
        text="; ".join([*error, *missing, *stack.notes]),
        quality=figure.value if figure else None,
        measure=figure.measure if figure else "",
        output=figure.output if figure else "",
        artefacts=figure.artefacts if figure else None,
        confidence=confidence,
        frames=len(stack.frames),
        megapixels=stack.number("megapixels"),
        seconds=stack.number("seconds"),
        cropped=stack.number("cropped"),
        residual=stack.number("residual"),
        finished=stack.number("finished"),
        thumb=None if thumb is None else (thumb.width, thumb.height),
        methods=tuple(stack.records),
    )


def _values(
    stack: Stack,
    directory: Path,
    folder: Path,
    shown: dict[str, Preview],
    confidence: float | None,
) -> dict[str, Any]:
    """What the page of a stack says."""
    shared, own = parameters(stack.records)
    facts = stack.history.facts
    versions = facts.get("versions")
    return {
        "stack": {
            "id": stack.id,
            "status": stack.status,
            "error": stack.history.error,
            "missing": stack.missing,
            "notes": stack.notes,
            "meta": stack.meta,
            "confidence": confidence,
            "megapixels": stack.number("megapixels"),
            "seconds": stack.number("seconds"),
            "peak": stack.number("peak_memory"),
            "cropped": stack.number("cropped"),
            "residual": stack.number("residual"),
            "light": stack.number("light"),
        },
        "statuses": STATUSES,
        "frames": _frames(stack, folder, shown),
        "outputs": _outputs(stack, directory, folder, shown),
        "pictures": _pictures(stack, directory, folder, shown),
        "scores": stack.scores,
        "registration": registration(facts),
        "shared": shared,
        "own": own,
        "versions": versions if isinstance(versions, dict) else {},
        "log": log(stack.past),
        "index": link(directory / REPORT, folder),
    }


def _frames(stack: Stack, folder: Path, shown: dict[str, Preview]) -> list[dict[str, Any]]:
    return [
        _file(Path(frame.path), f"frame {number}", frame.size, folder, shown)
        for number, frame in enumerate(stack.frames, start=1)
    ]


def _outputs(
    stack: Stack, directory: Path, folder: Path, shown: dict[str, Preview]
) -> list[dict[str, Any]]:
    methods = {name: method for method, record in stack.records.items() for name in record.outputs}
    return [
        _file(directory / stack.places[name], stem(name), output.size, folder, shown)
        | {"method": methods[name], "is_missing": name in stack.missing}
        for name, output in stack.outputs.items()
    ]


def _file(
    path: Path, label: str, size: int, folder: Path, shown: dict[str, Preview]
) -> dict[str, Any]:
    """A file as the page names it; a link only to what is there."""
    preview = shown.get(str(path))
    found = files.size_of(path)
    return {
        "label": label,
        "path": str(path),
        "name": path.name,
        "size": size or found,
        "link": link(path, folder) if found is not None else None,
        "preview": preview and vars(preview) | {"src": _src(path, folder, preview)},
    }


def _src(path: Path, folder: Path, preview: Preview) -> str:
    """The address of what shows a file, from the page."""
    return link(previews.place(preview, path, folder), folder)


def _pictures(
    stack: Stack, directory: Path, folder: Path, shown: dict[str, Preview]
) -> dict[str, Any]:
    """What the viewer can show, and what it shows first; pictures are named by their addresses."""
    maps = [*METHODS["depth_map"].outputs]
    frames = [(f"frame {n}", frame.path) for n, frame in enumerate(stack.frames, start=1)]
    outputs = {name: str(directory / place) for name, place in stack.places.items()}
    fused = [(stem(name), path) for name, path in outputs.items() if stem(name) not in maps]
    listed = [(label, path) for label, path in [*frames, *fused] if path in shown]
    best = outputs.get(recommended(outputs) or "")
    depth = next((path for name, path in outputs.items() if stem(name) == maps[0]), None)

    def src(path: str | None) -> str:
        return _src(Path(path), folder, shown[path]) if path in shown else ""

    last = shown[listed[-1][1]] if listed else None
    return {
        "list": [{"label": label, "file": src(path)} for label, path in listed],
        "first": src(listed[0][1]) if listed else "",
        "second": src(best) or (src(listed[-1][1]) if listed else ""),
        "depth": src(depth),
        "size": [last.width, last.height] if last else [3, 2],
    }


def _scene(
    folder: Path, pictures: dict[str, Any], shown: dict[str, Preview]
) -> dict[str, str] | None:
    """The depth map and the colours of the result, for the surface."""
    there = {_src(Path(path), folder, preview): path for path, preview in shown.items()}
    path = there.get(pictures["depth"])
    if path is None or THUMB not in shown:
        return None
    depth = previews.embedded(shown[path], Path(path), folder)
    colours = previews.embedded(shown[THUMB], folder / THUMB, folder)
    return {"depth": depth, "colours": colours} if depth and colours else None


def link(path: Path, folder: Path) -> str:
    """The address of a file, from a page in a folder; both absolute."""
    parts, others = path.parts, folder.parts
    shared = next(
        (i for i, (a, b) in enumerate(zip(parts, others, strict=False)) if a != b),
        min(len(parts), len(others)),
    )
    if not shared:  # another drive
        return path.as_uri()
    steps = [".."] * (len(others) - shared) + list(parts[shared:])
    return "/".join(quote(step, errors="replace") for step in steps)


# --- all stacks


def _table(lines: Iterable[Line]) -> dict[str, Any]:
    """The list of stacks as data, column names once."""
    rows = [list(vars(line).values()) for line in lines]
    columns = list(Line.__dataclass_fields__)
    return {"columns": columns, "statuses": STATUSES, "rows": rows}


def _index(directory: Path, lines: list[Line], digest: str) -> bytes:
    statuses = Counter(line.status for line in lines)
    methods = Counter(name for line in lines for name in line.methods)
    failures = [line for line in lines if line.status == "failed"]
    times = [line.finished for line in lines if line.finished is not None]
    return html.render(
        "index.html",
        title=directory.name or str(directory),
        digest=digest,
        directory=str(directory),
        written=time.time(),
        total=len(lines),
        counts={name: statuses[name] for name in STATUSES},
        statuses=STATUSES,
        methods=dict(sorted(methods.items())),
        failures=failures[:_FAILURES_SHOWN],
        worst=lines[:_WORST_SHOWN],
        more_failures=max(0, len(failures) - _FAILURES_SHOWN),
        frames=sum(line.frames for line in lines),
        megapixels=sum((line.megapixels or 0) * line.frames for line in lines),
        seconds=sum(line.seconds or 0 for line in lines),
        first=min(times, default=None),
        last=max(times, default=None),
        is_scored=any(line.quality is not None for line in lines),
        base=f"{FOLDER}/report",
        mark=_MARK.decode(),
    )
