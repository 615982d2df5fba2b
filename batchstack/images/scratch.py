"""Scratch: uncompressed arrays on disk that give any window at once.

Image files have no random access, or only by strip or tile, so an image too large for one
worker is decoded once into a `.npy` file that all its tiles read from.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import SEEK_END
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from batchstack import files
from batchstack.errors import ImageError
from batchstack.images.info import ImageInfo, Pixels
from batchstack.images.probe import probe
from batchstack.images.read import (
    changed,
    read_image_and_digest,
    state,
    stored_pieces,
    stream_digest,
)
from batchstack.images.source import image_file, is_damage

# Of a window's rows, pieces of this size are read at once, with what lies between them if it
# is little: a call to the system takes as long as to copy so much.
_PIECE, _GAP = 2**20, 2**15


def stage_image(path: Path | str, target: Path | str) -> str:
    """Decode an image into an uncompressed `.npy` file.

    A file that is read by rows (`ImageInfo.read_by_rows`) is streamed, memory holds a part of
    it; every other file is decoded whole.

    Parameters
    ----------
    path : Path
        The image.
    target : Path
        The `.npy` file, replaced whole or not at all; as for `write_npy`.

    Returns
    -------
    str
        The digest of the image file, as `file_digest`.

    Raises
    ------
    FileError
        As `read_image` and `write_npy`.
    ImageError
        As `read_image`; also when the file changes while it is read.
    """
    path, target = Path(path), Path(target)
    before, info = state(path), probe(path)
    if info.read_by_rows:
        return _stage_pieces(info, target, before)
    pixels, digest = read_image_and_digest(path)
    write_npy(target, pixels)
    return digest


def _stage_pieces(info: ImageInfo, target: Path, before: tuple[int, int]) -> str:
    with image_file(info.path) as (_, file):
        digest = stream_digest(file)
        file.seek(0)
        pieces = _unchanged_pieces(info, file, before)
        write_npy_pieces(target, info.shape, np.dtype(info.dtype), pieces)
    return digest


def _unchanged_pieces(
    info: ImageInfo, file: BinaryIO, before: tuple[int, int]
) -> Iterator[tuple[int, int, Pixels]]:
    """Yield all pieces, then raise if the file is no longer what the digest was taken of."""
    try:
        yield from stored_pieces(info, file)
    except ImageError:
        _refuse_changed(info.path, before)
        raise
    _refuse_changed(info.path, before)


def _refuse_changed(path: Path, before: tuple[int, int]) -> None:
    if state(path) != before:
        raise changed(path)


def write_npy(path: Path | str, array: npt.NDArray[Any]) -> None:
    """Write any array as `.npy`, whole or not at all.

    It is read soon or never, so it need not outlive a loss of power.
    The folder is made if it is missing, but not the one that it lies in: scratch that was
    removed stays removed.

    Raises
    ------
    FileError
        The file cannot be written, such as on a full disk.
    """
    write_npy_rows(path, array.shape, array.dtype, (array,))


def write_npy_rows(
    path: Path | str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    bands: Iterable[npt.NDArray[Any]],
) -> None:
    """Write an array as `.npy` from successive bands of rows, whole or not at all.

    Raises
    ------
    FileError
        As `write_npy`.
    """
    write_npy_files((Path(path),), shape, (dtype,), ((band,) for band in bands))


def write_npy_files(
    paths: Sequence[Path],
    shape: tuple[int, ...],
    dtypes: Sequence[np.dtype[Any]],
    bands: Iterable[Sequence[npt.NDArray[Any]]],
) -> None:
    """Write arrays of one shape as `.npy` side by side, from successive bands of rows of each.

    Raises
    ------
    FileError
        As `write_npy`.
    """
    with ExitStack() as stack:
        written = [
            stack.enter_context(_npy_file(path, shape, dtype))
            for path, dtype in zip(paths, dtypes, strict=True)
        ]
        for parts in bands:
            for file, part in zip(written, parts, strict=True):
                file.write(np.ascontiguousarray(part).data)


def write_npy_pieces(
    path: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    pieces: Iterable[tuple[int, int, npt.NDArray[Any]]],
) -> None:
    """Write an array as `.npy` from parts of it, each with its row and column.

    Raises
    ------
    FileError
        As `write_npy`.
    """
    with _npy_file(path, shape, dtype) as file:
        start, pixel = file.tell(), math.prod(shape[2:]) * dtype.itemsize
        for top, left, piece in pieces:
            whole = piece.shape[1] == shape[1]
            rows = [piece] if whole else piece
            for row, pixels in enumerate(rows, top):
                file.seek(start + (row * shape[1] + left) * pixel)
                file.write(np.ascontiguousarray(pixels).data)


@contextmanager
def _npy_file(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[BinaryIO]:
    """A `.npy` file that has its header, whole or not at all."""
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    files.make_folder(path.parent, parents=False)
    with files.part_file(path, durable=False, parents=False) as (_, file):
        np.lib.format.write_array_header_1_0(file, header)
        yield file


@dataclass(frozen=True)
class StagedImage:
    """An array in a `.npy` file, read window by window.

    Parameters
    ----------
    path : Path
        A file of `stage_image` or `write_npy`.
    """

    path: Path

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W) or (H, W, 3)."""
        return self._header[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return self._header[1]

    def __getitem__(self, area: tuple[slice, slice]) -> Pixels:
        """Rows and columns, one behind the other, as of an array; a copy like that of `window`."""
        (row0, row1, _), (col0, col1, _) = (
            one.indices(length) for one, length in zip(area, self.shape, strict=False)
        )
        return self.window(row0, max(row0, row1), col0, max(col0, col1))

    def whole(self) -> Pixels:
        """All of it."""
        return self.window(0, self.shape[0], 0, self.shape[1])

    def window(self, row0: int, row1: int, col0: int, col1: int) -> Pixels:
        """Return rows `row0` to `row1` and columns `col0` to `col1`, the ends excluded.

        Returns
        -------
        ndarray, (row1 - row0, col1 - col0) or (row1 - row0, col1 - col0, 3)
            New memory, contiguous.

        Raises
        ------
        ValueError
            The window reaches over the edge.
        FileError
            The file cannot be read, such as when it is missing.
        ImageError
            It is damaged.
        """
        height, width = self.shape[:2]
        if not (0 <= row0 <= row1 <= height and 0 <= col0 <= col1 <= width):
            raise ValueError(
                f"window rows {row0}:{row1}, columns {col0}:{col1} is not inside {height} x {width}"
            )
        pixels = np.empty((row1 - row0, col1 - col0, *self.shape[2:]), self.dtype)
        if pixels.size:
            self._read(pixels, row0, col0)
        return pixels

    def _read(self, pixels: Pixels, top: int, left: int) -> None:
        """Fill an array with the pixels from a row and a column on.

        The file is not mapped to memory: where it cannot be read, that would end the process.
        """
        shape, dtype, start = self._header
        pixel = math.prod(shape[2:]) * dtype.itemsize
        pitch, used = shape[1] * pixel, pixels.shape[1] * pixel
        rows = pixels.reshape(-1).view(np.uint8).reshape(-1, used)
        end, start = start + shape[0] * pitch, start + top * pitch + left * pixel
        with files.told(self.path, "cannot be read"), files.open_to_read(self.path) as file:
            if file.seek(0, SEEK_END) < end:
                raise self._damage("it is too short")
            if used == pitch:
                self._fill(file, start, rows)
                return
            step = max(1, _PIECE // pitch) if pitch - used <= _GAP else 1
            piece = np.empty((step, pitch), np.uint8)
            for row in range(0, len(rows), step):
                count = min(step, len(rows) - row)
                span = piece.reshape(-1)[: (count - 1) * pitch + used]
                self._fill(file, start + row * pitch, span)
                rows[row : row + count] = piece[:count, :used]

    def _fill(self, file: BinaryIO, place: int, memory: npt.NDArray[np.uint8]) -> None:
        file.seek(place)
        if file.readinto(memory) != memory.size:  # type: ignore[attr-defined]
            raise self._damage("it is too short")

    @cached_property
    def _header(self) -> tuple[tuple[int, ...], np.dtype[Any], int]:
        """Shape, type, and where the pixels begin."""
        with files.read_file(self.path) as file:
            try:
                version = np.lib.format.read_magic(file)
                shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
            except Exception as error:
                if not is_damage(error):
                    raise
                raise self._damage(str(error)) from error
            if version != (1, 0) or by_columns or dtype.hasobject or min(shape, default=0) < 0:
                raise self._damage("batchstack writes another kind")
            return shape, dtype, file.tell()

    def _damage(self, reason: str) -> ImageError:
        return ImageError(f"{self.path}: is damaged scratch ({reason}); run again to make it anew")
