"""Which stored value means white: what files state, else what their frames hold.

Cameras and microscopes deliver 10, 12 or 14 bits in files of 16 and leave the upper ones empty;
programs keep values of 8 to 16 bits as float32, where white is 1.
Everything that goes by code values, such as noise, would be a fourth to 65,535 times what it is.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from batchstack.images import ImageInfo, Pixels
from batchstack.images.white import MIDWAY
from batchstack.options import FusionOptions

if TYPE_CHECKING:
    from batchstack.batch.alignment import Frame

# Of converters; pixels of 16 bits that use more than the last are taken for full.
_BITS = (8, 10, 12, 14)
_FULL = 2**16 - 1
# Of float32, which may be anything; what counts so far is not light.
_FLOAT_BITS = (*_BITS, *range(16, 32))
_BAND = 2**22  # values that are looked at together


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
    """

    top: float = 0.0
    lit: int = 0
    beyond: int = 0
    is_float: bool = False


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


def stated_range(frames: Sequence[ImageInfo], options: FusionOptions) -> float | None:
    """The value for white that tags of frames state, None if none does or it is given."""
    stated = [frame.data_range for frame in frames if frame.data_range]
    return max(stated) if stated and options.data_range is None else None


def held(frame: "Frame", stated: float | None) -> Held | None:
    """What a frame holds, as far as it matters; None for pixels of 8 bits."""
    if frame.dtype == np.uint8:
        return None
    is_float, limit = frame.dtype.kind == "f", max(2 ** _BITS[-1] - 1, stated or 0)
    found = Held(is_float=is_float)
    rows, columns = frame.size
    step = max(1, _BAND // columns)
    for top in range(0, rows, step):
        found = together((found, _held_by(frame[top : top + step, :])))
        if not is_float and found.top > limit:
            break
    return found


def _held_by(pixels: Pixels) -> Held:
    top = float(pixels.max())
    if pixels.dtype.kind != "f":
        return Held(top)
    lit = np.count_nonzero(pixels > 0)
    return Held(top, int(lit), int(np.count_nonzero(pixels > 1)) if top > 1 else 0, True)


def together(parts: Sequence[Held]) -> Held:
    """What several frames or parts of one hold."""
    tops, lit, beyond, is_float = zip(*parts, strict=True)
    return Held(max(tops), sum(lit), sum(beyond), any(is_float))


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
    said = _said(whole, stated, own, value, plain)
    return White(None if value == plain else value, said)


def _converter(top: float) -> float:
    """The largest value of the converter whose values these are."""
    return float(next((2**bits - 1 for bits in _BITS if top < 2**bits), _FULL))


def _codes(whole: Held) -> float:
    """The value for white of floats: 1, unless most of them are larger and some much larger."""
    if whole.top <= MIDWAY or 2 * whole.beyond <= whole.lit:
        return 1.0
    return float(next(2**bits - 1 for bits in _FLOAT_BITS if whole.top < 2**bits))


def _contradicts(whole: Held, stated: float, own: float) -> bool:
    if whole.is_float and stated == 1:
        return own > 1
    return whole.top > stated or (whole.is_float and whole.top <= 1)


def _said(whole: Held, stated: float | None, own: float, value: float, plain: float) -> str:
    """How the value for white was decided, if that may surprise."""
    if stated is not None and value != stated:
        why = f"hold values up to {whole.top:.6g} though {stated:.10g} is stated for white"
    elif stated is not None and own < stated:
        why = f"state {stated:.10g} for white, though {own:.10g} would do for what they hold"
    elif value != plain and not whole.is_float:
        why = f"use {int(value).bit_length()} of 16 bits"
    elif value != plain:
        why = f"hold values up to {whole.top:.6g}, most of them above 1"
    elif whole.is_float and whole.top > 2 ** _BITS[0] - 1:
        why = f"hold values up to {whole.top:.6g}, though most are not above 1"
    else:
        return ""
    return (
        f"its frames {why}, so {value:.10g} is taken for white; give --data-range if that is wrong"
    )
