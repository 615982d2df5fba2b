"""Scores of fused images, against the frames as they were fused."""

from collections.abc import Callable, Mapping
from typing import Any

from batchstack.batch.jobs import Job, Scores
from batchstack.fusion.methods import METHODS
from batchstack.fusion.tiles import ReadWindow
from batchstack.geometry import Box
from batchstack.quality import score_windows

# What stacks are sorted by: of the measures without a truth it falls with blur, with double
# contours and with an image that merely copies one frame; docs/quality.md compares them.
SORT_BY = "Qabf"

_IMAGES = {method.output for method in METHODS.values() if method.output}


def score_output(
    job: Job, name: str, read: ReadWindow, fused: Callable[[Box], Any], area: Box
) -> Scores:
    """Score one output, if scores are asked for and it is a fused image.

    Parameters
    ----------
    job : Job
    name : str
        Of the output, without ending.
    read : callable
        Frame index and box to pixels, as the frames were fused.
    fused : callable
        Box to the pixels of the output as they were computed.
    area : Box
        What of the image is written, and scored.

    Returns
    -------
    dict of str to float
        Measure to value; empty if there is nothing to score.
    """
    if not job.score or name not in _IMAGES:
        return {}
    return score_windows(read, len(job.frames), fused, area, data_range=job.fusion.data_range)


def worst_first(scores: Mapping[str, Mapping[str, Scores]]) -> list[tuple[str, str]]:
    """Stacks that have scores, each with the worst of its outputs; the worst stack first.

    Parameters
    ----------
    scores : mapping of str to mapping
        By stack and output.

    Returns
    -------
    list of (str, str)
        Stack and output.
    """
    worst = [
        (quality, stack, output)
        for stack, outputs in scores.items()
        for quality, output in worst_output(outputs)
    ]
    return [(stack, output) for _, stack, output in sorted(worst)]


def worst_output(outputs: Mapping[str, Scores]) -> list[tuple[float, str]]:
    """The output of lowest quality of one stack, as its quality and name; none without scores."""
    ranked = [(scores[SORT_BY], name) for name, scores in outputs.items() if SORT_BY in scores]
    return sorted(ranked)[:1]
