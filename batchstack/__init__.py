"""batchstack: a distributed batch processor for focus stacking.

What is offered to Python programs is imported when it is first used, so that importing the
package itself takes no time; `docs/python.md` shows it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchstack.batch.engines import StopRequest
    from batchstack.batch.events import RunStarted, StackDone, StackFailed, StackUnderWay, Summary
    from batchstack.batch.machine import ClusterOptions
    from batchstack.batch.main_job import run
    from batchstack.batch.manifest import Manifest, load_manifest
    from batchstack.errors import BatchstackError
    from batchstack.fusion import METHODS, fuse
    from batchstack.lazy import fuse_dask
    from batchstack.options import AlignOptions, FusionOptions, OutputOptions, RunOptions

__version__ = "0.1.0"
__all__ = [
    "METHODS",
    "AlignOptions",
    "BatchstackError",
    "ClusterOptions",
    "FusionOptions",
    "Manifest",
    "OutputOptions",
    "RunOptions",
    "RunStarted",
    "StackDone",
    "StackFailed",
    "StackUnderWay",
    "StopRequest",
    "Summary",
    "fuse",
    "fuse_dask",
    "load_manifest",
    "run",
]
_HOMES = {
    "batchstack.batch.engines": {"StopRequest"},
    "batchstack.batch.machine": {"ClusterOptions"},
    "batchstack.batch.main_job": {"run"},
    "batchstack.batch.manifest": {"Manifest", "load_manifest"},
    "batchstack.batch.events": {
        "RunStarted",
        "StackDone",
        "StackFailed",
        "StackUnderWay",
        "Summary",
    },
    "batchstack.errors": {"BatchstackError"},
    "batchstack.fusion": {"METHODS", "fuse"},
    "batchstack.lazy": {"fuse_dask"},
    "batchstack.options": {"AlignOptions", "FusionOptions", "OutputOptions", "RunOptions"},
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
