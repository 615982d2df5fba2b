"""The options that decide what is computed and written, as frozen values.

They are leaves: every room may use them, they use nothing but `errors` and `formats`.
An option is one field here, with all there is to say of it; see `declaration`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from batchstack import formats
from batchstack.errors import OptionError
from batchstack.options.declaration import Option, Options, declared, documented, option
from batchstack.options.kinds import (
    Choice,
    FileName,
    Flag,
    FramePlace,
    Names,
    Number,
    Odd,
    OddSizes,
    Switch,
    Template,
    Whole,
)

__all__ = [
    "ALIGN_MODELS",
    "BORDERS",
    "DEFAULT_NAME",
    "DEFAULT_TILE",
    "FORMATS",
    "AlignOptions",
    "FusionOptions",
    "Option",
    "OutputOptions",
    "RunOptions",
    "contradiction",
    "declared",
]

FORMATS = ("auto", *(row.choice for row in formats.FORMATS.values()))
DEFAULT_TILE = 1024  # pixels
DEFAULT_NAME = "{id}/{output}"

AlignModel = Literal["off", "auto", "translation", "similarity", "affine"]
Border = Literal["crop", "fill"]
Matching = Literal["auto", "on", "off"]
ALIGN_MODELS: tuple[AlignModel, ...] = get_args(AlignModel)
BORDERS: tuple[Border, ...] = get_args(Border)


@documented
@dataclass(frozen=True)
class FusionOptions(Options):
    """Parameters of the fusion methods.

    Lengths are pixels of the pyramid level they act on, activities are in units of
    8-bit code values whatever the depth of the frames.
    """

    levels: int = option(
        5,
        Whole(1, 16),
        group="Fusion",
        help="Pyramid levels, the residual included",
        used_by={"pyramid"},
    )
    beta: float = option(
        0.1,
        Number(0, 1e6, above=True),
        group="Fusion",
        help="Slope of soft weights, per 8-bit code value of activity",
        used_by={"soft"},
    )
    kernel: int = option(
        3,
        Odd(),
        group="Fusion",
        help="Side of the box activity is summed over, in pixels",
        used_by={"box"},
    )
    median_sizes: tuple[int, ...] | None = option(
        None,
        OddSizes(),
        group="Fusion",
        help="Sides of the median that cleans hard decisions, in pixels, finest level first",
        shown="35,19,9,5,3 for five levels",
        used_by={"hard"},
    )
    data_range: float | None = option(
        None,
        Number(0, above=True),
        group="Fusion",
        help="Stored value that means white, such as 4095 for 12-bit data; outputs of "
        "whole-number types are clipped to it",
        shown="255, 65535 or 1.0 by depth",
        used_by={"any"},
    )
    map_level: int | None = option(
        None,
        Whole(0, 8),
        group="Decision map",
        help="Pyramid level whose pixels are the cells of the decision map",
        shown="as the frames show, 3 at most",
        used_by={"map"},
    )
    focus_sigma: float = option(
        1.0,
        Number(0, 50),
        group="Decision map",
        help="Standard deviation of the focus measure's window, in cells",
        used_by={"map"},
    )
    evidence: int = option(
        20,
        Whole(0),
        group="Decision map",
        help="Clearly decided cells that a region of the map needs to stay",
        used_by={"map"},
    )
    guide_radius: int = option(
        1,
        Whole(0, 100),
        group="Decision map",
        help="Half the side of the guided filter's window, in cells; 0 switches it off",
        used_by={"edges"},
    )
    guide_epsilon: float = option(
        1e-2,
        Number(0, above=True),
        group="Decision map",
        help="Variance, of brightness from 0 to 1, that the guided filter takes for an edge",
        used_by={"edges"},
    )
    shrink: float | None = option(
        None,
        Number(0, 255),
        group="Decision map",
        help="Departures from the map's frame that are given up for it, in 8-bit code values; "
        "twice as many where it is sure",
        shown="6, fewer in noisy stacks",
        used_by={"drawn"},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if fault := contradiction(vars(self)):
            raise OptionError(fault[1])


def contradiction(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """The option that does not fit the others, and why; those that are not given fit all."""
    sizes, levels = values.get("median_sizes"), values.get("levels")
    if sizes is None or levels is None or len(sizes) == levels:
        return None
    return "median_sizes", (
        f"median-sizes has {len(sizes)} values for {levels} levels; "
        "give one odd size per level, finest first"
    )


@documented
@dataclass(frozen=True)
class AlignOptions(Options):
    """How frames are brought onto one of them before they are fused."""

    align: AlignModel = option(
        "auto",
        Choice(ALIGN_MODELS),
        group="Alignment",
        help="How frames may move onto the reference; auto finds out and leaves registered frames "
        "untouched, off does not look",
        used_by={"any"},
    )
    border: Border = option(
        "crop",
        Choice(BORDERS),
        group="Alignment",
        help="Where an aligned frame ends inside the image: crop to the area all frames cover, "
        "or fill: keep the size and repeat the frame's edge",
        used_by={"alignment"},
    )
    match_exposure: Matching = option(
        "auto",
        Switch(),
        group="Alignment",
        help="Bring frames to the brightness and white balance of the stack's median: auto if "
        "their light differs by more than 1 %, on always, off never; auto does not look at frames "
        "that are not aligned",
        used_by={"alignment"},
    )
    reference: str = option(
        "first",
        FramePlace(),
        group="Alignment",
        help="The frame that stays where it is, whose geometry and metadata the outputs have; "
        "auto takes the one with the narrowest field, which the others cover, or the middle one "
        "if fields differ little",
        used_by={"alignment"},
    )
    transforms: str | None = option(
        None,
        FileName(),
        group="Alignment",
        help="Take the transforms of this file, which 'batchstack align' has written, instead of "
        "measuring each stack: one crop and one scale for all",
        shown="measured",
        used_by=(),  # what the file says is in every key
        column=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.transforms and self.align == "off":
            raise OptionError("transforms are given, but align is 'off'; give the one or the other")
        if self.transforms and self.reference != "first":
            raise OptionError(
                "transforms are given, which lead to the first frame, but reference is "
                f"{self.reference}; give the one or the other"
            )

    def reference_among(self, count: int) -> int | None:
        """Index of the reference among so many frames; None if that is to be found out.

        Raises
        ------
        OptionError
            If there are not as many frames.
        """
        named = {"first": 0, "middle": (count - 1) // 2, "last": count - 1, "auto": None}
        if self.reference in named:
            return named[self.reference]
        if int(self.reference) > count:
            raise OptionError(
                f"reference is {self.reference}, but the stack has {count} frames; "
                f"give a number from 1 to {count}, first, middle, last or auto"
            )
        return int(self.reference) - 1

    @property
    def is_off(self) -> bool:
        """Whether frames are taken as they are; then the other options mean nothing."""
        return self.align == "off" and self.match_exposure != "on"


@documented
@dataclass(frozen=True)
class OutputOptions(Options):
    """How outputs are written."""

    format: str = option(
        "auto",
        Choice(FORMATS),
        group="Output",
        help="File format of the outputs; auto follows the stack's first frame",
        used_by=(),  # the format that it comes to is in every key
    )
    quality: int = option(
        95,
        Whole(1, 100),
        group="Output",
        help=f"{formats.either(row.label for row in formats.lossy())} quality",
        used_by={"lossy"},
    )
    strip_gps: bool = option(
        False,
        Flag(),
        group="Output",
        help="Leave out of the outputs where on the earth their frames were taken",
        used_by={"stripped"},
    )
    name: str = option(
        DEFAULT_NAME,
        Template((("id", "name"), ("output",))),
        group="Output",
        help="What outputs are called below the output directory, without ending, the same in all "
        "runs of one: '{name}_{output}' puts all into one folder, {name} being the last part of "
        "the id, and '{output}/{id}' has a folder for each output",
        used_by={"named"},
        column=False,
    )


@documented
@dataclass(frozen=True)
class RunOptions(Options):
    """What a run asks for."""

    methods: tuple[str, ...] = option(
        ("all",),
        Names(),
        group="Fusion",
        help="Methods to compute, comma-separated, or all; see 'batchstack methods'",
        used_by=(),  # each has records of its own
        column=False,  # rows name theirs apart from their options
    )
    fusion: FusionOptions = field(default_factory=FusionOptions)
    alignment: AlignOptions = field(default_factory=AlignOptions)
    output: OutputOptions = field(default_factory=OutputOptions)
    resize: bool = option(
        False,
        Flag(),
        group="Fusion",
        help="Resize frames to the first one's size instead of refusing the stack",
        used_by={"resized"},
    )
    crop_to_common: bool = option(
        False,
        Flag(),
        group="Fusion",
        help="Crop frames whose sides differ by less than 1 % to the size they have in common, "
        "about the centre, instead of refusing the stack",
        used_by={"cropped"},
    )
    tile: int | None = option(
        None,
        Whole(1),
        group="Fusion",
        help="Side of the tiles images are fused in, in pixels; changes memory and speed, never "
        "the result",
        shown=f"{DEFAULT_TILE}, or smaller if memory is short; stripes up to 4096 wide if all fits",
        used_by=(),
        column=False,
    )
    reverse: bool = option(
        False,
        Flag(),
        group="Fusion",
        help="Take the frames of a stack in the opposite order, for those that are given from "
        "front to back",
        used_by=(),  # the order of the inputs is recorded
    )
    skip_broken: bool = option(
        False,
        Flag(),
        group="Run",
        help="Leave out damaged frames instead of failing the stack, one in five at most of five "
        "or more; which ones is said and recorded",
        used_by=(),  # what is left out is in the key
    )
    score: bool = option(
        False,
        Flag(),
        group="Run",
        help="Measure every fused image against its frames and record it, see docs/quality.md; "
        "fuses again what is done without scores",
        used_by=(),
        column=False,
    )
    rerun: bool = option(
        False,
        Flag(),
        group="Run",
        help="Fuse again what is already done",
        used_by=(),
        column=False,
    )
