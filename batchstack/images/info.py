"""What is known of an image file, and how one is to be encoded, as frozen values."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from batchstack.formats import FORMATS
from batchstack.options import OutputOptions

Pixels: TypeAlias = npt.NDArray[np.uint8 | np.uint16 | np.float32]
"""(H, W) grey or (H, W, 3) RGB, C-contiguous, uint8, uint16 or float32."""

Empty: TypeAlias = Callable[[tuple[int, ...], npt.DTypeLike], Pixels]
"""Gives an array of a shape and type, of any content."""

# Rows of an image of any width are read and written together up to so many bytes.
BAND_BYTES = 2**25
_LONGEST, _FINEST = 100, 60_000  # sides of pixels to one another, and the numbers for that


class Shot(NamedTuple):
    """How a frame was taken.

    Attributes
    ----------
    time : str, optional
        As EXIF has it, "2024:05:01 12:00:03" with a fraction or without; sorts as time does.
    made_of : str, optional
        What tells that it is made of other pictures, to follow the name of the file.
    """

    time: str | None = None
    made_of: str | None = None


@dataclass(frozen=True)
class ImageInfo:
    """Size and kind of one image file, as `read_image` returns its pixels.

    Headers are equal if they describe equal kinds of pixels, whatever else is known of the files.

    Parameters
    ----------
    path : Path
        The file.
    format : str
        A key of `FORMATS`, decided by the first bytes and not by the suffix.
    height, width : int
        Pixels, after the orientation is applied.
    channels : int
        1 (grey) or 3 (RGB).
    dtype : str
        One of `DTYPES`.
    orientation : int
        The stored EXIF or TIFF orientation, 1 to 8.
    data_range : float, optional
        The stored value that means white, where tags state it; of 8 bits none is read.
    shot : Shot
        How it was taken.
    notes : tuple of str
        What is ignored of the file though it should not be, each to follow its name.
    colours : str
        Equal for files that state the meaning of their colours alike (`colour.key`).
    """

    path: Path = field(compare=False)
    format: str
    height: int
    width: int
    channels: int
    dtype: str
    orientation: int = 1
    data_range: float | None = field(default=None, compare=False)
    shot: Shot = field(default=Shot(), compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)
    colours: str = field(default="", compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W) or (H, W, 3)."""
        size = (self.height, self.width)
        return size if self.channels == 1 else (*size, self.channels)

    @property
    def stored_size(self) -> tuple[int, int]:
        """Rows and columns before the orientation is applied."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded image."""
        return self.pixels * self.channels * np.dtype(self.dtype).itemsize

    @property
    def read_by_rows(self) -> bool:
        """Whether it is read some rows at a time: turned ones cannot be."""
        return FORMATS[self.format].read_by_rows and self.orientation == 1


def uneven(counts: tuple[float, float] | None) -> tuple[float, float] | None:
    """Pixels per unknown length along x and y, if they tell that pixels are not square."""
    return counts if counts and counts[0] != counts[1] else None


class Written(NamedTuple):
    """A file as it was written.

    Attributes
    ----------
    size : int
        Bytes.
    digest : str, optional
        `checksum` of all of them; what earlier versions wrote has none.
    lost : tuple of str
        What of the frame's metadata it does not have, in words.
    """

    size: int
    digest: str | None = None
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metadata:
    """What an output inherits from a frame besides its pixels.

    Parameters
    ----------
    exif : bytes, optional
        EXIF block that starts with its TIFF header ("II" or "MM"), orientation 1.
    xmp : bytes, optional
        XMP packet, orientation 1.
    icc : bytes, optional
        ICC colour profile.
    resolution : (float, float), optional
        Pixels per inch along x and y, after the orientation is applied.
    has_unit : bool
        Whether it is per inch; else per some length that is not known, and tells how much
        higher than wide pixels are.
    iptc : bytes, optional
        IPTC block (IIM).
    chunks : tuple of (bytes, bytes)
        What PNG says of its colours besides a profile (`colour.CHUNKS`): type and content.
    lost : tuple of str
        What of the frame's metadata no output has, in words.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    icc: bytes | None = None
    resolution: tuple[float, float] | None = None
    has_unit: bool = True
    iptc: bytes | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    lost: tuple[str, ...] = ()

    @property
    def aspect(self) -> tuple[int, int] | None:
        """Pixels per some length along x and y, in small numbers, where no length is known."""
        if self.resolution is None or self.has_unit:
            return None
        x, y = self.resolution
        if not 1 / _LONGEST <= x / y <= _LONGEST:
            return None
        # Neither number is larger than JFIF can say.
        finest = min(_FINEST, int(_FINEST * y / x))
        return Fraction(x / y).limit_denominator(finest).as_integer_ratio()

    def without_colour(self) -> "Metadata":
        """The same of a map, whose numbers are no colours."""
        return replace(self, icc=None, chunks=())


@dataclass(frozen=True)
class Encoding:
    """How an image is encoded, besides its format.

    Parameters
    ----------
    quality : int
        1 to 100, of formats that are not lossless.
    metadata : Metadata
        What the file inherits, changed to what holds for it (`inherit.inherited`).
    empty : callable
        Gives an array of a shape and type, of any content, that a file may be encoded in.
    software : str, optional
        What made the image and how, in ASCII, where files name the software.
    """

    quality: int = OutputOptions.quality
    metadata: Metadata = field(default_factory=Metadata)
    empty: Empty = np.empty
    software: str | None = None
