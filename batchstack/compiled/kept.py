"""Machine code kept on disk, for as long as the sources it was made from stay the same.

A kernel is made of routines and constants of other files too, so it is all sources of the rooms
that have kernels that must be the same, byte for byte; when they were written does not matter.
"""

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from sys import implementation

import llvmlite
import numpy as np

import batchstack
from batchstack.compiled.kernels import Kinds
from batchstack.compiled.machine import Code, processor

# Packages with kernels, and with all that becomes a part of their machine code.
ROOMS = ("compiled", "fusion", "registration")
_PACKAGE = Path(batchstack.__file__).parent
# Where Numba is told to keep code.
_FOLDER = "NUMBA_CACHE_DIR"


def read(kernel: str, kinds: Kinds) -> Code | None:
    """Kept code of a kernel for some arguments; None if there is none, or of other sources."""
    name = _file_name(kernel, kinds)
    for folder in _folders():
        with suppress(OSError, ValueError):
            digest, symbol, content = (folder / name).read_bytes().split(b"\n", 2)
            code = Code(symbol.decode(), content)
            if digest == _digest(kernel, kinds, code):
                return code
    return None


def write(kernel: str, kinds: Kinds, code: Code) -> bool:
    """Keep code in the place of any for the same arguments; whether it could be."""
    name = _file_name(kernel, kinds)
    for folder in _folders():
        part = folder / f".{name}.{secrets.token_hex(6)}.part"
        with suppress(OSError):
            digest = _digest(kernel, kinds, code)
            folder.mkdir(parents=True, exist_ok=True)
            try:
                part.write_bytes(b"\n".join([digest, code.symbol.encode(), code.content]))
                part.replace(folder / name)
                return True
            finally:
                part.unlink(missing_ok=True)
    return False


def _folders() -> Iterator[Path]:
    """Where code is kept: where the user says, or beside the sources, or else with the user."""
    if told := os.environ.get(_FOLDER):
        yield Path(told)
        return
    yield _PACKAGE / "compiled" / "__pycache__"
    with suppress(RuntimeError):  # of a user without a home
        cached = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        # Other installations of the same user keep theirs apart.
        yield cached / "batchstack" / hashlib.sha256(str(_PACKAGE).encode()).hexdigest()[:12]


def _file_name(kernel: str, kinds: Kinds) -> str:
    """The same whatever the sources: code of new ones takes the place of the old."""
    wanted = f"{kinds} {processor()} {_settings()}"
    name = kernel.removeprefix("batchstack.")
    return f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}.code"


@cache
def _settings() -> str:
    """What Numba is told by the environment, and which Python has its arrays in memory."""
    told = {name: value for name, value in os.environ.items() if name.startswith("NUMBA_")}
    told.pop(_FOLDER, None)
    return f"{sorted(told.items())} {implementation.cache_tag}"


def _digest(kernel: str, kinds: Kinds, code: Code) -> bytes:
    """SHA-256 over all that code depends on, and the code itself, as text."""
    makers = f"{processor()} {_settings()} {_makers()} {_sources()}"
    stamp = f"{kernel} {kinds} {makers} {code.symbol}\n"
    return hashlib.sha256(stamp.encode() + code.content).hexdigest().encode()


@cache
def _makers() -> str:
    """The versions of what has made code, of Numba as it stands in a file."""
    numba = find_spec("numba")
    if numba is None or numba.origin is None:
        raise FileNotFoundError("Numba is not to be seen")
    version = Path(numba.origin).with_name("_version.py").read_bytes()
    return f"{version!r} {llvmlite.__version__} {np.__version__}"


@cache
def _sources() -> str:
    """SHA-256 over names and contents of the sources.

    Raises
    ------
    FileNotFoundError
        If none are to be seen, as in a program that was frozen.
    """
    found = []
    for room in ROOMS:
        for path in sorted((_PACKAGE / room).rglob("*.py")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            found.append((str(path.relative_to(_PACKAGE)), content))
    if not found:
        raise FileNotFoundError(f"{_PACKAGE}: no sources")
    return hashlib.sha256(repr(found).encode()).hexdigest()
