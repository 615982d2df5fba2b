"""What the measures without a truth have in common: they see one frame at a time."""

from collections.abc import Iterable
from typing import Protocol

from batchstack.quality.luma import Grey


class Measure(Protocol):
    """Compares one fused image with the frames of its stack."""

    def __init__(self, fused: Grey) -> None: ...

    def add(self, frame: Grey) -> None:
        """Take the next frame, from back to front, into account."""

    def result(self) -> float:
        """The measure over all frames added; at least one."""


def over(frames: Iterable[Grey], measure: Measure) -> float:
    """The result of a measure that has seen all frames."""
    for frame in frames:
        measure.add(frame)
    return measure.result()
