"""Single values of an EXIF block, found without decoding the rest of it.

A block has the form of a TIFF (EXIF 2.32, 4.6): directories of entries, each with a tag, a type,
a count, and the value or the place where it stands.
Whatever is damaged in it is taken for missing.
"""

import struct
from io import BytesIO
from typing import NamedTuple

from batchstack.images.exif_block import SIZES, Form, entries

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_WHOLE = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q"}
FAULT = "has damaged {}, which is ignored"
_EXIF = 0x8769  # leads to the directory of how the picture was taken


class Entry(NamedTuple):
    """Where the values of a tag are.

    Attributes
    ----------
    format : str
        Of `struct`, for one value if it is a whole number; else only the order of bytes.
    kind, values : int
        TIFF's number of the type, and how many values there are.
    place : int
        Of the first value in the block.
    """

    format: str
    kind: int
    values: int
    place: int


def byte_order(block: bytes) -> str | None:
    """`<` or `>` as `struct` has it, None if it is no EXIF block."""
    return _ORDERS.get(block[:4])


def directory(block: bytes, order: str, start: int, base: int = 0) -> dict[int, Entry]:
    """The entries of a directory by their tags, those before any damage.

    Parameters
    ----------
    block : bytes
    order : str
        `<` or `>`.
    start : int
        Place of the directory.
    base : int
        Where places are counted from; not 0 for notes of makers.
    """
    found: dict[int, Entry] = {}
    for tag, kind, values, held, at in entries(BytesIO(block), Form(order), start):
        inside = SIZES.get(kind, 1) * values <= len(held)
        place = at if inside else base + struct.unpack(order + "I", held)[0]
        found.setdefault(tag, Entry(order + _WHOLE.get(kind, ""), kind, values, place))
    return found


def first_directory(block: bytes) -> dict[int, Entry]:
    """The entries of the first directory, none if the block is damaged."""
    order = byte_order(block)
    if order is None or len(block) < 8:
        return {}
    return directory(block, order, *struct.unpack_from(order + "I", block, 4))


def taking_directory(block: bytes, first: dict[int, Entry]) -> dict[int, Entry]:
    """The entries that say how the picture was taken, found through the first directory."""
    start = whole_number(block, first.get(_EXIF))
    return {} if start is None else directory(block, byte_order(block) or "<", start)


def notes(block: bytes | None) -> tuple[str, ...]:
    """What is ignored of a block, to follow the name of its file."""
    return (FAULT.format("EXIF"),) if block and not first_directory(block) else ()


def whole_number(block: bytes, entry: Entry | None) -> int | None:
    """The value of an entry if it is one whole number of any type."""
    numbers = whole_numbers(block, entry)
    return numbers[0] if len(numbers) == 1 else None


def whole_numbers(block: bytes, entry: Entry | None, most: int = 2) -> tuple[int, ...]:
    """The values of an entry if they are whole numbers, up to `most`."""
    if entry is None or len(entry.format) < 2 or not 0 < entry.values <= most:
        return ()
    form = f"{entry.format[0]}{entry.values}{entry.format[1]}"
    try:
        found: tuple[int, ...] = struct.unpack_from(form, block, entry.place)
    except struct.error:
        return ()
    return found


def text(block: bytes, entry: Entry | None, most: int = 200) -> str:
    """The value of an entry as a text without what fills it up, "" if it is none."""
    if entry is None or entry.kind not in (2, 7):
        return ""
    value = block[entry.place : entry.place + min(entry.values, most)]
    return value.partition(b"\0")[0].decode("utf-8", "replace").strip()
