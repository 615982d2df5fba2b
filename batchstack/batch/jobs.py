"""What travels between the client and the workers: small frozen values, never pixels."""

from dataclasses import dataclass, field
from pathlib import Path

from batchstack.options import FusionOptions


@dataclass(frozen=True)
class Input:
    """A frame as it was when it was read.

    Its identity is the content; path, size and time only spare reading it again.

    Attributes
    ----------
    path : str
    size : int
        In bytes, and like the time taken before the content was read.
    mtime_ns : int
    digest : str
        Of the content.
    """

    path: str
    size: int
    mtime_ns: int
    digest: str


@dataclass(frozen=True)
class Job:
    """One stack to fuse, complete enough for any worker that sees the files.

    Attributes
    ----------
    id, place : str
        The stack, and where its row stands ("pairs.csv:14").
    frames : tuple of Path
        Absolute paths, back to front.
    methods : tuple of str
        Those to compute, in the order of `METHODS`.
    fusion : FusionOptions
    suffix : str
        Ending of the outputs, such as ".jpg".
    quality : int
        JPEG quality, 1 to 100.
    resize : bool
        The frames differ in size and are resized to that of the first.
    tile : int
        Side of the tiles in pixels.
    folder : Path
        Where the outputs go.
    scratch : Path
        A folder of this job alone, visible to all workers; made and removed by tasks.
    """

    id: str
    place: str
    frames: tuple[Path, ...]
    methods: tuple[str, ...]
    fusion: FusionOptions
    suffix: str
    quality: int
    resize: bool
    tile: int
    folder: Path
    scratch: Path

    def output_path(self, name: str) -> Path:
        return self.folder / f"{name}{self.suffix}"


@dataclass(frozen=True)
class Result:
    """What became of a job.

    Attributes
    ----------
    job : Job
    error : str, optional
        A complete message if the stack failed; then nothing else is set.
    inputs : tuple of Input
        Every frame as it was read, back to front.
    sizes : dict of str to int
        Output name to bytes of its file.
    megapixels : float
        Of one frame.
    seconds : float
        Busy time, summed over the job's tasks.
    peak_memory : int
        Largest resident size of a process that worked on it, in bytes.
    """

    job: Job
    error: str | None = None
    inputs: tuple[Input, ...] = ()
    sizes: dict[str, int] = field(default_factory=dict)
    megapixels: float = 0.0
    seconds: float = 0.0
    peak_memory: int = 0
