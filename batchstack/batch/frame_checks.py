"""Whether the frames of a stack fit together, and what is odd about them, by their headers."""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from batchstack.errors import StackError
from batchstack.images import ImageInfo, same_colours

CHANNELS = {1: "grey", 3: "colour"}
# Sides that differ by less than this part may be cropped to one size.
CLOSE = 0.01
# Sides that differ by no more pixels were cropped apart, not scaled.
_FEW = 16
# Proportions that differ by more are not those of one picture in two sizes.
_ONE_SHAPE = 0.02
# Where cameras begin to count anew (DCF), and names as they give them.
_COUNTERS = {10**digits: re.compile(rf"(.*?)(\d{{{digits}}})(\D*)", re.DOTALL) for digits in (4, 5)}
_TOO_FAR = f"; --crop-to-common takes sides that differ by less than {CLOSE:.0%}"
_LIST_THEM = (
    "if the order of the frames is wrong, list them back to front, with | between them, or rename "
    "them"
)


def check_frames(frames: Sequence[ImageInfo], *, resize: bool, crop: bool) -> None:
    """Refuse frames that do not fit together.

    Parameters
    ----------
    frames : sequence of ImageInfo
    resize, crop : bool
        Whether they may be resized to the first, or cropped to their common size if that is close.

    Raises
    ------
    StackError
        Naming the first frame that does not fit, and what would help.
    """
    first = frames[0]
    can_crop = crop and are_close(frames)
    kinds = {first.colours: first}
    for frame in frames[1:]:
        _refuse_turned(first, frame)
        if _size(frame) != _size(first) and not (resize or can_crop):
            raise StackError(
                f"{frame.path}: is {_said(frame)} pixels, {first.path.name} is {_said(first)}; "
                f"{_remedy(first, frame, frames)}{_TOO_FAR if crop else ''}"
            )
        if frame.dtype != first.dtype:
            raise StackError(
                f"{frame.path}: has {frame.dtype} pixels, {first.path.name} has {first.dtype}; "
                "convert them to one depth"
            )
        if frame.channels != first.channels:
            raise StackError(
                f"{frame.path}: is {CHANNELS[frame.channels]}, {first.path.name} is "
                f"{CHANNELS[first.channels]}; convert them to one kind"
            )
        _refuse_colours(kinds, frame)


def _refuse_colours(kinds: dict[str, ImageInfo], frame: ImageInfo) -> None:
    """Refuse a frame that does not agree with one of each kind before it, or add its kind.

    Each is asked, because one that states nothing may agree with two that do not agree.
    """
    if frame.colours in kinds:
        return
    for other in kinds.values():
        if not same_colours(other, frame):
            raise StackError(
                f"{frame.path}: its colours mean something else than those of {other.path.name}, "
                "by their profiles or tags; export all frames of the stack with one colour profile"
            )
    kinds[frame.colours] = frame


def are_close(frames: Iterable[ImageInfo]) -> bool:
    """Whether no side differs by as much as `CLOSE`."""
    sides = zip(*map(_size, frames), strict=True)
    return all(max(side) - min(side) < CLOSE * max(side) for side in sides)


def common_size(frames: Iterable[ImageInfo]) -> tuple[int, int]:
    """The most rows and columns that all frames have."""
    rows, columns = zip(*map(_size, frames), strict=True)
    return min(rows), min(columns)


def _size(frame: ImageInfo) -> tuple[int, int]:
    return frame.height, frame.width


def _said(frame: ImageInfo) -> str:
    return f"{frame.width}x{frame.height}"


def _refuse_turned(first: ImageInfo, frame: ImageInfo) -> None:
    """Refuse a frame that would be fused, or stretched, lying on its side or upside down."""
    if frame.orientation != first.orientation and frame.stored_size == first.stored_size:
        raise StackError(
            f"{frame.path}: has orientation {frame.orientation}, {first.path.name} has "
            f"{first.orientation}, though both are stored in one size; if both show the scene "
            "alike when their orientation is ignored, give them one, e.g. exiftool -n "
            f"-Orientation={first.orientation} {frame.path.name}; otherwise turn the pixels of one"
        )
    if (frame.width - frame.height) * (first.width - first.height) < 0:
        raise StackError(
            f"{frame.path}: is {_said(frame)} pixels, {first.path.name} is {_said(first)}, so one "
            "of them lies on its side; turn it so that all frames show the scene the same way up"
        )


def _remedy(first: ImageInfo, frame: ImageInfo, frames: Sequence[ImageInfo]) -> str:
    """What helps against two sizes: to resize costs detail where a few pixels would do."""
    if are_close(frames):
        return (
            "crop all frames to the size that they have in common with --crop-to-common, or give "
            "frames of one size"
        )
    few = all(
        abs(one - other) <= _FEW for one, other in zip(_size(first), _size(frame), strict=True)
    )
    shapes = frame.width / frame.height, first.width / first.height
    if few or max(shapes) > (1 + _ONE_SHAPE) * min(shapes):
        return "give frames of one size"
    return (
        "give frames of one size, or resize them to the first with --resize, which costs fine "
        "detail"
    )


def oddities(frames: Sequence[ImageInfo]) -> tuple[str, ...]:
    """What people should look at though the stack can be fused, each with the name of a file."""
    ignored = (f"{frame.path}: {note}" for frame in frames for note in frame.notes)
    return (
        *ignored,
        *_made_of_others(frames),
        *_out_of_order(frames),
        *_of_two_whites(frames),
    )


def _of_two_whites(frames: Sequence[ImageInfo]) -> Iterable[str]:
    """Frames that state different values for white, as after one was converted."""
    stating = [frame for frame in frames if frame.data_range]
    for frame in stating:
        if frame.data_range != stating[0].data_range:
            yield (
                f"{frame.path}: states {frame.data_range:.10g} for white, {stating[0].path.name} "
                f"{stating[0].data_range:.10g}; unless --data-range is given, the larger is taken "
                "for all frames"
            )
            return


def _made_of_others(frames: Sequence[ImageInfo]) -> Iterable[str]:
    """Stacked pictures among frames; some telephones call everything that they take composite."""
    odd = [frame for frame in frames if frame.shot.made_of]
    if len(odd) < len(frames):
        for frame in odd:
            yield (
                f"{frame.path}: {frame.shot.made_of}, the other frames were not; if it is not a "
                "frame but a stacked picture, leave it out"
            )


def _out_of_order(frames: Sequence[ImageInfo]) -> Iterable[str]:
    """Frames that were not taken in their order, or whose numbers jump as of a full counter."""
    times = [frame.shot.time or "" for frame in frames]
    if not all(times):
        yield from _full_counter(frames)
        return
    pairs = [*pairwise(frames)]
    late = [pair for pair, (one, other) in zip(pairs, pairwise(times), strict=True) if one > other]
    early = [pair for pair, (one, other) in zip(pairs, pairwise(times), strict=True) if one < other]
    if late and early:
        # Stacks are taken from back to front or from front to back.
        one, other = min(late, early, key=len)[0]
        yield (
            f"{other.path}: was taken at {other.shot.time}, {one.path.name} before it in the "
            f"stack at {one.shot.time}, unlike most other frames; {_LIST_THEM}"
        )
    else:  # times of whole seconds are often equal
        yield from _full_counter(frames)


def _full_counter(frames: Sequence[ImageInfo]) -> Iterable[str]:
    """A gap in the numbers of files from the lowest ones to the highest, as behind 9999."""
    for full, name in _COUNTERS.items():
        yield from _full_at(frames, full, name)


def _full_at(frames: Sequence[ImageInfo], full: int, name: re.Pattern[str]) -> Iterable[str]:
    parts = [name.fullmatch(frame.path.stem) for frame in frames]
    if not all(parts) or len({(part[1], part[3]) for part in parts if part}) > 1:
        return
    numbers = [int(part[2]) for part in parts if part]
    if numbers not in (sorted(numbers), sorted(numbers, reverse=True)):
        return
    for (one, other), ends in zip(pairwise(frames), pairwise(numbers), strict=True):
        low, high = (one, other) if ends[0] < ends[1] else (other, one)
        is_far = min(ends) <= len(frames) and max(ends) >= full - len(frames)
        if is_far and not _is_earlier(low, high):
            yield (
                f"{other.path}: follows {one.path.name}, though behind {full - 1} a camera counts "
                f"on from 1; {_LIST_THEM}"
            )


def _is_earlier(one: ImageInfo, other: ImageInfo) -> bool:
    times = one.shot.time, other.shot.time
    return bool(times[0] and times[1] and times[0] < times[1])
