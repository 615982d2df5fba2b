"""Descriptions that programs write for themselves: recognized, and asked for the pixel size.

They tell of planes, axes and files that an output does not have, and readers believe them.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

# A document of XML or JSON, or lines of ImageJ or SCIFIO; of XML any, because people do not
# begin a caption with a tag.
_MACHINE = re.compile(r"\s*(<\?xml\b|<[A-Za-z]\w*[\s:>/]|\{\s*[\"}]|\[\s*[\[{\"]|ImageJ=|SCIFIO=)")
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
_ATTRIBUTE = r"""\b{}\s*=\s*["']([^"']*)["']"""
_OF_MICRO_MANAGER = ("PixelSizeUm", "PixelSize_um")


def is_machine(text: str) -> bool:
    """Whether a description is meant for programs and tells of its file."""
    return _MACHINE.match(text) is not None


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
    if text.lstrip().startswith("ImageJ="):
        return _of_imagej(text, per_unit)
    if text.lstrip().startswith("<"):
        return _of_ome(text)
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


def _of_ome(text: str) -> tuple[float, float] | None:
    sizes = []
    for axis in "XY":
        size = re.search(_ATTRIBUTE.format(f"PhysicalSize{axis}"), text)
        unit = re.search(_ATTRIBUTE.format(f"PhysicalSize{axis}Unit"), text)
        sizes.append(_per_inch(size and size[1], unit[1] if unit else "um"))
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
