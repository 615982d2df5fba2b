"""Tiles of a split stack in scratch: written one by one, read back as rows or as windows."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack.geometry import Box
from batchstack.images import StagedImage, write_npy, write_npy_rows
from batchstack.images.info import BAND_BYTES

Pixels = npt.NDArray[Any]

_ROWS = 256  # of a band, at most


def write_tile(scratch: Path, name: str, box: Box, values: Pixels) -> None:
    """Write one tile of an output or a map."""
    write_npy(_path(scratch, name, box), values)


def tile(scratch: Path, name: str, box: Box) -> Pixels:
    """One tile of an output or a map."""
    return StagedImage(_path(scratch, name, box)).whole()


def bands(scratch: Path, name: str, boxes: Sequence[Box]) -> Iterator[Pixels]:
    """The tiles of an output or a map joined to bands of full rows, from top to bottom.

    A band has at most `BAND_BYTES`, or one row.
    """
    for row in _rows_of_tiles(scratch, name, boxes):
        height = row[0].shape[0]
        step = max(
            BAND_BYTES // sum(math.prod(one.shape[1:]) * one.dtype.itemsize for one in row), 1
        )
        for top in range(0, height, step):
            rows = slice(top, min(top + step, height))
            yield np.concatenate([one[rows, :] for one in row], axis=1)


def join(scratch: Path, name: str, boxes: Sequence[Box], target: Path) -> None:
    """Write the tiles of a map to one file."""
    rows = list(_rows_of_tiles(scratch, name, boxes))
    shape = sum(row[0].shape[0] for row in rows), sum(one.shape[1] for one in rows[0])
    write_npy_rows(target, shape, rows[0][0].dtype, bands(scratch, name, boxes))


def _rows_of_tiles(scratch: Path, name: str, boxes: Sequence[Box]) -> Iterator[list[StagedImage]]:
    for _, row in groupby(sorted(boxes, key=lambda box: (box.top, box.left)), lambda box: box.top):
        yield [StagedImage(_path(scratch, name, box)) for box in row]


def rows_in(area: Box, bands: Iterator[Pixels]) -> Iterator[Pixels]:
    """The part of bands of full rows, from top to bottom, that lies in an area."""
    top = 0
    for band in bands:
        rows = slice(max(area.top - top, 0), max(area.bottom - top, 0))
        yield band[rows, area.left : area.right]
        top += len(band)


def tile_window(scratch: Path, name: str, boxes: Sequence[Box], window: Box) -> Pixels:
    """A window of an output; of each tile it touches only the pixels in it are read."""
    touched = [box for box in boxes if _overlap(box, window)]
    first = StagedImage(_path(scratch, name, touched[0]))
    pixels = np.empty((*window.shape, *first.shape[2:]), first.dtype)
    for box in touched:
        part = box.intersection(window)
        tile = StagedImage(_path(scratch, name, box))
        pixels[part.within(window).slices] = tile[part.within(box).slices]
    return pixels


def _overlap(one: Box, other: Box) -> bool:
    common = one.intersection(other)
    return common.top < common.bottom and common.left < common.right


def _path(scratch: Path, name: str, box: Box) -> Path:
    return scratch / name / f"{box.top}_{box.left}.npy"
