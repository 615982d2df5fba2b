"""Windows of what is spread over several arrays: pixels over chunks, cells over strips."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack.geometry import Box

Pixels = npt.NDArray[Any]


@dataclass(frozen=True)
class Place:
    """Where a piece of a stack lies in it.

    Attributes
    ----------
    channel, frame : int
        Its first.
    corner : (int, int)
        Its first row and column.
    """

    channel: int
    frame: int
    corner: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Frames:
    """Parts of the frames of a stack, in the pieces that they came in.

    Attributes
    ----------
    places : sequence of Place
    pieces : sequence of ndarray, shape (C, Z, Y, X)
    channels : int or None
        Of a frame; None for frames without an axis for them.
    dtype : dtype
    """

    places: Sequence[Place]
    pieces: Sequence[Pixels]
    channels: int | None
    dtype: np.dtype[Any]
    _of_frame: dict[int, list[tuple[Place, Pixels]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for place, piece in zip(self.places, self.pieces, strict=True):
            for number in range(piece.shape[1]):
                found = self._of_frame.setdefault(place.frame + number, [])
                found.append((place, piece[:, number]))

    def read(self, index: int, box: Box) -> Pixels:
        """The pixels of a frame in a box.

        Where there is no piece they are 0: of the image's first pixel, which may lie far away,
        the engine asks for the type.

        Returns
        -------
        ndarray, shape (rows, columns) or (rows, columns, C)
        """
        shape = (self.channels or 1, *box.shape)
        pixels = np.zeros(shape, self.dtype)
        for place, piece in self._of_frame.get(index, ()):
            top, left = place.corner
            here = Box(top, left, top + piece.shape[1], left + piece.shape[2])
            both = here.intersection(box)
            if both.top < both.bottom and both.left < both.right:
                channels = slice(place.channel, place.channel + len(piece))
                part = piece[:, *both.within(here).slices]
                pixels[channels, *both.within(box).slices] = part
        return pixels[0] if self.channels is None else np.moveaxis(pixels, 0, -1).copy()


@dataclass(frozen=True, eq=False)
class Cells:
    """A part of a map, which is sliced as if it were the whole.

    Attributes
    ----------
    values : ndarray, shape (rows, columns)
    corner : (int, int)
        Row and column of the map where they begin.
    shape : (int, int)
        Of the whole map.
    """

    values: Pixels
    corner: tuple[int, int]
    shape: tuple[int, int]

    def __getitem__(self, slices: tuple[slice, slice]) -> Pixels:
        rows, columns = (
            slice(one.start - first, one.stop - first)
            for one, first in zip(slices, self.corner, strict=True)
        )
        return self.values[rows, columns]
