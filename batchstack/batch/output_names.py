"""Where the outputs of stacks are: the template of their names, filled in.

A directory has one template for all its runs; each record keeps it in its key.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np

from batchstack.batch.manifest_patterns import same_name
from batchstack.batch.manifest_rows import OWN_NAMES, unportable
from batchstack.fusion.methods import METHODS
from batchstack.options import DEFAULT_NAME

_FIELD = re.compile(r"\{(output|id|name)\}")
_OUTPUTS = tuple(name for method in METHODS.values() for name in method.outputs)


def place(template: str, stack_id: str, file: str) -> str:
    """Where a file of a stack is, from the output directory, `/` between segments.

    Parameters
    ----------
    template : str
        With `{output}`, and `{id}` or `{name}`, the last part of the id.
    stack_id : str
        Empty for the one stack of `fuse`, whose outputs have no folder of their own.
    file : str
        The output with its ending, such as "depth_map.png".

    Examples
    --------
    >>> place("{id}_{output}", "night/a", "depth_map.png")
    'night/a_depth_map.png'
    >>> place("{name}_{output}", "night/a", "depth_map.png")
    'a_depth_map.png'
    """
    if template == DEFAULT_NAME:  # by far the most, and a long run asks often
        return f"{stack_id}/{file}" if stack_id else file
    output, dot, ending = file.partition(".")
    fields = {"output": output, "id": stack_id, "name": stack_id.rpartition("/")[2]}
    return _FIELD.sub(lambda found: fields[found[1]], template) + dot + ending


def has_own_folder(template: str) -> bool:
    """Whether no two stacks have outputs in one folder."""
    folder = template.rpartition("/")[0]
    return "{id}" in folder or "{name}" in folder


def name_faults(template: str, ids: Sequence[str]) -> Iterator[tuple[int, str]]:
    """What is wrong with the names of the outputs of stacks, on whatever system.

    Parameters
    ----------
    template : str
    ids : sequence of str
        Each a folder of its own by the rules of manifests, which is all that the usual template
        asks for.

    Yields
    ------
    (int, str)
        The index of a stack, and why it cannot be named so.
    """
    if template == DEFAULT_NAME:
        return
    for index, stack_id in enumerate(ids):
        if fault := _fault(place(template, stack_id, f"{_OUTPUTS[0]}.")):
            yield index, f"{stack_id!r} cannot be named by {template!r}: {fault}"
    for index, other, path in _collisions(template, ids):
        yield (
            index,
            f"{ids[index]!r} would have {path!r} where {ids[other]!r} has an output or a folder; "
            f"change one of the ids, or give another --name than {template!r}",
        )


def _fault(path: str) -> str | None:
    *folders, name = path.split("/")
    if folders and same_name(folders[0]) in OWN_NAMES:
        return f"{folders[0]!r} is a file that the program writes in the output directory"
    # What follows the name is the ending of a format.
    return next(filter(None, map(unportable, [*folders, f"{name}x"])), None)


def _collisions(template: str, ids: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Stacks that share a path: the later, the earlier, and the path; each later one once.

    Paths of a long manifest would fill the memory, so they are compared by their hashes first.
    """
    outputs = np.fromiter((hash(path) for one in ids for path in _paths(template, one)), np.int64)
    folders = {hash(folder) for one in ids for folder in _folders(template, one)}
    values, counts = np.unique(outputs, return_counts=True)
    taken = np.isin(values, np.fromiter(folders, np.int64, len(folders)))
    doubtful = set(values[(counts > 1) | taken].tolist())
    if not doubtful:
        return
    first: dict[str, tuple[int, bool]] = {}
    for index, stack_id in enumerate(ids):
        own = [(path, True) for path in _paths(template, stack_id)]
        own += [(path, False) for path in _folders(template, stack_id)]
        for path, is_output in own:
            if hash(path) not in doubtful:
                continue
            other, was_output = first.setdefault(path, (index, is_output))
            if other != index and (is_output or was_output):
                yield index, other, path
                break


def _paths(template: str, stack_id: str) -> Iterator[str]:
    """The outputs that a stack may have, without ending; alike where systems take them to be."""
    for output in _OUTPUTS:
        yield same_name(place(template, stack_id, f"{output}.").removesuffix("."))


def _folders(template: str, stack_id: str) -> set[str]:
    """All folders that its outputs are in."""
    return {
        folder
        for path in _paths(template, stack_id)
        for folder in accumulate(path.split("/")[:-1], "{}/{}".format)
    }
