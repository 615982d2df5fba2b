"""What makers write of focus brackets in their own corner of Exif.

The places are those of ExifTool's tag pages (https://exiftool.org/TagNames/).  Nikon keeps its
place in an encrypted block and is not here, see `nikon`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from batchstack.images.exif import (
    Entry,
    byte_order,
    directory,
    text,
    whole_number,
    whole_numbers,
)
from batchstack.images.shots import OLYMPUS, OLYMPUS_SETTINGS


@dataclass(frozen=True)
class SeriesFacts:
    """What a maker's tags say of the series that a photograph is of.

    Parameters
    ----------
    bracketed : bool, optional
        Whether the camera moved the focus for it; None if the maker does not say.
    number : int, optional
        Its place in the series, from 1 or 0.
    key : str, optional
        A name that the photographs of one series share.
    nearer : bool, optional
        Whether the focus came nearer from one to the next; None if not known.
    """

    bracketed: bool | None = None
    number: int | None = None
    key: str | None = None
    nearer: bool | None = None


def series_facts(make: str, block: bytes, note: Entry | None) -> SeriesFacts:
    """Read a maker's note.

    Parameters
    ----------
    make : str
        As in Exif.
    block : bytes
        The Exif block.
    note : Entry, optional
        Its tag MakerNote.
    """
    if note is None:
        return SeriesFacts()
    for maker in _MAKERS:
        if make.upper().startswith(maker.make) and block.startswith(maker.head, note.place):
            return maker.facts(_Tags(block, maker, note.place))
    return SeriesFacts()


@dataclass(frozen=True)
class _Maker:
    """Where a maker's tags begin, and what they mean."""

    make: str
    head: bytes
    facts: Callable[["_Tags"], SeriesFacts]
    order: str | None = None  # of bytes; None for that of the block
    start: int = 0  # of the tags in the note
    own_places: bool = False  # whether places count from the note


class _Tags:
    """The tags of a note, whole numbers and texts."""

    def __init__(self, block: bytes, maker: _Maker, place: int) -> None:
        self._block = block
        self._order = maker.order or byte_order(block) or "<"
        self._base = place if maker.own_places else 0
        self._tags = directory(block, self._order, place + maker.start, self._base)

    def numbers(self, tag: int, inside: int | None = None) -> tuple[int, ...]:
        """The values of a tag, in the directory that another leads to if given."""
        tags = self._tags
        if inside is not None:
            start = whole_number(self._block, tags.get(inside))
            if start is None:
                return ()
            tags = directory(self._block, self._order, self._base + start, self._base)
        return whole_numbers(self._block, tags.get(tag), most=_MOST)

    def number(self, tag: int) -> int | None:
        numbers = self.numbers(tag)
        return numbers[0] if numbers else None

    def text(self, tag: int) -> str | None:
        return text(self._block, self._tags.get(tag)) or None


def _canon(tags: _Tags) -> SeriesFacts:
    # FocusBracketingInfo: its size in bytes, then whether it is on.
    numbers = tags.numbers(0x4053)
    return SeriesFacts(bracketed=bool(numbers[1]) if len(numbers) > 1 else None)


def _olympus(tags: _Tags) -> SeriesFacts:
    # DriveMode: a kind, the number of the shot, and for series their kinds as bits.
    mode = tags.numbers(0x0600, inside=OLYMPUS_SETTINGS)
    if len(mode) > 2 and mode[0] == 5:
        return SeriesFacts(bool(mode[2] & 0x40), mode[1], nearer=False)
    return SeriesFacts(False if mode else None)


def _panasonic(tags: _Tags) -> SeriesFacts:
    burst, number, step = map(tags.number, (0x002A, 0x002B, 0x00BD))
    bracketed = None if burst is None else burst == 3 or bool(step)
    if step is not None and step > 0x7FFF:  # a signed value that is stored without sign
        step -= 0x10000
    return SeriesFacts(bracketed, number or None, nearer=None if not step else step < 0)


def _fujifilm(tags: _Tags) -> SeriesFacts:
    return SeriesFacts(number=tags.number(0x1101) or None)


def _apple(tags: _Tags) -> SeriesFacts:
    return SeriesFacts(key=tags.text(0x000B))


_MOST = 16  # values of a tag
_MAKERS = (
    _Maker("CANON", b"", _canon),
    *(
        _Maker(make, head + b"II", _olympus, "<", start, own_places=True)
        for make, (head, start) in OLYMPUS.items()
    ),
    _Maker("PANASONIC", b"Panasonic\0", _panasonic, None, 12),
    _Maker("FUJIFILM", b"FUJIFILM", _fujifilm, "<", 12, own_places=True),
    _Maker("APPLE", b"Apple iOS\0", _apple, ">", 14, own_places=True),
)
