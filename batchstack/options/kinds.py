"""The kinds of values that options take: what a text means, and which values are refused."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar

from batchstack.errors import OptionError

_FLAGS = {"true": True, "yes": True, "on": True, "1": True}
_FLAGS |= {"false": False, "no": False, "off": False, "0": False}


class Kind(ABC):
    """One kind of values.

    Attributes
    ----------
    noun : str
        What stands for a value on the command line.
    is_list : bool
        Whether a value has several parts.
    """

    noun: ClassVar[str]
    is_list: ClassVar[bool] = False

    @abstractmethod
    def parse(self, text: str) -> Any:
        """The value that a text means, which may still be one to refuse.

        Raises
        ------
        OptionError
            If it means none; says what is wrong with the text, but not of which option.
        """

    @abstractmethod
    def accepts(self, value: Any) -> bool:
        """Whether a value is of this kind and within its limits."""

    @property
    @abstractmethod
    def wanted(self) -> str:
        """What to give, for messages: "a whole number from 1 to 16"."""

    @property
    def limits(self) -> str:
        """What the noun leaves open, for help: "from 1 to 16"; "" if nothing."""
        return ""


@dataclass(frozen=True)
class Whole(Kind):
    """Whole numbers from `low` to `high`, both included; without `high` from `low` up."""

    low: int
    high: int | None = None
    noun = "integer"

    def parse(self, text: str) -> int:
        try:
            return int(text)
        except ValueError:
            raise OptionError(f"{text!r} is not a whole number") from None

    def accepts(self, value: Any) -> bool:
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        return self.low <= value and (self.high is None or value <= self.high)

    @property
    def span(self) -> str:
        """The limits alone, in words."""
        return f"from {self.low} up" if self.high is None else f"from {self.low} to {self.high}"

    @property
    def wanted(self) -> str:
        return f"a whole number {self.span}"

    @property
    def limits(self) -> str:
        return self.span


@dataclass(frozen=True)
class Odd(Whole):
    """Odd numbers of pixels."""

    low: int = 1
    high: int | None = 255

    def accepts(self, value: Any) -> bool:
        return super().accepts(value) and value % 2 == 1

    @property
    def wanted(self) -> str:
        return f"an odd number of pixels {self.span}"

    @property
    def limits(self) -> str:
        return f"odd, {self.span}"


@dataclass(frozen=True)
class Number(Kind):
    """Finite numbers from `low` to `high`, `low` itself left out if `above`."""

    low: float
    high: float = inf
    above: bool = False
    noun = "number"

    def parse(self, text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise OptionError(f"{text!r} is not a number; write it like 0.25") from None

    def accepts(self, value: Any) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        return (
            self.low <= value <= self.high and value < inf and (value > self.low or not self.above)
        )

    @property
    def wanted(self) -> str:
        return f"a number {self.limits}"

    @property
    def limits(self) -> str:
        start = f"{'above' if self.above else 'from'} {self.low:.9g}"
        if self.high == inf:
            return start if self.above else f"{start} up"
        return f"{start}{', up' if self.above else ''} to {self.high:.9g}"


@dataclass(frozen=True)
class OddSizes(Kind):
    """Odd numbers of pixels, one for each pyramid level."""

    size: Odd = Odd()
    noun = "sizes"
    is_list = True

    def parse(self, text: str) -> tuple[int, ...]:
        sizes = tuple(self.size.parse(part) for part in re.split(r"[,|\s]+", text) if part)
        if not sizes:
            raise OptionError("no sizes; give one odd number of pixels per level, finest first")
        return sizes

    def accepts(self, value: Any) -> bool:
        return isinstance(value, tuple) and all(map(self.size.accepts, value))

    @property
    def wanted(self) -> str:
        return f"odd numbers of pixels {self.size.span}, one per level, finest first"

    @property
    def limits(self) -> str:
        return f"{self.size.limits}, one per level, such as 9,5,3"


@dataclass(frozen=True)
class Choice(Kind):
    """One of a few names."""

    names: tuple[str, ...]
    noun = "name"

    def parse(self, text: str) -> str:
        return text

    def accepts(self, value: Any) -> bool:
        return value in self.names

    @property
    def wanted(self) -> str:
        return f"one of {', '.join(self.names)}"


@dataclass(frozen=True)
class Switch(Choice):
    """auto, on or off; what flags are written as means the last two."""

    names: tuple[str, ...] = ("auto", "on", "off")

    def parse(self, text: str) -> str:
        known = _FLAGS.get(text.lower())
        return text if known is None else ("off", "on")[known]


@dataclass(frozen=True)
class FramePlace(Kind):
    """A frame of a stack, by a name or by its number, the first being 1."""

    names: tuple[str, ...] = ("first", "middle", "last", "auto")
    noun = "frame"

    def parse(self, text: str) -> str:
        return text.lower()

    def accepts(self, value: Any) -> bool:
        if not isinstance(value, str):
            return False
        return value in self.names or (value.isascii() and value.isdigit() and int(value) > 0)

    @property
    def wanted(self) -> str:
        return f"one of {', '.join(self.names)}, or a frame's number from 1 up"

    @property
    def limits(self) -> str:
        return f"{', '.join(self.names)}, or a number from 1 up"


@dataclass(frozen=True)
class Flag(Kind):
    """True or false."""

    noun = "flag"

    def parse(self, text: str) -> bool:
        try:
            return _FLAGS[text.lower()]
        except KeyError:
            raise OptionError(f"{text!r} is neither true nor false") from None

    def accepts(self, value: Any) -> bool:
        return isinstance(value, bool)

    @property
    def wanted(self) -> str:
        return "true or false"


@dataclass(frozen=True)
class FileName(Kind):
    """The name of a file, which others read."""

    noun = "file"

    def parse(self, text: str) -> str:
        return text

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and value != ""

    @property
    def wanted(self) -> str:
        return "the name of a file"


@dataclass(frozen=True)
class Template(Kind):
    """The name of a file below a folder with fields in it: of each of `fields` one at least."""

    fields: tuple[tuple[str, ...], ...]
    noun = "template"

    def parse(self, text: str) -> str:
        return text

    def accepts(self, value: Any) -> bool:
        if not isinstance(value, str):
            return False
        found = set(_FIELD.findall(value))
        if found.difference(*self.fields) or not all(map(found.intersection, self.fields)):
            return False
        # Nothing may lead out of the folder or hide; what fields become is for others to check.
        return all(_SEGMENT.fullmatch(part) for part in _FIELD.sub("x", value).split("/"))

    @property
    def wanted(self) -> str:
        return (
            f"a name below the output directory {self.limits} in it, and besides nothing but "
            "letters, digits, spaces, / and any of _-+.,=()"
        )

    @property
    def limits(self) -> str:
        named = (" or ".join(f"{{{name}}}" for name in those) for those in self.fields)
        return f"with {' and '.join(named)}"


_FIELD = re.compile(r"\{(.*?)\}")
_SEGMENT = re.compile(r"(?!\.)[\w +.,=()-]+")


@dataclass(frozen=True)
class Names(Kind):
    """Names of which others know whether there are such."""

    noun = "names"
    is_list = True

    def parse(self, text: str) -> tuple[str, ...]:
        return tuple(
            dict.fromkeys(name for part in re.split(r"[,|]", text) if (name := part.strip()))
        )

    def accepts(self, value: Any) -> bool:
        return isinstance(value, tuple) and all(isinstance(name, str) for name in value)

    @property
    def wanted(self) -> str:
        return "names with commas between them"
