"""Which photographs of a folder are stacks: the proposal as people see it, and for a run."""

import os
import sys
import textwrap
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path, PurePosixPath

import click

from batchstack import files
from batchstack.batch.claim import refused
from batchstack.batch.jobs import Input
from batchstack.batch.ledger import Ledger
from batchstack.batch.manifest import PROPOSAL, allowed_id, same_name
from batchstack.cli.screen import bar, columns, say, tell
from batchstack.errors import FileError, ManifestError, OptionError, OutputInUseError
from batchstack.formats import FORMATS, either
from batchstack.images import file_digest
from batchstack.scan.folder import Folder
from batchstack.scan.grouping import Group, Left, Proposal, with_unique_ids
from batchstack.scan.manifests import COLUMNS, as_manifest, nameable

_SHOWN = 5  # photographs named for one reason
_INDENT = "    "  # of what belongs to the line before
_HEAD = ",".join(COLUMNS).encode()  # how a proposal starts


def lines(groups: Sequence[Group], left: Iterable[Left], width: int | None) -> Iterator[str]:
    """A line for each stack, and one for each reason why photographs are left out.

    Where lines have so many characters at most, what a stack was found by is cut off, since its
    row of the manifest has all of it, and what is doubtful has lines of its own.
    """
    if not width:
        yield from chain(_table(groups), _reasons(left))
        return
    yield from _narrow_table(groups, width)
    for reason in _reasons(left):
        yield from _folded(reason, width)


def in_short(proposal: Proposal) -> str:
    """How many stacks there are, of how many photographs."""
    stacks, frames = len(proposal.groups), sum(len(group.frames) for group in proposal.groups)
    named = "1 stack" if stacks == 1 else f"{stacks} stacks"
    rest = f", {len(proposal.left)} left out" if proposal.left else ""
    return f"{named} of {frames} photographs{rest}"


@dataclass(frozen=True)
class Order:
    """What was asked of the order of photographs that no tag orders.

    Attributes
    ----------
    reverse : bool
        They were taken from front to back.
    as_taken : bool
        They were taken from back to front.
    """

    reverse: bool = False
    as_taken: bool = False

    @property
    def by_scale(self) -> bool:
        """Whether the order is to be found from how large they show things."""
        return not (self.reverse or self.as_taken)

    def of(self, proposal: Proposal) -> Proposal:
        """A proposal, turned round where that is asked for."""
        return proposal.back_first() if self.reverse else proposal


def load_kernels() -> None:
    """Load what compares frames for their scale; if it must be compiled, that is said."""
    from batchstack.batch.warm import warm_up

    warm_up(("alignment",), tell)


class FolderRun:
    """A run of a folder: first what is in it, then the manifest in the output directory.

    Parameters
    ----------
    folder : Path
    output : Path
        Output directory, which the manifest goes to; it may lie in the folder.
    order : Order

    Raises
    ------
    OptionError
        If the folder is the output directory.
    OutputInUseError
        If a file of the manifest's name is no proposal.
    ManifestError
        If there are no stacks; the reasons are shown before.
    FileError
        If the folder cannot be read.
    """

    def __init__(self, folder: Path, output: Path, order: Order) -> None:
        if folder.resolve() == output.resolve():
            raise OptionError(f"{output}: is the folder of the photographs; give outputs their own")
        self._folder, self._path = folder, output / PROPOSAL
        _refuse_strange(self._path)
        content = Folder(folder, (output,), by_scale=order.by_scale, bar=bar, prepare=load_kernels)
        found = content.propose()
        self._proposal = nameable(order.of(found), folder, self._path)
        if not self._proposal.groups:
            self._show(self._proposal)
        refuse_none(self._proposal, folder)

    def write(self, ledger: Ledger) -> Path:
        """Show which photographs are stacks, and leave the manifest, of a directory that is held.

        Raises
        ------
        OutputInUseError
            If it cannot be written.
        """
        proposal = with_known_ids(self._proposal, self._folder, ledger)
        self._show(proposal)
        say(in_short(proposal))
        with refused():
            content = as_manifest(proposal.groups, self._folder, self._path)
            files.replace_file(self._path, content)
        return self._path

    def _show(self, proposal: Proposal) -> None:
        for line in lines(proposal.groups, proposal.left, columns(sys.stderr)):
            say(line)


def with_allowed_ids(proposal: Proposal) -> Proposal:
    """The proposal with ids that folders can have everywhere, each another."""
    groups = [replace(group, id=allowed_id(group.id)) for group in proposal.groups]
    return replace(proposal, groups=with_unique_ids(groups, same_name))


def with_known_ids(proposal: Proposal, folder: Path, ledger: Ledger) -> Proposal:
    """The proposal with the ids that its stacks have in a ledger, and none of another stack.

    A frame is known by its path; by its name and content if it is no longer where it was.
    """
    known = _known_ids(proposal.groups, folder, ledger)
    taken = {same_name(stack_id) for stack_id in ledger.ids()}
    kept = {number: replace(proposal.groups[number], id=name) for number, name in known.items()}
    new = {}
    for number, group in enumerate(proposal.groups):
        if number not in kept:
            stack_id = allowed_id(group.id)
            if same_name(stack_id) in taken:  # of a stack that was there before
                stack_id = allowed_id(str(PurePosixPath(min(group.frames)).with_suffix("")))
            new[number] = replace(group, id=stack_id)
    free = with_unique_ids(new.values(), same_name, taken)
    groups = kept | dict(zip(new, free, strict=True))
    return replace(proposal, groups=[groups[number] for number in sorted(groups)])


def _known_ids(groups: Sequence[Group], folder: Path, ledger: Ledger) -> dict[int, str]:
    """The ids of groups in a ledger, each of the stack that it shares most frames with."""
    by_path, by_name = defaultdict(set), defaultdict(set)
    for number, group in enumerate(groups):
        for name in group.frames:
            path = _absolute(folder / name)
            by_path[path].add(number)
            by_name[PurePosixPath(name).name].add(path)

    def found_as(frame: Input) -> Collection[int]:
        if there := by_path.get(_absolute(frame.path)):
            return there
        others = by_name.get(PurePosixPath(frame.path).name, ())
        if not others or files.size_of(frame.path) is not None:
            return ()
        return {n for path in others if _is_moved(frame, path) for n in by_path[path]}

    shared = []
    for order, (stack_id, history) in enumerate(ledger):
        counts = Counter(number for frame in history.frames for number in found_as(frame))
        for number, count in counts.items():
            usual = stack_id != groups[number].id
            shared.append((-count, usual, order, stack_id, number))
    known: dict[int, str] = {}
    given: set[str] = set()
    for *_, stack_id, number in sorted(shared):
        if number not in known and stack_id not in given:
            known[number] = stack_id
            given.add(stack_id)
    return known


def _absolute(path: Path | str) -> str:
    return os.path.normpath(Path(path).absolute())


def _is_moved(frame: Input, path: str) -> bool:
    """Whether a file has the content that a frame had elsewhere."""
    try:
        return files.size_of(path) == frame.size and file_digest(path) == frame.digest
    except FileError:
        return False


def refuse_none(proposal: Proposal, folder: Path) -> None:
    """Raise ManifestError if nothing is proposed."""
    if not proposal.groups and not proposal.left:
        kinds = either(row.label for row in FORMATS.values())
        raise ManifestError(
            f"{folder}: holds no {kinds} file; give the folder of the photographs, and "
            "develop raw files first"
        )
    if not proposal.groups:
        raise ManifestError(f"{folder}: no stacks were found; the reasons stand above")


def _refuse_strange(path: Path) -> None:
    """Refuse to replace a file that no run has left."""
    if files.is_strange(path, _HEAD):
        raise OutputInUseError(
            f"{path}: is not a proposal that a run has left; rename or remove it, because a run "
            "of a folder keeps its proposal there"
        )


def _table(groups: Sequence[Group]) -> Iterator[str]:
    """The stacks in columns, the widest id deciding."""
    for row, group in zip(_rows(groups), groups, strict=True):
        yield f"{row}  {_doubts(group)}" if group.doubts else row


def _narrow_table(groups: Sequence[Group], width: int) -> Iterator[str]:
    for row, group in zip(_rows(groups), groups, strict=True):
        yield row if len(row) <= width else f"{row[: width - 1]}…"
        if group.doubts:
            yield from _folded(f"{_INDENT}{_doubts(group)}", width)


def _rows(groups: Sequence[Group]) -> Iterator[str]:
    width = max((len(group.id) for group in groups), default=0)
    for group in groups:
        first, last = map(PurePosixPath, (group.frames[0], group.frames[-1]))
        # Of frames in two folders these tell which is which.
        shown = 1 if first.parent == last.parent else 2
        ends = " .. ".join("/".join(path.parts[-shown:]) for path in (first, last))
        yield f"{group.id:{width}}  {len(group.frames):4}  {ends}  {group.why}"


def _doubts(group: Group) -> str:
    return f"[{'; '.join(group.doubts)}]"


def _folded(line: str, width: int) -> list[str]:
    """A line as several, where words end."""
    return textwrap.wrap(
        line,
        width,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _reasons(left: Iterable[Left]) -> Iterator[str]:
    """What is of no stack, one line a reason."""
    names = defaultdict(list)
    for one in left:
        names[one.why].append(click.format_filename(one.name))
    for why, those in names.items():
        more = f" and {len(those) - _SHOWN} more" if len(those) > _SHOWN else ""
        yield f"left out, {why}: {', '.join(those[:_SHOWN])}{more}"
