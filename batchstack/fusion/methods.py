"""The methods: one function and one row of `METHODS` each.

A method is the same on every level of the pyramid but for its `Blend`.
Its function makes the blend of one level; its reach function, beside it, says how many
pixels of that level the blend looks away, which decides the halo of tiles.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from batchstack.errors import OptionError
from batchstack.fusion.activity import four_neighbour, second_difference
from batchstack.fusion.blend import Blend, HardBlend, SoftBlend, hard_reach, soft_reach
from batchstack.fusion.consistency import default_median_sizes
from batchstack.options import FusionOptions

LAPLACIAN_SIGMA = 3.0  # pixels of each level


@dataclass(frozen=True)
class Method:
    """One way to fuse a stack.

    Attributes
    ----------
    name, title : str
        Key in `METHODS`, and one line for people.
    output : str
        Name of the fused image's file, without ending.
    blend : callable
        Options and level to the blend of that level.
    reach : callable
        Options and level to the pixels of that level its blend looks away.
    uses : tuple of str
        Fields of `FusionOptions` that change the outputs.
    algo_version : int
        Raised whenever the outputs of the same input and options change.
    mask : str, optional
        Name of the decision map's file, without ending.
    pyramid : bool
        False for a method that blends the frames themselves.
    """

    name: str
    title: str
    output: str
    blend: Callable[[FusionOptions, int], Blend]
    reach: Callable[[FusionOptions, int], int]
    uses: tuple[str, ...]
    algo_version: int = 1
    mask: str | None = None
    pyramid: bool = True

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of all files the method writes, without ending."""
        return (self.output,) if self.mask is None else (self.output, self.mask)


def by_channel(options: FusionOptions, level: int) -> Blend:
    return SoftBlend(second_difference, options.beta, by_channel=True)


def all_channels(options: FusionOptions, level: int) -> Blend:
    return SoftBlend(second_difference, options.beta)


def soft_blend_reach(options: FusionOptions, level: int) -> int:
    return soft_reach(options.kernel)


def laplacian(options: FusionOptions, level: int) -> Blend:
    return SoftBlend(four_neighbour, options.beta, sigma=LAPLACIAN_SIGMA)


def laplacian_reach(options: FusionOptions, level: int) -> int:
    return soft_reach(options.kernel, LAPLACIAN_SIGMA)


def median_mask(options: FusionOptions, level: int) -> Blend:
    return HardBlend(second_difference, median_sizes(options)[level])


def median_mask_reach(options: FusionOptions, level: int) -> int:
    return hard_reach(options.kernel, median_sizes(options)[level])


def median_sizes(options: FusionOptions) -> tuple[int, ...]:
    """Sides of the median filter in pixels, finest level first."""
    return options.median_sizes or default_median_sizes(options.levels)


def direct(options: FusionOptions, level: int) -> Blend:
    return SoftBlend(second_difference, options.beta)


_ALL_METHODS = (
    Method(
        "all_channels",
        "pyramid, soft weights from all channels together",
        "focus_stacked_all_channels",
        all_channels,
        soft_blend_reach,
        uses=("levels", "beta", "kernel", "data_range"),
    ),
    Method(
        "by_channel",
        "pyramid, soft weights for each channel on its own",
        "focus_stacked_by_channel",
        by_channel,
        soft_blend_reach,
        uses=("levels", "beta", "kernel", "data_range"),
    ),
    Method(
        "laplacian",
        "pyramid, soft weights from the Laplacian, smoothed",
        "focus_stacked_laplacian",
        laplacian,
        laplacian_reach,
        uses=("levels", "beta", "kernel", "data_range"),
    ),
    Method(
        "median_mask",
        "pyramid, hard decisions cleaned by a median; also writes the mask",
        "focus_stacked_new_method",
        median_mask,
        median_mask_reach,
        uses=("levels", "kernel", "median_sizes", "data_range"),
        mask="blending_mask",
    ),
    Method(
        "direct",
        "no pyramid, soft weights at full resolution",
        "focus_stacked_direct",
        direct,
        soft_blend_reach,
        uses=("beta", "kernel", "data_range"),
        pyramid=False,
    ),
)

METHODS: dict[str, Method] = {method.name: method for method in _ALL_METHODS}


def select_methods(names: Iterable[str]) -> tuple[Method, ...]:
    """Methods of the given names, in the order of `METHODS`; "all" means every one.

    Raises
    ------
    OptionError
        For a name that is no method, or no name at all.
    """
    wanted = set(names)
    unknown = sorted(wanted - METHODS.keys() - {"all"})
    if unknown or not wanted:
        what = f"unknown method {unknown[0]!r}" if unknown else "no method given"
        raise OptionError(f"{what}; choose from all, {', '.join(METHODS)}")
    if "all" in wanted:
        return _ALL_METHODS
    return tuple(method for method in _ALL_METHODS if method.name in wanted)


def level_reaches(methods: Iterable[Method], options: FusionOptions) -> tuple[int, ...]:
    """For each level, finest first, how far the farthest-looking method looks."""
    methods = tuple(methods)
    levels = options.levels if any(method.pyramid for method in methods) else 1
    return tuple(
        max(m.reach(options, level) for m in methods if m.pyramid or level == 0)
        for level in range(levels)
    )
