"""Outputs compared with what the ledger recorded of them; nothing is written."""

import math
import random
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from batchstack import files
from batchstack.batch.ledger import Ledger
from batchstack.errors import FileError
from batchstack.images import Written, check_image

Subset = Callable[[int], int]
"""How many outputs of so many to read."""


@dataclass(frozen=True)
class Verified:
    """One output that was compared with its record.

    Attributes
    ----------
    stack : str
    path : Path
    difference : str, optional
        What is not as recorded.
    was_read : bool
        Whether its content was read, and not its size alone.
    has_digest : bool
        Whether its record can tell other content of the same size.
    """

    stack: str
    path: Path
    difference: str | None
    was_read: bool
    has_digest: bool


def recorded_outputs(ledger: Ledger) -> Iterator[tuple[str, str, Written]]:
    """Stack, place in the directory and record of each output; of one that was redone, the last."""
    for stack_id, history in ledger:
        for record in history.records.values():
            for name, output in record.outputs.items():
                yield stack_id, record.place(stack_id, name), output


def verify(ledger: Ledger, directory: Path, total: int, count: int) -> Iterator[Verified]:
    """Compare all outputs with their records, and read some.

    Parameters
    ----------
    ledger : Ledger
    directory : Path
        The output directory.
    total : int
        How many outputs the ledger has.
    count : int
        How many of them to read, chosen at random.
    """
    chosen = choose(count, total)
    for (stack_id, place, output), read in zip(recorded_outputs(ledger), chosen, strict=False):
        path = directory / place
        difference = difference_in_size(path, output)
        was_read = read and difference is None
        if was_read:
            difference = difference_in_content(path, output)
        yield Verified(stack_id, path, difference, was_read, output.digest is not None)


def subset(text: str) -> Subset:
    """What "all", "5%" or "200" asks for.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if text == "all":
        return lambda total: total
    if text.endswith("%"):
        share = float(text[:-1]) / 100
        if not 0 < share <= 1:
            raise ValueError(text)
        return lambda total: math.ceil(share * total)
    count = int(text)
    if count < 1:
        raise ValueError(text)
    return lambda total: min(count, total)


def choose(count: int, total: int) -> Iterator[bool]:
    """For each of `total` whether it is one of `count`, every choice being equally likely.

    It is selection sampling, which needs no list of what there is to choose from [1]_.

    References
    ----------
    .. [1] D. E. Knuth, The Art of Computer Programming, volume 2, algorithm 3.4.2 S.
    """
    for left in range(total, 0, -1):
        chosen = random.randrange(left) < count
        count -= chosen
        yield chosen


def difference_in_size(path: Path, output: Written) -> str | None:
    """How a file differs from its record without being opened, or None."""
    try:
        found = files.status(path)
    except (FileNotFoundError, NotADirectoryError):
        return "is missing"
    except OSError as error:
        return f"cannot be seen: {error.strerror}"
    if not stat.S_ISREG(found.st_mode):
        return "is not a file"
    if found.st_size != output.size:
        return f"has {found.st_size} bytes instead of {output.size}"
    return None


def difference_in_content(path: Path, output: Written) -> str | None:
    """How the content of a file differs from its record or is no image, or None."""
    try:
        return check_image(path, output)
    except FileError as error:
        return str(error).removeprefix(f"{path}: ")
