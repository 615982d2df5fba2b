"""The plan: for each stack fuse, skip or refuse, with the reasons; nothing is written.

Headers are read of stacks that are not done, pixels never.
"""

import traceback
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from batchstack import files
from batchstack.batch.broken import (
    LEFT_OUT,
    broken_among,
    left_out_of,
    refusal,
    without,
)
from batchstack.batch.device import DeviceSet, load_device_set
from batchstack.batch.fitting import fitted, refuse_long_names
from batchstack.batch.frame_checks import (
    are_close,
    check_frames,
    common_size,
    oddities,
)
from batchstack.batch.jobs import Job
from batchstack.batch.ledger import Ledger
from batchstack.batch.manifest import Manifest, Report, Row, collector_paused
from batchstack.batch.output_names import name_faults, place
from batchstack.batch.records import Record
from batchstack.batch.scoring import is_scored
from batchstack.batch.steps import Step
from batchstack.batch.up_to_date import Digest, FramesThen, output_key, why_not_done
from batchstack.errors import BatchstackError, DamagedError, OptionError, StackError
from batchstack.formats import FORMATS
from batchstack.fusion.methods import METHODS, Method, select_methods
from batchstack.images import ImageInfo, file_digest, image_kind, probe
from batchstack.images.white import stated_range
from batchstack.options import DEFAULT_NAME, RunOptions

_UP_TO_DATE = ("up to date",)
_OUTPUTS = tuple(name for method in METHODS.values() for name in method.outputs)


def make_plan(
    manifest: Manifest,
    directory: Path,
    options: RunOptions,
    ledger: Ledger,
    *,
    memory_limit: int | None = None,
) -> list[Step]:
    """Decide about every stack of a manifest.

    Parameters
    ----------
    manifest : Manifest
    directory : Path
        The output directory.
    options : RunOptions
    ledger : Ledger
        Of that directory.
    memory_limit : int, optional
        Bytes one worker may use; None for no limit.

    Raises
    ------
    ManifestError
        If options of rows contradict those of the run.
    OptionError, FileError
        If transforms are given and cannot be read.
    """
    _refuse_other_names(directory, options.output.name, ledger)
    wishes = _row_options(manifest.rows, options)
    _refuse_bad_names(manifest.rows, options.output.name, ledger)
    given = options.alignment.transforms
    device = load_device_set(Path(given)) if given else None
    rows = [row.back_first(reverse=options.reverse) for row in manifest.rows]
    name = options.output.name
    known = _Known(directory.absolute(), name, rows, ledger, memory_limit, device)
    with collector_paused():
        return [_guarded_step(row, wish, known) for row, wish in zip(rows, wishes, strict=True)]


class _Known:
    """What is the same for all stacks of a plan, and what need be found out only once."""

    def __init__(
        self,
        directory: Path,
        template: str,
        rows: Sequence[Row],
        ledger: Ledger,
        memory_limit: int | None,
        device: DeviceSet | None,
    ) -> None:
        self.directory, self.ledger, self.memory_limit = directory, ledger, memory_limit
        self.template, self.device = template, device
        self._rows = rows
        # A file that several methods or stacks use is read once.
        self.digest: Digest = cache(file_digest)
        self._resolved = cache(Path.resolve)
        self._keys: dict[tuple[Any, ...], dict[str, Any]] = {}

    def is_output(self, frame: Path) -> bool:
        """Whether a frame stands where a stack of this plan has an output."""
        is_link = files.is_link(frame)
        named = any(output in frame.name for output in _OUTPUTS)
        if self._shows_output and not is_link and not named:
            return False
        at = frame.resolve() if is_link else self._resolved(frame.parent) / frame.name
        return (at.parent, at.stem) in self._places

    def shared_folder(self, stack_id: str) -> Path | None:
        """A folder of a stack that links lead to where another has outputs of the same name."""
        for folder, names in self._named(stack_id).items():
            parts = Path(folder).parts
            steps = [self.directory.joinpath(*parts[: n + 1]) for n in range(len(parts))]
            if any(map(files.is_link, steps)):
                at = self._resolved(steps[-1])
                if any(self._places[at, name] > 1 for name in names):
                    return steps[-1]
        return None

    def _named(self, stack_id: str) -> dict[str, list[str]]:
        """The folders that a stack may have outputs in, and how these are named there."""
        found: dict[str, list[str]] = {}
        for output in _OUTPUTS:
            folder, _, name = place(self.template, stack_id, output).rpartition("/")
            found.setdefault(folder, []).append(name)
        return found

    @cached_property
    def _shows_output(self) -> bool:
        """Whether the file of an output has its name, and not a folder alone."""
        return "{output}" in self.template.rpartition("/")[2]

    @cached_property
    def _places(self) -> Counter[tuple[Path, str]]:
        # Made only when a frame may be an output, or a folder is a link, which is rare: a plan
        # may be long.
        return Counter(
            (self._resolved(self.directory / folder), name)
            for row in self._rows
            for folder, names in self._named(row.id).items()
            for name in names
        )

    def key(
        self, method: Method, options: RunOptions, suffix: str, *, resized: bool, cropped: bool
    ) -> dict[str, Any]:
        """`output_key`, made once for the rows that share their options."""
        at = (method.name, id(options), suffix, resized, cropped)
        key = self._keys.get(at)
        if key is None:
            key = self._keys[at] = output_key(
                method, options, suffix, resized=resized, cropped=cropped, device=self.device
            )
        return key


def _refuse_other_names(directory: Path, template: str, ledger: Ledger) -> None:
    """Refuse a run that would name its outputs otherwise than those before it."""
    before = ledger.template
    if before not in (None, template):
        raise OptionError(
            f"{directory}: earlier runs have named its outputs by {before!r}, not {template!r}; "
            f"give --name '{before}', or another output directory"
        )


def _refuse_bad_names(rows: Sequence[Row], template: str, ledger: Ledger) -> None:
    """Refuse stacks whose outputs would replace one another, or cannot be named."""
    ids = [row.id for row in rows]
    if template == DEFAULT_NAME:  # ids are folders by the rules of manifests
        return
    earlier = list(set(ledger.ids()).difference(ids))
    report = Report()
    for index, fault in name_faults(template, [*earlier, *ids]):
        if index >= len(earlier):
            report.add_row(rows[index - len(earlier)].place, fault)
    report.raise_if_any()


def _row_options(rows: Iterable[Row], options: RunOptions) -> list[RunOptions]:
    wishes, report = [], Report()
    for row in rows:
        try:
            wishes.append(row_options(row, options))
        except OptionError as error:
            report.add_row(row.place, str(error))
    report.raise_if_any()
    return wishes


def row_options(row: Row, options: RunOptions) -> RunOptions:
    """The options of a run with those of a row laid over them.

    Raises
    ------
    OptionError
        If they contradict each other.
    """
    own = dict(row.options) | ({"methods": row.methods} if row.methods else {})
    return options.overlaid(own) if own else options


def _guarded_step(row: Row, options: RunOptions, known: _Known) -> Step:
    """Whatever is wrong with the files of one stack, the others are planned."""
    try:
        return _step(row, options, known)
    except BatchstackError as error:
        return Step(row, "refuse", (str(error),), broken=broken_among(error, row.frames))
    except OSError as error:
        return Step(row, "refuse", (str(files.failure(row.id, "cannot be looked at", error)),))
    except Exception:
        # A defect of ours: the trace is what a report of it needs.
        return Step(row, "refuse", (f"unexpected error\n{traceback.format_exc()}",))


def _step(row: Row, options: RunOptions, known: _Known) -> Step:
    methods = select_methods(options.methods)
    records = known.ledger.history(row.id).records
    # What was never done needs all headers, what was only its kind.
    frames, broken = ([], {}) if records else _headers(row, options, known)
    wanted = options.output.format
    kind = frames[0].format if frames else _kind(row, options)
    suffix = FORMATS[kind].suffix if wanted == "auto" else f".{wanted}"
    frames_then = FramesThen(row.paths, known.digest)
    reasons = _why_not_done(row, options, methods, suffix, known, records, frames_then)
    if not reasons:
        moved = not all(map(frames_then.is_now, records.values()))
        return Step(row, "skip", _UP_TO_DATE, moved=moved)
    todo = [method for method in methods if method.name in reasons]
    if not frames:
        frames, broken = _headers(row, options, known)
    check_frames(frames, resize=options.resize, crop=options.crop_to_common)
    if options.alignment.align != "off":
        options.alignment.reference_among(len(row.paths))  # there must be such a frame
    differ = len({(frame.height, frame.width) for frame in frames}) > 1
    crop = differ and options.crop_to_common and are_close(frames)
    if known.device:
        size = common_size(frames) if crop else (frames[0].height, frames[0].width)
        known.device.check(len(frames), size)
    resized = differ and not crop
    job = Job(
        id=row.id,
        place=row.place,
        frames=row.frames,
        methods=tuple(method.name for method in todo),
        fusion=options.fusion,
        alignment=options.alignment,
        suffix=suffix,
        quality=options.output.quality,
        resize=resized,
        crop=common_size(frames) if crop else None,
        data_range=stated_range(frames) if options.fusion.data_range is None else None,
        warnings=oddities(frames),
        tile=options.tile,
        hold=False,
        score=options.score,
        directory=known.directory,
        template=known.template,
        strip_gps=options.output.strip_gps,
        device=known.device,
        keys={
            one.name: known.key(one, options, suffix, resized=resized, cropped=crop) for one in todo
        },
        skip_broken=options.skip_broken,
    )
    if broken:
        if why := refusal(job, [job.frames.index(path) for path in broken]):
            first, *others = broken.values()
            what = "; ".join([first.what, *map(str, others)])
            raise DamagedError(first.path, f"{what}; not left out: {why}")
        job = without(job, {path: error.what for path, error in broken.items()})
    refuse_long_names(job)
    return fitted(row, job, frames, todo, _in_words(reasons, len(methods)), known.memory_limit)


def _headers(
    row: Row, options: RunOptions, known: _Known
) -> tuple[list[ImageInfo], dict[Path, DamagedError]]:
    """What the headers of the frames of a stack say, unless its outputs would replace something.

    Returns
    -------
    list of ImageInfo
    dict of Path to DamagedError
        Frames that are damaged, if that is no reason to refuse.

    Raises
    ------
    StackError
    ImageError
        If a frame cannot be used, unless it is damaged and may be, and others are whole.
    """
    for path in filter(known.is_output, row.frames):
        raise StackError(
            f"{path}: has the name of an output of this run, which would replace it; rename it, "
            "or give another output directory"
        )
    if shared := known.shared_folder(row.id):
        raise StackError(
            f"{shared}: leads to the folder of another stack, whose outputs would be replaced; "
            "remove the link, or give another output directory"
        )
    frames: list[ImageInfo] = []
    broken: dict[Path, DamagedError] = {}
    for path in row.frames:
        try:
            frames.append(probe(path))
        except DamagedError as error:
            if not options.skip_broken:
                raise
            broken[path] = error
    if not frames:
        raise next(iter(broken.values()))
    return frames, broken


def _kind(row: Row, options: RunOptions) -> str:
    """The format of the first frame, or of the first with a sound header if some may be damaged."""
    if not options.skip_broken:
        return image_kind(row.paths[0])  # which is read much faster than a header
    for path in row.paths[:-1]:
        with suppress(DamagedError):
            return probe(path).format
    return probe(row.paths[-1]).format


def _why_not_done(
    row: Row,
    options: RunOptions,
    methods: Sequence[Method],
    suffix: str,
    known: _Known,
    records: Mapping[str, Record],
    frames_then: FramesThen,
) -> dict[str, str]:
    """Why each method is to be computed; those that are done miss."""
    if options.rerun:
        return {method.name: "rerun asked for" for method in methods}
    reasons = {}
    for method in methods:
        record = records.get(method.name)
        if record is None:
            reasons[method.name] = "not done yet"
            continue
        # The record knows whether the frames were of different size.
        resized = options.resize and "resize" in record.key
        cropped = options.crop_to_common and "crop_to_common" in record.key
        key = known.key(method, options, suffix, resized=resized, cropped=cropped)
        if options.skip_broken and left_out_of(record.key):
            key = key | {LEFT_OUT: record.key[LEFT_OUT]}
        reason = why_not_done(record, key, known.directory, row.id) or frames_then.difference(
            record
        )
        if options.score and method.output and not is_scored(record.scores):
            # Scores need the pixels as computed, which only fusing again brings back.
            reason = reason or "not scored yet"
        if reason:
            reasons[method.name] = reason
    return reasons


def _in_words(reasons: Mapping[str, str], n_methods: int) -> tuple[str, ...]:
    """One reason for all methods that share it."""
    shared: dict[str, list[str]] = {}
    for method, reason in reasons.items():
        shared.setdefault(reason, []).append(method)
    return tuple(
        reason if len(names) == n_methods else f"{', '.join(names)}: {reason}"
        for reason, names in shared.items()
    )
