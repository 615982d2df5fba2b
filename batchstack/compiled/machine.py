"""Machine code of this processor, linked into this process by LLVM."""

import ctypes
import struct
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from batchstack.compiled.kernels import Run, Words

# How Numba calls a function: places for what it returns and raises, then its argument.
_ENTRY = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)
_PLACES = ctypes.create_string_buffer(16)


@dataclass(frozen=True)
class Code:
    """An object file, and the name of the function in it that takes words."""

    symbol: str
    content: bytes


@cache
def processor() -> str:
    """What machine code is for: the system, the processor and what it can do."""
    features = llvm.get_host_cpu_features().flatten()
    return f"{llvm.get_default_triple()} {llvm.get_host_cpu_name()} {features}"


@cache
def _linker() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.create_lljit_compiler()


def runner(code: Code, words: Words) -> Run:
    """Link machine code.

    Parameters
    ----------
    code : Code
    words : list
        Of any call whose arguments are of the kinds that it is for.

    Raises
    ------
    RuntimeError
        If it refers to what this process has not.
    """
    library = llvm.JITLibraryBuilder().add_object_img(code.content).add_current_process()
    linked = library.export_symbol(code.symbol).link(_linker(), f"{code.symbol} {id(code)}")
    entry, place = _ENTRY(linked[code.symbol]), ctypes.addressof(_PLACES)
    fractions = [isinstance(word, float | np.floating) for word in words]
    pack = struct.Struct("=" + "".join("qd"[fraction] for fraction in fractions)).pack

    def run(arguments: tuple[Any, ...], words: Words) -> None:
        if entry(place, place, pack(*words)):
            raise RuntimeError(f"{code.symbol} has failed")

    run.holds = linked  # type: ignore[attr-defined] # the code goes with it
    return run
