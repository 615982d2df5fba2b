"""Where the frames of a stack lie: the value, what the ledger keeps of it, and words for people.

What people are told is made from what the ledger keeps, so that `status` says what the run said.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from batchstack.geometry import Box
from batchstack.images.white import White
from batchstack.registration import BETWEEN, TOO_SMALL, Light, Transform

# Two frames show as much of the scene if the areas differ by less.
_AS_WIDE = 5e-4
# Residuals beyond, in pixels, are said.
RESIDUAL_LIMIT = 2.0
# How notes of frames that stay start.
_PREFIX = "not aligned: "


@dataclass(frozen=True)
class Alignment:
    """Where the frames of a stack lie, and what brings them to one light.

    Attributes
    ----------
    transforms : tuple of Transform
        One for each frame, onto the reference.
    lights : tuple of Light
        One for each frame.
    size : (int, int)
        Rows and columns of a frame.
    area : Box
        What of the image is written.
    spread : float, optional
        How far the light of a frame departs from the stack's median, at most, as natural
        logarithm; None if it was not compared.
    residual : float, optional
        What the best affine transforms leave, in pixels; None if it was not measured.
    map_level : int, optional
        Of the decision map, as the moved frames show it; None if none is looked up.
    shrink : float, optional
        From how far away details are drawn to the frame of the map, likewise.
    white : White
        The value for white of a split stack.
    reference : int
        Index of the frame that stays where it is, whose metadata the outputs have.
    reason : str
        Why that one, if it was found out; else empty.
    """

    transforms: tuple[Transform, ...]
    lights: tuple[Light, ...]
    size: tuple[int, int]
    area: Box
    spread: float | None = None
    residual: float | None = None
    map_level: int | None = None
    shrink: float | None = None
    white: White = field(default=White())
    reference: int = 0
    reason: str = ""

    @property
    def crop(self) -> float:
        """The share of the picture that is not written."""
        return 1 - prod(self.area.shape) / prod(self.size)

    @property
    def widest(self) -> str:
        """Which end of the stack shows most of the scene; empty if both show as much."""
        (a, b, _, d, e, _), (f, g, _, i, j, _) = (
            transform.matrix for transform in (self.transforms[0], self.transforms[-1])
        )
        # The larger the scene is on a frame, the less there is of it.
        growth = (f * j - g * i) / (a * e - b * d) - 1
        if abs(growth) < _AS_WIDE:
            return ""
        return "first" if growth > 0 else "last"


def describe(alignment: Alignment) -> dict[str, Any]:
    """What the ledger keeps of an alignment: of the stack, and in "align" of each frame."""
    facts: dict[str, Any] = {"reference": alignment.reference + 1}
    if alignment.reason:
        facts["reference_reason"] = alignment.reason
    if alignment.crop:
        facts["cropped"] = round(100 * alignment.crop, 2)
    if alignment.widest:
        facts["widest"] = alignment.widest
    if alignment.residual is not None:
        facts["residual"] = round(alignment.residual, 3)
    if alignment.spread is not None:
        facts["light"] = round(alignment.spread, 4)
    frames = zip(alignment.transforms, alignment.lights, strict=True)
    return facts | {"align": [_frame_facts(*frame) for frame in frames]}


def _frame_facts(transform: Transform, light: Light) -> dict[str, Any]:
    """Short for a frame that stays as it is; without an error where none was measured."""
    facts: dict[str, Any] = {"model": transform.model}
    if not transform.is_identity:
        facts["matrix"] = list(transform.matrix)
        if transform.error and not transform.note:
            facts["error"] = round(transform.error, 4)
    if not light.is_identity:
        facts |= {"gain": _rounded(light.gain), "dark": round(light.dark, 5)}
    if light.slopes:
        facts["slopes"] = [_rounded(channel) for channel in light.slopes]
    if transform.note:
        facts["note"] = transform.note
    return facts


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 5) for value in values]


# --- in words; facts are kept as they were found, whatever they are


def not_aligned(facts: Mapping[str, Any]) -> bool:
    """Whether some frame could not be aligned, though its move may matter."""
    return any(f"{_PREFIX}{reason}" != TOO_SMALL for _, reason in _kept(facts))


def warnings(facts: Mapping[str, Any]) -> list[str]:
    """What is worth looking at in a stack, each in one sentence."""
    return [*_left_out(facts), *_places_kept(facts), *_not_affine(facts)]


def _left_out(facts: Mapping[str, Any]) -> list[str]:
    gone = facts.get("left_out")
    return [
        f"frame {one.get('frame')} is left out, as --skip-broken allows: {one.get('path')}: "
        f"{one.get('why')}"
        for one in (gone if isinstance(gone, list) else [])
        if isinstance(one, dict)
    ]


def cost_of_crop(facts: Mapping[str, Any]) -> str:
    """How much of the picture is cropped, and where most is left; empty if nothing is."""
    cropped, widest = facts.get("cropped"), facts.get("widest")
    if not isinstance(cropped, int | float):
        return ""
    where = f"; the {widest} frame shows most of the scene" if widest else ""
    return f"{cropped:.1f} % of the picture is cropped{where}"


def _kept(facts: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Frames, counted from 1, that keep their neighbour's place, and why."""
    frames = facts.get("align")
    return [
        (number, str(frame["note"]).removeprefix(_PREFIX))
        for number, frame in enumerate(frames if isinstance(frames, list) else [], start=1)
        if isinstance(frame, dict) and "note" in frame
    ]


def _places_kept(facts: Mapping[str, Any]) -> list[str]:
    kept = _kept(facts)
    if not kept:
        return []
    count, n_frames = len(kept), len(facts["align"])
    number, reason = kept[0]
    one, many = "keeps its neighbour's place", "keep their neighbour's place"
    if all(why.endswith(BETWEEN) for _, why in kept):
        one, many = "is put between its neighbours", "are put between their neighbours"
        kept = [(which, why.removesuffix(BETWEEN)) for which, why in kept]
        reason = kept[0][1]
    if count == 1:
        return [f"frame {number} of {n_frames} {one}: {reason}"]
    told = f"{count} of {n_frames} frames {many}"
    if len({reason for _, reason in kept}) == 1:
        return [f"{told}: {reason}"]
    kinds = {re.sub(r"-?\d[\d.]*", "", reason) for _, reason in kept}
    others = "" if len(kinds) == 1 else "; the record has the other reasons"
    return [f"{told}; frame {number}: {reason}{others}"]


def _not_affine(facts: Mapping[str, Any]) -> list[str]:
    residual = facts.get("residual")
    if not isinstance(residual, int | float) or residual <= RESIDUAL_LIMIT:
        return []
    return [
        f"neighbouring frames lie up to {residual:.1f} px apart after the best alignment; the "
        "camera moved sideways, or the scene did"
    ]
