"""Frames of a stack as fusion sees them: checked as they are read, moved, and in one light.

Where the frames lie and how their light differs is found once per stack.
A split stack moves each window when a tile asks for it; one task that does a whole stack moves
each frame once, to the same pixels.
Fusion works on the whole image whatever moved; outputs are cropped when they are written.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from batchstack import files
from batchstack.batch.jobs import Job
from batchstack.batch.placement import Alignment
from batchstack.batch.progress import ALIGNING, done
from batchstack.errors import StackError
from batchstack.fusion.tiles import ReadWindow
from batchstack.geometry import Box
from batchstack.images import Pixels, StagedImage, write_npy_rows
from batchstack.registration import (
    TOO_SMALL,
    Fit,
    Light,
    Transform,
    choose_reference,
    compare_light,
    estimate_stack,
    link_all,
    residual,
    typical_residual,
    valid_area,
    warp_window,
)
from batchstack.registration import link as link_of

if TYPE_CHECKING:
    from batchstack.fusion.scratch import Scratch
    from batchstack.fusion.team import Team

# Raised whenever registration or resampling change the outputs of the same input and options.
ALGO_VERSION = 5

_BAND = 2**20  # pixels that are moved at once
# Beyond what is measured in any unit; squares of such values are no longer numbers in float32.
_EXTREME = 1e9
# Of the time that aligning takes in one task, what it takes to find where frames lie, not to move
# them; and in more than one, what it takes to compare neighbours.
_ESTIMATING, _LINKING = 0.7, 0.75


@dataclass(frozen=True)
class Frame:
    """A decoded frame; slicing it like an array reads pixels and checks them.

    Attributes
    ----------
    path : Path
        Of the image file.
    pixels : ndarray or StagedImage
        In memory or in scratch.
    """

    path: Path
    pixels: Pixels | StagedImage

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W) or (H, W, 3)."""
        return self.pixels.shape

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.shape[0], self.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return self.pixels.dtype

    def __getitem__(self, area: tuple[slice, slice]) -> Pixels:
        pixels = self.pixels[area]
        if pixels.dtype.kind == "f":
            self._refuse_extremes(pixels)
        return pixels

    def _refuse_extremes(self, pixels: Pixels) -> None:
        """What is no number, or so large that it stands for none, would spread to its neighbours.

        Raises
        ------
        StackError
        """
        low, high = float(pixels.min()), float(pixels.max())
        if not np.isfinite(low + high):
            raise StackError(f"{self.path}: has pixels that are not finite numbers; replace them")
        if max(-low, high) > _EXTREME:
            value = low if -low > high else high
            raise StackError(
                f"{self.path}: has pixels of {value:g}, which is no brightness but a mark for "
                "missing ones; replace them"
            )


def not_aligned(n_frames: int, size: tuple[int, int]) -> Alignment:
    """Frames of `size` (rows, columns) as they are."""
    return Alignment((Transform(),) * n_frames, (Light(),) * n_frames, size, Box(0, 0, *size))


def link(job: Job, before: Frame, frame: Frame) -> Fit:
    """How a frame lies relative to the one before it, which needs no others."""
    one, other = cast(Sequence[Pixels], (before, frame))
    model, data_range = job.alignment.align, job.fusion.data_range
    fit = link_of(one, other, model=model, data_range=data_range)
    done(ALIGNING, _LINKING / (len(job.frames) - 1))
    return fit


def link_each(job: Job, frames: Sequence[Frame], team: "Team") -> list[Fit]:
    """How frames lie relative to the ones before them, by threads that share the work.

    Empty where one thread does all, which goes through the frames one after the other.
    """
    if not job.is_linked or team.size == 1:
        return []
    pairs = list(pairwise(frames))
    return team.each(lambda pair, _: link(job, *pair), pairs)


def align(job: Job, frames: Sequence[Frame], links: Sequence[Fit] = ()) -> Alignment:
    """Find where the frames of a stack lie, and what brings them to one light.

    Parameters
    ----------
    job : Job
    frames : sequence of Frame
    links : sequence of Fit, optional
        What `link` found of each two neighbours, so that it need not be found again.

    Raises
    ------
    StackError
        If pixels are not finite, or the moved frames have no area in common.
    """
    if job.is_as_it_is:
        named = job.alignment.reference_among(len(frames))
        return replace(not_aligned(len(frames), frames[0].size), reference=named or 0)
    share = 1 - _LINKING if links else _ESTIMATING
    transforms, reference, reason = _transforms(job, _Counted(frames, share), links)
    done(ALIGNING, share)
    sliceable = cast(Sequence[Pixels], frames)
    lights, spread = _lights(job, sliceable, transforms)
    size = frames[0].size
    whole = Box(0, 0, *size)
    return Alignment(
        transforms,
        lights,
        size,
        whole if job.alignment.border == "fill" else valid_area(transforms, size),
        spread,
        _residual(job, sliceable, transforms),
        reference=reference,
        reason=reason,
    )


def _transforms(
    job: Job, frames: "_Counted", links: Sequence[Fit]
) -> tuple[tuple[Transform, ...], int, str]:
    """Where the frames lie, relative to which, and why to that one, if it was found out."""
    if job.device:
        return job.device.transforms, 0, ""
    named = job.alignment.reference_among(len(frames))
    if not job.is_linked:
        return (Transform(),) * len(frames), named or 0, ""
    # Frames can be sliced like arrays, which is all that is asked of them.
    sliceable = cast(Sequence[Pixels], frames)
    how: Any = {"model": job.alignment.align, "data_range": job.fusion.data_range}
    reference, reason = named, ""
    if reference is None:
        links = links or link_all(sliceable, **how)
        reference, reason = choose_reference(links)
    how |= {"reference": reference, "links": links, "threads": job.spread}
    return estimate_stack(sliceable, **how), reference, reason


def _lights(
    job: Job, frames: Sequence[Pixels], transforms: Sequence[Transform]
) -> tuple[tuple[Light, ...], float | None]:
    """What brings frames to one light, and how far theirs departs from it, if it was compared.

    A frame that may not show what the others do stays as it is.
    """
    lights = [Light()] * len(frames)
    placed = [i for i, transform in enumerate(transforms) if transform.note in ("", TOO_SMALL)]
    if job.alignment.match_exposure == "off" or len(placed) < 2:
        return tuple(lights), None
    exposures = compare_light(
        [frames[i] for i in placed],
        [transforms[i] for i in placed],
        data_range=job.fusion.data_range,
        threads=job.spread,
    )
    if exposures.differ or job.alignment.match_exposure == "on":
        for index, light in zip(placed, exposures.lights, strict=True):
            lights[index] = light
    return tuple(lights), exposures.spread if exposures.is_known else None


def _residual(job: Job, frames: Sequence[Pixels], transforms: Sequence[Transform]) -> float | None:
    """What the best affine transforms leave; where frames were compared, that is known."""
    if job.device:
        return residual(frames, transforms, data_range=job.fusion.data_range)
    return typical_residual(transforms)


class _Counted:
    """Frames that tell how far their alignment is by which of them is fetched."""

    def __init__(self, frames: Sequence[Frame], share: float) -> None:
        self._frames, self._share = frames, share

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Frame:
        done(ALIGNING, self._share * index / len(self._frames))
        return self._frames[index]


def aligned_windows(job: Job, frames: Sequence[Frame], alignment: Alignment) -> ReadWindow:
    """The function through which fusion reads windows of the moved frames."""

    def read(index: int, box: Box) -> Pixels:
        frame = frames[index]
        return warp_window(
            lambda part: frame[part.slices],
            alignment.transforms[index],
            box,
            frame.size,
            light=alignment.lights[index],
            data_range=job.fusion.data_range,
        )

    return read


def windows(frames: Sequence[Frame]) -> ReadWindow:
    """The function through which fusion reads windows of frames as they are."""
    return lambda index, box: frames[index][box.slices]


def move_frames(
    job: Job, frames: Sequence[Frame], alignment: Alignment, folder: Path, team: "Team"
) -> list[Frame]:
    """The moved frames, where the frames were: in memory, or in a folder of scratch.

    Windows of tiles overlap and rows are read more than once, so to move frames once is to
    move fewer pixels.  Frames that stay as they are, are not copied.
    """
    read = aligned_windows(job, frames, alignment)
    moved: list[Frame] = []
    spare: Pixels | None = None
    for index, frame in enumerate(frames):
        done(ALIGNING, _ESTIMATING + (1 - _ESTIMATING) * index / len(frames))
        if alignment.transforms[index].is_identity and alignment.lights[index].is_identity:
            moved.append(frame)
            continue
        rows, columns = frame.size
        step = -(-_BAND // columns)
        tops = range(0, rows, step)
        boxes = [Box(top, 0, min(top + step, rows), columns) for top in tops]
        if isinstance(frame.pixels, StagedImage):
            target = folder / f"moved{index:04d}.npy"
            bands = (read(index, box) for box in boxes)
            write_npy_rows(target, frame.shape, frame.dtype, bands)
            files.remove(frame.pixels.path)
            moved.append(Frame(frame.path, StagedImage(target)))
        else:
            if spare is None:
                spare = team.scratch.array("moved", frame.shape, frame.dtype)
            team.each(partial(_move, read, index, spare), boxes)
            moved.append(Frame(frame.path, spare))
            spare = frame.pixels  # the next is moved to where this was
    done(ALIGNING, 1.0)
    return moved


def _move(read: ReadWindow, index: int, target: Pixels, box: Box, _: "Scratch") -> None:
    target[box.slices] = read(index, box)
