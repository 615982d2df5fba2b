"""Which photographs of a folder are stacks: the proposal as people see it, and for a run."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from batchstack import files
from batchstack.batch.manifest import PROPOSAL
from batchstack.cli.screen import say
from batchstack.errors import ManifestError, OptionError, OutputInUseError
from batchstack.scan.folder import Folder
from batchstack.scan.grouping import Group, Left, Proposal
from batchstack.scan.manifests import COLUMNS, as_manifest

_SHOWN = 5  # photographs named for one reason
_HEAD = ",".join(COLUMNS).encode()  # how a proposal starts


def lines(groups: Sequence[Group], left: Iterable[Left]) -> Iterator[str]:
    """A line for each stack, and one for each reason why photographs are left out."""
    yield from _table(groups)
    yield from _reasons(left)


def write_proposal(folder: Path, output: Path, *, reverse: bool) -> Path:
    """Show which photographs of a folder are stacks, and leave the manifest for a run.

    Parameters
    ----------
    folder : Path
    output : Path
        Output directory, which the manifest goes to; it may lie in the folder.
    reverse : bool
        Whether photographs were taken from front to back where nothing tells.

    Raises
    ------
    OptionError
        If the folder is the output directory.
    OutputInUseError
        If a file of the manifest's name is no proposal.
    ManifestError
        If there are no stacks.
    FileError
        If the folder cannot be read, or the manifest not written.
    """
    if folder.resolve() == output.resolve():
        raise OptionError(f"{output}: is the folder of the photographs; give outputs their own")
    path = output / PROPOSAL
    _refuse_strange(path)
    proposal = Folder(folder, skip=(output,), by_scale=not reverse).propose()
    if reverse:
        proposal = proposal.back_first()
    text, unnamed = as_manifest(proposal, folder, path)
    for line in lines(proposal.groups, [*proposal.left, *unnamed]):
        say(line)
    refuse_none(proposal, folder)
    files.replace_file(path, text.encode())
    return path


def refuse_none(proposal: Proposal, folder: Path) -> None:
    """Raise ManifestError if nothing is proposed."""
    if not proposal.groups:
        raise ManifestError(f"{folder}: no stacks were found; the reasons stand above")


def _refuse_strange(path: Path) -> None:
    """Refuse to replace a file that no run has left."""
    if files.size_of(path) is None:
        return
    try:
        is_ours = files.read_bytes(path).startswith(_HEAD)
    except OSError:  # such as a folder
        is_ours = False
    if not is_ours:
        raise OutputInUseError(
            f"{path}: is not a proposal that a run has left; rename or remove it, because a run "
            "of a folder keeps its proposal there"
        )


def _table(groups: Sequence[Group]) -> Iterator[str]:
    """The stacks in columns, the widest id deciding."""
    width = max((len(group.id) for group in groups), default=0)
    for group in groups:
        first, last = (PurePosixPath(name).name for name in (group.frames[0], group.frames[-1]))
        doubts = f"  [{'; '.join(group.doubts)}]" if group.doubts else ""
        yield f"{group.id:{width}}  {len(group.frames):4}  {first} .. {last}  {group.why}{doubts}"


def _reasons(left: Iterable[Left]) -> Iterator[str]:
    """What is of no stack, one line a reason."""
    names = defaultdict(list)
    for one in left:
        names[one.why].append(one.name)
    for why, those in names.items():
        more = f" and {len(those) - _SHOWN} more" if len(those) > _SHOWN else ""
        yield f"left out, {why}: {', '.join(those[:_SHOWN])}{more}"
