"""Options that several commands share, in the groups their help shows."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click

from batchstack.errors import OptionError
from batchstack.options import (
    ALIGN_MODELS,
    BORDERS,
    DEFAULT_TILE,
    FORMATS,
    AlignOptions,
    FusionOptions,
    OutputOptions,
)

Function = TypeVar("Function", bound=Callable[..., Any])
_DEFAULTS = FusionOptions()


class GroupedOption(click.Option):
    """An option that knows the heading it stands under."""

    def __init__(self, *arguments: Any, group: str = "Other", **settings: Any) -> None:
        self.group = group
        settings.setdefault("show_default", True)
        super().__init__(*arguments, **settings)


class GroupedCommand(click.Command):
    """A command whose help shows its options under headings."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(context):
            record = parameter.get_help_record(context)
            if record is not None and isinstance(parameter, click.Option):
                groups.setdefault(getattr(parameter, "group", "Other"), []).append(record)
        for heading, records in sorted(groups.items(), key=lambda item: item[0] == "Other"):
            with formatter.section(heading):
                formatter.write_dl(records)


class SizeType(click.ParamType[int]):
    """Bytes, written like 4GiB or 800MB."""

    name = "size"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> int:
        from dask.utils import parse_bytes

        try:
            size = int(parse_bytes(value))
        except ValueError:
            size = 0
        if size <= 0:
            self.fail(f"{value!r} is no size; write it like 4GiB", parameter, context)
        return size


class NamesType(click.ParamType[tuple[str, ...]]):
    """Names, separated by commas."""

    name = "names"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(name.strip() for name in value.split(",") if name.strip())


class SizesType(click.ParamType[tuple[int, ...]]):
    """Whole numbers, separated by commas."""

    name = "sizes"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(size) for size in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of whole numbers like 9,5,3", parameter, context)


def option(*names: str, group: str, **settings: Any) -> Callable[[Function], Function]:
    """`click.option` under a heading, its default shown."""
    return click.option(*names, cls=GroupedOption, group=group, **settings)


def bundle(*options: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """Several options as one decorator, in reading order."""

    def decorate(function: Function) -> Function:
        for one in reversed(options):
            function = one(function)
        return function

    return decorate


file_path = click.Path(exists=True, dir_okay=False, path_type=Path)
folder_path = click.Path(file_okay=False, path_type=Path)


def methods_option(default: str) -> Callable[[Function], Function]:
    return option(
        "--methods",
        group="Fusion",
        type=NamesType(),
        default=default,
        help="Methods to compute, comma-separated, or all; see 'batchstack methods'.",
    )


fusion_options = bundle(
    option(
        "--levels",
        group="Fusion",
        type=int,
        default=_DEFAULTS.levels,
        help="Pyramid levels, the residual included.",
    ),
    option(
        "--beta",
        group="Fusion",
        type=float,
        default=_DEFAULTS.beta,
        help="Slope of soft weights, per 8-bit code value of activity.",
    ),
    option(
        "--kernel",
        group="Fusion",
        type=int,
        default=_DEFAULTS.kernel,
        help="Side of the box activity is summed over, in pixels, odd.",
    ),
    option(
        "--median-sizes",
        group="Fusion",
        type=SizesType(),
        default=None,
        show_default="35,19,9,5,3 for five levels",
        help="Sides of the decision map's median, in pixels, odd, finest level first.",
    ),
    option(
        "--data-range",
        group="Fusion",
        type=float,
        default=None,
        show_default="255, 65535 or 1.0 by depth",
        help="Stored value that means white, such as 4095 for 12-bit data.",
    ),
    option(
        "--map-level",
        group="Decision map",
        type=int,
        default=None,
        show_default="as the frames show, 3 at most",
        help="Pyramid level whose pixels are the cells of the decision map.",
    ),
    option(
        "--focus-sigma",
        group="Decision map",
        type=float,
        default=_DEFAULTS.focus_sigma,
        help="Standard deviation of the focus measure's window, in cells.",
    ),
    option(
        "--evidence",
        group="Decision map",
        type=int,
        default=_DEFAULTS.evidence,
        help="Clearly decided cells that a region of the map needs to stay.",
    ),
    option(
        "--guide-radius",
        group="Decision map",
        type=int,
        default=_DEFAULTS.guide_radius,
        help="guided: half the side of the filter's window, in cells; 0 switches it off.",
    ),
    option(
        "--guide-epsilon",
        group="Decision map",
        type=float,
        default=_DEFAULTS.guide_epsilon,
        help="guided: variance, of brightness from 0 to 1, that is taken for an edge.",
    ),
    option(
        "--prior",
        group="Decision map",
        type=float,
        default=_DEFAULTS.prior,
        help="bayesian: log-odds of a frame near where the map has it.",
    ),
    option(
        "--prior-radius",
        group="Decision map",
        type=int,
        default=_DEFAULTS.prior_radius,
        help="bayesian: how far near is, in cells.",
    ),
    option(
        "--sharpness",
        group="Decision map",
        type=float,
        default=_DEFAULTS.sharpness,
        help="bayesian: activity above which a frame may be sharp whatever the map says, "
        "in 8-bit code values.",
    ),
    option(
        "--shrink",
        group="Decision map",
        type=float,
        default=_DEFAULTS.shrink,
        help="bayesian: departures from the map's frame taken for noise, in 8-bit code values.",
    ),
    option(
        "--resize",
        group="Fusion",
        is_flag=True,
        help="Resize frames to the first one's size instead of refusing the stack.",
    ),
    option(
        "--tile",
        group="Fusion",
        type=int,
        default=None,
        show_default=f"{DEFAULT_TILE}, and stripes up to four times as wide if all fits",
        help="Side of the tiles images are fused in, in pixels; "
        "changes memory and speed, never the result.",
    ),
)

align_options = bundle(
    option(
        "--align",
        group="Alignment",
        type=click.Choice(ALIGN_MODELS),
        default=AlignOptions().align,
        help="How frames may move onto the first one; auto leaves registered frames untouched.",
    ),
    option(
        "--border",
        group="Alignment",
        type=click.Choice(BORDERS),
        default=AlignOptions().border,
        help="Where an aligned frame ends inside the image: crop to the area all frames cover, "
        "or keep the size and repeat the frame's edge.",
    ),
    option(
        "--match-exposure",
        group="Alignment",
        is_flag=True,
        help="Bring frames to the brightness and white balance of the first; "
        "without effect if --align is off.",
    ),
)

output_options = bundle(
    option(
        "--format",
        group="Output",
        type=click.Choice(FORMATS),
        default="auto",
        help="File format of the outputs; auto follows the stack's first frame.",
    ),
    option(
        "--quality",
        group="Output",
        type=int,
        default=OutputOptions().quality,
        help="JPEG quality, 1 to 100.",
    ),
)

scratch_option = option(
    "--scratch",
    group="Output",
    type=folder_path,
    default=None,
    show_default="inside the output directory",
    help="Folder for the tiles of images too large for one worker; all workers must see it.",
)

worker_options = bundle(
    option(
        "--workers",
        group="Cluster",
        type=click.IntRange(0),
        default=None,
        show_default="one per core",
        help="Worker processes of the embedded cluster; 0 works in this process.",
    ),
    option(
        "--memory-limit",
        group="Cluster",
        type=SizeType(),
        default=None,
        show_default="an equal share of 85 % of the memory",
        help="Memory per worker, in bytes or like 4GiB.",
    ),
)

wait_option = option(
    "--wait-workers",
    group="Cluster",
    type=click.FloatRange(0),
    default=None,
    metavar="SECONDS",
    show_default="300 on a scheduler, 60 on the embedded cluster",
    help="How long to wait while no worker can be used.",
)

scheduler_options = bundle(
    option(
        "--scheduler",
        group="Cluster",
        default=None,
        metavar="ADDRESS",
        help="Run on the Dask scheduler at this address, such as tcp://10.0.0.5:8786.",
    ),
    option(
        "--scheduler-file",
        group="Cluster",
        type=file_path,
        default=None,
        help="Run on the Dask scheduler that wrote this file.",
    ),
    option("--tls-ca-file", group="Cluster", type=file_path, help="CA certificate, PEM."),
    option("--tls-cert", group="Cluster", type=file_path, help="Own certificate, PEM."),
    option("--tls-key", group="Cluster", type=file_path, help="Own private key, PEM."),
)


def take_fusion_options(settings: dict[str, Any]) -> FusionOptions:
    """Remove the fusion parameters from a command's settings and validate them.

    Raises
    ------
    OptionError
        If one has a value that can never work.
    """
    return FusionOptions(**{item.name: settings.pop(item.name) for item in fields(FusionOptions)})


def take_align_options(settings: dict[str, Any]) -> AlignOptions:
    """Remove the alignment parameters from a command's settings and validate them."""
    return AlignOptions(
        **{name: settings.pop(name) for name in ("align", "border", "match_exposure")}
    )


def take_output_options(settings: dict[str, Any]) -> OutputOptions:
    """Remove the output parameters from a command's settings and validate them.

    Raises
    ------
    OptionError
        If one has a value that can never work.
    """
    return OutputOptions(**{name: settings.pop(name) for name in ("format", "quality")})


def take_run_options(settings: dict[str, Any]) -> Any:
    """Remove what decides the outputs from a command's settings and validate it.

    Raises
    ------
    OptionError
        If an option has a value that can never work, or a method is unknown.
    """
    from batchstack.batch.plan import RunOptions
    from batchstack.fusion.methods import select_methods

    select_methods(settings["methods"])
    if settings["tile"] is not None and settings["tile"] < 1:
        raise OptionError(f"tile is {settings['tile']}; give a number of pixels from 1 up")
    fusion, output = take_fusion_options(settings), take_output_options(settings)
    alignment = take_align_options(settings)
    names = ("methods", "resize", "tile", "score", "rerun")
    own = {name: settings.pop(name) for name in names if name in settings}
    if settings.get("scratch"):
        settings["scratch"] = settings["scratch"].absolute()
    return RunOptions(fusion=fusion, alignment=alignment, output=output, **own)


def take_cluster_options(settings: dict[str, Any]) -> Any:
    """Remove the cluster's options from a command's settings and check how they fit.

    Raises
    ------
    OptionError
        If they contradict each other.
    """
    from batchstack.batch.machine import ClusterOptions

    names = ("workers", "memory_limit", "wait_workers", "scheduler", "scheduler_file", "dashboard")
    tls = ("tls_ca_file", "tls_cert", "tls_key")
    values = {name: settings.pop(name) for name in (*names, *tls) if name in settings}
    if values.get("scheduler") and values.get("scheduler_file"):
        raise OptionError("give --scheduler or --scheduler-file, not both")
    options = ClusterOptions(**values)
    if options.external and options.workers is not None:
        raise OptionError("--workers is for the embedded cluster; leave it out with a scheduler")
    given = [name for name in tls if values.get(name)]
    if given and len(given) < len(tls):
        raise OptionError("give --tls-ca-file, --tls-cert and --tls-key together")
    return options
