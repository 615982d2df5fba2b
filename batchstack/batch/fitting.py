"""How a stack is done within the memory of a worker, and what its format cannot hold."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from batchstack import files
from batchstack.batch.frame_checks import CHANNELS
from batchstack.batch.jobs import Job
from batchstack.batch.manifest import Row
from batchstack.batch.memory import Footprint, Way, predict
from batchstack.batch.steps import Step
from batchstack.errors import StackError
from batchstack.formats import Format, by_rows, either, holding, of_suffix
from batchstack.fusion.methods import METHODS, Method
from batchstack.images import ImageInfo

# Bytes of a path with its end, and of a name, on Linux; macOS allows a quarter of the path.
_LONGEST_PATH, _LONGEST_NAME = (4096 if sys.platform == "linux" else 1024), 255
# Sides of tiles, in pixels, that are tried where the usual ones take too much memory.
SMALLER_TILES = (512, 256, 128)


def refuse_long_names(job: Job) -> None:
    """Refuse a stack whose outputs the system could not name."""
    names = (name for method in job.methods for name in METHODS[method].outputs)
    longest = job.output_path(max(names, key=len))
    part = files.part_name(longest, "0" * 12)
    if len(os.fsencode(part)) >= _LONGEST_PATH or len(os.fsencode(part.name)) > _LONGEST_NAME:
        raise StackError(
            f"{longest}: is a longer name than the system allows; give a shorter id or an output "
            "directory nearer to the root"
        )


def fitted(
    row: Row,
    job: Job,
    frames: Sequence[ImageInfo],
    methods: Sequence[Method],
    reasons: tuple[str, ...],
    memory_limit: int | None,
) -> Step:
    """A step that fuses, or refuses what the format or the memory cannot hold."""
    first = frames[0]
    problem = _format_problem(of_suffix(job.suffix), first)
    for way in _ways(job, memory_limit):
        footprint = predict(
            max(frames, key=lambda frame: (frame.nbytes, not frame.read_by_rows)),
            len(frames),
            tuple(methods),
            job.fusion,
            job.alignment,
            suffix=job.suffix,
            way=way,
            score=job.score,
        )
        if memory_limit is None or _needed(footprint, way.hold) <= memory_limit:
            job = replace(job, tile=way.tile, hold=way.hold)
            break
    else:
        problem = problem or _memory_problem(job, first, footprint, memory_limit or 0)
    shape = job.crop or (first.height, first.width)
    if problem:
        return Step(row, "refuse", (problem,), shape=shape, hopeless=True)
    return Step(row, "fuse", reasons, job, footprint, shape)


def _ways(job: Job, memory_limit: int | None) -> Iterator[Way]:
    """How a stack may be done, the fastest first.

    Of unknown memory no more than a pair is taken.
    """
    tiles = (None, *SMALLER_TILES) if job.tile is None else (job.tile,)
    if len(job.frames) == 2 or memory_limit is not None:
        yield Way(tiles[0], hold=True)
    for tile in tiles:
        yield Way(tile, hold=False)


def _needed(footprint: Footprint, hold: bool) -> int:
    """Bytes that the largest task takes, of the way that takes least."""
    return footprint.whole if hold else min(footprint.whole, footprint.split)


def _memory_problem(job: Job, first: ImageInfo, footprint: Footprint, memory_limit: int) -> str:
    """What a stack needs that no worker has, and what would help."""
    needed = min(footprint.whole, footprint.split)
    remedies = "use fewer workers or a larger --memory-limit"
    wanted = of_suffix(job.suffix)
    if not wanted.written_by_rows and footprint.encode == needed:
        remedies += (
            f", or --format {_streamed(first)}, because {wanted.choice} is encoded from the whole "
            "image"
        )
    elif footprint.stage == needed:
        streamed = either(row.label for row in by_rows(first.dtype, first.channels))
        remedies += f", or give frames as {streamed}, because others are decoded whole"
    elif job.tile is not None:
        remedies += ", or a smaller --tile"
    return (
        f"needs {needed / 2**20:.0f} MiB of memory, a worker has "
        f"{memory_limit / 2**20:.0f} MiB; {remedies}"
    )


def _format_problem(wanted: Format, frame: ImageInfo) -> str | None:
    if not wanted.holds(frame.dtype, frame.channels):
        able = holding(frame.dtype, frame.channels)
        found = CHANNELS[frame.channels] if frame.dtype in wanted.dtypes else frame.dtype
        return (
            f"{frame.path}: has {found} pixels, which {wanted.choice} cannot hold; "
            f"use --format {either(row.choice for row in able)}"
        )
    if max(frame.height, frame.width) > wanted.largest_side:
        return f"{frame.path}: is too large for {wanted.choice}; use --format {_streamed(frame)}"
    return None


def _streamed(frame: ImageInfo) -> str:
    """What `--format` calls the formats that hold such a frame however large it is."""
    return either(row.choice for row in by_rows(frame.dtype, frame.channels))
