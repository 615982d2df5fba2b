"""Machine code of kernels kept on disk, for as long as the sources it was made from stay the same.

Numba holds code for fresh while the file of the kernel does not change.  A kernel is made
of routines and constants of other files too, so here it is all sources of the rooms that
have kernels that must be the same, byte for byte; when they were written does not matter.
"""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.runtime import rtsys

from batchstack.compiled import COMPILED

# Packages with kernels, and with all that becomes a part of their machine code.
ROOMS = ("compiled", "fusion", "registration")


def _sources(folder: Traversable) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the sources in a package and those in it, in a fixed order."""
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".py"):
            yield file.name, file.read_bytes()
        elif file.is_dir() and file.name != "__pycache__":
            yield from _sources(file)


def _digest() -> str:
    """SHA-256 over names and contents of the sources; empty where there are none (frozen)."""
    parts = [
        (name, hashlib.sha256(content).hexdigest())
        for room in ROOMS
        for name, content in _sources(resources.files("batchstack") / room)
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest() if parts else ""


SOURCES = _digest()


class _StampedCode(CompileResultCacheImpl):  # type: ignore[misc]
    """How code is written and read: with the digest of its sources.

    The index of a kernel has it, so that it is written anew when the sources differ.
    The code itself has it, because Numba writes it after the index: a process that reads
    between the two, or after the writer was killed there, would find code of other sources.
    """

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        if SOURCES:
            self.locator.get_source_stamp = lambda: SOURCES

    def get_filename_base(self, fullname: str, abiflags: str) -> str:
        # Without the line of the kernel: code of one that has moved is replaced, not left behind.
        base: str = super().get_filename_base(fullname, abiflags)
        return base.replace(f"-{self.locator.get_disambiguator()}.py", ".py")

    def reduce(self, code: Any) -> tuple[str, Any]:
        return SOURCES, super().reduce(code)

    def rebuild(self, target_context: Any, stamped: Any) -> Any:
        """The code, None if it is of other sources."""
        sources, *code = stamped
        return super().rebuild(target_context, *code) if sources == SOURCES else None


class _Cache(FunctionCache):  # type: ignore[misc]
    """The code of one kernel; what cannot be read or written is compiled when needed."""

    _impl_class = _StampedCode
    counts_references = True

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        code = None
        try:
            # Numba would first load all it knows of types and operators, which takes twice as
            # long as the code.  Only to compile is it wanted, and Numba loads it then.
            if self.counts_references:
                rtsys.initialize(target_context)
            code = self._load_overload(signature, target_context)
        except Exception:  # a torn file, or code that refers to what is no longer there
            with suppress(OSError):
                self.flush()
        if code is None:
            COMPILED.append(self._impl.filename_base)
        return code

    def _index_key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
        # Numba adds a digest of the function and of what it closes over, which for a routine is
        # another in every process; the sources are known to be the same.
        return signature, codegen.magic_tuple()

    def save_overload(self, signature: Any, code: Any) -> None:
        with suppress(OSError):  # such as a full disk
            super().save_overload(signature, code)


def keep(compiled: Any) -> None:
    """Let a compiled function load its code from disk and save it there.

    Parameters
    ----------
    compiled : numba.core.dispatcher.Dispatcher

    Raises
    ------
    RuntimeError
        If neither the package's folder nor the user's can be written.
        Or if this Numba has no place for a cache of this kind; nothing is kept then.
    """
    cache = _Cache(compiled.py_func)
    if not (hasattr(compiled, "_cache") and isinstance(cache._impl, _StampedCode)):
        raise RuntimeError("this version of Numba keeps code in another way")
    cache.counts_references = compiled.targetoptions.get("_nrt", True)
    compiled._cache = cache
