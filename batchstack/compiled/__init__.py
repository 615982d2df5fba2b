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
from numba import njit, types
from numba.extending import intrinsic

Pixels = npt.NDArray[Any]
Planes = npt.NDArray[np.float32]
Counts = npt.NDArray[np.uint8]
_Function = TypeVar("_Function", bound=Callable[..., Any])


# For each kernel whether it can be kept on disk.
KEPT: list[bool] = []
# Names of kernels that were compiled because no code of them was found on disk.
COMPILED: list[str] = []


def kernel(function: _Function) -> _Function:
    """A function compiled when first called and kept on disk; it does not hold the GIL.

    It is found on disk by its name and by what it closes over, which differs from process to
    process if that is a routine: so it closes over nothing and stands at the top of a module.
    """
    return cast(_Function, _kept(njit(nogil=True, error_model="numpy")(function)))


def bare_kernel(function: _Function) -> _Function:
    """A kernel that makes no arrays: it counts no references, which cost as much as short rows."""
    return cast(
        _Function,
        _kept(njit(nogil=True, error_model="numpy", _nrt=False, no_cfunc_wrapper=True)(function)),
    )


def _kept(compiled: Any) -> Any:
    if compiled.py_func.__closure__:
        raise TypeError(f"{compiled.py_func.__qualname__}: a kernel closes over nothing")
    try:
        from batchstack.compiled.kept import keep

        keep(compiled)
    except Exception:  # no folder can be written, or this Numba keeps code by other means
        KEPT.append(False)
    else:
        KEPT.append(True)
    return compiled


def routine(function: _Function) -> _Function:
    """A function that kernels call; it makes no arrays and returns none.

    It is part of their machine code, which is kept until any source of a room with kernels changes.
    """
    return cast(_Function, njit(error_model="numpy", _nrt=False)(function))


def inlined(function: _Function) -> _Function:
    """A routine that becomes a part of what calls it before that is compiled.

    To hand over many arrays costs nothing then.
    """
    return cast(_Function, njit(error_model="numpy", _nrt=False, inline="always")(function))


@intrinsic  # type: ignore[untyped-decorator]
def fused(context: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c of float32, rounded once: one instruction, everywhere and in every loop the same."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.fma(*values)

    return types.float32(types.float32, types.float32, types.float32), generate


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
