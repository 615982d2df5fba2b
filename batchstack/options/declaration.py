"""How an option is declared: once, with the field that holds its value.

The command line, the columns of manifests, the key of a record and the tables of the
documentation are made from what stands there.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, TypeVar

from batchstack.errors import OptionError
from batchstack.options.kinds import Kind


def option(
    default: Any,
    kind: Kind,
    *,
    group: str,
    help: str,
    used_by: Collection[str],
    shown: str | None = None,
    column: bool = True,
) -> Any:
    """A field of a class of `Options`.

    Parameters
    ----------
    default : object
        If it is None, None may be given too.
    kind : Kind
        What values it takes.
    group : str
        The heading it stands under in the help of commands.
    help : str
        What it is, without limits and full stop.
    used_by : collection of str
        The parts that it acts on: of methods (`Method.parts`), the format of an output without
        its dot, "alignment" for frames that are aligned, "resized" and "cropped" for
        those that are, "stripped" for metadata of which some is left out, and "named" for names
        by another template than the usual.  Outputs with any
        of these parts are made anew when its value changes.
    shown : str, optional
        The default in words, if it is no value.
    column : bool
        Whether rows of a manifest may have a value of their own.
    """
    about = {"kind": kind, "group": group, "help": help, "shown": shown, "column": column}
    return field(default=default, metadata=about | {"used_by": frozenset(used_by)})


@dataclass(frozen=True)
class Option:
    """What is declared of an option; the attributes are those of `option`, and its name."""

    name: str
    default: Any
    kind: Kind
    group: str
    help: str
    used_by: frozenset[str]
    shown: str | None
    column: bool

    @property
    def label(self) -> str:
        """The name as people write it."""
        return self.name.replace("_", "-")

    def check(self, value: Any) -> None:
        """Refuse a value that can never work.

        Raises
        ------
        OptionError
            "levels is 17; give a whole number from 1 to 16"
        """
        if value is None and self.default is None:
            return
        if not self.kind.accepts(value):
            raise OptionError(f"{self.label} is {_said(value)}; give {self.kind.wanted}")

    def read(self, text: str) -> Any:
        """The value that a text means.

        Raises
        ------
        OptionError
            If it means none, or one that can never work.
        """
        value = self.kind.parse(text)
        self.check(value)
        return value


def _said(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else repr(value)


class Options:
    """Base of frozen dataclasses of options, each declared by `option`, or of groups of them."""

    def __post_init__(self) -> None:
        own = vars(self)
        for name, known in declared(type(self)).items():
            if name in own:
                known.check(own[name])

    def used_by(self, parts: Collection[str]) -> dict[str, Any]:
        """The values of all options that act on any of these parts, as JSON has them."""
        found: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, Options):
                found |= value.used_by(parts)
            elif not declared(type(self))[name].used_by.isdisjoint(parts):
                found[name] = list(value) if isinstance(value, tuple) else value
        return found

    def overlaid(self, values: Mapping[str, Any]) -> Self:
        """These options with other values laid over them, each by its name in whatever group.

        Raises
        ------
        OptionError
            If a value can never work, alone or together with the others.
        TypeError
            If there is no option of a name.
        """
        strange = values.keys() - declared(type(self)).keys()
        if strange:
            raise TypeError(f"no option of {type(self).__name__} is named {min(strange)}")
        changed = {}
        for name, value in vars(self).items():
            if isinstance(value, Options):
                mine = {key: values[key] for key in declared(type(value)) if key in values}
                if mine:
                    changed[name] = value.overlaid(mine)
            elif name in values:
                changed[name] = values[name]
        return replace(self, **changed) if changed else self  # type: ignore[type-var]


_DECLARED: dict[type, Mapping[str, Option]] = {}


def declared(group: type[Options]) -> Mapping[str, Option]:
    """All options of a class by name, in the order of the fields, those of its groups too.

    Raises
    ------
    TypeError
        If a field is not declared, or two options have one name.
    """
    if group not in _DECLARED:
        _DECLARED[group] = _found(group)
    return _DECLARED[group]


def _found(group: type[Options]) -> Mapping[str, Option]:
    found: dict[str, Option] = {}
    for item in fields(group):  # type: ignore[arg-type]
        if isinstance(item.type, type) and issubclass(item.type, Options):
            more = declared(item.type)
        elif item.metadata:
            more = {item.name: Option(item.name, item.default, **item.metadata)}
        else:
            raise TypeError(f"{group.__name__}.{item.name} is not declared by option()")
        if twice := found.keys() & more.keys():
            raise TypeError(f"{group.__name__} has two options {min(twice)}")
        found |= more
    return found


Group = TypeVar("Group", bound=Options)


def documented(group: type[Group]) -> type[Group]:
    """Add the parameters to the text of a dataclass of options, from their declarations."""
    lines = ["", "    Parameters", "    ----------"]
    for item in fields(group):  # type: ignore[arg-type]
        known = declared(group).get(item.name)
        kind = f"{known.kind.wanted}, by default {known.shown or known.default}" if known else ""
        lines.append(f"    {item.name} : {kind or getattr(item.type, '__name__', '')}")
        if known:
            lines.append(f"        {known.help}.")
    group.__doc__ = f"{group.__doc__}" + "\n".join(lines) + "\n    "
    return group
