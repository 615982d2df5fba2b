"""Scores of fused images, against the frames as they were fused, and which stacks are the worst."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from batchstack.batch.jobs import Job, Scores
from batchstack.fusion.methods import METHODS
from batchstack.fusion.tiles import ReadWindow
from batchstack.geometry import Box
from batchstack.quality import ARTEFACTS, QSHARP, score_windows

# What stacks are sorted by: what follows the truth best of the measures without one
# (docs/quality.md compares them), and what records of older versions have instead.
RANKED_BY = (QSHARP, "Qabf")
# Digits that are shown and ranked by: more of them differ from machine to machine.
_DIGITS = 4

_IMAGES = [method.output for method in METHODS.values() if method.output]


@dataclass(frozen=True, order=True)
class Figure:
    """How good a stack is; the least is the worst, but figures of two measures do not compare.

    Attributes
    ----------
    place : int
        Of the measure, in `RANKED_BY`.
    value : float
    output : str
        The output that has it.
    artefacts : float, optional
        How much of the same output are edges of its own, in percent.
    """

    place: int
    value: float
    output: str
    artefacts: float | None = field(default=None, compare=False)

    @property
    def measure(self) -> str:
        """Its name."""
        return RANKED_BY[self.place]


def score_outputs(
    job: Job, read: ReadWindow, fused: Mapping[str, Callable[[Box], Any]], area: Box
) -> dict[str, Scores]:
    """Score the fused images of a stack, if scores are asked for.

    Parameters
    ----------
    job : Job
    read : callable
        Frame index and box to pixels, as the frames were fused.
    fused : mapping of str to callable
        By name of the output, without ending, box to its pixels as they were computed; maps are
        passed over.
    area : Box
        What of the image is written, and scored.

    Returns
    -------
    dict of str to dict
        Measure to value, by output; empty if there is nothing to score.
    """
    images = {name: fused[name] for name in _IMAGES if name in fused}
    if not job.score or not images:
        return {}
    n_frames, data_range = len(job.frames), job.fusion.data_range
    return score_windows(read, n_frames, images, area, data_range=data_range)


def is_scored(scores: Mapping[str, Scores]) -> bool:
    """Whether outputs have scores as this version gives them."""
    return any(RANKED_BY[0] in own for own in scores.values())


def recommended(outputs: Iterable[str]) -> str | None:
    """Of some outputs, named without ending, the fused image of the first method in `METHODS`."""
    there = set(outputs)
    return next((image for image in _IMAGES if image in there), None)


def figure(scores: Mapping[str, Scores]) -> Figure | None:
    """What a stack is sorted by: the score of the recommended output among those that have one.

    Parameters
    ----------
    scores : mapping of str to dict
        Measure to value, by output.
    """
    for place, measure in enumerate(RANKED_BY):
        values = {name: own[measure] for name, own in scores.items() if measure in own}
        if values:
            best = recommended(values) or min(values)
            value = round(values[best], _DIGITS)
            return Figure(place, value, best, scores[best].get(ARTEFACTS))
    return None


def worst_first(scores: Mapping[str, Mapping[str, Scores]]) -> list[tuple[str, Figure]]:
    """Stacks that have scores, each with its figure; the worst stack first.

    Parameters
    ----------
    scores : mapping of str to mapping
        By stack and output.
    """
    found = [(stack, figure(outputs)) for stack, outputs in scores.items()]
    known = [(stack, own) for stack, own in found if own is not None]
    return sorted(known, key=lambda item: (item[1], item[0]))
