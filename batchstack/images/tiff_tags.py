"""Single values of a TIFF page, whatever types its tags have, as tifffile finds them."""

import reprlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from batchstack.errors import DamagedError
from batchstack.images import descriptions
from batchstack.images.white import of_largest, of_text

MIN_IS_WHITE, JPEG = 0, 7
_LARGEST = (281, 341)  # MaxSampleValue, SMaxSampleValue
SIDES = ("imagewidth", "imagelength")
CENTIMETRES = 2.54  # of an inch
_MICRO_MANAGER = 51123


def refuse_wrong_numbers(path: Path, page: Any, names: Iterable[str]) -> None:
    """tifffile gives the values of damaged tags as it finds them: texts, fractions, lists, ..."""
    for name in names:
        value = getattr(page, name)
        if not isinstance(value, int) or value < 0:
            _refuse_tag(path, name, value, "a number")
    for name in ("dataoffsets", "databytecounts"):
        value = getattr(page, name)
        if not isinstance(value, tuple) or not all(isinstance(one, int) for one in value):
            _refuse_tag(path, name, value, "a list of numbers")


def _refuse_tag(path: Path, name: str, value: Any, wanted: str) -> None:
    raise DamagedError(
        path,
        f"is damaged, its TIFF tag {name} is {reprlib.repr(value)} instead of {wanted}; "
        "copy it again from the source",
    )


def number(tags: Any, tag: int) -> int:
    """The value of a tag, 0 if it is missing or anything but a number."""
    value = tags.valueof(tag)
    if isinstance(value, bytes) and len(value) == 1:  # of type BYTE
        return value[0]
    return int(value) if isinstance(value, int) else 0


def raw_bytes(page: Any, tag_number: int, is_right: Callable[[bytes], object]) -> bytes:
    """The bytes of a tag, whatever its type says of them.

    Programs that give them as numbers of two or four bytes may have their order changed on the
    way to the file; then it is changed back.
    """
    tag = page.tags.get(tag_number)
    if tag is None:
        return b""
    file = page.parent.filehandle
    file.seek(tag.valueoffset)
    data: bytes = file.read(min(tag.valuebytecount, file.size))  # of which more may be claimed
    size = np.dtype({3: "H", 4: "I", 8: "h", 9: "i"}.get(int(tag.dtype), "B")).itemsize
    if size > 1 and not is_right(data):
        whole = data[: len(data) // size * size]
        swapped = np.frombuffer(whole, f"u{size}").byteswap().tobytes()
        return swapped if is_right(swapped) else data
    return data


def stated_resolution(tags: Any, description: str) -> tuple[float, float] | None:
    """Pixels per inch, by the description or the tags."""
    return _described_resolution(tags, description) or _resolution(tags)


def _described_resolution(tags: Any, text: str) -> tuple[float, float] | None:
    """Pixels per inch, as a program describes them that has tags of its own or none."""
    per_unit = counts_of(tags) if number(tags, 296) in (0, 1) else None
    of_text = descriptions.of_text(text, per_unit)
    return of_text or descriptions.of_facts(tags.valueof(_MICRO_MANAGER))


def _resolution(tags: Any) -> tuple[float, float] | None:
    per_inch = {0: 1.0, 2: 1.0, 3: 2.54}.get(number(tags, 296))
    counts = counts_of(tags)
    return (counts[0] * per_inch, counts[1] * per_inch) if per_inch and counts else None


def counts_of(tags: Any) -> tuple[float, float] | None:
    """Pixels per unit along x and y."""
    try:
        x, y = (top / bottom for top, bottom in (tags.valueof(282), tags.valueof(283)))
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if x > 0 and y > 0 else None


def stated_white(tags: Any, dtype: str) -> float | None:
    """The value for white that tags state: the largest that was used, or the bits of the camera."""
    if dtype == "uint8":
        return None
    stated = (
        of_largest(tags.valueof(tag), is_float=dtype == "float32")
        for tag in _LARGEST
        if tag in tags
    )
    described = of_text(str(tags.valueof(270) or "")) if dtype == "uint16" else None
    return next(filter(None, stated), described)
