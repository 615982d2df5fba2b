"""Kernels as Python calls them, and the routines that they are made of.

Numba compiles a kernel for the types that it is called with, and is loaded for nothing else: what
it has made is kept on disk, and linked by LLVM and called in a process without it.
What is called takes one pointer, to a row of 64-bit words: a number, or the address of an array
object, for each of a call's arguments and for each member of those that are tuples.
"""

from collections.abc import Callable
from functools import cached_property, update_wrapper
from threading import RLock
from typing import Any

import numpy as np

# Names of kernels that were compiled because no code of them was found on disk, and of those
# among them that the next process has to compile again.
COMPILED: list[str] = []
UNKEPT: list[str] = []
# Called before a kernel is compiled, which takes seconds.
LISTENERS: list[Callable[[], None]] = []

# What a call's arguments are, all that machine code depends on: in a row for each array its dtype,
# dimensions and order (C or any), for each tuple its class and length, then its members, and for
# each number its class.
Kinds = tuple[Any, ...]
Words = list[Any]
Run = Callable[[tuple[Any, ...], Words], None]

_LOCK = RLock()


def describe(arguments: tuple[Any, ...], kinds: list[Any], words: Words) -> None:
    """Append the kinds of arguments, and their numbers and the addresses of their arrays."""
    for value in arguments:
        kind = type(value)
        if kind is int or kind is float:  # as most are
            kinds.append(kind)
            words.append(value)
        elif isinstance(value, np.ndarray):
            flags = value.flags
            ordered = flags.carray or (flags.c_contiguous and flags.aligned)
            kinds += (value.dtype, value.ndim, "C" if ordered else "A")
            words.append(id(value))
        elif isinstance(value, tuple):
            kinds += (kind, len(value))
            describe(value, kinds, words)
        else:
            kinds.append(kind)
            words.append(value)


class Kernel:
    """A compiled function; see `compiled.kernel`."""

    def __init__(self, function: Callable[..., None]) -> None:
        if function.__closure__:
            raise TypeError(f"{function.__qualname__}: a kernel closes over nothing")
        update_wrapper(self, function)
        self.function = function
        self.name = f"{function.__module__}.{function.__qualname__}"
        self._runs: dict[Kinds, Run] = {}

    def __call__(self, *arguments: Any) -> None:
        self._call((), arguments, [], [])

    def bound(self, *first: Any) -> Callable[..., None]:
        """See `compiled.bound`."""
        kinds: list[Any] = []
        words: Words = []
        describe(first, kinds, words)
        return lambda *rest: self._call(first, rest, kinds.copy(), words.copy())

    def _call(
        self, first: tuple[Any, ...], rest: tuple[Any, ...], kinds: list[Any], words: Words
    ) -> None:
        """Call it with all arguments, of which the first are described."""
        describe(rest, kinds, words)
        key = tuple(kinds)
        run = self._runs.get(key) or self._prepared(key, words)
        run(first + rest, words)

    @property
    def prepared(self) -> int:
        """For how many kinds of arguments it was loaded or compiled."""
        return len(self._runs)

    def _prepared(self, kinds: Kinds, words: Words) -> Run:
        with _LOCK:
            if kinds not in self._runs:
                self._runs[kinds] = self._kept(kinds, words) or self._compiled(kinds, words)
            return self._runs[kinds]

    def _kept(self, kinds: Kinds, words: Words) -> Run | None:
        try:
            from batchstack.compiled import kept, machine

            code = kept.read(self.name, kinds)
            return machine.runner(code, words) if code else None
        except Exception:  # such as code that this process cannot link
            return None

    def _compiled(self, kinds: Kinds, words: Words) -> Run:
        for hear in LISTENERS:
            hear()
        COMPILED.append(self.name)
        from batchstack.compiled import compiler

        try:
            from batchstack.compiled import kept, machine

            code = compiler.machine_code(self.function, kinds)
            run = machine.runner(code, words)
            if not kept.write(self.name, kinds, code):
                UNKEPT.append(self.name)
            return run
        except Exception:
            # This version of Numba or LLVM has other ways, or the code needs Numba when it runs.
            # If the kernel itself is wrong, its next compilation says so.
            UNKEPT.append(self.name)
            plain = compiler.routine(self.function)
            return lambda arguments, words: plain(*arguments)


class Routine:
    """What kernels call: a Python function until the first of them is compiled.

    Parameters
    ----------
    function : callable
    make : str
        The function of `compiler` that has Numba make something of it.
    """

    def __init__(self, function: Callable[..., Any], make: str) -> None:
        update_wrapper(self, function)
        self.function, self._make = function, make

    @cached_property
    def compiled(self) -> Any:
        from batchstack.compiled import compiler

        return getattr(compiler, self._make)(self.function)

    def __call__(self, *arguments: Any) -> Any:
        return self.compiled(*arguments)
