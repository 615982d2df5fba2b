"""What a photograph says of itself: when and how it was taken."""

import struct
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchstack.images import probe, read_metadata
from batchstack.images.exif import Entry, byte_order, first_directory, taking_directory, text
from batchstack.images.shots import shot as told_by_exif
from batchstack.scan.makers import SeriesFacts, series_facts

_FOREVER = 2**32 - 1  # the distance that means infinity
_RATIONAL = 5


@dataclass(frozen=True)
class Shot:
    """One photograph.

    Parameters
    ----------
    name : str
        Path relative to the folder that is scanned.
    size : (int, int)
        Height and width in pixels.
    time : float, optional
        Seconds since an epoch, by the camera's clock, with the part of a second it states.
    body : tuple of str
        Maker, model and number of the camera.
    settings : tuple
        What else stays the same within a stack: lens, aperture, focal length.
    series : SeriesFacts
        What the maker's own tags say.
    distance : float, optional
        Metres to what is in focus, infinity included.
    made_of : str, optional
        What tells that it is made of other pictures, to follow its name.
    format : str
        Kind of file, by its content, whatever its name ends in.
    """

    name: str
    size: tuple[int, int] = (0, 0)
    time: float | None = None
    body: tuple[str, ...] = ()
    settings: tuple[Any, ...] = ()
    series: SeriesFacts = field(default_factory=SeriesFacts)
    distance: float | None = None
    made_of: str | None = None
    format: str = ""


def read_shot(folder: Path, name: str) -> Shot:
    """Read the headers of a photograph.

    Parameters
    ----------
    folder : Path
        That the name is relative to.
    name : str

    Raises
    ------
    FileError, ImageError
        As `probe`; damaged metadata is none.
    """
    path = folder / name
    info = probe(path)
    shot = Shot(name, (info.height, info.width), format=info.format)
    block = read_metadata(path).exif or b""
    first = first_directory(block)
    # Numbers of tags are those of EXIF 2.32.
    taking = taking_directory(block, first)
    told = told_by_exif(block)
    make = text(block, first.get(0x010F))
    body = (make, text(block, first.get(0x0110)), text(block, taking.get(0xA431)))
    settings = (
        text(block, taking.get(0xA434)),  # the lens
        _rational(block, taking.get(0x829D)),  # the aperture
        _rational(block, taking.get(0x920A)),  # the focal length
    )
    return replace(
        shot,
        time=_seconds(told.time),
        body=body,
        settings=settings,
        series=series_facts(make, block, taking.get(0x927C)),
        distance=_rational(block, taking.get(0x9206)) or None,
        made_of=info.shot.made_of or told.made_of,
    )


def _seconds(time: str | None) -> float | None:
    """Seconds of a clock whose zone does not matter within a shoot."""
    if time is None:
        return None
    try:
        moment = datetime.strptime(time[:19], "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:  # such as the 31st of a month without it
        return None
    return moment.timestamp() + float(f"0{time[19:]}")


def _rational(block: bytes, entry: Entry | None) -> float | None:
    order = byte_order(block)
    if entry is None or entry.kind != _RATIONAL or order is None:
        return None
    try:
        above, below = struct.unpack_from(order + "II", block, entry.place)
    except struct.error:
        return None
    if above == _FOREVER:
        return float("inf")
    return above / below if below else None
