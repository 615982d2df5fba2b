"""Dask clusters: starting an embedded one, connecting to a running one, checking it."""

import logging
import platform
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster
from distributed.security import Security

from batchstack.batch import fork_server
from batchstack.batch.machine import ClusterOptions, worker_count, worker_memory
from batchstack.batch.tasks import forget
from batchstack.errors import ClusterError, ClusterLostError

CONNECT_SECONDS = 10

# For clusters we start.  With more than one task queued per thread, or two threads in a
# worker, a crash would blame innocent neighbours; a worker that pauses for memory it
# did not allocate through Dask stays paused for ever, so none pauses or spills.
# Dask looks at itself 2 to 50 times a second, which took 3 % of two cores.
CONFIG = {
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.allowed-failures": 1,
    "distributed.scheduler.no-workers-timeout": "60s",
    "distributed.scheduler.worker-ttl": "10 minutes",
    "distributed.worker.multiprocessing-method": "forkserver",
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.worker.memory.monitor-interval": "500ms",
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.system-monitor.gil.enabled": False,
}


@contextmanager
def embedded(options: ClusterOptions) -> Iterator[Client]:
    """A cluster of processes on this machine, for as long as the run."""
    _quieten()
    fork_server.start()
    fork_server.wait()
    with dask.config.set(CONFIG):
        cluster = LocalCluster(
            n_workers=worker_count(options),
            threads_per_worker=1,
            processes=True,
            memory_limit=worker_memory(options),
            host="127.0.0.1",
            # A free port even without the dashboard: the scheduler serves HTTP anyway.
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": options.dashboard},
        )
        with cluster, Client(cluster) as client:
            if options.dashboard:
                print(f"dashboard: {cluster.dashboard_link}", file=sys.stderr)
            yield client


@contextmanager
def connected(options: ClusterOptions) -> Iterator[Client]:
    """A client of a running cluster whose workers run what we run.

    Raises
    ------
    ClusterError
        If it cannot be reached, has no workers or does not fit this run.
    """
    _quieten()
    where = options.scheduler or str(options.scheduler_file)
    try:
        client = Client(
            options.scheduler,
            scheduler_file=options.scheduler_file and str(options.scheduler_file),
            security=_security(options),
            timeout=CONNECT_SECONDS,
        )
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterError(
            f"{where}: cannot reach the scheduler ({error}); check the address, that it "
            "runs, and whether it needs --tls-ca-file, --tls-cert and --tls-key"
        ) from error
    with client:
        _check_versions(client, where)
        yield client
        # These workers outlive the run; all is recorded, whatever becomes of them now.
        with suppress(OSError):
            client.run(forget, on_error="ignore")


def check_visible(client: Client, directory: Path) -> None:
    """Check that every worker sees the output directory.

    Raises
    ------
    ClusterError
        Naming the worker and what to do.
    ClusterLostError
        If the scheduler goes away meanwhile.
    """
    token = directory / f".visible.{uuid.uuid4().hex}.part"
    token.touch()
    try:
        for address, seen in _on_workers(client, _sees, str(token)).items():
            if not seen:
                raise ClusterError(
                    f"worker {address} does not see {directory}; use an output "
                    "directory on storage that all hosts share under the same path"
                )
    finally:
        token.unlink(missing_ok=True)


def _check_versions(client: Client, where: str) -> None:
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise ClusterError(f"{where}: the cluster has no workers; start some, then run again")
    here = versions()
    for address, there in _on_workers(client, versions).items():
        for name, version in here.items():
            if there[name] != version:
                raise ClusterError(
                    f"{where}: worker {address} has {name} {there[name]}, the client has "
                    f"{version}; install the same on both"
                )


def versions() -> dict[str, str]:
    """Versions that must agree between the client and the workers."""
    import cv2
    import numpy

    import batchstack

    return {
        "batchstack": batchstack.__version__,
        "numpy": numpy.__version__,
        "opencv": cv2.__version__,
        "python": ".".join(platform.python_version_tuple()[:2]),
    }


def memory_per_thread(client: Client) -> int | None:
    """Least memory in bytes that any worker has for one task; None if unlimited."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    limits = [w["memory_limit"] // w["nthreads"] for w in workers if w["memory_limit"]]
    return min(limits, default=None)


def is_unencrypted_remote(address: str) -> bool:
    """Whether an address leads to another host without TLS."""
    host = address.rpartition("://")[2].rpartition(":")[0].strip("[]")
    return not address.startswith("tls://") and host not in ("127.0.0.1", "localhost", "::1", "")


def _on_workers(client: Client, function: Any, *arguments: Any) -> dict[str, Any]:
    try:
        answers: dict[str, Any] = client.run(function, *arguments)
    except OSError as error:
        raise ClusterLostError(
            f"{client.scheduler.address}: the cluster went away before anything started "
            f"({error}); start it and run again"
        ) from error
    except Exception as error:
        raise ClusterError(
            f"{client.scheduler.address}: a worker cannot run batchstack ({error}); "
            "install the same version on every worker"
        ) from error
    return answers


def _sees(path: str) -> bool:
    return Path(path).exists()


def _security(options: ClusterOptions) -> Security | None:
    if not (options.tls_ca_file or options.tls_cert or options.tls_key):
        return None
    return Security(
        tls_ca_file=str(options.tls_ca_file),
        tls_client_cert=str(options.tls_cert),
        tls_client_key=str(options.tls_key),
        require_encryption=True,
    )


def _quieten() -> None:
    # What matters of a lost or restarted worker we say ourselves, in one line.
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
