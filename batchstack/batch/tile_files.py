"""Tiles of a split stack in scratch: written one by one, read back as rows or as windows."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack.fusion.tiles import Box
from batchstack.images import StagedImage, write_npy

Pixels = npt.NDArray[Any]

_ROWS = 256  # of a band, at most


def write_tile(scratch: Path, name: str, box: Box, values: Pixels) -> None:
    """Write one tile of an output or a map."""
    write_npy(_path(scratch, name, box), values)


def bands(scratch: Path, name: str, boxes: Sequence[Box]) -> Iterator[Pixels]:
    """The tiles of an output or a map joined to bands of full rows, from top to bottom."""
    for top in sorted({box.top for box in boxes}):
        row = [StagedImage(_path(scratch, name, box)) for box in boxes if box.top == top]
        for first in range(0, row[0].shape[0], _ROWS):
            part = slice(first, first + _ROWS), slice(None)
            yield np.concatenate([tile[part] for tile in row], axis=1)


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
