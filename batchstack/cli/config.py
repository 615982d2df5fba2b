"""Options from a file: `--config batchstack.toml`, and `--print-config`.

A file has the options' names with their values, for all commands that take them; a table named
like a command is for that one alone, and goes before what stands outside of it.
"""

import importlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from batchstack import files
from batchstack.errors import OptionError, unknown
from batchstack.options.kinds import FileName

# The commands that take a file of options.
CONFIGURED = ("run", "check", "fuse", "scan")
_OWN = ("config", "print-config", "help")


def load(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    """Have the options of a file be the defaults of the command that runs.

    Raises
    ------
    OptionError
        If the file cannot be read, or has what is no option or no value of one; names both.
    """
    if path is not None:
        context.default_map = dict(_values(context, path, _content(path)))


def _content(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(files.read_bytes(path).decode())
    except OSError as error:
        raise files.failure(path, "cannot be read", error) from error
    except UnicodeDecodeError:
        raise OptionError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise OptionError(f"{path}: is not TOML: {error}") from None


def _values(
    context: click.Context, path: Path, content: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    """The command's options that a file has, by the names of their parameters."""
    shared = {key: value for key, value in content.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    for name in tables.keys() - set(CONFIGURED):
        raise OptionError(f"{path}: {unknown('table', name, CONFIGURED)}")
    own = tables.get(context.info_name or "", {})
    known = options(context.command)
    for key, value in (shared | own).items():
        option = known.get(key.replace("_", "-"))
        if option is None:
            _refuse_strange(path, key)
        elif key in own or _means_the_same(option):
            assert option.name is not None
            yield option.name, _value(context, option, path, key, value)


def _means_the_same(option: click.Option) -> bool:
    """Whether an option takes the same in all commands: not what `scan` calls output."""
    return option.name == label(option).replace("-", "_")


def _refuse_strange(path: Path, key: str) -> None:
    """Refuse a name that is no option of any command."""
    labels: dict[str, None] = {}
    for name in CONFIGURED:
        command = importlib.import_module(f"batchstack.cli.{name}").command
        labels |= dict.fromkeys(options(command))
    if key.replace("_", "-") not in labels:
        raise OptionError(f"{path}: {unknown('option', key, labels)}")


def _value(context: click.Context, option: click.Option, path: Path, key: str, value: Any) -> Any:
    """The value of an option, checked."""
    try:
        if option.is_flag:
            if not isinstance(value, bool):
                raise OptionError("give true or false")
            return value
        kind = getattr(option.type, "known", None)
        text = _text(value)
        if isinstance(option.type, click.Path) or (kind and isinstance(kind.kind, FileName)):
            is_dash = text == "-" and getattr(option.type, "allow_dash", False)
            text = text if is_dash else str(path.absolute().parent / Path(text).expanduser())
        found = option.type_cast_value(context, text)
        if kind:
            kind.check(found)
    except (OptionError, click.BadParameter) as error:
        said = error.message if isinstance(error, click.BadParameter) else str(error)
        raise OptionError(f"{path}: {key}: {said}") from None
    return found


def _text(value: Any) -> str:
    """A value as it would stand on the command line."""
    if isinstance(value, list):
        return ",".join(map(_text, value))
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise OptionError("give a text, a number, true or false, or a list of them")
    return str(value)


def options(command: click.Command) -> dict[str, click.Option]:
    """The options of a command that a file may have, by their names."""
    found = [one for one in command.params if isinstance(one, click.Option)]
    return {label(one): one for one in found if label(one) not in _OWN}


def label(option: click.Option) -> str:
    """The long name of an option without its dashes."""
    return max(option.opts, key=len).removeprefix("--")


def as_toml(context: click.Context) -> str:
    """The options of a command that is about to run, as a file that says the same.

    Lines of options that nobody has given begin with #.
    """
    lines = [f"# batchstack {context.info_name}; what begins with # is the default", ""]
    lines.append(f"[{context.info_name}]")
    for name, option in options(context.command).items():
        value = context.params.get(option.name or "")
        source = context.get_parameter_source(option.name or "")
        if value is None:
            shown = option.show_default if isinstance(option.show_default, str) else "not given"
            lines.append(f"# {name}: {shown}")
        else:
            start = "# " if source is click.core.ParameterSource.DEFAULT else ""
            lines.append(f"{start}{name} = {_toml(value)}")
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, Path):
        value = "-" if value == Path("-") else str(value.absolute())
    # Texts, numbers and truth are written alike, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
