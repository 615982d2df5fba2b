"""Which stored value means white, as tags state it of pixels of 16 bits or of float32."""

import math
import re
from typing import Any

_FULL = 16
MIDWAY = 16.0
"""Midway from 1 to 255, by factors: floats that stay below are light, where 1 is white."""
# OME-XML, whose writers state all bits of the type where they know none, and the JSON of
# Micro-Manager.
_OME, _MICRO_MANAGER = (
    re.compile(r'SignificantBits="(\d{1,2})"'),
    re.compile(r'"BitDepth":\s*"?(\d{1,2})'),
)


def of_bits(bits: int) -> int | None:
    """The largest value of so many bits of 16, None if there are none or more."""
    return 2**bits - 1 if 0 < bits <= _FULL else None


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
        return of_bits(int(found[1])) if int(found[1]) < _FULL else None
    found = _MICRO_MANAGER.search(description)
    return of_bits(int(found[1])) if found else None
