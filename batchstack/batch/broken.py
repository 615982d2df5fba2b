"""Frames that are damaged: which of a stack's one is, and the stack without it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from batchstack.batch.jobs import Job, LeftOut, Result
from batchstack.errors import BatchstackError, DamagedError
from batchstack.images import damaged_digest
from batchstack.options import AlignOptions

# A stack of so many frames may do without one in so many of them.
FEWEST, ONE_IN = 5, 5
LEFT_OUT = "left_out"  # in the key of a record


def broken_among(error: BaseException, frames: Collection[Path]) -> Path | None:
    """The frame that an error says is damaged, None if it says nothing of the kind."""
    return error.path if isinstance(error, DamagedError) and error.path in frames else None


def refusal(job: Job, broken: Sequence[int]) -> str | None:
    """Why a stack cannot do without more of its frames, or None.

    Parameters
    ----------
    job : Job
        Of the frames that are left by now.
    broken : sequence of int
        Which of those are damaged, the first being 0.
    """
    given, gone = len(job.frames) + len(job.left_out), len(broken) + len(job.left_out)
    if given < FEWEST or gone * ONE_IN > given:
        return f"of a stack of {FEWEST} frames or more one in {ONE_IN} may be left out"
    if job.device:
        return "transforms are given, one for each frame"
    if _named(job.alignment) in broken:
        return "it is the frame that --reference names"
    if job.resize and 0 in broken:
        return "the others are resized to it"
    return None


def told(job: Job, error: BatchstackError | OSError) -> tuple[str, Path | None]:
    """What to say of a failed job, and the frame that is damaged, if one is.

    Of a stack that may do without damaged frames, it is said why it may not without this one.
    """
    path = broken_among(error, job.frames) if isinstance(error, BatchstackError) else None
    text = f"{job.place} {job.id}: {error}"
    if path is None or not job.skip_broken:
        return text, path
    why = refusal(job, [job.frames.index(path)])
    return (f"{text}; it is not left out: {why}" if why else text), path


def without_broken(result: Result) -> Job | None:
    """The job without the frame that was found damaged, None if it cannot do without it."""
    job, path = result.job, result.broken
    if path is None or not job.skip_broken or refusal(job, [job.frames.index(path)]):
        return None
    try:
        return without(job, {path: (result.error or "").partition(f"{path}: ")[2]})
    except BatchstackError:  # it went away, or is whole by now
        return None


def without(job: Job, broken: Mapping[Path, str]) -> Job:
    """The job without some frames, for the reasons that are given.

    Raises
    ------
    FileError
        If they cannot be read.
    ImageError
        If one is not damaged, or no longer: what is mended is to be fused with the others.
    """
    gone = {one.index for one in job.left_out}
    given = [index for index in range(len(job.frames) + len(gone)) if index not in gone]
    places = {path: job.frames.index(path) for path in broken}
    found = [
        LeftOut(given[places[path]], path, damaged_digest(path), why)
        for path, why in broken.items()
    ]
    left_out = tuple(sorted((*job.left_out, *found), key=lambda one: one.index))
    return replace(
        job,
        frames=tuple(frame for frame in job.frames if frame not in broken),
        alignment=_alignment_without(job.alignment, places.values()),
        left_out=left_out,
        keys={name: with_left_out(key, left_out) for name, key in job.keys.items()},
    )


def _named(alignment: AlignOptions) -> int | None:
    """The index of a reference that is named by its number."""
    return int(alignment.reference) - 1 if alignment.reference.isdigit() else None


def _alignment_without(alignment: AlignOptions, places: Iterable[int]) -> AlignOptions:
    """The options for the frames that are left, which are numbered anew."""
    named = _named(alignment)
    if named is None:
        return alignment
    return replace(alignment, reference=str(named + 1 - sum(place < named for place in places)))


# --- records


def with_left_out(key: dict[str, Any], left_out: Sequence[LeftOut]) -> dict[str, Any]:
    """The key of a record of which some frames were left out, those that are damaged so."""
    if not left_out:
        return key
    return key | {LEFT_OUT: [[one.index, one.digest] for one in left_out]}


def left_out_of(key: Mapping[str, Any]) -> list[tuple[int, str]]:
    """The index and digest of each frame that was left out; none of what is no such list."""
    found = key.get(LEFT_OUT)
    try:
        pairs = [(index, digest) for index, digest in found or ()]
    except (TypeError, ValueError):
        return []
    return [pair for pair in pairs if isinstance(pair[0], int) and isinstance(pair[1], str)]


def frames_left(frames: Sequence[Any], key: Mapping[str, Any]) -> list[Any]:
    """The frames of a stack but for those that its record says were left out."""
    gone = {index for index, _ in left_out_of(key)}
    return [frame for index, frame in enumerate(frames) if index not in gone]
