"""Codecs: what the module of a format has, which bears the name of its row of `FORMATS`."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from batchstack.images.info import Empty, Encoding, ImageInfo, Metadata, Pixels


class Codec(Protocol):
    """The functions of a codec module.

    Files are open and at their start; paths are for messages only.
    What is wrong with a file is an `ImageError`, or any exception of a library.
    """

    def read_header(self, path: Path, file: BinaryIO) -> ImageInfo:
        """Return what the headers say, the pixels untouched; refuse what is not supported."""

    def read_metadata(self, path: Path, file: BinaryIO) -> tuple[Metadata, int]:
        """Return the metadata as stored, and the orientation from 1 to 8."""

    def read_pieces(self, info: ImageInfo, file: BinaryIO, empty: Empty) -> Iterator[Pixels]:
        """Yield the pixels as stored, not yet turned, in pieces: left to right, top to bottom.

        A piece has as many rows as those beside it; mostly it has all columns.
        Where the format is not read by rows, one piece is the image, best in memory of `empty`.
        No pixel is made up: what is missing or damaged raises.
        """

    def write_rows(
        self, file: BinaryIO, info: ImageInfo, blocks: Iterator[Pixels], encoding: Encoding
    ) -> None:
        """Write an image from contiguous blocks of full rows, all as high but for the last.

        They have `rows_written` rows, or fewer where those take too many bytes.

        A block is valid until the next one is asked for.
        """


def codec(name: str) -> Codec:
    """The codec of a format, imported when it is first asked for."""
    return cast(Codec, import_module(f"batchstack.images.{name}"))
