"""How a frame was taken, as far as its EXIF tells: when, and whether it is a picture at all.

Cameras that stack in the body leave the stacked picture among its frames, and programs that stack
leave theirs.
"""

import re
from collections.abc import Iterable

from batchstack.images.exif import (
    Entry,
    directory,
    first_directory,
    taking_directory,
    text,
    whole_number,
    whole_numbers,
)
from batchstack.images.info import Shot
from batchstack.images.xmp import programs

_SOFTWARE, _TAKEN, _FRACTION, _MAKER_NOTE, _COMPOSITE = 0x0131, 0x9003, 0x9291, 0x927C, 0xA460
_TIME = re.compile(r"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d")
_STACKERS = re.compile(r"helicon|zerene|batchstack|focus-?stack|picolay|combinezp", re.IGNORECASE)
_LONGEST_NAME = 60  # characters
OLYMPUS = {"OLYMPUS": (b"OLYMPUS\0", 12), "OM ": (b"OM SYSTEM\0\0\0", 16)}
"""How notes of Olympus and OM System begin, and where in them their tags do, by how the maker's
name begins; places are counted from the start of the note (ExifTool's Olympus.pm has the tags)."""
OLYMPUS_SETTINGS = 0x2020
"""Their tag that leads to the directory of what was set at the camera."""
_STACKED_IMAGE, _FOCUS_STACKED = 0x0804, 9


def shot(exif: bytes | None, packet: bytes | None = None) -> Shot:
    """What an EXIF block that starts with its TIFF header, and an XMP packet, tell."""
    block = exif or b""
    first = first_directory(block)
    taking = taking_directory(block, first)
    return Shot(
        time_of(text(block, taking.get(_TAKEN)), text(block, taking.get(_FRACTION))),
        made_of(
            (text(block, first.get(_SOFTWARE)), *programs(packet or b"")),
            whole_number(block, taking.get(_COMPOSITE)),
            _maker_note(block, taking.get(_MAKER_NOTE)),
        ),
    )


def time_of(taken: str, fraction: str) -> str | None:
    """The time of a picture, later ones behind earlier ones; None if it is no time.

    Parameters
    ----------
    taken, fraction : str
        Of the tags DateTimeOriginal and SubSecTimeOriginal.
    """
    if not _TIME.fullmatch(taken) or taken.startswith("0000"):
        return None
    return f"{taken}.{fraction}" if fraction.isdecimal() else taken


def made_of(software: Iterable[str], composite: int | None, maker_note: bytes) -> str | None:
    """What tells that a picture is made of others, in words; None if nothing does."""
    if stacker := next(filter(_STACKERS.search, software), None):
        return f"was made by {_name(stacker)!r}"
    if composite in (2, 3):
        return "is a composite of several pictures, says its EXIF"
    if _is_stacked_by_olympus(maker_note):
        return "was stacked in the camera, says its maker note"
    return None


def _name(software: str) -> str:
    """What a program calls itself; of what is too long for a name, the word that tells it."""
    found = _STACKERS.search(software)
    return software if found is None or len(software) <= _LONGEST_NAME else found[0]


def _maker_note(block: bytes, entry: Entry | None) -> bytes:
    return b"" if entry is None else block[entry.place : entry.place + entry.values]


def _is_stacked_by_olympus(note: bytes) -> bool:
    start = next((start for head, start in OLYMPUS.values() if note.startswith(head)), None)
    if start is None:
        return False
    # The order of bytes and a version stand before the tags.
    order = ">" if note[start - 4 : start - 2] == b"MM" else "<"
    settings = directory(note, order, start).get(OLYMPUS_SETTINGS)
    if settings is None:
        return False
    link = whole_number(note, settings)
    # Of other types than a link, the place of the value is that of the directory.
    place = settings.place if link is None else link
    mode = whole_numbers(note, directory(note, order, place).get(_STACKED_IMAGE))
    return bool(mode) and mode[0] == _FOCUS_STACKED
