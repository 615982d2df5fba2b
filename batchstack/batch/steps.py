"""What a plan says of one stack."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from batchstack.batch.jobs import Job
from batchstack.batch.machine import cores
from batchstack.batch.manifest import Row
from batchstack.batch.memory import Footprint

# Megapixels of all frames from which a stack is worth sharing among threads: about a second.
WORTH_SPREADING = 50.0
Action = Literal["fuse", "skip", "refuse"]


@dataclass(frozen=True, slots=True)
class Step:
    """What is to happen with one stack.

    Attributes
    ----------
    row : Row
    action : {"fuse", "skip", "refuse"}
    reasons : tuple of str
    job : Job, optional
        For "fuse".
    footprint : Footprint, optional
        For "fuse".
    shape : (int, int)
        Rows and columns of a frame; (0, 0) where no header was read.
    hopeless : bool
        True for a refusal that no other input could mend (format, memory).
    broken : Path, optional
        For "refuse": the frame that is damaged, if that is the reason.
    moved : bool
        For "skip": frames have the recorded content, but another path, size or time.
    """

    row: Row
    action: Action
    reasons: tuple[str, ...]
    job: Job | None = None
    footprint: Footprint | None = None
    shape: tuple[int, int] = (0, 0)
    hopeless: bool = False
    moved: bool = False
    broken: Path | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd about frames that can be fused, each naming the row and the file."""
        return self.job.plan_warnings if self.job else ()

    @property
    def megapixels(self) -> float:
        return self.shape[0] * self.shape[1] / 1e6

    @property
    def all_megapixels(self) -> float:
        """Of all frames."""
        return self.megapixels * len(self.row.paths)


def is_split(step: Step, memory_limit: int | None) -> bool:
    """Whether a stack is fused by one task per tile instead of by one task."""
    assert step.footprint is not None
    return memory_limit is not None and step.footprint.whole > memory_limit


def can_spread(step: Step, memory_limit: int | None) -> bool:
    """Whether several threads may share a stack: it is large, and fits."""
    assert step.footprint is not None
    is_large = step.all_megapixels >= WORTH_SPREADING
    return is_large and (memory_limit is None or step.footprint.spread <= memory_limit)


def most_threads(step: Step, memory_limit: int | None) -> int:
    """How many threads of one process may share a stack: it is large, and fits with its frames."""
    assert step.footprint is not None
    assert step.job is not None
    is_large = step.all_megapixels >= WORTH_SPREADING
    if memory_limit is None or not (step.job.hold and is_large):
        return 1
    room = (memory_limit - step.footprint.whole) // step.footprint.thread
    return max(1, min(cores(), 1 + room))


def most_memory(step: Step, memory_limit: int | None, workers: int) -> int:
    """Bytes that a task takes at most, of a stack that a machine of so many workers does."""
    assert step.footprint is not None
    if is_split(step, memory_limit):
        return step.footprint.split
    threads = min(most_threads(step, memory_limit), max(1, workers))
    return step.footprint.whole + (threads - 1) * step.footprint.thread
