"""EXIF as values: read from a block or from the directories of a TIFF, and laid out anew.

A block is a small TIFF without pixels (EXIF 2.32, 4.5), so one reader does for both, also for
BigTIFF.  Tags keep their types and bytes; what libraries give loses the types, with which the
meaning of what is unknown to them is lost.
Not read, and so lost, are the directory of the thumbnail and sub-images.

Maker notes hold offsets that count from the start of the file they were made in, in a form that
only the maker knows.  So they keep their place: everything else is laid out round them.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from io import BytesIO
from struct import calcsize, error, unpack
from struct import pack as packed
from typing import BinaryIO, NamedTuple

import numpy as np

DESCRIPTION, ORIENTATION, SOFTWARE = 0x010E, 0x0112, 0x0131
RESOLUTION, RESOLUTION_UNIT = (0x011A, 0x011B), 0x0128
NO_UNIT, INCH, CENTIMETRE = 1, 2, 3
MAKER_NOTE = 0x927C
# Tags of the main directory that describe a picture, not how a file stores it.
DESCRIPTIVE = frozenset(
    {
        *(0x010D, DESCRIPTION, 0x010F, 0x0110, SOFTWARE, 0x0132, 0x013B, 0x013C, 0x4746, 0x4749),
        *(0x8298, *range(0x9C9B, 0x9CA0), 0xC4A5),
    }
)
# Tags of the directory of EXIF, that some programs write to the main one.
TAKING = frozenset(
    {
        *(0x829A, 0x829D, 0x8822, 0x8824, 0x8827, 0x8828, *range(0x8830, 0x8836)),
        *(0x9000, 0x9003, 0x9004, *range(0x9010, 0x9013), *range(0x9201, 0x920B)),
        *(0x9214, 0x9286, *range(0x9290, 0x9293), 0xA20B),
        *(*range(0xA20E, 0xA211), 0xA215, 0xA217, *range(0xA300, 0xA303)),
        *(*range(0xA401, 0xA40D), 0xA420, *range(0xA430, 0xA438), *range(0xA460, 0xA463)),
    }
)
# Tags of TIFF that hold what other formats keep elsewhere: XMP, IPTC, Photoshop's, a profile.
XMP_PACKET, _ELSEWHERE = 0x02BC, frozenset({0x02BC, 0x83BB, 0x8649, 0x8773})
MAP = frozenset({0x830E, 0x8480, 0x8482, 0x85D8, 0x87AF, 0x87B0, 0x87B1})
"""Tags of TIFF that say where pixels lie on a map (GeoTIFF)."""
_SUBJECT, _FOCAL_PLANE = frozenset({0x9214, 0xA214}), (0xA20E, 0xA20F)
_PHOTO, _GPS, _INTEROP, _SUB_IMAGES = 0x8769, 0x8825, 0xA005, 0x014A
_POINTERS = {_PHOTO, _GPS, _INTEROP, _SUB_IMAGES}
_COLOUR_SPACE, _INTEROP_INDEX, _USER_COMMENT = 0xA001, 0x0001, 0x9286
# Where sizes in pixels stand: columns, rows.
_MAIN_SIZE, _PHOTO_SIZE, _INTEROP_SIZE = (0x0100, 0x0101), (0xA002, 0xA003), (0x1001, 0x1002)
ASCII, SHORT, LONG, RATIONAL, _LONG8 = 2, 3, 4, 5, 16
# Types of values: bytes of one, and of the numbers that it consists of.
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
SIZES |= {16: 8, 17: 8, 18: 8}
_NUMBERS = SIZES | {5: 4, 10: 4}
# A damaged directory can claim anything; these are more than any camera writes.
_MOST_TAGS, _MOST_BYTES = 2**12, 2**22
# Resolutions that differ by less are roundings of one: JFIF has whole numbers.
_ALIKE = 0.01
# Maker notes that lie behind so many bytes are moved, rather than as much space left empty.
_KEPT_PLACE = 2**16
_FINE, _EXACT = 10_000, 10_000  # pixels per inch, and parts of one that are told apart


class Tag(NamedTuple):
    """Type, number of values, and their bytes in the order of the block."""

    kind: int
    values: int
    data: bytes


Tags = Mapping[int, Tag]
Ratio = tuple[int, int]
Density = tuple[int, Ratio, Ratio]
"""A unit, and pixels per unit along x and y."""


class Form(NamedTuple):
    """How directories are written: order of bytes, and sizes of classic TIFF or BigTIFF."""

    order: str
    big: bool = False

    @property
    def counter(self) -> str:
        return self.order + ("Q" if self.big else "H")

    @property
    def entry(self) -> str:
        return self.order + ("HHQ" if self.big else "HHI")

    @property
    def offset(self) -> str:
        return self.order + ("Q" if self.big else "I")

    @property
    def start(self) -> int:
        """Bytes of the header."""
        return 16 if self.big else 8

    def size(self, n_tags: int) -> int:
        """Bytes of a directory without the values outside of it."""
        entry = calcsize(self.entry) + calcsize(self.offset)
        return calcsize(self.counter) + n_tags * entry + calcsize(self.offset)


@dataclass(frozen=True)
class Exif:
    """What a camera and other programs say of a picture.

    Attributes
    ----------
    order : str
        Of the bytes of values: "<" or ">".
    main, photo, gps, interop : mapping of int to Tag
        The main directory, those of EXIF and of GPS, and that of interoperability, without
        the tags that lead from one to another.
    note_place : int
        Where the maker note's offsets suppose it to lie; 0 if that is not known.
    """

    order: str = "<"
    main: Tags = field(default_factory=dict)
    photo: Tags = field(default_factory=dict)
    gps: Tags = field(default_factory=dict)
    interop: Tags = field(default_factory=dict)
    note_place: int = 0

    def __bool__(self) -> bool:
        return bool(self.main or self.photo or self.gps or self.interop)

    @property
    def says_adobe_rgb(self) -> bool:
        """Whether the colours are those of Adobe RGB (DCF 2.0, 5.2.2: option file R03)."""
        space = self._number(self.photo, _COLOUR_SPACE)
        index = self.interop.get(_INTEROP_INDEX, Tag(ASCII, 0, b"")).data[:3]
        return space == 2 or (space == 0xFFFF and index == b"R03")

    def text(self, tag: int) -> str:
        """A text of the main directory, empty if there is none."""
        data = self.main.get(tag, Tag(ASCII, 0, b"")).data
        plain = data.partition(b"\0")[0]
        try:
            return plain.decode()
        except UnicodeDecodeError:  # EXIF knows ASCII only, programs write what they have
            return plain.decode("latin-1")

    @property
    def resolution(self) -> tuple[float, float] | None:
        """Pixels per inch along x and y, if it has them with a unit of length."""
        unit = self.main.get(RESOLUTION_UNIT)
        number = self._number(self.main, RESOLUTION_UNIT) if unit else INCH
        per_inch = {INCH: 1.0, CENTIMETRE: 2.54}.get(number)
        x, y = (self._ratio(self.main.get(tag)) for tag in RESOLUTION)
        return (x * per_inch, y * per_inch) if per_inch and x and y else None

    def without_gps(self) -> "Exif":
        return replace(self, gps={})

    def without_note(self) -> "Exif":
        return replace(self, photo=_without(self.photo, {MAKER_NOTE}), note_place=0)

    def without_main(self, tag: int) -> "Exif":
        return replace(self, main=_without(self.main, {tag}))

    def in_place(self) -> "Exif":
        """The same with each tag in its directory, without what other parts of a file hold."""
        strays = {tag: value for tag, value in self.main.items() if tag in TAKING}
        main = _without(self.main, TAKING | _ELSEWHERE | MAP)
        return replace(self, main=main, photo={**strays, **self.photo})

    def turned(self, orientation: int) -> "Exif":
        """The same of the picture turned the right way up."""
        main: Tags = {**self.main, **({ORIENTATION: self._short(1)} if self else {})}
        photo: Tags = _without(self.photo, _SUBJECT if orientation > 1 else ())
        if orientation >= 5:
            main, photo = _exchanged(main, RESOLUTION), _exchanged(photo, _FOCAL_PLANE)
        return replace(self, main=main, photo=photo)

    def scaled(self, columns: float, rows: float) -> "Exif":
        """The same of a picture with so many more pixels, which says no resolution yet."""
        ratios = {
            tag: _rational(self._ratio(self.photo.get(tag)) * factor)
            for tag, factor in zip(_FOCAL_PLANE, (columns, rows), strict=True)
        }
        known = {tag: self._fraction(ratio) for tag, ratio in ratios.items() if ratio}
        photo = {**_without(self.photo, _FOCAL_PLANE), **known}
        return replace(self, main=_without(self.main, RESOLUTION), photo=photo)

    def with_size(self, height: int, width: int) -> "Exif":
        """The same of a picture of this size."""
        size = (width, height)
        main, photo, interop = dict(self.main), dict(self.photo), dict(self.interop)
        for tags, names in ((main, _MAIN_SIZE), (main, _INTEROP_SIZE), (interop, _INTEROP_SIZE)):
            if names[0] in tags:
                tags |= zip(names, map(self._long, size), strict=True)
        if tuple(self._number(photo, tag) for tag in _PHOTO_SIZE) != size:
            photo = _without(photo, _SUBJECT)  # which lie in the picture as it was
        if photo:
            photo |= zip(_PHOTO_SIZE, map(self._long, size), strict=True)
        return replace(self, main=main, photo=photo, interop=interop)

    def with_density(self, density: Density) -> "Exif":
        """The same with pixels per unit of length, unless it states about as many."""
        unit, *ratios = density
        per_inch = {INCH: 1.0, CENTIMETRE: 2.54}[unit]
        wanted = [per_inch * top / bottom for top, bottom in ratios]
        if self.resolution and np.allclose(self.resolution, wanted, rtol=_ALIKE):
            return self
        values = (self._fraction(ratio) for ratio in ratios)
        main = {**self.main, **dict(zip(RESOLUTION, values, strict=True))}
        return replace(self, main=main | {RESOLUTION_UNIT: self._short(unit)})

    def with_software(self, text: str) -> "Exif":
        data = text.encode("ascii") + b"\0"
        return replace(self, main={**self.main, SOFTWARE: Tag(ASCII, len(data), data)})

    def _number(self, tags: Tags, tag: int) -> int:
        kind, values, data = tags.get(tag, Tag(SHORT, 0, b""))
        if kind not in (SHORT, LONG) or values != 1:
            return 0
        return int.from_bytes(data, "little" if self.order == "<" else "big")

    def _ratio(self, tag: Tag | None) -> float:
        """The value of a fraction; 0 if it is none, or has no value."""
        if tag is None or (tag.kind, tag.values) != (RATIONAL, 1):
            return 0.0
        top, bottom = unpack(f"{self.order}II", tag.data)
        return float(top / bottom) if bottom else 0.0

    def _fraction(self, ratio: Ratio) -> Tag:
        return Tag(RATIONAL, 1, packed(f"{self.order}II", *ratio))

    def _short(self, value: int) -> Tag:
        return Tag(SHORT, 1, packed(f"{self.order}H", value))

    def _long(self, value: int) -> Tag:
        return Tag(LONG, 1, packed(f"{self.order}I", value))

    def in_order(self, order: str) -> "Exif":
        """The same with the bytes of numbers in another order; maker notes stay as they are."""
        if order == self.order:
            return self
        main, photo, gps, interop = (
            {tag: _swapped(tag, value, order) for tag, value in tags.items()}
            for tags in (self.main, self.photo, self.gps, self.interop)
        )
        return Exif(order, main, photo, gps, interop, self.note_place)

    def block(self) -> bytes:
        """A block that starts with its TIFF header."""
        form = Form(self.order)
        room = _Room(form.start, self._pinned(form))
        start = _lay(room, form, self.main, _children(self))
        head = b"II*\0" if self.order == "<" else b"MM\0*"
        return head + packed(form.offset, start) + room.data()

    @property
    def order_in_tiff(self) -> str:
        """The order of bytes for a TIFF: notes of many makers hold numbers in that of the file."""
        return self.order if MAKER_NOTE in self.photo else "<"

    def beside(self, *, big: bool) -> tuple[bytes, dict[int, int]]:
        """All but the main directory, to follow the header of a TIFF in `order_in_tiff`.

        Returns
        -------
        bytes
        dict of int to int
            For each directory the tag that leads to it, and the place in the file.
        """
        order = self.order_in_tiff
        exif, form = self.in_order(order), Form(order, big)
        room = _Room(form.start, exif._pinned(form))
        places = {tag: _lay(room, form, *node) for tag, node in _children(exif).items()}
        return (room.data() if places else b""), places

    def _pinned(self, form: Form) -> tuple[int, bytes] | None:
        note = self.photo.get(MAKER_NOTE)
        inline = note is None or len(note.data) <= calcsize(form.offset)
        if note is None or inline or not form.start <= self.note_place < _KEPT_PLACE:
            return None
        return self.note_place, note.data


def density_of(resolution: tuple[float, float] | None) -> Density | None:
    """Pixels per inch as tags have them, in centimetres where pixels are those of a microscope.

    Returns
    -------
    Density, optional
        None if there is no resolution, or one that 32 bits cannot say.
    """
    if resolution is None:
        return None
    unit, per_inch = (INCH, 1.0) if max(resolution) <= _FINE else (CENTIMETRE, 2.54)
    x, y = (_rational(value / per_inch) for value in resolution)
    return (unit, x, y) if x and y else None


def _rational(value: float) -> Ratio | None:
    if not 0 < value < 2**32:
        return None
    # As exact for small values as for large ones, as far as 32 bits go.
    finest = min(max(_EXACT, _EXACT / value), (2**32 - 1) / max(value, 1.0))
    ratio = Fraction(value).limit_denominator(max(int(finest), 1))
    return ratio.as_integer_ratio() if 0 < ratio.numerator < 2**32 else None


Node = tuple[Tags, dict[int, "Node"]]


def _children(exif: Exif) -> dict[int, Node]:
    """The directories that the main one leads to, each with those that it leads to."""
    interop: dict[int, Node] = {_INTEROP: (exif.interop, {})} if exif.interop else {}
    nodes: dict[int, Node] = {_PHOTO: (exif.photo, interop), _GPS: (exif.gps, {})}
    return {tag: node for tag, node in nodes.items() if any(node)}


def _exchanged(tags: Tags, names: tuple[int, int]) -> Tags:
    """Tags with the values along x and y exchanged, if there are both."""
    x, y = (tags.get(tag) for tag in names)
    return {**tags, names[0]: y, names[1]: x} if x and y else tags


def _without(tags: Tags, names: Collection[int]) -> dict[int, Tag]:
    return {tag: value for tag, value in tags.items() if tag not in names}


def _swapped(tag: int, value: Tag, order: str) -> Tag:
    size, data = _NUMBERS[value.kind], value.data
    start, end = 0, len(data)
    if tag == _USER_COMMENT and data.startswith(b"UNICODE\0"):
        # Letters of two bytes, which some programs end with one.
        size, start, end = 2, 8, end - end % 2
    if size == 1:
        return value
    swapped = np.frombuffer(data[start:end], f"u{size}").byteswap().tobytes()
    return value._replace(data=data[:start] + swapped + data[end:])


class _Room:
    """Bytes from a place on, in which one stretch may be taken already."""

    def __init__(self, start: int, taken: tuple[int, bytes] | None) -> None:
        self._start, self._end = start, start
        self._pieces: dict[int, bytes] = {}
        self.taken = taken
        if taken:
            self._pieces[taken[0]] = taken[1]

    def reserve(self, size: int) -> int:
        """The place of so many bytes, an even number."""
        place = self._end + self._end % 2
        if self.taken:
            start, end = self.taken[0], self.taken[0] + len(self.taken[1])
            if place < end and place + size > start:
                place = end + end % 2
        self._end = place + size
        return place

    def put(self, place: int, data: bytes) -> None:
        self._pieces[place] = data

    def data(self) -> bytes:
        end = max(place + len(piece) for place, piece in self._pieces.items())
        data = bytearray(end + end % 2 - self._start)
        for place, piece in self._pieces.items():
            data[place - self._start : place - self._start + len(piece)] = piece
        return bytes(data)


def _lay(room: _Room, form: Form, tags: Tags, children: Mapping[int, Node]) -> int:
    """Lay a directory out, with all that it leads to; return its place."""
    place = room.reserve(form.size(len(tags) + len(children)))
    inside, kind = calcsize(form.offset), _LONG8 if form.big else LONG
    entries = {}
    for tag, node in children.items():
        there = packed(form.offset, _lay(room, form, *node))
        entries[tag] = packed(form.entry, tag, kind, 1) + there
    for tag, value in sorted(tags.items()):
        held = value.data.ljust(inside, b"\0")
        if len(held) > inside:
            held = packed(form.offset, _put(room, tag, value.data))
        entries[tag] = packed(form.entry, tag, value.kind, value.values) + held
    table = b"".join(entries[tag] for tag in sorted(entries))
    room.put(place, packed(form.counter, len(entries)) + table + packed(form.offset, 0))
    return place


def _put(room: _Room, tag: int, data: bytes) -> int:
    if tag == MAKER_NOTE and room.taken:
        return room.taken[0]
    place = room.reserve(len(data))
    room.put(place, data)
    return place


# --- reading


def parse(block: bytes | None) -> Exif:
    """Read a block; what is damaged in it is left out."""
    return read(BytesIO(block)) if block else Exif()


def read(file: BinaryIO, main: Collection[int] | None = None) -> Exif:
    """Read the EXIF of a TIFF, or of a block.

    Parameters
    ----------
    file : file
    main : collection of int, optional
        Tags of the main directory that are wanted; by default all.
    """
    form, start = _start(file)
    if form is None:
        return Exif()
    wanted = None if main is None else {*main, *_POINTERS}
    tags, _ = _directory(file, form, start, wanted)
    photo, places = _directory(file, form, _place(form, tags, _PHOTO))
    gps, _ = _directory(file, form, _place(form, tags, _GPS))
    interop, _ = _directory(file, form, _place(form, photo, _INTEROP))
    tags, photo, gps, interop = (_without(one, _POINTERS) for one in (tags, photo, gps, interop))
    return Exif(form.order, tags, photo, gps, interop, places.get(MAKER_NOTE, 0))


def first_tags(file: BinaryIO) -> frozenset[int]:
    """The tags that the main directory of a TIFF has, whether or not they can be read."""
    form, start = _start(file)
    return frozenset(tag for tag, *_ in entries(file, form, start)) if form else frozenset()


def _start(file: BinaryIO) -> tuple[Form | None, int]:
    """How the directories are written, and where the first one is."""
    head = _read(file, 0, 16)
    form = {b"II*\0": Form("<"), b"MM\0*": Form(">")}.get(head[:4])
    form = form or {b"II+\0": Form("<", True), b"MM\0+": Form(">", True)}.get(head[:4])
    if form is None or len(head) < form.start:
        return None, 0
    (start,) = unpack(form.offset, head[form.start - calcsize(form.offset) : form.start])
    return form, start


def _place(form: Form, tags: Tags, pointer: int) -> int:
    data = tags.get(pointer, Tag(LONG, 0, b"")).data
    return int.from_bytes(data[:8], "little" if form.order == "<" else "big")


def _directory(
    file: BinaryIO, form: Form, place: int, wanted: Collection[int] | None = None
) -> tuple[dict[int, Tag], dict[int, int]]:
    """The tags of a directory, and where the values outside of it lie."""
    tags: dict[int, Tag] = {}
    places: dict[int, int] = {}
    room = _MOST_BYTES
    for tag, kind, values, held, _ in entries(file, form, place):
        size = values * SIZES.get(kind, 0)
        if tag in tags or not 0 < size <= room or (wanted and tag not in wanted):
            continue
        room -= size
        data = held[:size]
        if size > len(held):
            (places[tag],) = unpack(form.offset, held)
            data = _read(file, places[tag], size)
        if len(data) == size:
            tags[tag] = Tag(kind, values, data)
    return tags, places


def entries(file: BinaryIO, form: Form, place: int) -> Iterator[tuple[int, int, int, bytes, int]]:
    """Yield the entries of a directory up to any damage.

    Yields
    ------
    int, int, int
        Tag, type and number of values.
    bytes, int
        The values, or the place where they stand if they are longer; and where these bytes are.
    """
    if not place:
        return
    head, size = _read(file, place, calcsize(form.counter)), calcsize(form.entry)
    step = size + calcsize(form.offset)
    try:
        (count,) = unpack(form.counter, head)
        table = _read(file, place + len(head), step * min(count, _MOST_TAGS))
        for at in range(0, len(table) - step + 1, step):
            tag, kind, values = unpack(form.entry, table[at : at + size])
            yield tag, kind, values, table[at + size : at + step], place + len(head) + at + size
    except error:
        return


def _read(file: BinaryIO, place: int, size: int) -> bytes:
    if place >= 2**63:
        return b""
    file.seek(place)
    return file.read(size)
