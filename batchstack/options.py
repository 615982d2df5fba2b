"""The options that decide what is computed and written, as frozen values.

They are leaves: every room may use them, they use nothing but `errors`.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from batchstack.errors import OptionError

FORMATS = ("auto", "jpg", "png", "tif")
DEFAULT_TILE = 1024  # pixels

AlignModel = Literal["off", "auto", "translation", "similarity", "affine"]
Border = Literal["crop", "fill"]
ALIGN_MODELS: tuple[AlignModel, ...] = get_args(AlignModel)
BORDERS: tuple[Border, ...] = get_args(Border)


@dataclass(frozen=True)
class FusionOptions:
    """Parameters of the fusion methods.

    Lengths are pixels of the pyramid level they act on, activities are in units of
    8-bit code values whatever the depth of the frames.

    Parameters
    ----------
    levels : int
        Pyramid levels, the residual included (1 or more).
    beta : float
        Slope of the soft weights, per 8-bit code value of activity.
    kernel : int
        Side of the box that sums activity, in pixels (odd).
    median_sizes : tuple of int, optional
        Sides of the median filter of the decision map from the finest level to the
        coarsest, in pixels (odd); by default derived from `levels`.
    data_range : float, optional
        The stored value that means 1.0; by default 255, 65535 or 1.0 by data type.
        Outputs of whole-number types are clipped to it.
    map_level : int, optional
        Pyramid level whose pixels are the cells of the decision map; by default found out
        from the frames, and 3 at most.
    focus_sigma : float
        Standard deviation of the window of the focus measure, in cells.
    evidence : int
        Clearly decided cells that a region of the decision map needs to stay.
    guide_radius : int
        Half the side of the guided filter's window, in cells; 0 switches it off.
    guide_epsilon : float
        Variance, of brightness from 0 to 1, that the guided filter takes for an edge.
    prior : float
        Log-odds of a frame near where the decision map has it, against all others.
    prior_radius : int
        How far near is, in cells.
    sharpness : float
        Activity above which a frame may be sharp in itself, whatever the decision map says,
        in 8-bit code values.
    shrink : float
        Departures from the decision map's frame that are taken for noise, in 8-bit code values.
    """

    levels: int = 5
    beta: float = 0.1
    kernel: int = 3
    median_sizes: tuple[int, ...] | None = None
    data_range: float | None = None
    map_level: int | None = None
    focus_sigma: float = 2.5
    evidence: int = 20
    guide_radius: int = 2
    guide_epsilon: float = 1e-3
    prior: float = 8.0
    prior_radius: int = 6
    sharpness: float = 20.0
    shrink: float = 3.0

    def __post_init__(self) -> None:
        if not 1 <= self.levels <= 16:
            raise OptionError(f"levels is {self.levels}; give a whole number from 1 to 16")
        if not (self.beta > 0 and self.beta < 1e6):
            raise OptionError(f"beta is {self.beta}; give a number above 0")
        if self.kernel < 1 or self.kernel % 2 == 0 or self.kernel > 255:
            raise OptionError(
                f"kernel is {self.kernel}; give an odd number of pixels from 1 to 255"
            )
        if self.median_sizes is not None:
            if len(self.median_sizes) != self.levels:
                raise OptionError(
                    f"median-sizes has {len(self.median_sizes)} values for {self.levels} levels; "
                    "give one odd size per level, finest first"
                )
            if any(size < 1 or size % 2 == 0 or size > 255 for size in self.median_sizes):
                raise OptionError("median-sizes must be odd numbers of pixels from 1 to 255")
        if self.data_range is not None and not 0 < self.data_range < float("inf"):
            raise OptionError(f"data-range is {self.data_range}; give a number above 0")
        if self.map_level is not None and not 0 <= self.map_level <= 8:
            raise OptionError(f"map-level is {self.map_level}; give a whole number from 0 to 8")
        if not 0 <= self.focus_sigma <= 50:
            raise OptionError(f"focus-sigma is {self.focus_sigma}; give a number from 0 to 50")
        if self.evidence < 0:
            raise OptionError(f"evidence is {self.evidence}; give a whole number from 0 up")
        if not 0 <= self.guide_radius <= 100:
            raise OptionError(f"guide-radius is {self.guide_radius}; give a number from 0 to 100")
        if not 0 < self.guide_epsilon < float("inf"):
            raise OptionError(f"guide-epsilon is {self.guide_epsilon}; give a number above 0")
        if not 0 <= self.prior <= 20:
            raise OptionError(f"prior is {self.prior}; give a number from 0 to 20")
        if not 0 <= self.prior_radius <= 100:
            raise OptionError(f"prior-radius is {self.prior_radius}; give a number from 0 to 100")
        if self.sharpness < 0:
            raise OptionError(f"sharpness is {self.sharpness}; give a number from 0 up")
        if not 0 <= self.shrink <= 255:
            raise OptionError(f"shrink is {self.shrink}; give a number from 0 to 255")


@dataclass(frozen=True)
class AlignOptions:
    """How frames are brought onto the first one before they are fused.

    Parameters
    ----------
    align : str
        One of `ALIGN_MODELS`: how frames may move; "auto" finds out and leaves registered
        frames untouched, "off" does not look.
    border : str
        One of `BORDERS`: outputs show the area that all aligned frames cover, or keep the
        size of the frames, whose edges then repeat where they end.
    match_exposure : bool
        Bring the frames to the brightness of the first.
    """

    align: AlignModel = "auto"
    border: Border = "crop"
    match_exposure: bool = False

    def __post_init__(self) -> None:
        if self.align not in ALIGN_MODELS:
            raise OptionError(f"align is {self.align!r}; give one of {', '.join(ALIGN_MODELS)}")
        if self.border not in BORDERS:
            raise OptionError(f"border is {self.border!r}; give one of {', '.join(BORDERS)}")

    @property
    def is_off(self) -> bool:
        """Whether frames are taken as they are; then the other options mean nothing."""
        return self.align == "off"


@dataclass(frozen=True)
class OutputOptions:
    """How outputs are written.

    Parameters
    ----------
    format : str
        One of `FORMATS`; "auto" follows the family of the stack's first frame.
    quality : int
        JPEG quality, 1 to 100.
    """

    format: str = "auto"
    quality: int = 95

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise OptionError(f"format is {self.format!r}; give one of {', '.join(FORMATS)}")
        if not 1 <= self.quality <= 100:
            raise OptionError(f"quality is {self.quality}; give a whole number from 1 to 100")
