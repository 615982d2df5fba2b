"""What a report says of a stack, from what the ledger has of it; arithmetic and words only."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from batchstack.batch import scoring
from batchstack.batch.jobs import Input, Scores
from batchstack.batch.placement import RESIDUAL_LIMIT, not_aligned, warnings
from batchstack.batch.previews import folder_name
from batchstack.batch.records import Record, StackHistory
from batchstack.fusion.methods import METHODS
from batchstack.images import Written

FAILED, MISSING, LOOK, FUSED = "failed", "missing", "look", "fused"
STATUSES = {
    FAILED: "failed",
    MISSING: "output missing",
    LOOK: "worth a look",
    FUSED: "fused",
}
"""The state of a stack as it is stored, and for people; worst first."""

_NAMED = [name for method in METHODS.values() for name in method.outputs]


@dataclass(frozen=True)
class Stack:
    """One stack as the ledger knows it and as its files are now.

    Attributes
    ----------
    id : str
    history : StackHistory
        What counts: for each method its last record.
    past : tuple of StackHistory
        What every line of the journal says, in order.
    missing : tuple of str
        Files of outputs that are missing or have another size than recorded.
    """

    id: str
    history: StackHistory
    past: tuple[StackHistory, ...]
    missing: tuple[str, ...]

    @property
    def folder(self) -> str:
        """The name of its folder in the report, whatever characters its id has."""
        return folder_name(self.id)

    @cached_property
    def records(self) -> dict[str, Record]:
        """Its records in the order of `METHODS`; methods of other versions come last."""
        known = self.history.records
        order = [name for name in METHODS if name in known]
        return {name: known[name] for name in [*order, *sorted(known.keys() - METHODS.keys())]}

    @cached_property
    def outputs(self) -> dict[str, Written]:
        """Its outputs by file name, in that order."""
        return {
            name: output
            for record in self.records.values()
            for name, output in record.outputs.items()
        }

    @property
    def places(self) -> dict[str, str]:
        """Where each of them is, from the output directory."""
        return {
            name: record.place(self.id, name)
            for record in self.records.values()
            for name in record.outputs
        }

    @property
    def frames(self) -> tuple[Input, ...]:
        """Its frames, back to front: as they were read, or as asked for if it only failed."""
        return self.history.frames

    @property
    def scores(self) -> dict[str, Scores]:
        """Its scores by output."""
        return {
            name: scores
            for record in self.records.values()
            for name, scores in record.scores.items()
        }

    @property
    def data_range(self) -> float | None:
        """The value for white that was given for it, if one was."""
        given = (number(record.key.get("data_range")) for record in self.records.values())
        return next(filter(None, given), None)

    @property
    def figure(self) -> scoring.Figure | None:
        """How good its recommended output is, if it was scored."""
        return scoring.figure(self.scores)

    @property
    def meta(self) -> dict[str, str]:
        """The `meta_` columns of its row."""
        given = {**_mapping(self.history.facts.get("meta")), **(self.history.row or {})}
        return {
            name.removeprefix("meta_"): str(text)
            for name, text in given.items()
            if name.startswith("meta_")
        }

    @property
    def notes(self) -> list[str]:
        """What of its alignment is worth a look."""
        return warnings(self.history.facts)

    @property
    def status(self) -> str:
        """One of `STATUSES`."""
        if self.history.error is not None:
            return FAILED
        if self.missing:
            return MISSING
        facts = self.history.facts
        apart = (self.number("residual") or 0) > RESIDUAL_LIMIT
        return LOOK if apart or not_aligned(facts) or facts.get("left_out") else FUSED

    def number(self, name: str) -> float | None:
        """A number among its facts."""
        return number(self.history.facts.get(name))


def recommended(outputs: Mapping[str, Any]) -> str | None:
    """The file of the fused image that is shown first and by which stacks are ranked."""
    stems = {stem(name): name for name in outputs}
    best = scoring.recommended(stems)
    return stems[best] if best else None


def stem(name: str) -> str:
    """The name of an output without its ending."""
    return name.rpartition(".")[0] or name


def is_known(name: str) -> bool:
    """Whether a file is an output of a method that this version has."""
    return stem(name) in _NAMED


def number(value: Any) -> float | None:
    """A value if it is a number that can be shown."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if good else None


def rank(
    status: str, quality: float | None, measure: str, confidence: float | None
) -> tuple[float, float, float]:
    """What stacks are sorted by, worst first.

    Failures come before missing outputs; then stacks of low quality, by each measure for itself,
    and of those without scores the ones whose depth is least sure.
    """
    state = float(min(list(STATUSES).index(status), 2))
    if quality is not None:
        return state, scoring.RANKED_BY.index(measure), quality
    return state, len(scoring.RANKED_BY), 1.0 if confidence is None else confidence


def registration(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where each frame was found, in numbers that people read.

    Returns
    -------
    list of dict
        For each frame the model, the place of the reference's corner in pixels (x, y), scale,
        rotation in degrees, error in pixels, gain of each channel, and the note, as far as known.
    """
    frames = facts.get("align")
    return [_placed(_mapping(frame)) for frame in frames] if isinstance(frames, list) else []


def _placed(frame: Mapping[str, Any]) -> dict[str, Any]:
    matrix = frame.get("matrix")
    known = {"model": frame.get("model"), "note": frame.get("note")}
    known |= {"error": number(frame.get("error")), "gain": _numbers(frame.get("gain"))}
    numbers = _numbers(matrix)
    if len(numbers) != 6:
        return known
    a, b, x, d, e, y = numbers
    scale = math.sqrt(abs(a * e - b * d))
    return known | {"x": x, "y": y, "scale": scale, "rotation": math.degrees(math.atan2(d, a))}


def _numbers(values: Any) -> list[float]:
    if not isinstance(values, list):
        return []
    found = [number(value) for value in values]
    return [value for value in found if value is not None]


def parameters(records: Mapping[str, Record]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What all methods were computed with, and what each has besides."""
    keys = {name: record.key for name, record in records.items()}
    first = next(iter(keys.values()), {})
    shared = {
        name: value
        for name, value in first.items()
        if all(name in key and key[name] == value for key in keys.values())
    }
    own = {
        method: {name: value for name, value in key.items() if name not in shared}
        for method, key in keys.items()
    }
    return shared, {method: values for method, values in own.items() if values}


def log(past: tuple[StackHistory, ...]) -> list[dict[str, Any]]:
    """What happened to a stack, in order: when if that is known, and what."""
    return [{"when": number(line.facts.get("finished")), "what": _happened(line)} for line in past]


def _happened(line: StackHistory) -> str:
    if line.error is not None:
        return f"failed: {line.error}"
    seconds = number(line.facts.get("seconds"))
    took = "" if seconds is None else f" in {seconds:.1f} s"
    return f"fused {', '.join(line.records)}{took}"


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
