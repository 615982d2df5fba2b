"""IPTC: captions, keywords and credits of the press, inside the resources of Photoshop.

IIM (IPTC-NAA Information Interchange Model 4.2) is a block of its own in TIFF; in other formats
it is one of the resources that Photoshop keeps with a picture ("Photoshop File Formats",
image resource section).
"""

import struct
from collections.abc import Iterator

IPTC = 0x0404
_START = b"8BIM"
_RECORD = b"\x1c"  # begins every entry of IIM


def of_resources(data: bytes) -> bytes | None:
    """The IPTC block among resources, if there is one."""
    return next((content for number, content in _resources(data) if number == IPTC), None)


def has_others(data: bytes) -> bool:
    """Whether there are resources that are no IPTC."""
    return any(number != IPTC for number, _ in _resources(data))


def as_resource(block: bytes) -> bytes:
    """An IPTC block as the only resource."""
    even = block + bytes(len(block) % 2)
    return _START + struct.pack(">HHI", IPTC, 0, len(block)) + even


def trimmed(data: bytes) -> bytes | None:
    """An IPTC block without what follows its last entry, such as filling; None if there is none.

    Sizes of entries are 15 bits; longer ones, of which no program is known, end the block.
    """
    place = 0
    while data[place : place + 1] == _RECORD and len(data) >= place + 5:
        place += 5 + int.from_bytes(data[place + 3 : place + 5])
    return data[:place] or None


def either(data: bytes) -> bytes | None:
    """The IPTC block in what may be resources, or the block itself."""
    if data.startswith(_START):
        return of_resources(data)
    return trimmed(data)


def _resources(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of each resource, up to what is none."""
    place = 0
    while data.startswith(_START, place) and len(data) >= place + 12:
        number, letters = struct.unpack_from(">HB", data, place + 4)
        start = place + 6 + (letters + 2) // 2 * 2  # a name of an even length, with its own
        if len(data) < start + 4:
            return
        (size,) = struct.unpack_from(">I", data, start)
        yield number, data[start + 4 : start + 4 + size]
        place = start + 4 + size + size % 2
