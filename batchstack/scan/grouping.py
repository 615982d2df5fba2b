"""Stacks proposed from shots: pure arithmetic on what is known of them."""

import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count, groupby, pairwise
from pathlib import PurePosixPath
from typing import NamedTuple, TypeAlias

from batchstack.images.names import as_counted, counted
from batchstack.scan.breathing import Growth
from batchstack.scan.looks import Look, focus_moves, returns, show_one_scene
from batchstack.scan.shots import Shot

LEAST_GAP = 3.0  # seconds
GAP_FACTOR = 4.0  # times the median gap
_SIDES = re.compile(r"^(?:(.*?)[-_ .]?)(back|far|front|near)(?:[-_ .]?(.*))?$", re.IGNORECASE)
_BACK = ("back", "far")
# Why photographs are of no stack.
_SINGLE = "a single shot: nothing before or after belongs to it"
_BURST = "one of a burst: focus is the same in all of it"

Looks: TypeAlias = Callable[[Sequence[Shot]], Sequence[Look | None]]


@dataclass(frozen=True)
class Group:
    """A stack as proposed.

    Parameters
    ----------
    id : str
    frames : tuple of str
        Back to front as far as that is known, else as they were taken.
    why : str
        What they were grouped by.
    doubts : tuple of str
        What should be looked at before the stack is fused.
    is_ordered : bool
        Whether something tells which frame is at the back.
    """

    id: str
    frames: tuple[str, ...]
    why: str
    doubts: tuple[str, ...] = ()
    is_ordered: bool = True


class Left(NamedTuple):
    """A photograph that is of no stack, and why."""

    name: str
    why: str
    is_damaged: bool = False


@dataclass(frozen=True)
class Proposal:
    """What a folder holds.

    Parameters
    ----------
    groups : list of Group
    left : list of Left
    """

    groups: list[Group] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)

    def back_first(self) -> "Proposal":
        """The proposal if what was ordered as taken was taken from front to back."""
        groups = [
            group
            if group.is_ordered
            else replace(group, frames=group.frames[::-1], why=f"{group.why}, turned round")
            for group in self.groups
        ]
        return replace(self, groups=groups)


def ordered_by_scale(proposal: Proposal, growths: Sequence[Growth | None]) -> Proposal:
    """Order what nothing else orders by how large it is shown: near focus shows things larger.

    So does a lens that moves as a whole; some macro lenses, and cameras moved on a rail, do the
    opposite.

    Parameters
    ----------
    proposal : Proposal
    growths : sequence of Growth, optional
        Of each of its groups as taken; None where that is not known.
    """
    groups = [
        _by_scale(group, grown) if grown and not group.is_ordered else group
        for group, grown in zip(proposal.groups, growths, strict=True)
    ]
    return replace(proposal, groups=groups)


def _by_scale(group: Group, grown: Growth) -> Group:
    if not grown.is_sure:
        doubt = "nothing tells which end is the back"
        return replace(group, doubts=(*group.doubts, doubt))
    why = (
        f"{group.why.rpartition('; ')[0]}; order by scale, {abs(grown.change):.1%} larger in front"
    )
    frames = group.frames if grown.change > 0 else group.frames[::-1]
    return replace(group, frames=frames, why=why, is_ordered=True)


def propose(shots: Iterable[Shot], look: Looks, *, steady_ids: bool = False) -> Proposal:
    """Propose which shots of a shoot belong together.

    Shots of one folder, body and kind of file are put in order, and parted where the camera's own
    tags, names, settings, times, the scene or the focus say that something new begins.

    Parameters
    ----------
    shots : iterable of Shot
        In any order.
    look : callable
        What shots show, None for one that cannot be read; asked only where nothing else decides.
    steady_ids : bool
        Name every stack after its first frame, so that what comes later does not change it;
        else a folder that holds one stack names it.
    """
    proposal = Proposal()
    for folder, members in groupby(sorted(shots, key=_place), key=lambda shot: _folder(shot.name)):
        found = [
            group
            for _, those in groupby(members, key=_place)
            for group in _in_one_place(list(those), look, proposal.left)
        ]
        if len(found) == 1 and folder not in ("", ".") and not steady_ids:
            found = [replace(found[0], id=folder)]
        proposal.groups.extend(found)
    pairs = _pairs_over_folders(proposal.left)
    paired = {name for group in pairs for name in group.frames}
    left = [one for one in proposal.left if one.name not in paired]
    return Proposal(with_unique_ids([*proposal.groups, *pairs]), left)


def _place(shot: Shot) -> tuple[str, str, tuple[str, ...]]:
    return _folder(shot.name), shot.format, shot.body


def _in_one_place(shots: list[Shot], look: Looks, left: list[Left]) -> Iterator[Group]:
    """The stacks of one folder, body and kind; what is of none is added to `left`."""
    left.extend(Left(shot.name, shot.made_of) for shot in shots if shot.made_of)
    shots = in_order([shot for shot in shots if not shot.made_of])
    pairs = _named_pairs(shots)
    yield from (_pair(name, pair) for name, pair in pairs.items())
    paired = {shot.name for pair in pairs.values() for shot in pair}
    shots = [shot for shot in shots if shot.name not in paired]
    for run in _runs(shots):
        if len(run) == 1:
            left.append(Left(run[0].name, _SINGLE))
        elif all(shot.series.bracketed for shot in run):
            yield _group(run, "the camera's focus bracketing")
        else:
            yield from _by_looks(run, look, left)


# --- order


def in_order(shots: Sequence[Shot]) -> list[Shot]:
    """Shots as they were taken: by time where all state it, and by name.

    A counter that went over its end (9999, then 0001) goes on after it.
    """
    by_name = as_counted(shots, lambda shot: shot.name)
    if any(shot.time is None for shot in shots):
        return by_name
    return sorted(by_name, key=lambda shot: shot.time or 0.0)


# --- names


def _named_pairs(shots: Sequence[Shot]) -> dict[str, list[Shot]]:
    """Shots named for their side (`x_back`, `front-x`), back first, by what their names share."""
    sides: dict[str, dict[bool, Shot]] = defaultdict(dict)
    for shot in shots:
        if side := _side(PurePosixPath(shot.name).stem):
            sides[side.shared][side.is_back] = shot
    return {name: [both[True], both[False]] for name, both in sides.items() if len(both) == 2}


def _pairs_over_folders(left: Iterable[Left]) -> list[Group]:
    """Photographs of no stack that have one name in folders named for their side (`far/1.jpg`)."""
    sides: dict[PurePosixPath, dict[bool, str]] = defaultdict(dict)
    for one in left:
        path = PurePosixPath(one.name)
        if one.why in (_SINGLE, _BURST) and (side := _side(path.parent.name)):
            sides[path.parent.parent / side.shared / path.stem][side.is_back] = one.name
    return [
        Group(str(name), (both[True], both[False]), "names of folders: back and front")
        for name, both in sides.items()
        if len(both) == 2
    ]


class _Side(NamedTuple):
    shared: str  # the name without the word for the side
    is_back: bool


def _side(name: str) -> _Side | None:
    found = _SIDES.match(name)
    if found is None:
        return None
    return _Side("_".join(filter(None, (found[1], found[3]))), found[2].lower() in _BACK)


def _pair(name: str, pair: list[Shot]) -> Group:
    folder = PurePosixPath(pair[0].name).parent
    fallback = PurePosixPath(pair[0].name).stem
    frames = tuple(shot.name for shot in pair)
    return Group(str(folder / (name or fallback)), frames, "names: back and front")


# --- tags, settings and times


def _runs(shots: list[Shot]) -> Iterator[list[Shot]]:
    """Shots in order, parted where settings, series or a wait say that something new begins."""
    limit = gap_limit(shots)
    run: list[Shot] = []
    for shot in shots:
        if run and _begins(run[-1], shot, limit):
            yield run
            run = []
        run.append(shot)
    if run:
        yield run


def gap_limit(shots: Sequence[Shot]) -> float:
    """Seconds between shots from which a new stack begins."""
    times = [shot.time for shot in shots if shot.time is not None]
    gaps = [after - before for before, after in pairwise(times)]
    return max(LEAST_GAP, GAP_FACTOR * statistics.median(gaps)) if gaps else LEAST_GAP


def _begins(before: Shot, shot: Shot, limit: float) -> bool:
    """Whether a shot begins something new."""
    then, now = before.series, shot.series
    if (before.size, before.settings, then.key) != (shot.size, shot.settings, now.key):
        return True
    if bool(then.bracketed) != bool(now.bracketed):
        return True
    if then.number is not None and now.number is not None and now.number <= then.number:
        return True
    if before.time is not None and shot.time is not None:
        return shot.time - before.time > limit
    return _head(before) != _head(shot)


def _head(shot: Shot) -> str:
    found = counted(shot.name)
    return found[0] if found else shot.name


# --- looks


def _by_looks(run: list[Shot], look: Looks, left: list[Left]) -> Iterator[Group]:
    """Part what times and names hold together by what is to be seen."""
    seen = list(zip(run, look(run), strict=True))
    left.extend(
        Left(shot.name, "cannot be read", is_damaged=True) for shot, view in seen if view is None
    )
    told = [(shot, view) for shot, view in seen if view is not None]
    why = "times" if all(shot.time is not None for shot in run) else "names"
    for scene in _scenes(told):
        starts = [0, *returns([view for _, view in scene]), len(scene)]
        for start, end in pairwise(starts):
            part = scene[start:end]
            shots = [shot for shot, _ in part]
            if len(part) == 1:
                reason = _SINGLE
            elif not focus_moves([view for _, view in part]):
                reason = _BURST
            else:
                yield _group(shots, f"{why} and what is in focus", _doubts(shots))
                continue
            left.extend(Left(shot.name, reason) for shot in shots)


def with_holes(proposal: Proposal) -> Proposal:
    """Mark stacks of which frames are left out because they are damaged, going by names."""
    places = {name: n for n, group in enumerate(proposal.groups) for name in group.frames}
    damaged = {one.name for one in proposal.left if one.is_damaged}
    holes: dict[int, list[str]] = defaultdict(list)
    for _, names in groupby(sorted(places.keys() | damaged, key=_folder), key=_folder):
        order = as_counted(names)
        stacks = [(places[name], at) for at, name in enumerate(order) if name in places]
        for (stack, start), (other, end) in pairwise(stacks):
            if stack == other:
                holes[stack] += order[start + 1 : end]
    groups = list(proposal.groups)
    for stack, missing in holes.items():
        if missing:
            those = ", ".join(PurePosixPath(name).name for name in missing)
            doubts = (*groups[stack].doubts, f"without {those}, which cannot be read")
            groups[stack] = replace(groups[stack], doubts=doubts)
    return replace(proposal, groups=groups)


def _folder(name: str) -> str:
    return str(PurePosixPath(name).parent)


def _scenes(told: list[tuple[Shot, Look]]) -> Iterator[list[tuple[Shot, Look]]]:
    part: list[tuple[Shot, Look]] = []
    for one in told:
        if part and not show_one_scene(part[-1][1], one[1]):
            yield part
            part = []
        part.append(one)
    if part:
        yield part


def _doubts(shots: Sequence[Shot]) -> tuple[str, ...]:
    return ("only two frames",) if len(shots) == 2 else ()


# --- stacks


def _group(shots: Sequence[Shot], why: str, doubts: tuple[str, ...] = ()) -> Group:
    frames, order = _back_to_front(shots)
    first = PurePosixPath(shots[0].name)
    why = f"{why}; {order or 'order as taken'}"
    return Group(str(first.with_suffix("")), frames, why, doubts, is_ordered=bool(order))


def _back_to_front(shots: Sequence[Shot]) -> tuple[tuple[str, ...], str]:
    """The frames in order, and what that order is from; nothing if they are as taken."""
    names = tuple(shot.name for shot in shots)
    distances = [shot.distance for shot in shots]
    known = [distance for distance in distances if distance is not None]
    if len(known) == len(shots) and len(set(known)) > 1:
        ranked = sorted(shots, key=lambda shot: -(shot.distance or 0.0))
        return tuple(shot.name for shot in ranked), "order by focus distance"
    nearer = {shot.series.nearer for shot in shots}
    if nearer == {False}:
        return names[::-1], "order by the camera's direction"
    return names, "order by the camera's direction" if nearer == {True} else ""


def with_unique_ids(
    groups: Iterable[Group],
    same: Callable[[str], str] = str.casefold,
    taken: Collection[str] = (),
) -> list[Group]:
    """Groups with ids that are no other's, with a number after those that would be.

    Parameters
    ----------
    groups : iterable of Group
    same : callable
        Gives the same for ids that cannot be told apart.
    taken : collection of str
        What it gives for ids that are no longer free.
    """
    seen, found = set(taken), []
    for group in groups:
        wanted = chain([group.id], (f"{group.id}-{number}" for number in count(2)))
        free = next(name for name in wanted if same(name) not in seen)
        seen.add(same(free))
        found.append(replace(group, id=free))
    return found
