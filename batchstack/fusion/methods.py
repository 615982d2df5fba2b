"""The methods: one function and one row of `METHODS` each.

A pyramid method is the same on every level but for its `Blend`.
Its function makes the blend of one level; its reach function, beside it, says how many
pixels of that level the blend looks away, which decides the halo of tiles.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from batchstack.errors import OptionError
from batchstack.fusion.activity import four_neighbour, second_difference
from batchstack.fusion.bands import Band, Bands
from batchstack.fusion.blend import Blend, HardBlend, SoftBlend, hard_reach, soft_reach
from batchstack.fusion.consistency import default_median_sizes
from batchstack.fusion.decision import TileDecision, map_level, near_reach
from batchstack.fusion.guided import GuidedBlend, guided_reach
from batchstack.fusion.prior import PriorBlend, drawn_to, prior_reach
from batchstack.fusion.tiles import TilePlan
from batchstack.options import FusionOptions

Image = npt.NDArray[np.float32]

LAPLACIAN_SIGMA = 3.0  # pixels of each level


@dataclass(frozen=True)
class TileSetting:
    """What the blends of one tile may depend on.

    Attributes
    ----------
    options : FusionOptions
        Resolved for the image.
    plan : TilePlan
    decision : TileDecision, optional
        For methods that look up the decision map.
    """

    options: FusionOptions
    plan: TilePlan
    decision: TileDecision | None = None


@dataclass(frozen=True, eq=False)
class Method:
    """One way to fuse a stack.

    Attributes
    ----------
    name, title : str
        Key in `METHODS`, and one line for people.
    output : str, optional
        Name of the fused image's file, without ending.
    uses : tuple of str
        Fields of `FusionOptions` that change the outputs.
    levels : callable
        Options to the pyramid levels it needs.
    reach : callable
        Options and level to the pixels of that level it looks away.
    margin : callable, optional
        Options and level to how many more pixels it looks at round what coarser levels are made of.
    blend : callable, optional
        Setting and level to the blend of that level; None for a method that only writes maps.
    finish : callable, optional
        Options, fused image and what the decision map would compose to the final image.
    algo_version : int
        Raised whenever the outputs of the same input and options change.
    maps : dict of str to str
        Names of the maps it writes, without ending, and their types.
    pyramid : bool
        False for a method that blends the frames themselves.
    swift : bool
        True for a method that has a faster way for pairs, in `pairs`.
    decided : bool
        True for a method that looks up the decision map of the whole image.
    """

    name: str
    title: str
    output: str | None
    uses: tuple[str, ...]
    levels: Callable[[FusionOptions], int]
    reach: Callable[[FusionOptions, int], int]
    blend: Callable[[TileSetting, int], Blend] | None
    margin: Callable[[FusionOptions, int], int] | None = None
    finish: Callable[[FusionOptions, Image, Image], Image] | None = None
    algo_version: int = 1
    maps: dict[str, str] = field(default_factory=dict)
    pyramid: bool = True
    swift: bool = False
    decided: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of all files the method writes, without ending."""
        return (*((self.output,) if self.output else ()), *self.maps)

    def blended_levels(self, options: FusionOptions) -> range:
        """Levels that have a blend, finest first."""
        if self.blend is None:
            return range(0)
        return range(self.levels(options) if self.pyramid else 1)


def by_channel(setting: TileSetting, level: int) -> Blend:
    options = setting.options
    return SoftBlend(_band(options, level), second_difference, options.beta, by_channel=True)


def all_channels(setting: TileSetting, level: int) -> Blend:
    options = setting.options
    return SoftBlend(_band(options, level), second_difference, options.beta)


def soft_blend_reach(options: FusionOptions, level: int) -> int:
    return soft_reach(options.kernel)


def laplacian(setting: TileSetting, level: int) -> Blend:
    options = setting.options
    return SoftBlend(_band(options, level), four_neighbour, options.beta, sigma=LAPLACIAN_SIGMA)


def laplacian_reach(options: FusionOptions, level: int) -> int:
    return soft_reach(options.kernel, LAPLACIAN_SIGMA)


def median_mask(setting: TileSetting, level: int) -> Blend:
    options = setting.options
    return HardBlend(_band(options, level), second_difference, median_sizes(options)[level])


def median_mask_reach(options: FusionOptions, level: int) -> int:
    return hard_reach(options.kernel, median_sizes(options)[level])


def median_sizes(options: FusionOptions) -> tuple[int, ...]:
    """Sides of the median filter in pixels, finest level first."""
    return options.median_sizes or default_median_sizes(options.levels)


def direct(setting: TileSetting, level: int) -> Blend:
    return SoftBlend(_frame, second_difference, setting.options.beta)


def guided(setting: TileSetting, level: int) -> Blend:
    assert setting.decision is not None
    return GuidedBlend(setting.options, setting.decision, setting.plan)


def guided_method_reach(options: FusionOptions, level: int) -> int:
    return guided_reach(options.guide_radius) if level == map_level(options) else 0


def bayesian(setting: TileSetting, level: int) -> Blend:
    assert setting.decision is not None
    levels = bayesian_levels(setting.options)
    return PriorBlend(setting.options, setting.decision, level, levels)


def bayesian_reach(options: FusionOptions, level: int) -> int:
    return prior_reach()


def bayesian_margin(options: FusionOptions, level: int) -> int:
    return near_reach(options) if level == map_level(options) else 0


def bayesian_levels(options: FusionOptions) -> int:
    """One less than the others: the coarsest structure is the map's; more with larger cells."""
    return max(options.levels - 1, 1) + map_level(options)


def draw_to_composite(options: FusionOptions, image: Image, composite: Image) -> Image:
    return drawn_to(image, composite, options.shrink)


def pyramid_levels(options: FusionOptions) -> int:
    return options.levels


def one_level(options: FusionOptions) -> int:
    return 1


def map_levels(options: FusionOptions) -> int:
    """Levels down to that of the decision map."""
    return map_level(options) + 1


def no_reach(options: FusionOptions, level: int) -> int:
    return 0


def _band(options: FusionOptions, level: int) -> Callable[[Bands], Band]:
    return partial(Bands.band, level=level, levels=options.levels)


def _frame(frame: Bands) -> Band:
    return frame.frame


_MAP = ("map_level", "focus_sigma", "evidence", "data_range")

DEPTH_MAPS = {"depth_map": "uint16", "depth_confidence": "uint8"}

_ALL_METHODS = (
    Method(
        "bayesian",
        "pyramid, weights from likelihood and the decision map as prior",
        "focus_stacked_bayesian",
        uses=(*_MAP, "levels", "prior", "prior_radius", "sharpness", "shrink"),
        levels=bayesian_levels,
        reach=bayesian_reach,
        margin=bayesian_margin,
        blend=bayesian,
        finish=draw_to_composite,
        swift=True,
        decided=True,
    ),
    Method(
        "guided",
        "decision map, its seams drawn to edges by a guided filter",
        "focus_stacked_guided",
        uses=(*_MAP, "guide_radius", "guide_epsilon"),
        levels=map_levels,
        reach=guided_method_reach,
        blend=guided,
        pyramid=False,
        swift=True,
        decided=True,
    ),
    Method(
        "all_channels",
        "pyramid, soft weights from all channels together",
        "focus_stacked_all_channels",
        uses=("levels", "beta", "kernel", "data_range"),
        levels=pyramid_levels,
        reach=soft_blend_reach,
        blend=all_channels,
        swift=True,
    ),
    Method(
        "by_channel",
        "pyramid, soft weights for each channel on its own",
        "focus_stacked_by_channel",
        uses=("levels", "beta", "kernel", "data_range"),
        levels=pyramid_levels,
        reach=soft_blend_reach,
        blend=by_channel,
        swift=True,
    ),
    Method(
        "laplacian",
        "pyramid, soft weights from the Laplacian, smoothed",
        "focus_stacked_laplacian",
        uses=("levels", "beta", "kernel", "data_range"),
        levels=pyramid_levels,
        reach=laplacian_reach,
        blend=laplacian,
        swift=True,
    ),
    Method(
        "median_mask",
        "pyramid, hard decisions cleaned by a median; also writes the mask",
        "focus_stacked_new_method",
        uses=("levels", "kernel", "median_sizes", "data_range"),
        levels=pyramid_levels,
        reach=median_mask_reach,
        blend=median_mask,
        swift=True,
        maps={"blending_mask": "uint8"},
    ),
    Method(
        "direct",
        "no pyramid, soft weights at full resolution",
        "focus_stacked_direct",
        uses=("beta", "kernel", "data_range"),
        levels=one_level,
        reach=soft_blend_reach,
        blend=direct,
        swift=True,
        pyramid=False,
    ),
    Method(
        "depth_map",
        "the decision map as depth, back = 0, and how sure it is",
        None,
        uses=_MAP,
        levels=map_levels,
        reach=no_reach,
        blend=None,
        maps=DEPTH_MAPS,
        decided=True,
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
    """For each level, finest first, how far the farthest-looking method looks.

    Parameters
    ----------
    methods : iterable of Method
    options : FusionOptions
        Resolved for the image if any of the methods is `decided`.
    """
    levels = {method: method.levels(options) for method in methods}
    return tuple(
        max(method.reach(options, level) for method, count in levels.items() if level < count)
        for level in range(max(levels.values()))
    )


def level_margins(methods: Iterable[Method], options: FusionOptions) -> tuple[int, ...]:
    """For each level, finest first, the methods' largest margin; options as for `level_reaches`."""
    methods = tuple(methods)
    levels = max(method.levels(options) for method in methods)
    return tuple(
        max((m.margin(options, level) for m in methods if m.margin is not None), default=0)
        for level in range(levels)
    )
