"""What a run tells while it is under way, and what it came to."""

from collections.abc import Callable
from dataclasses import dataclass, field

from batchstack.batch.jobs import Result, Scores
from batchstack.batch.manifest import Row


@dataclass(frozen=True)
class RunStarted:
    """The plan is made and the engine ready.

    Attributes
    ----------
    stacks : int
        That are to be fused.
    megapixels : float
        Of all their frames.
    skipped : int
        Stacks that are up to date.
    """

    stacks: int
    megapixels: float = 0.0
    skipped: int = 0


@dataclass(frozen=True)
class StackDone:
    """A stack is fused and recorded; its frames have so many megapixels."""

    row: Row
    result: Result
    megapixels: float = 0.0


@dataclass(frozen=True)
class StackFailed:
    """A stack is refused or has failed; the message is complete.

    The megapixels are those of its frames, 0 if it was refused.
    """

    row: Row
    message: str
    megapixels: float = 0.0


@dataclass(frozen=True)
class StackUnderWay:
    """A stack is being worked on.

    Attributes
    ----------
    row : Row
    fraction : float
        Of its work that is done, from 0 to 1; a rough guess.
    phase : str
        What is being done; empty if it has just begun.
    worker : str
        Address of the worker that says so; empty in the client's own process.
    megapixels : float
        Of its frames.
    """

    row: Row
    fraction: float
    phase: str
    worker: str = ""
    megapixels: float = 0.0


Event = RunStarted | StackUnderWay | StackDone | StackFailed


Listener = Callable[[Event], None]


@dataclass
class Summary:
    """What a run came to.

    Attributes
    ----------
    done, skipped, remaining : int
        Stacks that were fused, that were up to date, and that were not started.
    failures : list of StackFailed
        Stacks that were refused or have failed, with the message of each.
    megapixels : float
        Of the frames that were read.
    aligned, not_aligned : int
        Stacks of which some frame was moved, and of which some frame could not be aligned.
    scores : dict
        Scores of fused images by stack and output.
    seconds : float
        From the start of the first stack to the end of the last.
    peak_memory : int
        Most bytes that a worker used.
    interrupted : bool
        Whether it was stopped from outside.
    gave_up : bool
        Whether it stopped after too many failures.
    """

    done: int = 0
    skipped: int = 0
    failures: list[StackFailed] = field(default_factory=list)
    remaining: int = 0
    megapixels: float = 0.0
    aligned: int = 0
    not_aligned: int = 0
    scores: dict[str, dict[str, Scores]] = field(default_factory=dict)
    seconds: float = 0.0
    peak_memory: int = 0
    interrupted: bool = False
    gave_up: bool = False
