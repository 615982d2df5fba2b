"""Device sets: transforms that hold for every stack of one rail, lens or microscope.

A file of transforms is JSON: what it is, the size of the frames, and a matrix for each frame index.
It is measured over many stacks, of which those that differ from the others are left out.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack import files
from batchstack.errors import OptionError, StackError
from batchstack.geometry import Box
from batchstack.registration import Transform, corner_pixels, turns_too_far

FORMAT, VERSION = "batchstack transforms", 1
# A stack is an outlier if a corner lies further off than both: in pixels, and in times what
# corners scatter.
_FAR, _TIMES = 1.0, 5.0
# The areas of frames of one device differ by less than this factor.
_PLAUSIBLE = 2.0

Matrices = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DeviceSet:
    """Given transforms, one for each frame index.

    Attributes
    ----------
    name : str
        Of the file, for messages.
    size : (int, int)
        Rows and columns of the frames that they are for.
    transforms : tuple of Transform
    """

    name: str
    size: tuple[int, int]
    transforms: tuple[Transform, ...]

    @property
    def digest(self) -> str:
        """Of all that decides pixels; part of the key of records."""
        told = [self.size, [transform.matrix for transform in self.transforms]]
        return sha256(json.dumps(told).encode()).hexdigest()[:16]

    def check(self, n_frames: int, size: tuple[int, int]) -> None:
        """Refuse a stack that it is not for.

        Raises
        ------
        StackError
        """
        if n_frames != len(self.transforms):
            raise StackError(
                f"has {n_frames} frames, {self.name} has transforms for {len(self.transforms)}; "
                "give the transforms of this kind of stack, or none"
            )
        if size != self.size:
            raise StackError(
                f"has frames of {_in_words(size)}, {self.name} is for {_in_words(self.size)}; "
                "give the transforms of this kind of stack, or none"
            )


def _in_words(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]} pixels"


# --- the file


def load_device_set(path: Path) -> DeviceSet:
    """Read a file of transforms.

    Raises
    ------
    OptionError
        If it is no such file, or damaged; says where and what to do.
    FileError
        If it cannot be read.
    """
    try:
        with files.read_file(path) as file:
            text = file.read().decode()
    except UnicodeDecodeError as error:
        raise _refusal(path, "is not text") from error
    try:
        data = json.loads(text)
    except ValueError as error:
        raise _refusal(path, f"is not JSON ({error})") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise _refusal(path, f'is not a file of transforms: "format" is not "{FORMAT}"')
    if data.get("version") != VERSION:
        raise OptionError(
            f"{path}: has version {data.get('version')!r} of the format, this batchstack reads "
            f"version {VERSION}; measure the transforms anew with 'batchstack align'"
        )
    size = _size(path, data.get("size"))
    frames = data.get("frames")
    if not isinstance(frames, list) or len(frames) < 2:
        raise _refusal(path, '"frames" is not a list of two or more')
    return DeviceSet(path.name, size, tuple(_transform(path, *item) for item in enumerate(frames)))


def _refusal(path: Path, fault: str) -> OptionError:
    return OptionError(f"{path}: {fault}; give a file that 'batchstack align' has written")


def _size(path: Path, size: Any) -> tuple[int, int]:
    sides = size if isinstance(size, dict) else {}
    height, width = sides.get("height"), sides.get("width")
    if type(height) is not int or type(width) is not int or min(height, width) < 1:
        raise _refusal(path, '"size" is not a height and a width in whole pixels')
    return height, width


def _transform(path: Path, index: int, frame: Any) -> Transform:
    matrix = frame.get("matrix") if isinstance(frame, dict) else None
    where = f"frame {index + 1}: "
    if not isinstance(matrix, list) or len(matrix) != 6:
        raise _refusal(path, f'{where}"matrix" is not a list of six numbers')
    if not all(type(value) in (int, float) and np.isfinite(value) for value in matrix):
        raise _refusal(path, f'{where}"matrix" has something else than finite numbers')
    a, b, _, d, e, _ = matrix
    if not 1 / _PLAUSIBLE < a * e - b * d < _PLAUSIBLE:
        raise _refusal(path, f"{where}the area would be {a * e - b * d:.3g} times as large")
    values = tuple(map(float, matrix))
    if turns_too_far(values):
        raise _refusal(path, f"{where}the image would be turned or sheared by more than 45 degrees")
    still = Transform()
    return still if values == still.matrix else Transform(values, "affine")


def write_device_set(path: Path, measured: "Measured", size: tuple[int, int]) -> None:
    """Write a file of transforms; it appears at once or not at all.

    Raises
    ------
    FileError
        If it cannot be written.
    """
    data = {
        "format": FORMAT,
        "version": VERSION,
        "size": {"height": size[0], "width": size[1]},
        "frames": [
            {"matrix": matrix, "error": round(error, 4)}
            for matrix, error in zip(measured.matrices, measured.errors, strict=True)
        ],
        "stacks": measured.n_stacks,
        "left_out": list(measured.outliers),
    }
    with files.part_file(path) as (_, file):
        file.write(json.dumps(data, indent=1).encode() + b"\n")


# --- measuring


@dataclass(frozen=True)
class Measured:
    """What many stacks say together.

    Attributes
    ----------
    matrices : list of list of 6 float
        For each frame index; see `Transform`.
    errors : list of float
        Standard error of the corners, in pixels.
    n_stacks : int
        Stacks that were used.
    outliers : dict of str to float
        Stacks that were not, and how far a corner lies off from the others' at most, in pixels.
    """

    matrices: list[list[float]]
    errors: list[float]
    n_stacks: int
    outliers: dict[str, float]


def combined(
    stacks: Mapping[str, Sequence[Transform]], size: tuple[int, int], reference: int = 0
) -> Measured:
    """One transform for each frame index from those of many stacks.

    Stacks are compared by where corners lie beside the median of all, which a few stacks that are
    wrong do not move; the others are averaged.

    Parameters
    ----------
    stacks : mapping of str to sequence of Transform
        By the stack's id; of frames that could not be measured, those with a note.
    size : tuple of two int
        Rows and columns of a frame.
    reference : int
        The frame that stays where it is.

    Raises
    ------
    StackError
        If a frame could be measured in no stack.
    """
    ids = list(stacks)
    corners = corner_pixels(Box(0, 0, *size))
    matrices = np.array([_based_on(stacks[name], reference) for name in ids])
    known = np.array([[not transform.note for transform in stacks[name]] for name in ids])
    own = np.array([[transform.error for transform in stacks[name]] for name in ids])
    _refuse_unknown(known)
    weights = np.where(known, 1.0, np.nan)[:, :, None, None]
    places = matrices @ corners * weights
    off = np.hypot(*np.moveaxis(places - np.nanmedian(places, axis=0), 2, 0)).max(axis=2)
    typical = np.nanmedian(np.where(off > 0, off, np.nan)) if (off > 0).any() else 0.0
    limit = max(_FAR, _TIMES * float(typical))
    farthest = np.nanmax(np.where(known, off, 0.0), axis=1)
    fits = farthest <= limit
    _refuse_unknown(known[fits])
    used = weights[fits]
    mean = np.nanmean(matrices[fits] * used, axis=0)
    missed = np.hypot(*np.moveaxis((matrices[fits] - mean) @ corners * used, 2, 0)).max(axis=2)
    counts = np.maximum(known[fits].sum(axis=0), 1)
    # One stack does not scatter, and a few may agree by chance.
    alone = np.nanmean(own[fits] ** 2 * used[..., 0, 0], axis=0) / counts
    errors = np.sqrt(np.maximum(np.nanmean(missed**2, axis=0) / np.maximum(counts - 1, 1), alone))
    return Measured(
        mean.reshape(len(mean), 6).tolist(),
        errors.tolist(),
        int(fits.sum()),
        {ids[i]: round(float(farthest[i]), 2) for i in np.flatnonzero(~fits)},
    )


def _refuse_unknown(known: npt.NDArray[np.bool_]) -> None:
    """Refuse to say where a frame lies that could be aligned in no stack."""
    anywhere = known.any(axis=0)
    if not anywhere.all():
        raise StackError(
            f"frame {int(np.argmin(anywhere)) + 1} could be aligned in no stack that agrees with "
            "the others; give more stacks, with more detail"
        )


def _based_on(transforms: Sequence[Transform], reference: int) -> Matrices:
    """Matrices (N, 2, 3) onto one of the frames, whichever they were onto."""
    whole = np.array([np.vstack([item.array, [0.0, 0.0, 1.0]]) for item in transforms])
    based: Matrices = (whole @ np.linalg.inv(whole[reference]))[:, :2]
    based[reference] = np.eye(2, 3)
    return based
