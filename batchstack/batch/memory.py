"""Predicting what a task needs, in bytes, from shapes alone.

The coefficients are upper bounds of what `benchmarks/memory.py` measures; a test holds
the measured peak of a task under its prediction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from batchstack.fusion.methods import Method, level_reaches
from batchstack.fusion.tiles import inner_guard
from batchstack.images import ImageInfo
from batchstack.options import FusionOptions

# A worker process with everything imported, before it reads a pixel.
PROCESS = 200 * 2**20

# float32 values held at once per pixel of the guard and channel: the frames with their
# pyramids and activities, and what each method adds.
_FRAME_VALUES = 14
_METHOD_VALUES = 1
_FLOAT = 4


@dataclass(frozen=True)
class Footprint:
    """Predicted peaks of a stack's tasks, in bytes of resident memory.

    Attributes
    ----------
    whole : int
        One task that does everything.
    stage, tile, encode : int
        The tasks of a stack that is split into tiles.
    """

    whole: int
    stage: int
    tile: int
    encode: int

    @property
    def split(self) -> int:
        """The largest of the tasks of a stack that is split into tiles."""
        return max(self.stage, self.tile, self.encode)


def predict(
    frame: ImageInfo,
    n_frames: int,
    methods: Sequence[Method],
    options: FusionOptions,
    *,
    suffix: str,
    tile: int,
) -> Footprint:
    """Predict the memory of a stack's tasks.

    Parameters
    ----------
    frame : ImageInfo
        Of the first frame; the others have the same shape and type.
    n_frames : int
    methods : sequence of Method
    options : FusionOptions
    suffix : str
        Ending of the outputs; JPEG and PNG are encoded from the whole image, TIFF in
        rows of tiles.
    tile : int
        Side of the tiles in pixels.

    Returns
    -------
    Footprint
    """
    window = _window(frame, methods, options, tile)
    outputs = sum(len(method.outputs) for method in methods) * frame.nbytes
    held = 2 if n_frames == 2 else 0
    # Decoding holds the file beside the pixels, and the pixels twice while they turn.
    decode = 3 * frame.nbytes
    encode = 2 * frame.nbytes
    return Footprint(
        whole=PROCESS + max(held * frame.nbytes + outputs + max(window, encode), 2 * decode),
        stage=PROCESS + (_band(frame) if frame.format == "tiff" else decode),
        tile=PROCESS + window,
        encode=PROCESS + (_band(frame, tile) if suffix == ".tif" else 2 * encode),
    )


def _window(frame: ImageInfo, methods: Sequence[Method], options: FusionOptions, tile: int) -> int:
    """Bytes that fusing the hungriest tile takes."""
    reaches = level_reaches(methods, options)
    rows, columns = inner_guard(tile, reaches)
    pixels = min(rows, frame.height) * min(columns, frame.width)
    values = _FRAME_VALUES + _METHOD_VALUES * len(methods)
    return pixels * frame.channels * values * _FLOAT


def _band(frame: ImageInfo, rows: int = 1024) -> int:
    """Bytes of a few full-width rows of tiles or strips, read and converted."""
    return 3 * min(rows, frame.height) * (frame.nbytes // frame.height)
