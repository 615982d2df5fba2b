"""What workers do: the functions that the nodes of a stack's graph call.

Every task takes and gives small values; pixels go from file to file.
An error comes back as data, because exceptions do not survive every way between
processes and must never stop other stacks.
A task may run twice (its worker died, or came back): it writes the same bytes again,
and every file appears whole or not at all.
"""

import os
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from batchstack import files
from batchstack.batch import previews
from batchstack.batch.alignment import (
    Frame,
    align,
    aligned_windows,
    link,
    link_each,
    move_frames,
    windows,
)
from batchstack.batch.broken import told
from batchstack.batch.claim import Claim
from batchstack.batch.jobs import Input, Job, Result, Scores
from batchstack.batch.peak import Peak
from batchstack.batch.peak import leave as leave_peak
from batchstack.batch.placement import Alignment
from batchstack.batch.previews import Picture, Preview
from batchstack.batch.progress import (
    READING,
    WRITING,
    begin,
    counted,
    done,
    joined,
    this_worker,
)
from batchstack.batch.scoring import score_outputs
from batchstack.batch.settling import settle_files
from batchstack.batch.tile_files import bands, join, rows_in, tile_window, write_tile
from batchstack.batch.versions import versions
from batchstack.errors import BatchstackError, OutputLostError, StackError
from batchstack.fusion.decision import DecisionMap
from batchstack.fusion.engine import (
    StackToFuse,
    as_shown,
    fuse_image,
    fuse_tile,
    large_tiles,
    output_form,
    survey_tile,
    tiles,
)
from batchstack.fusion.methods import METHODS, Method
from batchstack.fusion.scratch import Scratch
from batchstack.fusion.team import Team
from batchstack.fusion.tiles import ReadWindow
from batchstack.geometry import Box
from batchstack.images import (
    Empty,
    Encoding,
    Metadata,
    StagedImage,
    Written,
    cropped,
    probe,
    read_image_and_digest,
    read_metadata,
    resized,
    scaled,
    stage_image,
    write_image,
    write_image_rows,
    write_npy,
)
from batchstack.images.white import Held, White, held, white_of
from batchstack.registration import Fit

Pixels = npt.NDArray[Any]
# A frame as it was read, and what tells its value for white.
_Read = tuple[Input, Held | None]

# By thread, what its stacks are like and the memory that they share; and that of threads which
# only wait for the disk, for the next ones.
_kept: dict[int, tuple[tuple[Any, ...], list[Scratch]]] = {}
_free: list[tuple[tuple[Any, ...], list[Scratch]]] = []

# What a split stack's decision map consists of, in scratch.
# What tiles survey of the decision map, and what it is settled to.
_MAPS = ("decision", "confidence")
_SETTLED = (*_MAPS, "trust")
# What tiles survey beside it for methods that write depth, which stays as it is.
_OFFSET = "offset"


@dataclass(frozen=True)
class Staged:
    """A frame in scratch: the file, what tells its value for white, what shows it."""

    input: Input
    held: Held | None
    previews: list[Preview]


@dataclass(frozen=True)
class Encoded:
    """An output: its file, what shows it."""

    written: Written
    previews: list[Preview]


@dataclass(frozen=True)
class Outcome:
    """What one task of a split stack leaves behind.

    Attributes
    ----------
    error : str, optional
        A complete message; then the tasks after it do nothing.
    unfit : str, optional
        Why the worker cannot work for the run; then too.
    value : Staged or float or Fit or Alignment or dict or Encoded or None
        The frame of a staging task, the value for white, how a frame lies relative to another,
        where all lie, the scores of the outputs, an output.
    seconds : float
    peak_memory : int
        Largest resident size of the worker meanwhile, in bytes; see `Peak`.
    worker : str
        Its address; empty in the client's own process.
    broken : Path, optional
        The frame that is damaged, if that is the error.
    """

    error: str | None = None
    unfit: str | None = None
    value: Any = None
    seconds: float = 0.0
    peak_memory: int = 0
    worker: str = ""
    broken: Path | None = None

    @property
    def failed(self) -> bool:
        return bool(self.error or self.unfit)


def do_stack(job: Job) -> Result:
    """Do a whole stack in one task."""
    outcome = _attempt(_fuse_stack, job)
    if outcome.failed:
        return _failure(job, outcome)
    result: Result = outcome.value
    return replace(
        result,
        seconds=outcome.seconds,
        peak_memory=outcome.peak_memory,
        worker=outcome.worker,
        versions=_versions(job),
    )


def stage_frame(job: Job, index: int, after: Sequence[Outcome] = ()) -> Outcome:
    """Decode one frame to uncompressed scratch, after the frames it depends on."""
    return _failed(after) or _attempt(_stage_one_frame, job, index, part=f"frame {index}")


def find_range(job: Job, staged: Sequence[Outcome]) -> Outcome:
    """Find which value means white, from all frames."""
    return _failed(staged) or _attempt(_find_range, job, staged, part="range")


def link_frames(job: Job, index: int, staged: Sequence[Outcome], white: Outcome) -> Outcome:
    """Compare a staged frame with the one before it."""
    return _failed([*staged, white]) or _attempt(
        _link_frames, job, index, white.value, part=f"link {index}"
    )


def align_frames(
    job: Job, staged: Sequence[Outcome], white: Outcome, linked: Sequence[Outcome]
) -> Outcome:
    """Find where the staged frames of a split stack lie, by what each two neighbours say."""
    before = [*staged, white, *linked]
    links = [outcome.value for outcome in linked]
    return _failed(before) or _attempt(_align_frames, job, links, white.value, part="align")


def survey_one_tile(job: Job, box: Box, staged: Sequence[Outcome], aligned: Outcome) -> Outcome:
    """Find the sharpest frame at each cell of one tile; the cells go to scratch."""
    part = f"survey {box.top} {box.left}"
    return _failed([*staged, aligned]) or _attempt(
        _survey_one_tile, job, box, aligned.value, part=part
    )


def settle_map(job: Job, shape: tuple[int, int], surveyed: Sequence[Outcome]) -> Outcome:
    """Make the decision map of a split stack from its surveyed tiles."""
    return _failed(surveyed) or _attempt(_settle_map, job, shape)


def fuse_one_tile(
    job: Job, box: Box, staged: Sequence[Outcome], aligned: Outcome, settled: Sequence[Outcome]
) -> Outcome:
    """Fuse one tile of a split stack; each output's pixels go to scratch."""
    before = [*staged, aligned, *settled]
    part = f"tile {box.top} {box.left}"
    return _failed(before) or _attempt(_fuse_one_tile, job, box, aligned.value, part=part)


def score_tiles(job: Job, aligned: Outcome, fused: Sequence[Outcome]) -> Outcome:
    """Score the outputs of a split stack from its tiles."""
    return _failed(fused) or _attempt(_score_tiles, job, aligned.value, part="score")


def encode_output(job: Job, name: str, aligned: Outcome, fused: Sequence[Outcome]) -> Outcome:
    """Write one output of a split stack from its tiles."""
    return _failed(fused) or _attempt(_encode_output, job, name, aligned.value, part=name)


def finish_stack(
    job: Job,
    staged: Sequence[Outcome],
    linked: Sequence[Outcome],
    aligned: Outcome,
    decided: Sequence[Outcome],
    fused: Sequence[Outcome],
    scored: Sequence[Outcome],
    encoded: Sequence[Outcome],
) -> Result:
    """Gather what the tasks of a split stack did and remove its scratch."""
    outcomes = [*staged, *linked, aligned, *decided, *fused, *scored, *encoded]
    failed = _failed(outcomes)
    megapixels = 0.0 if failed else _megapixels(StagedImage(_staged_path(job.scratch, 0)).shape)
    files.remove_tree(job.scratch)
    if failed:
        return _failure(job, failed)
    named = _attempt(_sync_names, job)
    if named.failed:
        return _failure(job, named)
    made = [outcome.value for outcome in [*staged, *encoded]]
    previews.remember(job, (preview for one in made for preview in one.previews))
    written = zip(output_names(job), (outcome.value.written for outcome in encoded), strict=True)
    return Result(
        job,
        worker=here(),
        versions=_versions(job),
        inputs=tuple(outcome.value.input for outcome in staged),
        outputs=dict(written),
        scores={name: own for outcome in scored for name, own in outcome.value.items()},
        megapixels=megapixels,
        alignment=aligned.value,
        white=aligned.value.white,
        seconds=sum(outcome.seconds for outcome in outcomes),
        peak_memory=max(outcome.peak_memory for outcome in outcomes),
    )


def tiles_of(job: Job, shape: tuple[int, int]) -> list[Box]:
    """The tiles of a stack that is split, or spread over some threads.

    Parameters
    ----------
    job : Job
    shape : (int, int)
        Rows and columns of a frame.
    """
    methods = _methods(job)
    if not job.spread:
        return tiles(shape, job.tile, methods, job.fusion)
    return large_tiles(shape, job.spread, job.tile, len(job.frames), methods, job.fusion)


def output_names(job: Job) -> list[str]:
    """Names of all outputs of a job, without ending."""
    return [name for method in _methods(job) for name in method.outputs]


def unfitness(claim: Claim) -> str | None:
    """Why this worker cannot work for a run, or None."""
    return claim.unfitness()


def here() -> str:
    """Address of the worker that this is; empty if it is none."""
    worker = this_worker()
    return worker.address if worker else ""


def _attempt(work: Callable[..., Any], job: Job, *arguments: Any, part: str = "") -> Outcome:
    """Run a part of a job; what goes wrong becomes a message that names the row."""
    worker = here()
    unfit = job.held.unfitness()
    if unfit:
        return Outcome(unfit=unfit, worker=worker)
    begin(job, part)
    # One task, one core: the parallel work is in the tasks.
    cv2.setNumThreads(1)
    if work is not _fuse_stack:
        _kept.pop(threading.get_ident(), None)
        _free.clear()
    start = time.perf_counter()
    peak = Peak()
    try:
        with peak:
            value = work(job, *arguments)
    except OutputLostError as error:
        return Outcome(unfit=str(error), worker=worker)
    except (BatchstackError, OSError) as error:
        text, broken = told(job, error)
        return Outcome(error=text, broken=broken)
    except MemoryError:
        return Outcome(
            error=f"{job.place} {job.id}: out of memory; use fewer workers or a smaller --tile"
        )
    except Exception:
        # A defect of ours: the trace is what a report of it needs.
        return Outcome(error=f"{job.place} {job.id}: unexpected error\n{traceback.format_exc()}")
    seconds = time.perf_counter() - start
    return Outcome(value=value, seconds=seconds, peak_memory=peak.size, worker=worker)


def _failed(outcomes: Sequence[Outcome]) -> Outcome | None:
    return next((outcome for outcome in outcomes if outcome.failed), None)


def _versions(job: Job) -> tuple[tuple[str, str], ...]:
    """What computes here, if it is recorded: to find out takes a tenth of a small pair's time."""
    return versions() if job.claim is None or job.claim.versions else ()


def _failure(job: Job, outcome: Outcome) -> Result:
    return Result(
        job,
        error=outcome.error,
        broken=outcome.broken,
        unfit=outcome.unfit,
        worker=outcome.worker,
        versions=_versions(job),
    )


def _methods(job: Job) -> list[Method]:
    return [METHODS[name] for name in job.methods]


def _fuse_stack(job: Job) -> Result:
    # The task may run twice at once, and each removes what it has made.
    private = job.held.scratch / uuid.uuid4().hex
    try:
        team = _team(job)
        frames, found, pictures = _load(job, private, team)
        white = white_of(job.data_range, [own for _, own in found])
        job = job.with_white(white)
        alignment = align(job, frames, link_each(job, frames, team))
        frames = move_frames(job, frames, alignment, private, team)
        alignment = _as_shown(job, frames, windows(frames), alignment)
        outputs, scores = _fuse_and_write(job, frames, alignment, pictures, team)
    finally:
        files.remove_tree(private)
    previews.remember(job, previews.publish(job, pictures))
    return Result(
        job,
        inputs=tuple(read for read, _ in found),
        outputs=outputs,
        scores=scores,
        megapixels=_megapixels(frames[0].shape),
        alignment=alignment,
        white=white,
    )


def _load(job: Job, private: Path, team: Team) -> tuple[list[Frame], list[_Read], list[Picture]]:
    """The frames in memory, or where they do not fit, in scratch; and their previews."""
    frames: list[Frame] = []
    pictures: list[Picture] = []
    found: dict[int, _Read] = {}

    def load(index: int, scratch: Scratch) -> Frame:
        if job.hold:
            frame, found[index], shown = _hold_frame(job, index, frames, team.scratch, scratch)
        else:
            found[index], shown = _stage_frame(job, private, index)
            frame = _staged(job, private, index)
        pictures.extend(shown)
        done(READING, len(found) / len(job.frames))
        return frame

    if job.resize:  # which needs the first frame's size
        frames.append(load(0, team.scratch))
    for frame in team.each(load, range(len(frames), len(job.frames))):
        frames.append(frame)
        _check_agrees(frames)
    return frames, [found[index] for index in range(len(frames))], pictures


def _hold_frame(
    job: Job, index: int, before: Sequence[Frame], shared: Scratch, own: Scratch
) -> tuple[Frame, _Read, list[Picture]]:
    """A frame in memory that is kept for those of the next stacks, and that threads share."""
    path, kept = job.frames[index], shared.array
    name = f"frame {index}"
    status = _status(path)
    pixels, digest = read_image_and_digest(
        path, partial(kept, name), partial(own.room, "encoded"), wanted=job.recorded
    )
    found = Input(str(path), status.st_size, status.st_mtime_ns, digest)
    white = _held(job, Frame(path, pixels))
    pictures = previews.frame_pictures(job, index, found, white, _rows(pixels), pixels.shape)
    pixels = _fitting(job, pixels, before[0].shape if before else pixels.shape)
    there = kept(name, pixels.shape, pixels.dtype)
    if not np.may_share_memory(there, pixels):  # turned, resized, or of a codec with its own memory
        there[...] = pixels
    return Frame(path, there), (found, white), pictures


def _rows(image: Pixels | StagedImage) -> previews.Rows:
    return lambda top, bottom: image[top:bottom, :]


def _fuse_and_write(
    job: Job, frames: Sequence[Frame], alignment: Alignment, pictures: list[Picture], team: Team
) -> tuple[dict[str, Written], dict[str, Scores]]:
    """The files of the outputs, and the scores of those that have some."""
    read, area = windows(frames), alignment.area
    counting = counted(read, _passes(job) * prod(frames[0].size))
    outputs = fuse_image(_to_fuse(job, frames, counting, alignment), job.tile, team)
    metadata = _metadata(job, alignment.reference)
    written: dict[str, Written] = {}

    def write(name: str, scratch: Scratch) -> None:
        image, empty = outputs[name][area.slices], partial(scratch.room, "encoded")
        written[name] = write_image(
            job.output_path(name),
            image,
            encoding=_encoding(job, name, alignment.reference, metadata, empty),
            publish=job.held.check,
            finish=behind,
        )
        shown = job, name, written[name], _rows(image), image.shape
        pictures.extend(previews.output_pictures(*shown))
        done(WRITING, len(written) / len(outputs))

    scores = score_outputs(
        job, read, {name: partial(_part, image) for name, image in outputs.items()}, area
    )
    for folder in job.folders:
        files.make_folder(folder)
    with files.Behind() as behind:
        for folder in job.folders:
            if folder != job.held.directory:
                behind(partial(files.sync_names, folder.parent, job.held.directory))
        team.each(write, output_names(job))
        for folder in job.folders:
            behind(partial(files.sync_names, folder, folder))
        _let_the_next_begin()
    return {name: written[name] for name in output_names(job)}, scores


def _part(image: Pixels, box: Box) -> Pixels:
    return image[box.slices]


def _let_the_next_begin() -> None:
    """Free the core for another stack while this one waits for the disk."""
    leave_peak()
    _free.append(_kept.pop(threading.get_ident()))
    if this_worker():
        import distributed

        distributed.secede()


def _sync_names(job: Job) -> None:
    """Have the outputs on the disk under their names before they are recorded."""
    for folder in job.folders:
        files.sync_names(folder, job.held.directory)


def forget() -> None:
    """Give back the working memory that is kept between stacks."""
    _kept.clear()
    _free.clear()


def _team(job: Job) -> Team:
    """The threads that do a stack, with working memory that this one keeps for the next.

    It is kept for stacks of as many frames and the same methods.
    Memory that is new to a process costs more time than what is computed in it.  What
    needs other arrays gets them instead of these, not beside them.
    """
    form = len(job.frames), job.hold, job.methods, job.tile, job.threads
    thread = threading.get_ident()
    known, scratches = _kept.pop(thread, None) or (_free.pop() if _free else (None, []))
    if known != form:
        scratches = [Scratch() for _ in range(job.threads)]
    _kept[thread] = form, scratches
    return Team(scratches, joined())


def _stage_frame(job: Job, folder: Path, index: int) -> tuple[_Read, list[Picture]]:
    path, target = job.frames[index], _staged_path(folder, index)
    status = _status(path)
    found = Input(str(path), status.st_size, status.st_mtime_ns, stage_image(path, target))
    staged = StagedImage(target)
    own = _held(job, Frame(path, staged))
    pictures = previews.frame_pictures(job, index, found, own, _rows(staged), staged.shape)
    if job.crop or (index and job.resize):
        first = StagedImage(_staged_path(folder, 0)).shape
        write_npy(target, _fitting(job, staged.whole(), first))
    return (found, own), pictures


def _stage_one_frame(job: Job, index: int) -> Staged:
    (found, own), pictures = _stage_frame(job, job.scratch, index)
    done(READING, 1 / len(job.frames))
    return Staged(found, own, previews.publish(job, pictures))


def _held(job: Job, frame: Frame) -> Held | None:
    """What tells the value for white of a frame, unless it is given."""
    if job.fusion.data_range is not None:
        return None
    return held(frame, job.data_range, frame.path.name)


def _find_range(job: Job, staged: Sequence[Outcome]) -> White:
    return white_of(job.data_range, [outcome.value.held for outcome in staged])


def _link_frames(job: Job, index: int, white: White) -> Fit:
    frames = [_staged(job, job.scratch, number) for number in (index - 1, index)]
    _check_agrees(frames)
    return link(job.with_white(white), *frames)


def _align_frames(job: Job, links: Sequence[Fit], white: White) -> Alignment:
    frames, ranged = _all_staged(job), job.with_white(white)
    alignment = align(ranged, frames, links)
    read = aligned_windows(ranged, frames, alignment)
    return replace(_as_shown(ranged, frames, read, alignment), white=white)


def _as_shown(
    job: Job, frames: Sequence[Frame], read: ReadWindow, alignment: Alignment
) -> Alignment:
    """Where frames lie, with what they show that methods ask for."""
    stack = StackToFuse(read, len(frames), frames[0].size, _methods(job), job.fusion)
    found = as_shown(stack).options
    return replace(alignment, map_level=found.map_level, shrink=found.shrink)


def _survey_one_tile(job: Job, box: Box, alignment: Alignment) -> None:
    job = job.with_white(alignment.white)
    frames = _all_staged(job)
    read = _counted(job, aligned_windows(job, frames, alignment), box, frames[0].size)
    cells = survey_tile(_to_fuse(job, frames, read, alignment), box)
    for name, values in zip(_surveyed(job), cells, strict=True):
        write_tile(job.scratch, name, box, values)


def _settle_map(job: Job, shape: tuple[int, int]) -> None:
    boxes = tiles_of(job, shape)
    surveyed = [job.scratch / f"surveyed-{name}.npy" for name in _MAPS]
    for name, path in zip(_MAPS, surveyed, strict=True):
        join(job.scratch, name, boxes, path)
    for name in _surveyed(job)[len(_MAPS) :]:
        join(job.scratch, name, boxes, _map_path(job, name))
    index, confidence, trust = (_map_path(job, name) for name in _SETTLED)
    settled, folder = (index, confidence, trust), job.scratch / "settling"
    settle_files((surveyed[0], surveyed[1]), settled, job.fusion.evidence, folder)


def _surveyed(job: Job) -> tuple[str, ...]:
    """The maps that tiles survey."""
    return (*_MAPS, _OFFSET) if any(m.writes_depth for m in _methods(job)) else _MAPS


def _decision(job: Job, alignment: Alignment) -> DecisionMap | None:
    """The decision map that `settle_map` left in scratch, which tiles read windows of."""
    if alignment.map_level is None:
        return None
    index, confidence, trust, *offset = (
        StagedImage(_map_path(job, name)) for name in (*_SETTLED, *_surveyed(job)[len(_MAPS) :])
    )
    found = alignment.map_level, alignment.shrink
    return DecisionMap(index, confidence, trust, *found, *offset)


def _fuse_one_tile(job: Job, box: Box, alignment: Alignment) -> None:
    job = job.with_white(alignment.white)
    frames = _all_staged(job)
    read = _counted(job, aligned_windows(job, frames, alignment), box, frames[0].size)
    fused = fuse_tile(_to_fuse(job, frames, read, alignment), box, _decision(job, alignment))
    for name, values in fused.items():
        write_tile(job.scratch, name, box, values)


def _to_fuse(
    job: Job, frames: Sequence[Frame], read: ReadWindow, alignment: Alignment
) -> StackToFuse:
    options = replace(job.fusion, map_level=alignment.map_level, shrink=alignment.shrink)
    return StackToFuse(read, len(frames), frames[0].size, _methods(job), options)


def _counted(job: Job, read: ReadWindow, box: Box, shape: tuple[int, int]) -> ReadWindow:
    """A function that reads windows for a tile, and tells how far it is."""
    pixels = prod(box.shape)
    return counted(read, pixels, pixels / prod(shape) / _passes(job))


def _passes(job: Job) -> int:
    """How often the fusion of a stack reads its frames."""
    return 1 + any(method.decided for method in _methods(job))


def _all_staged(job: Job) -> list[Frame]:
    frames: list[Frame] = []
    for index in range(len(job.frames)):
        frames.append(_staged(job, job.scratch, index))
        _check_agrees(frames)
    return frames


def _staged(job: Job, folder: Path, index: int) -> Frame:
    return Frame(job.frames[index], StagedImage(_staged_path(folder, index)))


def _score_tiles(job: Job, alignment: Alignment) -> dict[str, Scores]:
    job = job.with_white(alignment.white)
    frames = _all_staged(job)
    boxes = tiles_of(job, frames[0].size)
    images = {name: partial(tile_window, job.scratch, name, boxes) for name in output_names(job)}
    read = aligned_windows(job, frames, alignment)
    return score_outputs(job, read, images, alignment.area)


def _encode_output(job: Job, name: str, alignment: Alignment) -> Encoded:
    job = job.with_white(alignment.white)
    frames, methods = _all_staged(job), _methods(job)
    area, reference = alignment.area, alignment.reference
    shape, dtype = output_form(name, methods, frames[0].shape, frames[0].dtype)
    boxes = tiles_of(job, _size(shape))
    written = write_image_rows(
        job.output_path(name),
        (*area.shape, *shape[2:]),
        dtype,
        rows_in(area, bands(job.scratch, name, boxes)),
        encoding=_encoding(job, name, reference, _metadata(job, reference)),
        publish=job.held.check,
    )
    done(WRITING, 1 / len(output_names(job)))

    def rows(top: int, bottom: int) -> Pixels:
        strip = Box(area.top + top, area.left, area.top + bottom, area.right)
        return tile_window(job.scratch, name, boxes, strip)

    pictures = previews.output_pictures(job, name, written, rows, (*area.shape, *shape[2:]))
    return Encoded(written, previews.publish(job, pictures))


def _metadata(job: Job, reference: int) -> Metadata:
    """What the outputs inherit: from the frame onto which the others are brought."""
    metadata = read_metadata(job.frames[reference], strip_gps=job.strip_gps)
    if not (job.resize and reference):
        return metadata
    first, own = probe(job.frames[0]), probe(job.frames[reference])
    return scaled(metadata, first.height / own.height, first.width / own.width)


def _encoding(
    job: Job, name: str, reference: int, metadata: Metadata, empty: Empty = np.empty
) -> Encoding:
    if any(name in method.maps for method in _methods(job)):
        metadata = metadata.without_colour()
    return Encoding(job.quality, metadata, empty, job.software(name, reference))


def _fitting(job: Job, pixels: Pixels, first: tuple[int, ...]) -> Pixels:
    """A frame in the size that all are to have, if they were found to differ.

    Parameters
    ----------
    job : Job
    pixels : ndarray
    first : tuple of int
        Shape of the first frame as it is stored.
    """
    if job.crop:
        return cropped(pixels, job.crop)
    if pixels.shape[:2] == first[:2] or not job.resize:
        return pixels
    return resized(pixels, _size(first))


def _check_agrees(frames: Sequence[Frame]) -> None:
    """The plan compared headers; a file may have changed since."""
    first, last = frames[0], frames[-1]
    if last.shape != first.shape or last.dtype != first.dtype:
        raise StackError(
            f"{last.path}: decodes to {last.shape} {last.dtype}, {first.path.name} to "
            f"{first.shape} {first.dtype}; give frames of one size and depth"
        )


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[0], shape[1]


def _status(path: Path) -> os.stat_result:
    try:
        return files.status(path)
    except OSError as error:
        raise files.failure(path, "cannot be read", error) from error


def _staged_path(folder: Path, index: int) -> Path:
    return folder / f"frame{index:04d}.npy"


def _map_path(job: Job, name: str) -> Path:
    return job.scratch / f"{name}.npy"


def _megapixels(shape: tuple[int, ...]) -> float:
    return shape[0] * shape[1] / 1e6
