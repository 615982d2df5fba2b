"""What the stacks of a manifest say about the device that took them."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from batchstack.batch.alignment import Frame
from batchstack.batch.device import Measured, combined
from batchstack.batch.manifest import Manifest, Row
from batchstack.errors import BatchstackError, StackError
from batchstack.images import ImageInfo, Pixels, probe, read_image
from batchstack.images.white import White, held, stated_range, white_of
from batchstack.options import AlignModel
from batchstack.registration import Transform, estimate_stack


@dataclass(frozen=True)
class StackMeasured:
    """One stack is measured, or the complete message why not; or what is odd about it."""

    row: Row
    transforms: tuple[Transform, ...] = ()
    message: str = ""


class _Decoded:
    """Frames that are decoded and checked when they are asked for, so that few are held at once."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Frame:
        return Frame(self._paths[index], read_image(self._paths[index]))


def measure_device(
    manifest: Manifest,
    model: AlignModel,
    *,
    most: int,
    threads: int,
    data_range: float | None = None,
    reverse: bool = False,
    listener: Callable[[StackMeasured], None] = lambda event: None,
) -> tuple[Measured, tuple[int, int]]:
    """Measure transforms that hold for every stack of a manifest.

    Parameters
    ----------
    manifest : Manifest
        The first of its stacks says of how many frames and of which size all have to be.
    model : str
        How frames may move; "auto" means similarity, because what is left untouched in one stack
        says little about the others.
    most : int
        Stacks that are measured, spread evenly over the manifest.
    threads : int
    data_range : float, optional
        The stored value that means white; None to find it for each stack.
    reverse : bool
        Whether frames are given from front to back.
    listener : callable
        Told of every stack.

    Returns
    -------
    Measured
    tuple of two int
        Rows and columns of the frames.

    Raises
    ------
    ImageError, FileError
        If the first stack cannot be read.
    StackError
        If no stack can be measured.
    """
    rows = [row.back_first(reverse=reverse) for row in manifest.rows]
    chosen = [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, most).round().astype(int))]
    info = probe(chosen[0].frames[0])
    size, n_frames = (info.height, info.width), len(chosen[0].paths)
    cv2.setNumThreads(1)

    def measured(row: Row) -> StackMeasured:
        try:
            frames = _checked(row, n_frames, size)
            white = White(data_range) if data_range is not None else _white(row, frames)
            said = f"{row.place} {row.id}: {white.said}" if white.said else ""
            return StackMeasured(row, _measured(row, model, white.value), said)
        except BatchstackError as error:
            return StackMeasured(row, message=f"{row.place} {row.id}: {error}")

    found: dict[str, tuple[Transform, ...]] = {}
    for event in _in_threads(measured, chosen, threads):
        listener(event)
        if event.transforms:
            found[event.row.id] = event.transforms
    if not found:
        raise StackError(f"{manifest.path}: no stack could be measured")
    return combined(found, size), size


def _in_threads(
    measured: Callable[[Row], StackMeasured], rows: Sequence[Row], threads: int
) -> Iterator[StackMeasured]:
    with ThreadPoolExecutor(threads) as pool:
        try:
            yield from pool.map(measured, rows)
        finally:
            pool.shutdown(cancel_futures=True)


def _checked(row: Row, n_frames: int, size: tuple[int, int]) -> list[ImageInfo]:
    """The headers of frames, which are as many and as large as those of the first stack."""
    if len(row.paths) != n_frames:
        raise StackError(
            f"has {len(row.paths)} frames, the first stack has {n_frames}; give stacks of one kind"
        )
    frames = [probe(path) for path in row.frames]
    for info in frames:
        if (info.height, info.width) != size:
            raise StackError(
                f"{info.path}: is {info.width}x{info.height} pixels, the first stack has "
                f"{size[1]}x{size[0]}; give stacks of one kind"
            )
    return frames


def _white(row: Row, frames: Sequence[ImageInfo]) -> White:
    """The value for white of a stack, for which deep frames are read once more."""
    stated = stated_range(frames)
    deep = [frame.path for frame in frames if np.dtype(frame.dtype) != np.uint8]
    return white_of(
        stated, [held(Frame(path, read_image(path)), stated, path.name) for path in deep]
    )


def _measured(row: Row, model: AlignModel, data_range: float | None) -> tuple[Transform, ...]:
    frames = cast(Sequence[Pixels], _Decoded(row.frames))
    wanted = "similarity" if model == "auto" else model
    return estimate_stack(frames, model=wanted, data_range=data_range, bounded=False)
