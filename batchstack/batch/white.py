"""Which stored value means white, where files of 16 bits hold values of fewer.

Cameras and microscopes deliver 10, 12 or 14 bits and leave the upper ones empty.  Everything
that goes by code values, such as noise, would be a fourth to a 250th of what it is.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from batchstack.batch.alignment import Frame
from batchstack.batch.jobs import Job
from batchstack.images import ImageInfo
from batchstack.options import FusionOptions

# Of converters; what uses more than the last is taken for full.
_BITS = (8, 10, 12, 14)
_LARGEST = 2 ** _BITS[-1] - 1
_BAND = 2**22  # values that are looked at together


def stated_range(frames: Sequence[ImageInfo], options: FusionOptions) -> int | None:
    """The value for white that the tags of all frames allow, None if not all tell it."""
    stated = [frame.data_range for frame in frames if frame.data_range]
    given = options.data_range is not None or len(stated) < len(frames)
    return None if given else max(stated)


def brightest(job: Job, frame: Frame) -> int | None:
    """The largest value of a frame, as far as it matters.

    Returns
    -------
    int, optional
        None for pixels whose range is given or known; some value that is larger than any that
        files of fewer bits have, as soon as there is one.
    """
    if job.fusion.data_range is not None or frame.dtype != np.uint16:
        return None
    largest, limit = 0, max(_LARGEST, job.data_range or 0)
    rows, columns = frame.size
    step = max(1, _BAND // columns)
    for top in range(0, rows, step):
        largest = max(largest, int(frame[top : top + step, :].max()))
        if largest > limit:
            break
    return largest


def found_range(job: Job, largest: Sequence[int | None]) -> float | None:
    """The value for white of a stack, from the largest value of each frame.

    Returns
    -------
    float, optional
        What the tags tell, where no pixel is above it; else the largest value of so many bits
        as the pixels use.  None if that is what the type has anyway.
    """
    known = [value for value in largest if value is not None]
    if not known or not max(known):
        return None
    top = max(known)
    if job.data_range and top <= job.data_range:
        return float(job.data_range)
    return next((float(2**bits - 1) for bits in _BITS if top < 2**bits), None)


def with_range(job: Job, found: float | None) -> Job:
    """A job whose frames have this value for white; the same if none was found."""
    return job if found is None else replace(job, fusion=replace(job.fusion, data_range=found))
