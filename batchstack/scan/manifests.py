"""The manifest of a proposal: a CSV file that `check` and `run` read."""

import csv
import io
from pathlib import Path

from batchstack.scan.grouping import Left, Proposal

COLUMNS = ("id", "frames", "meta_why", "meta_doubts")


def as_manifest(proposal: Proposal, folder: Path, manifest: Path) -> tuple[str, list[Left]]:
    """The text of a manifest, and what it could not name.

    Parameters
    ----------
    proposal : Proposal
    folder : Path
        That its names are relative to.
    manifest : Path
        Where the text is to be written: frames below its folder are named relative to that.
    """
    place, beside = folder.absolute(), manifest.absolute().parent
    base = str(place.relative_to(beside) if place.is_relative_to(beside) else place)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    left: list[Left] = []
    for group in proposal.groups:
        frames = [name if base == "." else f"{base}/{name}" for name in group.frames]
        # A name that begins with a tilde would mean someone's home.
        frames = [f"./{name}" if name.startswith("~") else name for name in frames]
        if any("|" in name for name in frames):
            reason = "a stack with | in a name, which parts frames in a manifest; rename them"
            left.extend(Left(name, reason) for name in group.frames)
            continue
        writer.writerow((group.id, "|".join(frames), group.why, "; ".join(group.doubts)))
    return text.getvalue(), left
