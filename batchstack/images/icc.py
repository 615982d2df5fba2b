"""Colour profiles (ICC.1:2022) as files carry them: put together from pieces, and checked."""

import struct
from collections.abc import Iterable

_HEADER, _SIGNATURE, _ENTRY = 128, b"acsp", 12
FAULT = "has a damaged colour profile (ICC), which is ignored"


def is_sound(profile: bytes | None) -> bool:
    """Whether bytes begin as a profile does, are as many as it says and hold a tag it lists."""
    if profile is None or len(profile) < _HEADER or profile[36:40] != _SIGNATURE:
        return False
    size = int.from_bytes(profile[:4])
    return _HEADER <= size <= len(profile) and _has_tags(profile[:size])


def _has_tags(profile: bytes) -> bool:
    """Whether the table of tags lies in a profile, and what one of them names."""
    start = _HEADER + 4
    count = int.from_bytes(profile[_HEADER:start])
    if start + _ENTRY * count > len(profile):
        return False
    table = profile[start : start + _ENTRY * count]
    return any(
        start <= place and place + size <= len(profile)
        for _, place, size in struct.iter_unpack(">4sII", table)
    )


def joined(pieces: Iterable[bytes]) -> bytes | None:
    """A profile from the pieces of a JPEG, each with its number and how many there are before it.

    The numbers alone decide about their order.  What is there twice is taken once; counts are
    not believed, because the profile itself says how long it is.

    Returns
    -------
    bytes, optional
        None if the pieces are no profile.
    """
    numbered: dict[int, bytes] = {}
    for piece in pieces:
        if len(piece) < 2 or numbered.setdefault(piece[0], piece[2:]) != piece[2:]:
            return None
    profile = b"".join(piece for _, piece in sorted(numbered.items()))
    return profile[: int.from_bytes(profile[:4])] if is_sound(profile) else None
