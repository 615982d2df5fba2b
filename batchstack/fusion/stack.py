"""What a stack is like, and where its fusion is written."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack.fusion.codes import CODE_MAX, DATA_RANGES
from batchstack.options import FusionOptions

Pixels = npt.NDArray[Any]
Index = npt.NDArray[np.uint16]
Counts = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Stack:
    """What the frames of a stack are like.

    Attributes
    ----------
    n_frames, channels : int
    dtype : dtype
        Of their pixels.
    options : FusionOptions
        Resolved for the image.
    """

    n_frames: int
    channels: int
    dtype: np.dtype[Any]
    options: FusionOptions

    @property
    def scale(self) -> float:
        """What pixels are multiplied by to be 8-bit code values."""
        return CODE_MAX / self._data_range

    @property
    def white(self) -> float:
        """The largest value that a fused pixel may have; 0 if it is not rounded either."""
        if self.dtype.kind == "f":
            return 0.0
        return min(self._data_range, float(np.iinfo(self.dtype).max))

    @property
    def _data_range(self) -> float:
        return self.options.data_range or DATA_RANGES[self.dtype.name]


@dataclass(frozen=True, eq=False)
class Canvas:
    """Where fused images and maps are written.

    Attributes
    ----------
    images : ndarray, shape (images, rows, columns * channels)
        One for each method with an output, in the type of the frames.
    masks : ndarray of uint8, shape (masks, rows, columns)
        One for each method that decides by votes.
    decision, confidence : ndarray of uint16 and uint8, shape (rows, columns)
        Of a decision map, over what a tile holds of the level of the cells.
    offset : ndarray of uint8, the same shape or empty
        As of `decision.DecisionMap`; where it is empty it is not looked for.
    corner : (int, int)
        Row and column of the image where they begin.
    """

    images: Pixels
    masks: Pixels
    decision: Index
    confidence: Counts
    offset: Counts
    corner: tuple[int, int]
