"""`batchstack doctor`: is this machine, and a cluster, fit for a run?"""

import sys
import time
from dataclasses import replace
from importlib import metadata
from typing import Any

import click

from batchstack import __version__
from batchstack.batch.machine import ClusterOptions, cores, memory
from batchstack.cli import options as shared
from batchstack.cli.screen import tell
from batchstack.errors import ClusterError, ExitCode

CONNECT_SECONDS = 10.0  # that a worker may take to come
PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "scikit-image",
    "dask",
    "distributed",
    "imagecodecs",
    "simplejpeg",
    "tifffile",
    "click",
)


@click.command("doctor", cls=shared.GroupedCommand)
@shared.scheduler_options
def command(**settings: Any) -> None:
    """Show versions, cores and memory, find clashing packages, and try a cluster.

    The exit code is 1 if something would keep a run from working.
    """
    cluster = shared.take_cluster_options(settings)
    click.echo(f"batchstack {__version__}, python {sys.version.split()[0]}")
    click.echo(f"cores {cores()}, memory {memory() / 2**30:.1f} GiB")
    problems = _packages() + _kernels()
    if cluster.external:
        problems += _cluster(cluster)
    for problem in problems:
        click.echo(f"problem: {problem}")
    if not problems:
        click.echo("no problems found")
    sys.exit(ExitCode.FAILED if problems else ExitCode.OK)


def _packages() -> list[str]:
    """Print versions; return what is missing or clashes."""
    import distributed  # noqa: F401 - a configuration that Dask cannot use is told by name

    problems = []
    for name in PACKAGES:
        try:
            click.echo(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            problems.append(f"{name} is not installed; install batchstack again with pip")
    names = {(found.metadata["Name"] or "").lower() for found in metadata.distributions()}
    opencvs = sorted(name for name in names if name.startswith("opencv-"))
    if len(opencvs) > 1:
        problems.append(
            f"{' and '.join(opencvs)} are both installed and overwrite each other's files; "
            "uninstall all of them, then install opencv-python-headless"
        )
    return problems


def _kernels() -> list[str]:
    """Load the compiled kernels, or compile and keep them now; return what keeps them cold."""
    from batchstack.batch.warm import kernels_are_kept, warm_up

    start = time.perf_counter()
    compiled = warm_up()
    seconds = time.perf_counter() - start
    if not kernels_are_kept():
        return [
            f"kernels cannot be kept, so every process compiles them, which took {seconds:.0f} s; "
            "set NUMBA_CACHE_DIR to a folder that can be written"
        ]
    state = "were cold, compiled and kept now" if compiled else "were kept, loaded"
    click.echo(f"kernels {state} in {seconds:.1f} s")
    return []


def _cluster(options: ClusterOptions) -> list[str]:
    """Connect, and ask every worker what it runs; return what would keep it from a run."""
    from batchstack.batch.cluster import connected, memory_per_thread, version_faults

    try:
        with connected(replace(options, wait_workers=CONNECT_SECONDS), tell) as client:
            threads = client.nthreads()
            limit = memory_per_thread(client)
            share = "unlimited" if limit is None else f"{limit / 2**30:.1f} GiB"
            click.echo(
                f"cluster {client.scheduler.address}: {len(threads)} workers, "
                f"{sum(threads.values())} threads, memory per thread {share}"
            )
            return version_faults(client)
    except ClusterError as error:
        return [str(error)]
