"""Scratch: uncompressed arrays on disk that give any window at once.

JPEG and PNG have no random access, compressed TIFF only by strip or tile, so an image too
large for one worker is decoded once into a `.npy` file that all its tiles read from.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack.errors import ImageError
from batchstack.files import part_file
from batchstack.images.info import ImageInfo, Pixels
from batchstack.images.probe import open_image, probe
from batchstack.images.read import read_image_and_digest, stream_digest


def stage_image(path: Path | str, target: Path | str) -> str:
    """Decode an image into an uncompressed `.npy` file.

    A TIFF of orientation 1 is streamed, memory holds a band of 256 rows or one row of
    tiles or strips; every other file is decoded whole.

    Parameters
    ----------
    path : Path
        The image.
    target : Path
        The `.npy` file, replaced whole or not at all.

    Returns
    -------
    str
        The digest of the image file, as `file_digest`.

    Raises
    ------
    ImageError
        As `read_image`; also when the file changes while it is read, or the scratch
        folder is full.
    """
    path, target = Path(path), Path(target)
    info = probe(path)
    if info.format == "tiff" and info.orientation == 1:
        return _stage_bands(info, target)
    pixels, digest = read_image_and_digest(path)
    write_npy(target, pixels)
    return digest


def _stage_bands(info: ImageInfo, target: Path) -> str:
    with open_image(info.path) as file:
        before = _state(file)
        digest = stream_digest(file)
        file.seek(0)
        bands = _unchanged_bands(info, file, before)
        write_npy_rows(target, info.shape, np.dtype(info.dtype), bands)
    return digest


def _unchanged_bands(
    info: ImageInfo, file: BufferedReader, before: tuple[int, int]
) -> Iterator[Pixels]:
    """Yield all bands, then raise if the file is no longer what the digest was taken of."""
    from batchstack.images import tiff

    with tiff.open_tiff(info.path, file) as page:
        yield from tiff.read_bands(info.path, page)
    if _state(file) != before:
        raise ImageError(f"{info.path}: changed while it was read; run again when it is complete")


def _state(file: BufferedReader) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def write_npy(path: Path | str, array: npt.NDArray[Any]) -> None:
    """Write any array as `.npy`, whole or not at all.

    Raises
    ------
    ImageError
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
    ImageError
        As `write_npy`.
    """
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    with part_file(Path(path), durable=False) as (part, file):
        np.lib.format.write_array_header_1_0(file, header)
        for band in bands:
            # Not ndarray.tofile: its error for a full disk does not say so.
            file.write(np.ascontiguousarray(band).data)


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
        """Rows and columns as of an array, a copy like that of `window`."""
        return np.array(self._map()[area], order="C")

    def window(self, row0: int, row1: int, col0: int, col1: int) -> Pixels:
        """Return rows `row0` to `row1` and columns `col0` to `col1`, the ends excluded.

        Returns
        -------
        ndarray, (row1 - row0, col1 - col0) or (row1 - row0, col1 - col0, 3)
            A contiguous copy; the file is mapped for the time of this call only, so that
            its pages do not add up in the memory of the process.

        Raises
        ------
        ValueError
            The window reaches over the edge.
        ImageError
            The file is missing or damaged.
        """
        height, width = self.shape[:2]
        if not (0 <= row0 <= row1 <= height and 0 <= col0 <= col1 <= width):
            raise ValueError(
                f"window rows {row0}:{row1}, columns {col0}:{col1} is not inside {height} x {width}"
            )
        return self[row0:row1, col0:col1]

    @cached_property
    def _header(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        mapped = self._map()
        return mapped.shape, mapped.dtype

    def _map(self) -> npt.NDArray[Any]:
        try:
            mapped: npt.NDArray[Any] = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ImageError(
                f"{self.path}: is missing or damaged scratch ({error}); run again to make it anew"
            ) from error
        return mapped
