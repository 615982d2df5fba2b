"""What travels between the client and the workers: small frozen values, never pixels."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from batchstack import __version__
from batchstack.batch import placement
from batchstack.batch.claim import Claim
from batchstack.batch.device import DeviceSet
from batchstack.batch.output_names import place
from batchstack.batch.placement import Alignment
from batchstack.formats import keeping, of_suffix
from batchstack.fusion.methods import DEPTH_MAPS, METHODS
from batchstack.images import Written
from batchstack.images.white import White
from batchstack.options import DEFAULT_NAME, AlignOptions, FusionOptions
from batchstack.registration import Transform

Scores = dict[str, float]  # measure to value


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
        Of the content; empty if nothing is recorded.
    """

    path: str
    size: int
    mtime_ns: int
    digest: str


@dataclass(frozen=True)
class LeftOut:
    """A damaged frame that a stack does without.

    Attributes
    ----------
    index : int
        Among all frames that were given.
    path : Path
    digest : str
        Of its content.
    why : str
        What is wrong with it.
    """

    index: int
    path: Path
    digest: str
    why: str


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
    alignment : AlignOptions
    suffix : str
        Ending of the outputs, such as ".jpg".
    quality : int
        JPEG quality, 1 to 100.
    resize : bool
        The frames differ in size and are resized to that of the first.
    crop : (int, int), optional
        Rows and columns that all frames are cropped to, about the centre; None if they agree.
    data_range : float, optional
        The value that means white by the tags of frames; None if none tells it, or it is given.
    warnings : tuple of str
        What the plan found odd about the frames, each naming a file.
    tile : int, optional
        Side of the tiles in pixels.
    hold : bool
        Whether a task that does all holds the frames in memory; otherwise they are staged.
    score : bool
        Whether to score the fused images.
    directory : Path
        The output directory.
    template : str
        What outputs are called in there, without ending.
    strip_gps : bool
        Whether outputs do without the place where frames were taken.
    keys : dict of str to dict
        For each method all but the frames that its outputs depend on (`plan.output_key`).
    number : int
        Of the stack in its run.
    attempt : int
        How often the stack was handed out before.
    claim : Claim, optional
        What its tasks must find; a plan has none yet.
    spread : int
        Threads of any workers that share the work on the stack in several tasks; 0 if they do not.
    threads : int
        Of the process that does all in one task.
    device : DeviceSet, optional
        Transforms that are given, so that none are measured.
    skip_broken : bool
        Whether damaged frames may be left out.
    left_out : tuple of LeftOut
        Those that are, which `frames` has no more.
    previews : bool
        Whether its tasks leave previews for the report.
    recorded : bool
        Whether it is recorded what the frames were; else it need not be found out.
    """

    id: str
    place: str
    frames: tuple[Path, ...]
    methods: tuple[str, ...]
    fusion: FusionOptions
    alignment: AlignOptions
    suffix: str
    quality: int
    resize: bool
    tile: int | None
    hold: bool
    score: bool
    directory: Path
    template: str = DEFAULT_NAME
    strip_gps: bool = False
    keys: dict[str, dict[str, Any]] = field(default_factory=dict, hash=False)
    number: int = 0
    attempt: int = 0
    claim: Claim | None = None
    spread: int = 0
    threads: int = 1
    crop: tuple[int, int] | None = None
    data_range: float | None = None
    warnings: tuple[str, ...] = ()
    device: DeviceSet | None = None
    skip_broken: bool = False
    left_out: tuple[LeftOut, ...] = ()
    previews: bool = False
    recorded: bool = True

    def with_white(self, white: White) -> "Job":
        """The job whose frames have this value for white; the same if it is that of the type."""
        if white.value is None:
            return self
        return replace(self, fusion=replace(self.fusion, data_range=white.value))

    @property
    def plan_warnings(self) -> tuple[str, ...]:
        """The warnings of the plan, naming the row."""
        return tuple(f"{self.place} {self.id}: {text}" for text in self.warnings)

    @property
    def is_as_it_is(self) -> bool:
        """Whether frames are neither moved nor brought to one light."""
        return self.alignment.is_off and self.device is None

    @property
    def is_linked(self) -> bool:
        """Whether it is measured where frames lie."""
        return self.alignment.align != "off" and self.device is None

    @property
    def name(self) -> str:
        """Unique among all that is ever handed out to a cluster."""
        return f"{self.id}-{self.number}-{self.attempt}-{self.held.run[:8]}"

    @property
    def held(self) -> Claim:
        """The claim, which every job that is handed out has."""
        assert self.claim is not None
        return self.claim

    @property
    def scratch(self) -> Path:
        """A folder of this job alone, visible to all workers; made and removed by tasks."""
        return self.held.scratch / f"{self.number}-{self.attempt}"

    def software(self, output: str, reference: int) -> str:
        """What made an output and how, as JSON for programs (docs/files.md).

        `reference` is the index of the frame that stayed where it is.
        """
        method = next(name for name in self.methods if output in METHODS[name].outputs)
        facts = {
            "software": "batchstack",
            "version": __version__,
            "method": method,
            "options": self.keys.get(method, {}),
            "frames": len(self.frames),
            "reference": reference + 1,
        }
        return json.dumps(facts)

    def file_name(self, name: str) -> str:
        """An output with the ending of its format."""
        wanted = of_suffix(self.suffix)
        if name in DEPTH_MAPS:
            # They are grey, and losses would be steps of depth.
            wanted = keeping(wanted, DEPTH_MAPS[name], 1)
        return f"{name}{wanted.suffix}"

    def output_path(self, name: str) -> Path:
        return self.directory / place(self.template, self.id, self.file_name(name))

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where the outputs of its methods go."""
        outputs = [name for method in self.methods for name in METHODS[method].outputs]
        return tuple(dict.fromkeys(self.output_path(name).parent for name in outputs))


@dataclass(frozen=True)
class Result:
    """What became of a job.

    Attributes
    ----------
    job : Job
    error : str, optional
        A complete message if the stack failed; then nothing else is set.
    broken : Path, optional
        The frame that is damaged, if that is the error.
    unfit : str, optional
        Why the worker cannot work for the run; then it has done nothing.
    worker : str
        Address of the worker that finished the job; empty in the client's own process.
    versions : tuple of (str, str)
        What it ran.
    inputs : tuple of Input
        Every frame as it was read, back to front.
    outputs : dict of str to Written
        Output name to size and digest of its file.
    scores : dict of str to dict
        Output name to its scores, for outputs that have some.
    megapixels : float
        Of one frame.
    alignment : Alignment, optional
        Where the frames were found.
    seconds : float
        Busy time, summed over the job's tasks.
    peak_memory : int
        Largest resident size of a process that worked on it, in bytes.
    white : White
        The stored value that was taken for white, if it is not that of the type.
    """

    job: Job
    error: str | None = None
    unfit: str | None = None
    worker: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    inputs: tuple[Input, ...] = ()
    outputs: dict[str, Written] = field(default_factory=dict)
    scores: dict[str, Scores] = field(default_factory=dict)
    megapixels: float = 0.0
    alignment: Alignment | None = None
    seconds: float = 0.0
    peak_memory: int = 0
    white: White = field(default=White())
    broken: Path | None = None

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """Where each frame was found, back to front."""
        return self.alignment.transforms if self.alignment else ()

    @property
    def is_moved(self) -> bool:
        """Whether some frame was moved."""
        return not all(transform.is_identity for transform in self.transforms)

    @property
    def facts(self) -> dict[str, Any]:
        """What the record says of its frames: which were left out, and how they lie."""
        gone = [
            {"frame": one.index + 1, "path": str(one.path), "why": one.why}
            for one in self.job.left_out
        ]
        facts: dict[str, Any] = {"left_out": gone} if gone else {}
        if self.alignment is None or self.job.is_as_it_is:
            return facts
        return facts | placement.describe(self.alignment)

    @property
    def remarks(self) -> list[str]:
        """A complete message for what was found out and may surprise."""
        if self.alignment is None or not self.alignment.reason:
            return []
        return [
            f"{self.job.place} {self.job.id}: the reference is frame "
            f"{self.alignment.reference + 1} of {len(self.job.frames)}, {self.reference.name}: "
            f"{self.alignment.reason}"
        ]

    @property
    def reference(self) -> Path:
        """The frame that stays where it is, whose metadata outputs have."""
        return self.job.frames[self.alignment.reference if self.alignment else 0]

    @property
    def lost(self) -> list[str]:
        """What of the frames' metadata outputs do not have, in words."""
        return sorted({what for output in self.outputs.values() for what in output.lost})

    @property
    def warnings(self) -> list[str]:
        """Complete messages: what frames are taken for, and what of their alignment to look at."""
        return [*self.job.plan_warnings, *self._white_warnings, *self._alignment_warnings]

    @property
    def _white_warnings(self) -> list[str]:
        return [f"{self.job.place} {self.job.id}: {self.white.said}"] if self.white.said else []

    @property
    def _alignment_warnings(self) -> list[str]:
        return [
            f"{self.job.place} {self.job.id}: {said}" for said in placement.warnings(self.facts)
        ]
