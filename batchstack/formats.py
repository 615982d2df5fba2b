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
    in_browsers : bool
        Whether browsers show such files as they are.
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
    in_browsers: bool = False
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


@dataclass(frozen=True)
class Foreign:
    """Image files that are not read, but known by name.

    Parameters
    ----------
    label : str
        The name for people.
    magic : tuple of (int, bytes)
        What files have at some place, one of them.
    remedy : str
        What to do with such a file.
    suffixes : tuple of str
        Endings of names by which pictures are told from other files of a folder.
    """

    label: str
    magic: tuple[tuple[int, bytes], ...]
    remedy: str
    suffixes: tuple[str, ...] = ()


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
        in_browsers=True,
        end=b"\xff\xd9",
    ),
    Format(
        name="png",
        suffixes=(".png",),
        magic=(b"\x89PNG\r\n\x1a\n",),
        rewrite="pngfix --out=out.png in.png",
        dtypes=("uint8", "uint16"),
        largest_side=1_000_000,  # of libpng
        colour_chunks=True,
        in_browsers=True,
        end=b"IEND\xaeB`\x82",
    ),
    Format(
        name="tiff",
        suffixes=(".tif", ".tiff"),
        magic=(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        rewrite="convert in.tif out.tif",
        largest_side=2**32 - 1,
        rows_read=256,
        rows_written=512,
    ),
)
FORMATS: dict[str, Format] = {row.name: row for row in _ROWS}
"""By name; where several would do, the first is taken."""


DEVELOP = (
    "develop all frames of the stack with the same settings and give the results, e.g. "
    "darktable-cli in.{0} out.tif"
)
"""What to do with camera raw whose files end in {0}."""

RAW_SUFFIXES = frozenset(
    [
        "3fr",
        "arw",
        "cr2",
        "cr3",
        "crw",
        "dcr",
        "dng",
        "erf",
        "fff",
        "gpr",
        "iiq",
        "kdc",
        "mef",
        "mos",
        "mrw",
        "nef",
        "nrw",
        "orf",
        "pef",
        "raf",
        "raw",
        "rw2",
        "rwl",
        "sr2",
        "srf",
        "srw",
        "x3f",
    ]
)
"""Endings of camera raw, many of which are TIFF inside."""


def _brands(names: str) -> tuple[tuple[int, bytes], ...]:
    """Magics of files in the ISO base media format (ISO 14496-12), by their brand."""
    return tuple((4, b"ftyp" + name.encode()) for name in names.split())


# PNG, because ImageMagick writes TIFF of these in YCbCr, or with a palette.
_CONVERT = "convert it first, e.g. convert in.{0} -alpha off out.png"
_EXPORT = "export its planes as TIFF, one image in a file"
_FOREIGN = (
    Foreign("camera raw (RAF)", ((0, b"FUJIFILMCCD-RAW"),), DEVELOP.format("raf")),
    Foreign("camera raw (CR3)", ((4, b"ftypcrx "),), DEVELOP.format("cr3")),
    Foreign(
        "camera raw (ORF)",
        ((0, b"IIRO"), (0, b"IIRS"), (0, b"MMOR")),
        DEVELOP.format("orf"),
    ),
    Foreign("camera raw (RW2)", ((0, b"IIU\0"),), DEVELOP.format("rw2")),
    Foreign("camera raw (CRW)", ((6, b"HEAPCCDR"),), DEVELOP.format("crw")),
    Foreign("camera raw (X3F)", ((0, b"FOVb"),), DEVELOP.format("x3f")),
    Foreign("camera raw (MRW)", ((0, b"\0MRM"),), DEVELOP.format("mrw")),
    Foreign("AVIF", _brands("avif avis"), _CONVERT.format("avif"), (".avif",)),
    Foreign(
        "HEIC",
        _brands("heic heix heim heis hevc hevx mif1 msf1"),
        _CONVERT.format("heic"),
        (".heic", ".heif", ".hif"),
    ),
    Foreign("WebP", ((8, b"WEBP"),), _CONVERT.format("webp"), (".webp",)),
    Foreign(
        "JPEG XL",
        ((0, b"\xff\x0a"), (4, b"JXL \r\n\x87\n")),
        "convert it first, e.g. djxl in.jxl out.png",
        (".jxl",),
    ),
    Foreign(
        "JPEG 2000",
        ((0, b"\xff\x4f\xff\x51"), (4, b"jP  \r\n\x87\n")),
        _CONVERT.format("jp2"),
        (".jp2", ".j2k", ".jpx"),
    ),
    Foreign("GIF", ((0, b"GIF8"),), _CONVERT.format("gif"), (".gif",)),
    Foreign("BMP", ((0, b"BM"),), _CONVERT.format("bmp"), (".bmp",)),
    Foreign("Photoshop", ((0, b"8BPS"),), "save it as TIFF without layers first", (".psd", ".psb")),
    Foreign(
        "OpenEXR",
        ((0, b"v/1\x01"),),
        "convert it first, e.g. oiiotool in.exr --ch R,G,B -o out.tif",
        (".exr",),
    ),
    Foreign("PDF", ((0, b"%PDF"),), "export its picture first"),
    Foreign("CZI", ((0, b"ZISRAWFILE"),), _EXPORT, (".czi",)),
    Foreign("ND2", ((0, b"\xda\xce\xbe\x0a"),), _EXPORT, (".nd2",)),
)
FOREIGN_HEAD = 32
"""Bytes by which the formats that are not read are known."""


def foreign(head: bytes) -> Foreign | None:
    """The format that is known but not read, of a file that begins so; None if it is unknown."""
    for row in _FOREIGN:
        if any(head.startswith(magic, place) for place, magic in row.magic):
            return row
    return None


def foreign_of_suffix(suffix: str) -> Foreign | None:
    """The format that is known but not read, of pictures whose names end so, in whatever case."""
    ending = suffix.lower()
    plain = ending.removeprefix(".")
    if plain in RAW_SUFFIXES:
        return Foreign(f"camera raw ({plain.upper()})", (), DEVELOP.format(plain))
    return next((row for row in _FOREIGN if ending in row.suffixes), None)


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
