"""The formats of image files: how they are recognized, what they hold, how they are coded.

A row of `FORMATS` and the codec of its name are all there is to a format: probing, reading,
staging, planning, predicting memory and writing ask the row.
This is a leaf that knows no codec; `images.codecs` finds it when the first file is met.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass

DTYPES = ("uint8", "uint16", "float32")
"""Types that pixels may have."""

ALL = sys.maxsize
"""More rows, or pixels a side, than any image has."""


@dataclass(frozen=True)
class Format:
    """One format of image files.

    Parameters
    ----------
    name : str
        That of its codec, a module of `images` (`images.codecs`); messages have it in capitals.
    suffixes : tuple of str
        Endings of names, in lower case with their dot; outputs get the first.
    magic : tuple of bytes
        What files begin with, one of them.
    rewrite : str
        A command that remakes a file which viewers accept and the codec does not.
    dtypes : tuple of str
        Types of pixels it can hold, some of `DTYPES`.
    channels : tuple of int
        1 for grey, 3 for RGB.
    largest_side : int
        In pixels.
    lossless : bool
        Pixels come back as they were written; otherwise how nearly is a matter of quality.
    rows_read : int
        Rows that are decoded at once, or one row of the tiles or strips in the file if it has
        more; `ALL` if only the whole image can be.
    rows_written : int
        Rows that are encoded at once; `ALL` if only the whole image can be.
    block_room : int
        Bytes that a block of EXIF or XMP may have.
    colour_chunks : bool
        Whether it states the meaning of colours in chunks of its own, besides a profile.
    end : bytes
        What every complete file ends with; empty if its header says where all of it lies.
    """

    name: str
    suffixes: tuple[str, ...]
    magic: tuple[bytes, ...]
    rewrite: str
    dtypes: tuple[str, ...] = DTYPES
    channels: tuple[int, ...] = (1, 3)
    largest_side: int = ALL
    lossless: bool = True
    rows_read: int = ALL
    rows_written: int = ALL
    block_room: int = ALL
    colour_chunks: bool = False
    end: bytes = b""

    @property
    def label(self) -> str:
        """The name for people."""
        return self.name.upper()

    @property
    def suffix(self) -> str:
        """Ending of outputs."""
        return self.suffixes[0]

    @property
    def choice(self) -> str:
        """What `--format` calls it."""
        return self.suffix.removeprefix(".")

    @property
    def read_by_rows(self) -> bool:
        """Whether reading holds some rows instead of the whole image."""
        return self.rows_read < ALL

    @property
    def written_by_rows(self) -> bool:
        """Whether writing holds some rows instead of the whole image."""
        return self.rows_written < ALL

    def holds(self, dtype: str, channels: int) -> bool:
        """Whether it can hold pixels of a type, in so many channels."""
        return dtype in self.dtypes and channels in self.channels


_ROWS = (
    Format(
        name="jpeg",
        suffixes=(".jpg", ".jpeg"),
        magic=(b"\xff\xd8\xff",),
        rewrite="jpegtran -copy all in.jpg > out.jpg",
        dtypes=("uint8",),
        largest_side=65_500,  # of libjpeg
        lossless=False,
        block_room=65_504,  # of a segment, with what names its kind
        end=b"\xff\xd9",
    ),
    Format(
        name="png",
        suffixes=(".png",),
        magic=(b"\x89PNG\r\n\x1a\n",),
        rewrite="magick in.png out.png",
        dtypes=("uint8", "uint16"),
        largest_side=1_000_000,  # of libpng
        colour_chunks=True,
        end=b"IEND\xaeB`\x82",
    ),
    Format(
        name="tiff",
        suffixes=(".tif", ".tiff"),
        magic=(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        rewrite="magick in.tif out.tif",
        largest_side=2**32 - 1,
        rows_read=256,
        rows_written=512,
    ),
)
FORMATS: dict[str, Format] = {row.name: row for row in _ROWS}
"""By name; where several would do, the first is taken."""


def of_suffix(suffix: str) -> Format:
    """The format of files whose names end so, in whatever case.

    Raises
    ------
    KeyError
        There is none.
    """
    for row in FORMATS.values():
        if suffix.lower() in row.suffixes:
            return row
    raise KeyError(suffix)


def of_magic(head: bytes) -> Format | None:
    """The format of a file that begins so, None if it is none of `FORMATS`."""
    return next((row for row in FORMATS.values() if head.startswith(row.magic)), None)


def longest_magic() -> int:
    """Bytes by which the format of every file is known."""
    return max(len(magic) for row in FORMATS.values() for magic in row.magic)


def holding(dtype: str, channels: int) -> list[Format]:
    """The formats that can hold pixels of a type in so many channels."""
    return [row for row in FORMATS.values() if row.holds(dtype, channels)]


def by_rows(dtype: str, channels: int) -> list[Format]:
    """Those of `holding` that are written row by row, the ones for large images."""
    return [row for row in holding(dtype, channels) if row.written_by_rows]


def lossy() -> list[Format]:
    """The formats that are written with a quality."""
    return [row for row in FORMATS.values() if not row.lossless]


def keeping(wanted: Format, dtype: str, channels: int) -> Format:
    """A format if it gives such pixels back as they were, or else the first that does."""
    able = [row for row in (wanted, *holding(dtype, channels)) if row.lossless]
    return next(row for row in able if row.holds(dtype, channels))


def widest() -> Format:
    """The format that holds the most kinds of pixels, and large images among them."""
    return max(
        FORMATS.values(),
        key=lambda row: (len(row.dtypes), len(row.channels), row.written_by_rows),
    )


def either(words: Iterable[str]) -> str:
    """Alternatives as in "JPEG, PNG or TIFF"."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
