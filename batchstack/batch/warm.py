"""Loading or compiling the kernels before they are needed."""

import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress

from batchstack.batch.jobs import Job
from batchstack.compiled import COMPILED, LISTENERS, UNKEPT

_COMPILING = "compiling for this machine, which happens once and takes half a minute"
_ALIGNMENT = "alignment"  # what needs kernels beside methods


@contextmanager
def telling(announce: Callable[[str], None]) -> Iterator[None]:
    """Have it told once, if kernels are compiled in the block, what takes so long."""
    words = [_COMPILING]

    def hear() -> None:
        while words:
            announce(words.pop())

    LISTENERS.append(hear)
    try:
        yield
    finally:
        LISTENERS.remove(hear)


def needed(jobs: Iterable[Job]) -> set[str]:
    """What needs kernels, as `warm_up` takes it."""
    names = set[str]()
    for job in jobs:
        names.update(job.methods)
        if not job.is_as_it_is:
            names.add(_ALIGNMENT)
    return names


def warm_up(
    names: Collection[str] = ("all", _ALIGNMENT),
    announce: Callable[[str], None] = lambda text: None,
) -> bool:
    """Align and fuse a tiny pair, so that the kernels are loaded, or compiled and kept on disk.

    Parameters
    ----------
    names : collection of str
        Keys of `METHODS`, or "all"; and "alignment", if frames are moved or brought to one light.
    announce : callable
        Told what takes so long, if it does and kernels are compiled.

    Returns
    -------
    bool
        Whether any was compiled.
    """
    from batchstack.fusion.warm import run_kernels as fuse_something

    before = len(COMPILED)
    with telling(announce):
        if methods := [name for name in names if name != _ALIGNMENT]:
            fuse_something(methods)
        if _ALIGNMENT in names:
            from batchstack.registration.warm import run_kernels as align_something

            align_something()
    return len(COMPILED) > before


def load(names: Collection[str], announce: Callable[[str], None]) -> None:
    """As `warm_up`, but what must be compiled is compiled by a process that ends.

    What Numba takes of memory, which is more than all else, is not inherited then.
    """
    from multiprocessing import get_context

    class NotKept(Exception):
        pass

    def stop() -> None:
        raise NotKept

    LISTENERS.append(stop)
    try:
        warm_up(names)
        return
    except NotKept:
        pass
    finally:
        LISTENERS.remove(stop)
    process = get_context("fork").Process(target=_compile, args=(names, announce))
    process.start()
    process.join()
    warm_up(names, announce)


def _compile(names: Collection[str], announce: Callable[[str], None]) -> None:
    def stop() -> None:
        if UNKEPT:  # where nothing can be kept, all is for nothing
            sys.exit()

    LISTENERS.append(stop)
    with suppress(Exception):  # it fails again where it is needed, and is dealt with there
        warm_up(names, announce)


def kernels_are_kept() -> bool:
    """Whether compiled kernels can be kept for the next process."""
    return not UNKEPT
