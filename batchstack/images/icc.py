"""Colour profiles (ICC.1:2022) as files carry them: put together from pieces, and checked."""

from collections.abc import Iterable

_HEADER, _SIGNATURE = 128, b"acsp"
FAULT = "has a damaged colour profile (ICC), which is ignored"


def is_sound(profile: bytes | None) -> bool:
    """Whether bytes begin as a profile does and are as many as it says."""
    if profile is None or len(profile) < _HEADER or profile[36:40] != _SIGNATURE:
        return False
    return _HEADER <= int.from_bytes(profile[:4]) <= len(profile)


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
