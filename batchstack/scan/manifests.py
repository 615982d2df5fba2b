"""The manifest of a proposal: a CSV file that `check` and `run` read."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from batchstack.scan.grouping import Group, Left, Proposal

COLUMNS = ("id", "frames", "meta_why", "meta_doubts")


def nameable(proposal: Proposal, folder: Path, manifest: Path) -> Proposal:
    """The proposal without stacks that a manifest cannot name, whose photographs are left out.

    Parameters
    ----------
    proposal : Proposal
    folder : Path
        That its names are relative to.
    manifest : Path
        Where it is to be written.
    """
    groups, left = [], list(proposal.left)
    for group in proposal.groups:
        if why := _why_not(_frames(group, folder, manifest)):
            left.extend(Left(name, f"a stack with {why}; rename them") for name in group.frames)
        else:
            groups.append(group)
    return Proposal(groups, left)


def _why_not(names: list[str]) -> str | None:
    if any("|" in name for name in names):
        return "| in a name, which parts frames in a manifest"
    try:
        "".join(names).encode()
    except UnicodeEncodeError:
        return "a name that is not UTF-8, which a manifest is"
    return None


def as_manifest(groups: Iterable[Group], folder: Path, manifest: Path) -> bytes:
    """The content of a manifest of groups that are `nameable`.

    Parameters
    ----------
    groups : iterable of Group
    folder : Path
        That their names are relative to.
    manifest : Path
        Where it is to be written: frames below its folder are named relative to that.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for group in groups:
        frames = "|".join(_frames(group, folder, manifest))
        writer.writerow((group.id, frames, group.why, "; ".join(group.doubts)))
    return text.getvalue().encode()


def _frames(group: Group, folder: Path, manifest: Path) -> list[str]:
    place, beside = folder.absolute(), manifest.absolute().parent
    base = str(place.relative_to(beside) if place.is_relative_to(beside) else place)
    frames = [name if base == "." else f"{base}/{name}" for name in group.frames]
    # A name that begins with a tilde would mean someone's home.
    return [f"./{name}" if name.startswith("~") else name for name in frames]
