"""Which stored value means white: what tags state, else what pixels hold.

Cameras and microscopes deliver 10, 12 or 14 bits in files of 16 and leave the upper ones empty;
programs keep values of 8 to 16 bits as float32, where white is 1.
Everything that goes by code values, such as noise, would be a fourth to 65,535 times what it is.
"""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from batchstack.images.info import ImageInfo, Pixels

_WHOLE_BITS = 16
MIDWAY = 16.0
"""Midway from 1 to 255, by factors: floats that stay below are light, where 1 is white."""
# OME-XML, whose writers state all bits of the type where they know none, and the JSON of
# Micro-Manager.
_OME, _MICRO_MANAGER = (
    re.compile(r'SignificantBits="(\d{1,2})"'),
    re.compile(r'"BitDepth":\s*"?(\d{1,2})'),
)
# Of converters; pixels of 16 bits that use more than the last are taken for full.
_BITS = (8, 10, 12, 14)
_FULL = 2**16 - 1
# Of float32, which may be anything; what counts so far is not light.
_FLOAT_BITS = (*_BITS, *range(16, 32))
_BAND = 2**22  # values that are looked at together
# Exposures of one stack do not differ so much; and the mean, in units of white, from which a frame
# is bright enough to tell.
_OTHER_SCALE, _LIT = 8, 0.02


# --- what tags state


def of_bits(bits: int) -> int | None:
    """The largest value of so many bits of 16, None if there are none or more."""
    return 2**bits - 1 if 0 < bits <= _WHOLE_BITS else None


def of_largest(value: Any, *, is_float: bool) -> float | None:
    """The value for white where this one is stated as the largest; None if it is no such value."""
    values = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(one, int | float) and math.isfinite(one) and one > 0 for one in values):
        return None
    largest = max(values)
    if not is_float:
        return of_bits(int(largest).bit_length())
    return 1.0 if largest <= MIDWAY else 2.0 ** int(largest).bit_length() - 1


def of_text(description: str) -> int | None:
    """What the description that a microscope wrote of pixels of 16 bits states."""
    if found := _OME.search(description):
        return of_bits(int(found[1])) if int(found[1]) < _WHOLE_BITS else None
    found = _MICRO_MANAGER.search(description)
    return of_bits(int(found[1])) if found else None


def stated_range(frames: Iterable[ImageInfo]) -> float | None:
    """The value for white that tags of the frames of a stack state, None if none does."""
    return max((frame.data_range for frame in frames if frame.data_range), default=None)


# --- what pixels hold


class Readable(Protocol):
    """An image in memory, or one of which rows are read when it is sliced."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __getitem__(self, area: tuple[slice, slice], /) -> Pixels: ...


class Held(NamedTuple):
    """What matters of the values that frames hold.

    Attributes
    ----------
    top : float
        The largest, or of 16 bits some value that is larger than any that files of fewer bits or
        the stated range have.
    lit, beyond : int
        Of float32, how many are above 0 and how many above 1.
    is_float : bool
    file : str
        The name of the one with the largest value.
    level : float
        The mean of the rows that were looked at first.
    """

    top: float = 0.0
    lit: int = 0
    beyond: int = 0
    is_float: bool = False
    file: str = ""
    level: float = 0.0


class White(NamedTuple):
    """The value for white of a stack.

    Attributes
    ----------
    value : float, optional
        None if it is that of the type.
    said : str
        How it was decided, to follow the name of the stack; empty if nothing is odd.
    """

    value: float | None = None
    said: str = ""


def held(image: Readable, stated: float | None, file: str = "") -> Held | None:
    """What an image holds, as far as it matters; None for pixels of 8 bits.

    Parameters
    ----------
    image : Readable
        What is no finite number in it is passed over.
    stated : float, optional
        As `stated_range`.
    file : str
        Its name.
    """
    if image.dtype == np.uint8:
        return None
    is_float, limit = image.dtype.kind == "f", max(2 ** _BITS[-1] - 1, stated or 0)
    found = Held(is_float=is_float, file=file)
    rows, columns = image.shape[:2]
    step = max(1, _BAND // columns)
    for top in range(0, rows, step):
        pixels = image[top : top + step, :]
        found = together((found, _held_by(pixels)._replace(file=file)))
        if top == 0:
            found = found._replace(level=_mean(pixels))
        if not is_float and found.top > limit:
            break
    return found


def _mean(pixels: Pixels) -> float:
    with np.errstate(invalid="ignore"):  # of what is no number, which is refused elsewhere
        return float(pixels.mean(dtype=np.float64))


def _held_by(pixels: Pixels) -> Held:
    if pixels.dtype.kind != "f":
        return Held(float(pixels.max()))
    top = float(np.fmax.reduce(pixels, axis=None))
    if not math.isfinite(top):
        top = float(pixels.max(where=np.isfinite(pixels), initial=0))
    lit = np.count_nonzero(pixels > 0)
    return Held(top, int(lit), int(np.count_nonzero(pixels > 1)) if top > 1 else 0, True)


def together(parts: Sequence[Held]) -> Held:
    """What several frames or parts of one hold."""
    top = max(parts, key=lambda part: part.top)
    lit, beyond = (sum(counts) for counts in zip(*(part[1:3] for part in parts), strict=True))
    is_float = any(part.is_float for part in parts)
    return Held(top.top, lit, beyond, is_float, top.file, parts[0].level)


def white_of(stated: float | None, frames: Sequence[Held | None]) -> White:
    """The value for white of a stack.

    What files state is taken, unless the frames hold larger values; or values of another kind,
    because converters scale pixels and keep the tags.

    Parameters
    ----------
    stated : float, optional
        As `stated_range`.
    frames : sequence of Held
        Of each frame; None if its range is known.
    """
    known = [one for one in frames if one is not None]
    if not known or together(known).top <= 0:
        return White()
    whole = together(known)
    own = _codes(whole) if whole.is_float else _converter(whole.top)
    value = own if stated is None or _contradicts(whole, stated, own) else stated
    plain = 1.0 if whole.is_float else float(_FULL)
    said = filter(None, (_said(whole, stated, own, value, plain), _said_of_scales(known, value)))
    return White(None if value == plain else value, "; ".join(said))


def _said_of_scales(frames: Sequence[Held], white: float) -> str:
    """Which frame is so dark beside another that its values must be of another scale.

    A lens that is out of focus spreads light and takes none away.
    """
    darkest, brightest = (by(frames, key=lambda frame: frame.level) for by in (min, max))
    if brightest.level < _LIT * white or darkest.level * _OTHER_SCALE > brightest.level:
        return ""
    times = f"{brightest.level / darkest.level:.0f} times as" if darkest.level > 0 else "all"
    return (
        f"{darkest.file} is {times} dark beside {brightest.file}, as if its values were of another "
        "scale; bring them to one, or leave it out"
    )


def white_of_type(dtype: np.dtype[Any]) -> float:
    """The value for white where nothing says otherwise."""
    return 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)


def _converter(top: float) -> float:
    """The largest value of the converter whose values these are."""
    return float(next((2**bits - 1 for bits in _BITS if top < 2**bits), _FULL))


def _codes(whole: Held) -> float:
    """The value for white of floats: 1, unless most of them are larger and some much larger."""
    if whole.top <= MIDWAY or not _is_mostly_beyond(whole):
        return 1.0
    return float(next((2**bits - 1 for bits in _FLOAT_BITS if whole.top < 2**bits), 1))


def _is_mostly_beyond(whole: Held) -> bool:
    return whole.is_float and 2 * whole.beyond > whole.lit


def _contradicts(whole: Held, stated: float, own: float) -> bool:
    if whole.is_float and stated == 1:
        return own > 1
    return whole.top > stated or (whole.is_float and whole.top <= 1)


def _said(whole: Held, stated: float | None, own: float, value: float, plain: float) -> str:
    """How the value for white was decided, if that may surprise."""
    held_at = f"hold values up to {whole.top:.6g}{f' in {whole.file}' if whole.file else ''}"
    if stated is not None and value != stated:
        why = f"{held_at} though {stated:.10g} is stated for white"
    elif stated is not None and own < stated:
        why = f"state {stated:.10g} for white, though {own:.10g} would do for what they hold"
    elif value != plain and not whole.is_float:
        why = f"use {int(value).bit_length()} of 16 bits"
    elif _is_mostly_beyond(whole):
        why = f"{held_at}, most of them above 1"
    elif whole.is_float and whole.top > 2 ** _BITS[0] - 1:
        why = f"{held_at}, though most are not above 1"
    else:
        return ""
    return (
        f"its frames {why}, so {value:.10g} is taken for white; give --data-range if that is wrong"
    )
