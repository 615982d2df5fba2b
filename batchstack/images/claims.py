"""What a header claims against what its file can hold.

A damaged header can claim any size.
Whoever believes it asks for memory that no machine has, for an image of a few bytes.
No encoding stands for endlessly many pixels, so that the bytes of the file bound its size.
"""

from pathlib import Path
from typing import BinaryIO

from batchstack.errors import DamagedError

# A match of 258 bytes takes two bits.
DEFLATE = 1032
# Pixels: at least one bit of one component for a block of 8 x 8, which subsampling may stretch
# over 16 times as many.  (Arithmetic coding of blank images goes further; no camera uses it.)
JPEG = 8192

# Bytes of pixels for each byte of a strip or tile, by TIFF's number of the compression.
_TIFF = {
    1: 1,
    5: 4096,  # LZW: 12 bits for a string of at most 3838 bytes
    7: 3 * JPEG,
    8: DEFLATE,
    32773: 64,  # PackBits: a run of 128 bytes takes two
    32946: DEFLATE,
    34925: 2**14,  # LZMA: 7000 have been seen
    34926: 2**15,  # Zstandard: a block of 2^17 bytes takes at least four
    50000: 2**15,
}
_OTHER = 2**20  # a blank tile of 8000 x 8000 in JPEG 2000 is smaller by 2^19


def tiff_expansion(compression: int) -> int:
    """Bytes of pixels that a byte can stand for, at most."""
    return _TIFF.get(compression, _OTHER)


def file_size(file: BinaryIO) -> int:
    """Bytes of an open file, whose position is kept at 0."""
    size = file.seek(0, 2)
    file.seek(0)
    return size


def check_claim(
    path: Path,
    size: tuple[int, int],
    needed: int,
    held: int,
    expansion: int,
    of: str = "an image",
) -> None:
    """Refuse a header that claims more than the file can hold.

    Parameters
    ----------
    path : Path
    size : (int, int)
        The rows and columns that are claimed.
    needed : int
        Bytes, or pixels, of this size.
    held : int
        Bytes that there are.
    expansion : int
        Bytes, or pixels, that one of them can stand for.
    of : str
        What is claimed to have the size.

    Raises
    ------
    ImageError
    """
    if needed > held * expansion:
        raise DamagedError(
            path,
            f"is damaged or incomplete, its header claims {of} of {size[1]} x {size[0]} "
            f"pixels, which {held} bytes cannot hold; copy it again from the source",
        )
