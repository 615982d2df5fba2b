"""Names of image files in the order in which people and cameras count."""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any, TypeVar

_COUNTER = re.compile(r"^(.*?)(\d+)(\D*)$", re.DOTALL)
_DCF = 4  # digits that cameras count with, whatever stands before them (DCF 2.0, 3.2)
T = TypeVar("T")


def counted(name: str) -> tuple[str, str] | None:
    """What stands before the last number of a name without its folders and ending, and that."""
    found = _COUNTER.match(PurePosixPath(name).stem)
    return (found[1], found[2]) if found else None


def in_natural_order(items: Iterable[T], name: Callable[[T], str] = str) -> list[T]:
    """Items by their names as people count: `f2.tif` before `f10.tif`."""
    from natsort import natsort_keygen, ns

    natural: Callable[[str], Any] = natsort_keygen(alg=ns.PATH)
    return sorted(items, key=lambda item: natural(name(item)))


def as_counted(items: Iterable[T], name: Callable[[T], str] = str) -> list[T]:
    """The same, but `IMG_9999.jpg` before `IMG_0001.jpg` where a camera's counter was full.

    It is taken for full where the names are of its first and last tenth and none between.
    """
    ordered = in_natural_order(items, name)
    start = _beginning([counted(name(item)) for item in ordered])
    return ordered[start:] + ordered[:start]


def _beginning(found: Sequence[tuple[str, str] | None]) -> int:
    """The index of the name that others before it in natural order follow."""
    lengths = {len(one[1]) if one else 0 for one in found}
    if len(found) < 2 or len(lengths) > 1 or lengths == {0}:
        return 0
    (length,) = lengths
    for digits in dict.fromkeys((length, min(length, _DCF))):
        split = [
            (head + number[:-digits], int(number[-digits:])) for head, number in filter(None, found)
        ]
        numbers = [number for _, number in split]
        if len({head for head, _ in split}) == 1 and (start := _turn(numbers, 10**digits)):
            return start
    return 0


def _turn(numbers: Sequence[int], room: int) -> int:
    gaps = [after - before for before, after in pairwise(numbers)]
    widest = max(range(len(gaps)), key=gaps.__getitem__)
    is_full = numbers[0] < room // 10 and numbers[-1] >= room - room // 10
    return widest + 1 if is_full and gaps[widest] > room // 2 else 0
