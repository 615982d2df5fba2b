"""Options that several commands share, in the groups their help shows."""

from collections.abc import Callable, Collection
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from batchstack.batch.machine import ClusterOptions
from batchstack.cli import config
from batchstack.errors import OptionError
from batchstack.options import Option, RunOptions, declared
from batchstack.options.kinds import Choice, Flag, Switch

Function = TypeVar("Function", bound=Callable[..., Any])
_FEW = 3  # methods that are named in the help of an option
RECOMMENDED = "bayesian"  # the method


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


class ConfiguredCommand(GroupedCommand):
    """A command whose options may be in a file, and which prints them as one."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        for one in (_config_option, _print_option):
            self.params.append(one())

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        # To see the options nothing else need be given.
        needed = [one for one in self.params if one.required and _PRINT in args]
        for one in needed:
            one.required = False
        try:
            return super().parse_args(context, args)
        finally:
            for one in needed:
                one.required = True

    def invoke(self, context: click.Context) -> Any:
        if context.params.pop("print_config"):
            click.echo(config.as_toml(context))
            return None
        return super().invoke(context)


_PRINT = "--print-config"


def _config_option() -> GroupedOption:
    return GroupedOption(
        ["--config"],
        group="Config",
        type=file_path,
        is_eager=True,
        expose_value=False,
        callback=config.load,
        help="TOML file of options by their names, such as levels = 6; what is given here and "
        "what rows of a manifest say goes before.",
    )


def _print_option() -> GroupedOption:
    return GroupedOption(
        [_PRINT],
        group="Config",
        is_flag=True,
        help="Print the options that would be used as such a file, and do nothing.",
    )


class SizeType(click.ParamType[int]):
    """Bytes, written like 4GiB or 800MB."""

    name = "size"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> int:
        from dask.utils import parse_bytes

        try:
            size = int(parse_bytes(value))
        except (ValueError, OverflowError):
            size = 0
        if size <= 0:
            self.fail(f"{value!r} is no size; write it like 4GiB", parameter, context)
        return size


class KindType(click.ParamType[Any]):
    """The values of an option that is declared with its field."""

    def __init__(self, known: Option) -> None:
        self.known = known
        self.name = known.kind.noun

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self.known.kind.parse(value)
        except OptionError as error:
            self.fail(str(error), parameter, context)

    def shell_complete(
        self, context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        if isinstance(self.known.kind, Choice):
            names: Collection[str] = self.known.kind.names
        elif self.known.name == "methods":
            from batchstack.fusion.methods import METHODS

            names = ["all", *METHODS]
        else:
            return []
        before, comma, last = incomplete.rpartition(",")
        return [CompletionItem(before + comma + name) for name in names if name.startswith(last)]


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


present_path = click.Path(exists=True, path_type=Path)
file_path = click.Path(exists=True, dir_okay=False, path_type=Path)
new_file_path = click.Path(dir_okay=False, path_type=Path)
folder_path = click.Path(file_okay=False, path_type=Path)
present_folder_path = click.Path(exists=True, file_okay=False, path_type=Path)


def run_options(
    methods: str | None = "all", *, shown: str | None = None, without: Collection[str] = ()
) -> Callable[[Function], Function]:
    """The options that decide what is computed and written, as they are declared.

    Parameters
    ----------
    methods : str, optional
        The default of `--methods`; None if the command decides, and is given None.
    shown : str, optional
        That default in words, if it is none.
    without : collection of str
        Options that a command has no use for.
    """
    chosen = [known for name, known in declared(RunOptions).items() if name not in without]
    defaults = {one.name: (one.default, one.shown) for one in chosen}
    defaults["methods"] = (methods, shown)
    return bundle(*(_declared_option(one, *defaults[one.name]) for one in chosen))


def run_option(name: str, *, group: str) -> Callable[[Function], Function]:
    """One of those options, for a command that has use for few, under a heading of its own."""
    known = replace(declared(RunOptions)[name], group=group)
    return _declared_option(known, known.default, known.shown)


def _declared_option(
    known: Option, default: Any, shown: str | None
) -> Callable[[Function], Function]:
    settings: dict[str, Any] = {"type": KindType(known)}
    if isinstance(known.kind, Flag):
        settings = {"is_flag": True}
    elif isinstance(known.kind, Switch):
        # As a flag it is "on"; written out its values are those of manifests too.
        settings |= {
            "is_flag": False,
            "flag_value": "on",
            "metavar": f"[{'|'.join(known.kind.names)}]",
        }
    elif isinstance(known.kind, Choice):
        settings = {"type": click.Choice(known.kind.names)}
    return option(
        f"--{known.label}",
        group=known.group,
        default=default,
        show_default=shown or True,
        help=f"{describe(known)}.",
        **settings,
    )


def is_default(name: str) -> bool:
    """Whether nobody gave the option of this name to the command that runs."""
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.DEFAULT


def describe(known: Option) -> str:
    """What an option is, its limits, and the methods that use it if they are few."""
    from batchstack.fusion.methods import METHODS

    parts = [known.help, known.kind.limits]
    users = [method.name for method in METHODS.values() if known.name in method.uses]
    if 0 < len(users) <= _FEW:
        parts.append(f"for {', '.join(users)}")
    return "; ".join(filter(None, parts))


as_taken_option = option(
    "--as-taken",
    group="Input",
    is_flag=True,
    help="Leave photographs of a folder in the order in which they were taken where no tag tells, "
    "and do not look how scale changes; --reverse takes them from front to back instead.",
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


def take_run_options(settings: dict[str, Any]) -> RunOptions:
    """Remove what decides the outputs from a command's settings and validate it.

    Raises
    ------
    OptionError
        If an option has a value that can never work, or a method is unknown.
    """
    from batchstack.fusion.methods import select_methods

    names = declared(RunOptions).keys() & settings.keys()
    options = RunOptions().overlaid({name: settings.pop(name) for name in names})
    select_methods(options.methods)
    return options


def take_cluster_options(settings: dict[str, Any]) -> ClusterOptions:
    """Remove the cluster's options from a command's settings and check how they fit.

    Raises
    ------
    OptionError
        If they contradict each other.
    """
    names = {item.name for item in fields(ClusterOptions)} & settings.keys()
    return ClusterOptions(**{name: settings.pop(name) for name in names})
