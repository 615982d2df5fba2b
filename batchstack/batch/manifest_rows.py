"""The rows of a manifest: what entries mean, and what is wrong with them."""

import os
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePath
from typing import Any, TypeVar
from urllib.parse import quote

from batchstack import files
from batchstack.batch.frame_names import (
    frames_among,
    frames_in,
    is_output_file,
)
from batchstack.batch.manifest_formats import (
    FRAME_COLUMNS,
    META_PREFIX,
    NOT_TEXT,
    OPTION_COLUMNS,
    Cell,
    Entry,
    Report,
    Text,
    Value,
)
from batchstack.batch.manifest_patterns import (
    Spellings,
    ending_as_it_is,
    ending_in_any_case,
    is_one_spelling,
    is_pattern,
    matching_files,
    same_name,
    similar_files,
)
from batchstack.errors import (
    BatchstackError,
    FileError,
    ImageError,
    ManifestError,
    PageStackError,
    unknown,
)
from batchstack.formats import widest
from batchstack.images.names import in_natural_order
from batchstack.options import Option, RunOptions, contradiction, declared

OptionValue = int | float | str | bool | tuple[int, ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a manifest: one stack as asked for.

    Parameters
    ----------
    id : str
        The stack's folder under the output directory, `/` between segments.
    paths : tuple of str
        Absolute paths of the frames, back to front, two or more; as text, because 100,000 rows
        of `Path` take 60 MB more.
    place : str
        Where the row stands, for messages: "pairs.csv:14".
        Rows that differ in their place only are equal.
    methods : tuple of str, optional
        The methods asked for; None means those of the run.
    options : tuple of (str, value) pairs
        The row's own options, sorted, by the names of the command's options with
        underscores, each checked by itself; `dict(row.options)` overlays those of the run.
    meta : tuple of (str, str) pairs
        The `meta_` columns with their full names, sorted; empty values are left out.
    """

    id: str
    paths: tuple[str, ...]
    place: str = field(compare=False)
    methods: tuple[str, ...] | None = None
    options: tuple[tuple[str, OptionValue], ...] = ()
    meta: tuple[tuple[str, str], ...] = ()

    @property
    def frames(self) -> tuple[Path, ...]:
        """The paths of the frames, made anew each time."""
        return tuple(map(Path, self.paths))

    def back_first(self, *, reverse: bool = False) -> "Row":
        """The row with its frames from back to front, and which says that it has them so.

        Parameters
        ----------
        reverse : bool
            Whether they are given the other way, unless the row's own options say.
        """
        own = dict(self.options)
        if not own.get("reverse", reverse):
            return self
        options = tuple(sorted((own | {"reverse": False}).items()))
        return replace(self, paths=self.paths[::-1], options=options)


class RowChecker:
    """Turns entries into rows and reports what is wrong with them."""

    def __init__(self, base: Path, methods: tuple[str, ...], report: Report) -> None:
        self.base = base
        self.known_methods = methods
        self.report = report
        self.ids: dict[str, tuple[str, int]] = {}
        self._spellings = Spellings()

    def row(self, entry: Entry) -> Row | None:
        """The row an entry means, None after reporting its problems."""
        before = self.report.count
        stack_id = self._id(entry)
        paths = self._frames(entry)
        methods = self._methods(entry)
        options = self._options(entry)
        meta = self._meta(entry)
        if self.report.count > before:
            return None
        place = f"{self.report.name}:{entry.line}"
        return Row(stack_id or "", paths, place, methods, options, meta)

    def _parsed(self, entry: Entry, name: str, parse: Callable[[Value], T]) -> T | None:
        """What a cell means, None if there is none or after reporting why it means nothing."""
        cell = entry.cells.get(name)
        if cell is None or not cell.filled:
            return None
        try:
            return parse(cell.value)
        except BatchstackError as error:
            self._problem(entry, name, str(error).removeprefix(f"{name.replace('_', '-')} is "))
            return None

    def _problem(self, entry: Entry, name: str, text: Text) -> None:
        """Report at the cell, or at the row if it has no such cell."""
        _, line, column = entry.cells.get(name, Cell("", entry.line, None))
        self.report.add(line, column, text, about=name)

    def _id(self, entry: Entry) -> str | None:
        if not entry.has("id"):
            self._problem(entry, "id", "missing; every stack needs a name of its own")
        stack_id = self._parsed(entry, "id", _stack_id)
        if stack_id is None:
            return None
        key = same_name(stack_id)
        if key in self.ids:
            other, line = self.ids[key]
            self._problem(
                entry, "id", f"{stack_id!r} is the same folder as {other!r} on line {line}"
            )
        else:
            self.ids[key] = (stack_id, entry.line)
        return stack_id

    def _methods(self, entry: Entry) -> tuple[str, ...] | None:
        names = self._parsed(entry, "methods", _method_names)
        if names is None:
            return None
        known = (*self.known_methods, "all")
        strange = [name for name in names if name not in known]
        if strange:
            self._problem(entry, "methods", partial(_unknown_methods, strange, known))
            return None
        return self.known_methods if "all" in names else names

    def _options(self, entry: Entry) -> tuple[tuple[str, OptionValue], ...]:
        values: dict[str, Any] = {}
        for name in sorted(OPTION_COLUMNS.keys() & entry.cells.keys()):
            value = self._parsed(entry, name, partial(_option, OPTION_COLUMNS[name]))
            if value is not None:
                values[name] = value
        if fault := contradiction(values):
            self._problem(entry, *fault)
        return tuple(values.items())

    def _meta(self, entry: Entry) -> tuple[tuple[str, str], ...]:
        names = sorted(name for name in entry.cells if name.startswith(META_PREFIX))
        pairs = [(name, self._parsed(entry, name, _single)) for name in names]
        return tuple((name, text) for name, text in pairs if text is not None)

    # --- frames

    def _frames(self, entry: Entry) -> tuple[str, ...]:
        """The frames that exist, after reporting those that do not."""
        given = [name for name in FRAME_COLUMNS if entry.has(name)]
        if not given:
            present = [name for name in FRAME_COLUMNS if name in entry.cells] or ["frames"]
            self._problem(entry, present[0], "no frames; give back and front, or frames")
            return ()
        if "frames" in given:
            if len(given) > 1:
                self._problem(entry, "frames", "give either this or back and front, not both")
                return ()
            sources = self._parsed(entry, "frames", self._sources) or []
            return self._existing(entry, [("frames", source) for source in sources])
        for name in {"back", "front"} - set(given):
            self._problem(entry, name, "missing; a pair needs back and front")
        texts = [(name, self._parsed(entry, name, _file_name)) for name in given]
        return self._existing(entry, [(name, text) for name, text in texts if text is not None])

    def _sources(self, value: Value) -> list[str]:
        """The frames of a `frames` cell in order, patterns expanded."""
        texts = list(value) if isinstance(value, tuple) else value.split("|")
        if not all(map(str.strip, texts)):
            raise ManifestError("an empty place in the list; remove it or name a frame")
        if len(texts) > 1:
            return texts
        folder = self._folder(texts[0])
        if folder is not None:
            return [f"{folder}/{name}" for name in frames_in(Path(folder))]
        if is_pattern(texts[0]):
            return self._matches(texts[0].strip())
        self._refuse_pages(texts[0])
        raise ManifestError(
            f"only one frame: {texts[0]!r}; a stack needs two or more, give their folder, "
            f"a pattern such as 'img/*{widest().suffix}' or names with | between them"
        )

    def _folder(self, text: str) -> str | None:
        """The folder that a text names, None if it names none."""
        for spelling in dict.fromkeys((text, text.strip())):
            name = os.path.join(self.base, _expand(spelling))  # noqa: PTH118
            if files.is_folder(name):
                return os.path.normpath(name)
        return None

    def _matches(self, pattern: str) -> list[str]:
        wanted = _expand(pattern)
        # Outputs beside the frames, of an earlier run or of `fuse`, are none of them.
        every = frames_among(matching_files(self.base, wanted))
        ending = PurePath(wanted).suffix
        found = [name for name in every if is_pattern(ending) or name.endswith(ending)]
        if len(found) >= 2:
            _refuse_other_endings(pattern, found, every)
            return in_natural_order(found)
        similar = frames_among(similar_files(self.base, wanted))
        if len(similar) >= 2 and not found and is_one_spelling(wanted, similar):
            return in_natural_order(similar)
        if len(found) == 1 and len(similar) < 2:
            self._refuse_pages(found[0])
        count = f"only one file, {found[0]!r}," if found else "no file"
        hint = ""
        if len(similar) > len(found):
            names = " and ".join(repr(name) for name in similar if name not in found[:1])
            hint = f"; in another spelling {len(similar) - len(found)} would, such as {names[:200]}"
        raise ManifestError(f"{count} matches {pattern!r} (resolved to {self.base / wanted}){hint}")

    def _refuse_pages(self, text: str) -> None:
        """Say of a file that is alone whether it is all frames in one."""
        from batchstack.images import probe

        try:
            probe(self._file(text)[0])
        except PageStackError as error:
            raise ManifestError(str(error)) from None
        except (FileError, ImageError):  # of which there is time to tell when there are two
            return

    def _existing(self, entry: Entry, named: list[tuple[str, str]]) -> tuple[str, ...]:
        """The files of (column, text), reporting those missing or there twice."""
        seen: dict[tuple[int, int], str] = {}
        paths = []
        for name, text in named:
            try:
                path, identity = self._file(text)
                if name == "frames" and "|" in path:
                    raise ManifestError(f"{path!r} has a | in it; it separates frames")
                if identity in seen:
                    raise ManifestError(f"{text!r} is the same file as {seen[identity]!r}")
            except ManifestError as error:
                self._problem(entry, name, str(error))
            else:
                seen[identity] = text
                paths.append(path)
        return tuple(paths)

    def _file(self, text: str) -> tuple[str, tuple[int, int]]:
        """Where a frame is and what tells it from other files."""
        # Names may end in a space, cells often do.
        for spelling in dict.fromkeys((text, text.strip())):
            # Text is joined three times as fast as paths, and a manifest may be long.
            name = os.path.join(self.base, _expand(spelling))  # noqa: PTH118
            try:
                info = files.status(name)
                break
            except OSError as error:
                # The error itself would hold this frame, which would hold the error.
                why = "file not found" if isinstance(error, _ABSENT) else f"{error.strerror}"
        else:
            alike = self._spellings.of(self.base, _expand(text.strip()))
            if len(alike) != 1 or alike[0] in (text, text.strip()):
                hint = f"; there are {' and '.join(map(repr, alike[:3]))}" if alike[1:] else ""
                raise ManifestError(f"{why}: {text!r} (resolved to {Path(name)}){hint}")
            return self._file(alike[0])
        if stat.S_ISDIR(info.st_mode):
            raise ManifestError(f"{text!r} is a folder; give an image file")
        if not stat.S_ISREG(info.st_mode):
            raise ManifestError(f"{text!r} is not a regular file")
        if NOT_TEXT.search(name):
            raise ManifestError(f"{text!r} is not named in UTF-8; rename it")
        # Most are spelled as a path would, and making one takes several times as long.
        tidy = os.path.normpath(name) == name
        return name if tidy else str(Path(name)), (info.st_dev, info.st_ino)


_ABSENT = (FileNotFoundError, NotADirectoryError)


def _expand(text: str) -> str:
    # Path.expanduser raises for users it does not know, where the shell keeps the text.
    return os.path.expanduser(text) if text.startswith("~") else text  # noqa: PTH111


def _refuse_other_endings(pattern: str, found: Sequence[str], every: Sequence[str]) -> None:
    others = [name for name in every if name not in found]
    if others:
        raise ManifestError(
            f"{len(found)} files match {pattern!r}, and but for upper and lower case in their "
            f"ending {len(others)} more would, such as {others[0]!r}; write "
            f"{ending_in_any_case(pattern)!r} for all of them, or {ending_as_it_is(pattern)!r} for "
            "those alone"
        )


def _single(value: Value) -> str:
    return _file_name(value).strip()


def _file_name(value: Value) -> str:
    if isinstance(value, tuple):
        raise ManifestError("give one value, not a list")
    return value


def _option(known: Option, value: Value) -> Any:
    """The typed value of an option, checked by itself."""
    if known.kind.is_list and isinstance(value, tuple):
        value = ",".join(value)
    return known.read(_single(value))


def _method_names(value: Value) -> tuple[str, ...]:
    names: tuple[str, ...] = _option(declared(RunOptions)["methods"], value)
    if not names:
        raise ManifestError("names no method")
    return names


def _unknown_methods(names: Sequence[str], known: Sequence[str]) -> str:
    """What to say of them; a few will do."""
    texts = [unknown("method", name, known) for name in names[:3]]
    return "; ".join(texts + [f"and {len(names) - 3} more"] * (len(names) > 3))


# --- ids


# What the program itself writes at the top of the output directory; other such names
# begin with a dot, which no id may.
REPORT, MULTIQC, PROPOSAL = "report.html", "batchstack_mqc.tsv", "proposal.csv"
OWN_NAMES = ("failed.csv", REPORT, MULTIQC, PROPOSAL)

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff<>:"|?*\\]')
_RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.IGNORECASE
)
_LONGEST_ID = 1000
_LONGEST_SEGMENT = 200


def _stack_id(value: Value) -> str:
    """An id that is a folder below the output directory on every system."""
    text = _single(value)
    # Halves of surrogate pairs, which no encoding has, are refused below.
    if len(text.encode(errors="replace")) > _LONGEST_ID:
        raise ManifestError(f"{text[:40]!r} and so on is longer than {_LONGEST_ID} bytes")
    bad = _FORBIDDEN.search(text)
    if bad:
        raise ManifestError(f"{text!r} holds {bad[0]!r}, which folders cannot have everywhere")
    segments = text.split("/")
    fault = next(filter(None, map(_segment_fault, segments)), None)
    if same_name(segments[0]) in OWN_NAMES:
        fault = f"{segments[0]!r} is a file that the program writes in the output directory"
    if fault:
        raise ManifestError(f"{text!r} cannot be a folder: {fault}")
    return text


def unportable(segment: str) -> str | None:
    """Why a segment of a path cannot be a name everywhere, or is hidden."""
    if segment.startswith("."):
        return f"{segment!r} starts with a dot"
    if segment.endswith((".", " ")):
        return f"{segment!r} ends with a dot or a space"
    if _RESERVED.fullmatch(segment):
        return f"{segment!r} is a reserved name on Windows"
    return None


def _segment_fault(segment: str) -> str | None:
    """Why a segment of an id cannot be the name of a folder."""
    if not segment:
        return "it starts or ends with / or has // in it"
    if fault := unportable(segment):
        return fault
    if len(segment.encode()) > _LONGEST_SEGMENT:
        return f"a segment is longer than {_LONGEST_SEGMENT} bytes"
    if is_output_file(segment):
        return f"{segment!r} is the name of an output, which the stack of that folder may write"
    return None


def allowed_id(text: str) -> str:
    """An id that is as near to a text as ids may be, and the text itself if that is one.

    What folders cannot have everywhere is written as in addresses, such as %3A; of what is too
    long the beginning stays, with what tells it from others.
    """
    segments = [_allowed_segment(segment) for segment in text.split("/")]
    if same_name(segments[0]) in OWN_NAMES:
        segments[0] = f"_{segments[0]}"
    return _shortened("/".join(segments), _LONGEST_ID)


def _allowed_segment(text: str) -> str:
    text = _FORBIDDEN.sub(lambda found: quote(found[0], safe="", errors="surrogatepass"), text)
    text = re.sub(r"^ +|[. ]+$", lambda found: "_" * len(found[0]), text)
    text = _shortened(text, _LONGEST_SEGMENT)
    return f"_{text}" if _segment_fault(text) else text


def _shortened(text: str, most: int) -> str:
    """A text of at most so many bytes, some left for one character more."""
    content = text.encode(errors="replace")
    if len(content) < most:
        return text
    mark = f"-{sha256(content).hexdigest()[:12]}"
    beginning = content[: most - len(mark) - 1].decode(errors="ignore")
    return f"{beginning.rstrip('./ ')}{mark}"
