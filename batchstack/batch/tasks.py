"""What workers do: the functions that the nodes of a stack's graph call.

Every task takes and gives small values; pixels go from file to file.
An error comes back as data, because exceptions do not survive every way between
processes and must never stop other stacks.
A task may run twice (its worker died, or came back): it writes the same bytes again,
and every file appears whole or not at all.
"""

import resource
import shutil
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from batchstack.batch.jobs import Input, Job, Result
from batchstack.errors import BatchstackError, StackError
from batchstack.fusion.engine import ReadWindow, fuse_tile, tiles
from batchstack.fusion.methods import METHODS, Method
from batchstack.fusion.tiles import Box
from batchstack.images import (
    StagedImage,
    read_image_and_digest,
    read_metadata,
    resized,
    stage_image,
    write_image,
    write_image_rows,
    write_npy,
)

Pixels = npt.NDArray[Any]
Frame = Pixels | StagedImage


@dataclass(frozen=True)
class Outcome:
    """What one task of a split stack leaves behind.

    Attributes
    ----------
    error : str, optional
        A complete message; then the tasks after it do nothing.
    value : Input or int or None
        The frame of a staging task, the bytes of an encoding task's file.
    seconds : float
    peak_memory : int
        Largest resident size of the worker so far, in bytes.
    """

    error: str | None = None
    value: Any = None
    seconds: float = 0.0
    peak_memory: int = 0


def fuse_stack(job: Job) -> Result:
    """Do a whole stack in one task."""
    outcome = _attempt(_fuse_stack, job)
    if outcome.error:
        return Result(job, error=outcome.error)
    result: Result = outcome.value
    return replace(result, seconds=outcome.seconds, peak_memory=outcome.peak_memory)


def stage_frame(job: Job, index: int, after: Sequence[Outcome] = ()) -> Outcome:
    """Decode one frame to uncompressed scratch, after the frames it depends on."""
    return _failed(after) or _attempt(_stage_frame, job, job.scratch, index)


def fuse_one_tile(job: Job, box: Box, staged: Sequence[Outcome]) -> Outcome:
    """Fuse one tile of a split stack; each output's pixels go to scratch."""
    return _failed(staged) or _attempt(_fuse_one_tile, job, box)


def encode_output(job: Job, name: str, fused: Sequence[Outcome]) -> Outcome:
    """Write one output of a split stack from its tiles."""
    return _failed(fused) or _attempt(_encode_output, job, name)


def finish_stack(
    job: Job, staged: Sequence[Outcome], fused: Sequence[Outcome], encoded: Sequence[Outcome]
) -> Result:
    """Gather what the tasks of a split stack did and remove its scratch."""
    outcomes = [*staged, *fused, *encoded]
    failed = _failed(outcomes)
    megapixels = 0.0 if failed else _megapixels(StagedImage(_staged_path(job.scratch, 0)).shape)
    shutil.rmtree(job.scratch, ignore_errors=True)
    if failed:
        return Result(job, error=failed.error)
    return Result(
        job,
        inputs=tuple(outcome.value for outcome in staged),
        sizes={
            name: outcome.value for name, outcome in zip(output_names(job), encoded, strict=True)
        },
        megapixels=megapixels,
        seconds=sum(outcome.seconds for outcome in outcomes),
        peak_memory=max(outcome.peak_memory for outcome in outcomes),
    )


def output_names(job: Job) -> list[str]:
    """Names of all outputs of a job, without ending."""
    return [name for method in _methods(job) for name in method.outputs]


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    # The resource usage of a young process still counts what its parent held.
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _attempt(work: Callable[..., Any], job: Job, *arguments: Any) -> Outcome:
    """Run a part of a job; what goes wrong becomes a message that names the row."""
    # One task, one core: the parallel work is in the tasks.
    cv2.setNumThreads(1)
    start = time.perf_counter()
    try:
        value = work(job, *arguments)
    except (BatchstackError, OSError) as error:
        return Outcome(error=f"{job.place} {job.id}: {error}")
    except MemoryError:
        return Outcome(
            error=f"{job.place} {job.id}: out of memory; use fewer workers or a smaller --tile"
        )
    except Exception:
        # A defect of ours: the trace is what a report of it needs.
        return Outcome(error=f"{job.place} {job.id}: unexpected error\n{traceback.format_exc()}")
    return Outcome(None, value, time.perf_counter() - start, peak_memory())


def _failed(outcomes: Sequence[Outcome]) -> Outcome | None:
    return next((outcome for outcome in outcomes if outcome.error), None)


def _methods(job: Job) -> list[Method]:
    return [METHODS[name] for name in job.methods]


def _fuse_stack(job: Job) -> Result:
    private = job.scratch / uuid.uuid4().hex
    try:
        frames, inputs = _load(job, private)
        sizes = _fuse_and_write(job, frames)
    finally:
        shutil.rmtree(private, ignore_errors=True)
        _remove_if_empty(job.scratch)
    return Result(job, inputs=inputs, sizes=sizes, megapixels=_megapixels(frames[0].shape))


def _load(job: Job, private: Path) -> tuple[list[Frame], tuple[Input, ...]]:
    """A pair is held in memory, a longer stack is staged frame by frame."""
    frames: list[Frame] = []
    inputs = []
    for index, path in enumerate(job.frames):
        if len(job.frames) == 2:
            status = path.stat()
            pixels, digest = read_image_and_digest(path)
            if frames:
                pixels = _fitting(job, path, pixels, frames[0].shape)
            frames.append(pixels)
            inputs.append(Input(str(path), status.st_size, status.st_mtime_ns, digest))
        else:
            inputs.append(_stage_frame(job, private, index))
            frames.append(StagedImage(_staged_path(private, index)))
        _check_agrees(job, path, frames)
    return frames, tuple(inputs)


def _fuse_and_write(job: Job, frames: Sequence[Frame]) -> dict[str, int]:
    size, methods = _size(frames[0].shape), _methods(job)
    outputs = {
        name: np.empty(*_form(name, methods, frames[0].shape, frames[0].dtype))
        for name in output_names(job)
    }
    for box in tiles(size, job.tile, methods, job.fusion):
        fused = fuse_tile(
            _reader(job, frames),
            len(frames),
            box,
            size,
            methods,
            job.fusion,
        )
        for name, values in fused.items():
            outputs[name][box.slices] = values
    metadata = read_metadata(job.frames[0])
    return {
        name: write_image(
            job.output_path(name), outputs.pop(name), quality=job.quality, metadata=metadata
        )
        for name in output_names(job)
    }


def _stage_frame(job: Job, folder: Path, index: int) -> Input:
    path, target = job.frames[index], _staged_path(folder, index)
    status = path.stat()
    digest = stage_image(path, target)
    if index and job.resize:
        first = StagedImage(_staged_path(folder, 0)).shape
        write_npy(target, _fitting(job, path, _whole(StagedImage(target)), first))
    return Input(str(path), status.st_size, status.st_mtime_ns, digest)


def _fuse_one_tile(job: Job, box: Box) -> None:
    frames = [StagedImage(_staged_path(job.scratch, i)) for i in range(len(job.frames))]
    for count, path in enumerate(job.frames, start=1):
        _check_agrees(job, path, frames[:count])
    fused = fuse_tile(
        _reader(job, frames),
        len(frames),
        box,
        _size(frames[0].shape),
        _methods(job),
        job.fusion,
    )
    for name, values in fused.items():
        write_npy(_tile_path(job, name, box), values)


def _encode_output(job: Job, name: str) -> int:
    first = StagedImage(_staged_path(job.scratch, 0))
    methods = _methods(job)
    shape, dtype = _form(name, methods, first.shape, first.dtype)
    boxes = tiles(_size(shape), job.tile, methods, job.fusion)
    return write_image_rows(
        job.output_path(name),
        shape,
        dtype,
        _bands(job, name, boxes),
        quality=job.quality,
        metadata=read_metadata(job.frames[0]),
    )


def _bands(job: Job, name: str, boxes: Sequence[Box]) -> Iterator[Pixels]:
    """The tiles of an output joined to bands of full rows, from top to bottom."""
    for top in sorted({box.top for box in boxes}):
        row = [np.load(_tile_path(job, name, box)) for box in boxes if box.top == top]
        yield np.concatenate(row, axis=1)


def _form(
    name: str, methods: Sequence[Method], shape: tuple[int, ...], dtype: np.dtype[np.generic]
) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape and type of an output: those of the frames, but for decision maps."""
    if any(name == method.mask for method in methods):
        return shape[:2], np.dtype(np.uint8)
    return shape, dtype


def _fitting(job: Job, path: Path, pixels: Pixels, shape: tuple[int, ...]) -> Pixels:
    """A frame in the size of the first, if resizing was asked for."""
    if pixels.shape[:2] == shape[:2] or not job.resize:
        return pixels
    return resized(pixels, _size(shape))


def _check_agrees(job: Job, path: Path, frames: Sequence[Frame]) -> None:
    """The plan compared headers; a file may have changed since."""
    first, last = frames[0], frames[-1]
    if last.shape != first.shape or last.dtype != first.dtype:
        raise StackError(
            f"{path}: decodes to {last.shape} {last.dtype}, {job.frames[0].name} to "
            f"{first.shape} {first.dtype}; give frames of one size and depth"
        )


def _reader(job: Job, frames: Sequence[Frame]) -> ReadWindow:
    """The windows of a stack's frames, checked as they are read."""

    def read(index: int, box: Box) -> Pixels:
        frame = frames[index]
        if isinstance(frame, StagedImage):
            pixels = frame.window(box.top, box.bottom, box.left, box.right)
        else:
            pixels = frame[box.slices]
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise StackError(
                f"{job.frames[index]}: has pixels that are not finite numbers; replace them"
            )
        return pixels

    return read


def _whole(frame: StagedImage) -> Pixels:
    return frame.window(0, frame.shape[0], 0, frame.shape[1])


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[0], shape[1]


def _staged_path(folder: Path, index: int) -> Path:
    return folder / f"frame{index:04d}.npy"


def _tile_path(job: Job, name: str, box: Box) -> Path:
    return job.scratch / name / f"{box.top}_{box.left}.npy"


def _megapixels(shape: tuple[int, ...]) -> float:
    return shape[0] * shape[1] / 1e6


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return
