"""The methods: one row of `METHODS` each, made of the rules in `rules`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from batchstack.errors import OptionError, unknown
from batchstack.fusion.rules import (
    ACTIVITY_REACH,
    SHARED_REACH,
    Formula,
    Measure,
    Weights,
    compared_level,
    default_median_sizes,
    gaussian_reach,
    map_level,
    median_reach,
)
from batchstack.options import FusionOptions, declared


@dataclass(frozen=True, eq=False)
class Method:
    """One way to fuse a stack.

    Attributes
    ----------
    name, title : str
        Key in `METHODS`, and one line for people.
    output : str, optional
        Name of the fused image's file, without ending.
    levels : callable
        Options to the pyramid levels it needs.
    weights : Weights, optional
        The rule by which frames are weighed; None for a method that only writes maps.
    measure : Measure, optional
        What the rule compares frames by; None if it follows the decision map alone.
    by_channel : bool
        Weigh each channel on its own instead of all together.
    sigma : float
        Smooth the weights by a Gaussian of this standard deviation, in pixels of each level.
    pyramid : bool
        False for a method that blends the frames themselves.
    based : bool
        Whether the frames' bases, which is what is left of them on the last level, are blended
        apart from their details, by the evidence around; no pixel leaves the frames' range then.
    drawn : bool
        Whether pixels are drawn, wholly from within `shrink`, to what the weights of the finest
        level or the frame that the decision map names would make of them alone.
    decided : bool
        Whether it looks up the decision map of the whole image.
    algo_version : int
        Raised whenever the outputs of the same input and options change.
    maps : dict of str to str
        Names of the maps it writes, without ending, and their types.
    """

    name: str
    title: str
    output: str | None
    levels: Callable[[FusionOptions], int]
    weights: Weights | None = None
    measure: Measure | None = None
    by_channel: bool = False
    sigma: float = 0.0
    pyramid: bool = True
    based: bool = False
    drawn: bool = False
    decided: bool = False
    algo_version: int = 2
    maps: dict[str, str] = field(default_factory=dict)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of all files the method writes, without ending."""
        return (*((self.output,) if self.output else ()), *self.maps)

    @property
    def parts(self) -> frozenset[str]:
        """What it is made of, as options name what they act on."""
        has = {
            "any": True,
            "pyramid": self.pyramid and self.weights is not None,
            "box": self.measure is not None and self.measure.sigma is None,
            "map": self.decided,
            "drawn": self.drawn,
        }
        rule = {self.weights.name.lower()} if self.weights is not None else set()
        return frozenset({part for part, there in has.items() if there} | rule)

    @property
    def uses(self) -> tuple[str, ...]:
        """Names of the `FusionOptions` that change the outputs."""
        known = declared(FusionOptions).values()
        return tuple(option.name for option in known if option.used_by & self.parts)

    @property
    def writes_depth(self) -> bool:
        """Whether it writes how deep things lie."""
        return not DEPTH_MAPS.keys().isdisjoint(self.maps)

    @property
    def smoothes(self) -> bool:
        """Whether weights depend on the weights around them."""
        return self.weights == Weights.HARD or self.sigma > 0

    def rule(self, options: FusionOptions, level: int) -> Weights | None:
        """The rule by which a level is weighed.

        On the coarsest level of a method with bases that is what the decision map says around, as
        for the bases: what it shows is too wide to say more.
        """
        levels = self.blended_levels(options)
        if self.based and level and level == levels[-1]:
            return Weights.SHARED
        if self.weights == Weights.LIKELIHOOD and level > map_level(options):
            return Weights.POSTERIOR
        if self.weights == Weights.EDGES and level:
            return Weights.STRONGER
        if self.weights == Weights.EDGES and not options.guide_radius:
            return Weights.NAMED
        return self.weights

    def measured(self, options: FusionOptions, level: int) -> Measure | None:
        """What frames are compared by on a level; None if its rule needs nothing."""
        unmeasured = (Weights.EDGES, Weights.NAMED, Weights.SHARED)
        return None if self.rule(options, level) in unmeasured else self.measure

    def blended_levels(self, options: FusionOptions) -> range:
        """Levels that are blended, finest first."""
        if self.weights is None:
            return range(0)
        return range(self.levels(options) - self.based if self.pyramid else 1)

    def measure_reach(self, options: FusionOptions, level: int) -> int:
        """How many pixels of a level away its measure looks."""
        measure = self.measured(options, level)
        return 0 if measure is None else measure.reach(options.kernel)

    def smoothing_reach(self, options: FusionOptions, level: int) -> int:
        """How many pixels of a level away its weights are smoothed over."""
        if self.weights == Weights.HARD:
            return median_reach(median_sizes(options)[level])
        return -(-gaussian_reach(self.sigma) // 3) * 3

    def reach(self, options: FusionOptions, level: int) -> int:
        """How many pixels of a level away it looks to weigh one coefficient."""
        cells = 0
        if self.based and level == map_level(options):
            boxes = 2 * options.guide_radius if self.weights == Weights.EDGES else 0
            cells = max(boxes, SHARED_REACH)  # two boxes, one after the other
        if level not in self.blended_levels(options):
            return cells
        return max(self.measure_reach(options, level) + self.smoothing_reach(options, level), cells)

    def margin(self, options: FusionOptions, level: int) -> int:
        """How many pixels more it looks at round what coarser levels are made of."""
        if not self.based:
            return 0
        shared = SHARED_REACH if level == map_level(options) else 0
        compared = level == compared_level(self.levels(options) - 1)
        return max(shared, ACTIVITY_REACH if compared else 0)


def median_sizes(options: FusionOptions) -> tuple[int, ...]:
    """Sides of the median filter in pixels, finest level first."""
    return options.median_sizes or default_median_sizes(options.levels)


def pyramid_levels(options: FusionOptions) -> int:
    return options.levels


def based_levels(options: FusionOptions) -> int:
    """Levels down to that of the base: wider than blur, which spans more pixels in larger cells."""
    cells = map_level(options)
    return max(options.levels + 1 + min(cells, 1), cells + 2)


def one_level(options: FusionOptions) -> int:
    return 1


def map_levels(options: FusionOptions) -> int:
    """Levels down to that of the decision map."""
    return map_level(options) + 1


_ACTIVITY = Measure(Formula.MODIFIED_LAPLACIAN, Formula.MODIFIED_LAPLACIAN)
_LAPLACIAN = Measure(Formula.LAPLACIAN, Formula.LAPLACIAN)
_STRENGTH = Measure(Formula.DETAIL, Formula.DETAIL, sigma=1.0)

DEPTH_MAPS = {"depth_map": "uint16", "depth_confidence": "uint8"}

_ALL_METHODS = (
    Method(
        "bayesian",
        "pyramid, the strongest detail, drawn to the decision map where that is sure",
        "focus_stacked_bayesian",
        levels=based_levels,
        weights=Weights.LIKELIHOOD,
        measure=_STRENGTH,
        based=True,
        drawn=True,
        decided=True,
        algo_version=8,
    ),
    Method(
        "guided",
        "decision map, its seams drawn to edges by a guided filter",
        "focus_stacked_guided",
        levels=based_levels,
        weights=Weights.EDGES,
        measure=_STRENGTH,
        based=True,
        drawn=True,
        decided=True,
        algo_version=8,
    ),
    Method(
        "all_channels",
        "pyramid, soft weights from all channels together",
        "focus_stacked_all_channels",
        levels=pyramid_levels,
        weights=Weights.SOFT,
        measure=_ACTIVITY,
    ),
    Method(
        "by_channel",
        "pyramid, soft weights for each channel on its own",
        "focus_stacked_by_channel",
        levels=pyramid_levels,
        weights=Weights.SOFT,
        measure=_ACTIVITY,
        by_channel=True,
    ),
    Method(
        "laplacian",
        "pyramid, soft weights from the Laplacian, smoothed",
        "focus_stacked_laplacian",
        levels=pyramid_levels,
        weights=Weights.SOFT,
        measure=_LAPLACIAN,
        sigma=3.0,
    ),
    Method(
        "median_mask",
        "pyramid, hard decisions cleaned by a median; also writes the mask",
        "focus_stacked_new_method",
        levels=pyramid_levels,
        weights=Weights.HARD,
        measure=_ACTIVITY,
        maps={"blending_mask": "uint8"},
    ),
    Method(
        "direct",
        "no pyramid, soft weights at full resolution",
        "focus_stacked_direct",
        levels=one_level,
        weights=Weights.SOFT,
        measure=_ACTIVITY,
        pyramid=False,
    ),
    Method(
        "depth_map",
        "the decision map as depth, back = 0, and how sure it is",
        None,
        levels=map_levels,
        maps=DEPTH_MAPS,
        decided=True,
        algo_version=5,
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
    known = ["all", *METHODS]
    for name in sorted(wanted.difference(known)):
        raise OptionError(unknown("method", name, known))
    if not wanted:
        raise OptionError(f"no method given; choose from {', '.join(known)}")
    if "all" in wanted:
        return _ALL_METHODS
    return tuple(method for method in _ALL_METHODS if method.name in wanted)


def asks_frames(methods: Iterable[Method], options: FusionOptions) -> bool:
    """Whether frames have to show what the options leave open; see `scale.shown`."""
    methods = tuple(methods)
    decided = options.map_level is None and any(method.decided for method in methods)
    return decided or (options.shrink is None and any(method.drawn for method in methods))


def level_reaches(methods: Iterable[Method], options: FusionOptions) -> tuple[int, ...]:
    """For each level, finest first, how far the farthest-looking method looks.

    Parameters
    ----------
    methods : iterable of Method
    options : FusionOptions
        Resolved for the image if any of the methods is `decided`.
    """
    methods = tuple(methods)
    levels = max(method.levels(options) for method in methods)
    return tuple(max(m.reach(options, level) for m in methods) for level in range(levels))


def level_margins(methods: Iterable[Method], options: FusionOptions) -> tuple[int, ...]:
    """For each level, finest first, the methods' largest margin; options as for `level_reaches`."""
    methods = tuple(methods)
    levels = max(method.levels(options) for method in methods)
    return tuple(max(m.margin(options, level) for m in methods) for level in range(levels))
