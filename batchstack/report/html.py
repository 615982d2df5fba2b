"""Pages as text: templates of this room, filled in by Jinja2, which escapes what it is given."""

import math
import time
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from batchstack import __version__, files

_PAGES = Path(__file__).parent / "pages"
ASSETS = ("report.css", "index.js", "stack.js")
"""What pages need besides, by name."""


def render(template: str, **values: Any) -> bytes:
    """Fill in a template; texts are escaped, whatever they are."""
    text: str = _environment().get_template(template).render(version=__version__, **values)
    return text.encode(errors="replace")  # half a character is no text


def source(name: str) -> bytes:
    """A template or an asset as it is."""
    return files.read_bytes(_PAGES / name)


@cache
def fingerprint() -> str:
    """What tells these pages from those of another version."""
    names = files.names_in(_PAGES)
    return sha256(__version__.encode() + b"".join(map(source, names))).hexdigest()


@cache
def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: source(name).decode()),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": size, "span": span, "date": date, "value": value}
    return environment


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def span(seconds: float) -> str:
    """A span of time for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def date(seconds: float) -> str:
    """A moment, given in seconds since 1970, in the time of this machine."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (ValueError, OverflowError, OSError):
        return "?"


def value(known: Any) -> str:
    """A parameter for people."""
    if isinstance(known, bool):
        return "yes" if known else "no"
    if isinstance(known, float) and math.isfinite(known):
        return f"{known:g}"
    if isinstance(known, list | tuple):
        return ", ".join(map(value, known))
    return "automatic" if known is None else str(known)
