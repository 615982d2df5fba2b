"""The options that decide what is computed and written, as frozen values.

They are leaves: every room may use them, they use nothing but `errors`.
"""

from dataclasses import dataclass

from batchstack.errors import OptionError

FORMATS = ("auto", "jpg", "png", "tif")
DEFAULT_TILE = 1024  # pixels


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
    """

    levels: int = 5
    beta: float = 0.1
    kernel: int = 3
    median_sizes: tuple[int, ...] | None = None
    data_range: float | None = None

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
