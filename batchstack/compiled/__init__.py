"""Compiling the inner loops of the fusion, and the rules they keep.

Arrays are planar, (planes, rows, columns), C-contiguous and float32 unless said
otherwise; a kernel fills its last array.
A stack is held as its first frame and what the others differ from it by: frames, Gaussian levels
and bands alike, for all of them are linear.
Beyond the edges of a window everything is mirrored (reflect-101).
An array may be a *ring* that holds the latest rows only: row y is at y modulo its rows, and
the `height` that it stands for is given beside it.

Every value is computed from its own neighbours in one fixed order, without reordered arithmetic,
and fused only where `fused` says so: it does not depend on where a block, a row or an array begins.

Rows are cut out once, before the loop over them, and never chosen by a condition: this
is what lets the compiler vectorise a loop and, where references are counted, keeps that out
of it.
Only rows are cut out: of a plane that is cut in two directions the compiler no longer knows that
neighbours lie side by side, and does not vectorise.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from batchstack.compiled.kernels import COMPILED, LISTENERS, UNKEPT, Kernel, Routine

__all__ = [
    "COMPILED",
    "LISTENERS",
    "UNKEPT",
    "Counts",
    "Pixels",
    "Planes",
    "bound",
    "fused",
    "inlined",
    "kernel",
    "mirror_ends",
    "mirrored",
    "routine",
]

Pixels = npt.NDArray[Any]
Planes = npt.NDArray[np.float32]
Counts = npt.NDArray[np.uint8]
_Function = TypeVar("_Function", bound=Callable[..., Any])


def kernel(function: _Function) -> _Function:
    """A function that Python calls, compiled when first called and kept on disk.

    It stands at the top of a module, makes no arrays and returns nothing: it counts no
    references, which cost as much as short rows, and does not hold the GIL.
    """
    return cast(_Function, Kernel(function))


def bound(kernel: Callable[..., None], *first: Any) -> Callable[..., None]:
    """A kernel with its first arguments given.

    They are looked at once instead of at every call, which for tuples of fifty arrays matters.
    """
    return cast(Kernel, kernel).bound(*first)


def routine(function: _Function) -> _Function:
    """A function that kernels call; it makes no arrays and returns none.

    It is part of their machine code, which is kept until any source of a room with kernels changes.
    """
    return cast(_Function, Routine(function, "routine"))


def inlined(function: _Function) -> _Function:
    """A routine that becomes a part of what calls it before that is compiled.

    To hand over many arrays costs nothing then.
    """
    return cast(_Function, Routine(function, "inlined"))


def fused(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
    """a b + c of float32, rounded once: one instruction, everywhere and in every loop the same."""
    raise NotImplementedError("only kernels can do this")


fused = cast(Callable[..., Any], Routine(fused, "fused"))


@routine
def mirrored(index: int, size: int) -> int:
    """An index of any value folded into 0 to size - 1."""
    if 0 <= index < size:
        return index
    if size == 1:
        return 0
    folded = index % (2 * size - 2)
    return folded if folded < size else 2 * size - 2 - folded


@routine
def mirror_ends(line: Planes, column: int, width: int) -> None:
    """Fill the columns of a line outside an image of `width` from those inside."""
    for j in range(-column):
        line[j] = line[mirrored(column + j, width) - column]
    for j in range(width - column, line.size):
        line[j] = line[mirrored(column + j, width) - column]
