"""Which stored value means white, as far as tags tell it for pixels of 16 bits.

What they tell is a hint: converters scale pixels and keep the tags.
"""

import re

_FULL = 16
# OME-XML and the JSON of Micro-Manager.
_BITS = re.compile(r"""SignificantBits="(\d{1,2})"|"BitDepth":\s*"?(\d{1,2})""")


def of_bits(bits: int) -> int | None:
    """The largest value of so many bits, None if they are all or none."""
    return 2**bits - 1 if 0 < bits < _FULL else None


def of_largest(value: int) -> int | None:
    """The largest value of the bits that a value needs."""
    return of_bits(value.bit_length()) if value > 0 else None


def of_text(description: str) -> int | None:
    """What the description that a microscope wrote tells."""
    found = _BITS.search(description)
    return of_bits(int(found[1] or found[2])) if found else None
