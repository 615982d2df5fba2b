"""The `batchstack` command: its subcommands are imported only when they are used."""

import atexit
import gc
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import make_dataclass
from typing import Any

import click

from batchstack import __version__, files
from batchstack.cli import screen
from batchstack.errors import BatchstackError, ExitCode, OptionError, unknown

COMMANDS = {
    "scan": "Propose which photographs of a folder are stacks.",
    "run": "Fuse every stack of a manifest.",
    "check": "Validate a manifest and show the plan; write nothing.",
    "fuse": "Fuse one stack, without a cluster.",
    "align": "Measure transforms for all stacks of one device.",
    "status": "Show what an output directory holds.",
    "report": "Write pages of what an output directory holds.",
    "verify": "Compare outputs with what was recorded of them.",
    "methods": "List the fusion methods.",
    "doctor": "Check versions, memory, cores and a cluster.",
}

_WRONG_CONFIGURATION = (
    "Dask cannot work with its configuration ({what}); mend or remove what is in {where}, or have "
    "DASK_CONFIG name another folder"
)
_INTERRUPTED = "interrupted; finished work is kept"


class LazyGroup(click.Group):
    """A group whose commands are modules of this package, imported when needed."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"batchstack.cli.{name}").command
        return command

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        is_option = args[0].startswith("-")
        if not (args[0] in COMMANDS or is_option or context.resilient_parsing):
            raise OptionError(unknown("command", args[0], COMMANDS))
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="batchstack")
def cli() -> None:
    """Fuse stacks of photographs focused at different depths, by the thousand.

    \b
    Exit codes: 0 done, 1 some stacks failed, 2 nothing started,
    3 run lost, 130 interrupted.
    """


def main() -> None:
    """Run the command line; the one place where errors become messages and exit codes."""
    # NumPy asks for huge pages, which virtual machines may take long to find; workers
    # inherit the setting.
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
    # Half a million objects of the libraries live until the end: to look through them for
    # garbage while they are loaded, and again at the exit, takes half a second.  Fewer than so
    # many are looked through at once when all is loaded.
    gc.set_threshold(250_000)
    atexit.register(gc.freeze)
    screen.protect()
    signals = _end_in_order()
    code = _exit_code(signals) if _names_are_text() else ExitCode.REFUSED
    _let_go_of_stdout()
    sys.exit(code)


def _end_in_order() -> list[int]:
    """Have whoever asks the process to end be answered as by Ctrl-C, whatever goes on.

    Returns
    -------
    list of int
        The signals that came, as they come.
    """
    came: list[int] = []

    def on_signal(number: int, frame: Any) -> None:
        came.append(number)
        raise KeyboardInterrupt

    defaults = (signal.SIG_DFL, signal.default_int_handler)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in defaults:  # nohup ignores one, which stays so
            signal.signal(number, on_signal)
    return came


def _names_are_text() -> bool:
    """Whether every name of a file can be written as text here; says so if not."""
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":
        screen.tell(f"names of files are taken as {encoding} here; start it with PYTHONUTF8=1 set")
    return encoding == "utf-8"


def _exit_code(signals: Sequence[int]) -> int:
    try:
        cli.main(standalone_mode=False)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BatchstackError as error:
        screen.tell(str(error))
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output went away, which is its right.
        return ExitCode.OK
    except (click.Abort, KeyboardInterrupt):
        screen.tell(_INTERRUPTED)
        # Had it come while a text was executed, as dataclasses do when they are imported, CPython
        # would end the process by SIGINT although it was caught; making another undoes that.
        make_dataclass("Another", [])
        return ExitCode.INTERRUPTED
    except OSError as error:
        screen.tell(str(files.failure(error.filename or "this machine", "failed", error)))
        return ExitCode.FAILED
    except Exception as error:
        if signals:
            # Raised inside a library, such as the compiler, an interrupt may come out as anything.
            screen.tell(_INTERRUPTED)
            return ExitCode.INTERRUPTED
        if _is_of_configuration(error):
            where = os.environ.get("DASK_CONFIG", "~/.config/dask")
            what = f"{type(error).__name__}: {error}"
            screen.tell(_WRONG_CONFIGURATION.format(what=what, where=where))
            if set_here := _variables_of_dask():
                screen.tell(f"or unset what is set of it here: {', '.join(set_here)}")
            return ExitCode.REFUSED
        # A defect of ours: the trace is what a report of it needs.
        screen.tell(f"unexpected error; finished work is recorded\n{traceback.format_exc()}")
        return ExitCode.FAILED
    return ExitCode.OK


def _is_of_configuration(error: Exception) -> bool:
    """Whether Dask raised it over its configuration.

    It reads its files when it is imported, whoever needs it first, and the values of some when
    they are used.
    """
    frames = traceback.walk_tb(error.__traceback__)
    modules = [str(frame.f_globals.get("__name__", "")) for frame, _ in frames]
    if {"dask.config", "distributed.config"} & set(modules):
        return True
    return modules[-1].startswith(("dask.", "distributed.")) and bool(_variables_of_dask())


def _variables_of_dask() -> list[str]:
    """Variables of the environment that configure Dask, but for the one that names its files."""
    return sorted(n for n in os.environ if n.startswith("DASK_") and n != "DASK_CONFIG")


def _let_go_of_stdout() -> None:
    """A reader that went away must not turn into another exit code when Python ends."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        files.let_go(sys.stdout)
