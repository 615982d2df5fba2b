"""Descriptions that programs write for themselves: recognized, and asked for the pixel size.

They tell of planes, axes and files that an output does not have, and readers believe them.
"""

import html
import json
import re
from collections.abc import Iterator
from typing import Any

_MARK = "\ufeff"  # of the order of bytes, which some programs put before their XML
# How a document of XML or JSON begins, of whatever kind and cut off or not, or lines of ImageJ,
# SCIFIO, tifffile, Aperio, ScanImage, FITS or Pilatus, or a section of settings.
_MACHINE = re.compile(
    r"""\s*(<[?!]|<[A-Za-z][\w:]*\s*(/>|>\s*(<|$)|>.*</[\w:]+>\s*$|\s[\w:]+\s*=)
    |\{\s*(\}\s*$|"[^"]*"\s*:)|\[\s*\{\s*"[^"]*"\s*:
    |ImageJ=|SCIFIO=|shape=\(|Aperio\ |(SI|scanimage|state)\.[\w.]+\s*=|frameNumbers\s*=
    |SIMPLE\s*=\s+T\b|\#\s(Detector:|Pixel_size\s)
    |\[[\w.\ -]+\](,[\w.\ -]+=|\s*[\r\n]+\s*[\w.\ -]+=))""",
    re.VERBOSE | re.DOTALL,
)
# The lines that tifffile wrote in its early versions.
_SHAPE = re.compile(r"\s*shape=\(([\d, ]+)\)")
_CHANNELS = re.compile(r"""^channels=(\d{1,4})\s*$|\bSizeC="(\d{1,4})\"""", re.MULTILINE)
_METRE = {
    "m": 1.0,
    "dm": 0.1,
    "cm": 1e-2,
    "mm": 1e-3,
    "um": 1e-6,
    "nm": 1e-9,
    "pm": 1e-12,
    "a": 1e-10,
    "å": 1e-10,
    "angstrom": 1e-10,
    "in": 0.0254,
    "inch": 0.0254,
    "inches": 0.0254,
    "thou": 2.54e-5,
    "micron": 1e-6,
    "microns": 1e-6,
    "micrometer": 1e-6,
    "micrometre": 1e-6,
    "nanometer": 1e-9,
    "millimeter": 1e-3,
    "centimeter": 1e-2,
    "meter": 1.0,
}
_INCH = _METRE["inch"]
# Where XML has sizes and their unit: OME, whose unit is a micrometre if none is stated, and
# MetaMorph.
_XML = (
    (
        r"""\bPhysicalSize{}\s*=\s*["']([^"']*)""",
        r"""\bPhysicalSize{}Unit\s*=\s*["']([^"']*)""",
        "um",
    ),
    (
        r"""id="spatial-calibration-{}"[^>]*\bvalue="([^"]*)""",
        r"""id="spatial-calibration-units"[^>]*\bvalue="([^"]*)""",
        "",
    ),
)
_APERIO = re.compile(r"\bMPP\s*=\s*([\d.]+)")
_OF_MICRO_MANAGER = ("PixelSizeUm", "PixelSize_um")


def is_machine(text: str) -> bool:
    """Whether a description is meant for programs and tells of its file."""
    return _MACHINE.match(text.lstrip(_MARK)) is not None


def stated_shape(text: str) -> tuple[int, ...]:
    """The shape of all that a file holds, as tifffile notes it; empty if it does not."""
    found = _SHAPE.match(text)
    if found:
        return tuple(int(one) for one in found[1].split(",") if one.strip())
    facts = _json(text) if text.startswith('{"shape"') else None
    shape = facts.get("shape") if isinstance(facts, dict) else None
    sides = shape if isinstance(shape, list) else []
    return tuple(sides) if all(isinstance(one, int) and one > 0 for one in sides) else ()


def stated_channels(text: str) -> int:
    """How many channels ImageJ or OME say that a file holds, 1 if they do not."""
    found = _CHANNELS.search(text) if is_machine(text) else None
    return int(found[1] or found[2]) if found else 1


def of_text(text: str, per_unit: tuple[float, float] | None = None) -> tuple[float, float] | None:
    """Pixels per inch along x and y, as a description states them.

    Parameters
    ----------
    text : str
    per_unit : (float, float), optional
        Pixels per unit of length, if the file has them without a unit: ImageJ keeps the unit
        in the description.
    """
    if not is_machine(text):
        return None
    text = text.lstrip(_MARK).lstrip()
    if text.startswith("ImageJ="):
        return _of_imagej(text, per_unit)
    if text.startswith("Aperio "):
        return _of_aperio(text)
    if text.startswith("<"):
        return next(filter(None, (_of_xml(text, *form) for form in _XML)), None)
    return of_facts(_json(text))


def of_facts(facts: Any) -> tuple[float, float] | None:
    """The same of what JSON holds: OME's names and those of Micro-Manager, however deep."""
    for one in _mappings(facts):
        for name in _OF_MICRO_MANAGER:
            if size := _per_inch(one.get(name), "um"):
                return size, size
        x, y = (
            _per_inch(one.get(f"PhysicalSize{axis}"), one.get(f"PhysicalSize{axis}Unit", "um"))
            for axis in "XY"
        )
        if x and y:
            return x, y
    return None


def _of_imagej(text: str, per_unit: tuple[float, float] | None) -> tuple[float, float] | None:
    lines = dict(line.partition("=")[::2] for line in text.splitlines())
    lengths = [_length(lines.get(name) or lines.get("unit")) for name in ("unit", "yunit")]
    if per_unit is None or not all(lengths):
        return None
    x, y = (count * _INCH / length for count, length in zip(per_unit, lengths, strict=True))
    return x, y


def _of_aperio(text: str) -> tuple[float, float] | None:
    found = _APERIO.search(text)
    size = _per_inch(found[1], "um") if found else 0.0
    return (size, size) if size else None


def _of_xml(text: str, size_form: str, unit_form: str, no_unit: str) -> tuple[float, float] | None:
    sizes = []
    for axis in "xy":
        size, unit = (
            re.search(form.format(axis), text, re.IGNORECASE) for form in (size_form, unit_form)
        )
        sizes.append(_per_inch(size and size[1], html.unescape(unit[1]) if unit else no_unit))
    x, y = sizes
    return (x, y) if x and y else None


def _per_inch(size: Any, unit: Any) -> float:
    """Pixels per inch for a pixel of this size; 0 if it is none."""
    try:
        length = float(size) * _length(unit)
    except (TypeError, ValueError):
        return 0.0
    return _INCH / length if 0 < length < float("inf") else 0.0


def _length(unit: Any) -> float:
    """Metres of a unit; 0 if it is none of length."""
    if not isinstance(unit, str):
        return 0.0
    plain = unit.strip().replace("\\u00B5", "u").replace("\\u00b5", "u")
    plain = plain.replace("\N{MICRO SIGN}", "u").replace("\N{GREEK SMALL LETTER MU}", "u")
    return _METRE.get(plain.lower(), 0.0)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _mappings(facts: Any) -> Iterator[dict[str, Any]]:
    waiting = [facts]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
        waiting += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
