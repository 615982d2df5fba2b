"""Dask clusters: starting an embedded one, connecting to a running one, checking it."""

import json
import logging
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster
from distributed.security import Security

from batchstack import files
from batchstack.batch import fork_server, steady_clock
from batchstack.batch.engines import Say
from batchstack.batch.machine import ClusterOptions, worker_count, worker_memory
from batchstack.batch.tasks import forget
from batchstack.batch.versions import version_fault, versions
from batchstack.errors import ClusterError, ClusterLostError

CONNECT_SECONDS = 10

# For clusters we start.  Who dies with a worker is for `dispatch` to judge, so Dask blames
# nobody; it also takes out workers that do not move, by a clock that is never set.  A worker
# that pauses for memory it did not allocate through Dask stays paused for ever, so none pauses
# or spills.  Dask looks at itself 2 to 50 times a second, which took 3 % of two cores.
CONFIG = {
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.allowed-failures": 10**6,
    "distributed.scheduler.no-workers-timeout": None,
    "distributed.scheduler.worker-ttl": None,
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
# Seconds until a worker that does not start is given up.
START_SECONDS = 60
# Files that the client has open, more than they were found to be.
_FILES, _FILES_PER_WORKER = 32, 13


@contextmanager
def embedded(options: ClusterOptions, say: Say) -> Iterator[Client]:
    """A cluster of processes on this machine, for as long as the run.

    Raises
    ------
    ClusterError
        If it cannot be started.
    """
    _prepare()
    _check_open_files(worker_count(options))
    fork_server.start()
    fork_server.wait()
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(CONFIG))
        try:
            cluster = stack.enter_context(_local(options))
            client = stack.enter_context(Client(cluster))
        except (OSError, RuntimeError, TimeoutError) as error:
            raise ClusterError(
                f"workers cannot be started on this machine ({_reason(error)}); use fewer "
                "--workers, or 0 to work in this process"
            ) from error
        if options.dashboard:
            say(f"dashboard: {cluster.dashboard_link}")
        yield client


def _check_open_files(workers: int) -> None:
    """Refuse a limit of open files under which workers would not start."""
    wanted = _FILES + _FILES_PER_WORKER * workers
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    else:
        raise ClusterError(
            f"a process may open {hard} files here, {workers} workers need {wanted}; raise the "
            f"limit (ulimit -n {wanted}), use fewer --workers, or 0 to work in this process"
        )


def _local(options: ClusterOptions) -> LocalCluster:
    return LocalCluster(
        n_workers=worker_count(options),
        threads_per_worker=1,
        processes=True,
        memory_limit=worker_memory(options),
        host="127.0.0.1",
        # A free port even without the dashboard: the scheduler serves HTTP anyway.
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": options.dashboard},
        death_timeout=START_SECONDS,
    )


@contextmanager
def connected(options: ClusterOptions, say: Say) -> Iterator[Client]:
    """A client of a running cluster that has workers.

    Raises
    ------
    ClusterError
        If it cannot be reached, or no worker comes in time.
    """
    _prepare()
    where = options.scheduler or str(options.scheduler_file)
    if options.scheduler_file:
        _check_scheduler_file(options.scheduler_file)
    try:
        client = Client(
            options.scheduler,
            scheduler_file=options.scheduler_file and str(options.scheduler_file),
            security=_security(options),
            timeout=CONNECT_SECONDS,
        )
    except (OSError, ValueError, TimeoutError, TypeError, KeyError) as error:
        raise ClusterError(
            f"{where}: cannot reach the scheduler ({_reason(error)}); check the address, that it "
            "runs, and whether it needs --tls-ca-file, --tls-cert and --tls-key"
        ) from error
    with client:
        _wait_for_a_worker(client, where, options.patience, say)
        yield client
        # These workers outlive the run; all is recorded, whatever becomes of them now.
        with suppress(OSError, TimeoutError):
            client.sync(client._run, forget, on_error="ignore", callback_timeout=CONNECT_SECONDS)


def _wait_for_a_worker(client: Client, where: str, seconds: float, say: Say) -> None:
    start, told = time.monotonic(), False
    while not _states(client, where):
        if time.monotonic() - start >= seconds:
            raise ClusterError(
                f"{where}: the cluster has had no workers for {seconds:.0f} seconds; start some, "
                "then run again, or wait longer with --wait-workers"
            )
        if not told:
            say(f"waiting for workers at {where}, up to {seconds:.0f} seconds")
            told = True
        time.sleep(0.5)


def _states(client: Client, where: str) -> dict[str, Any]:
    try:
        info = client.sync(
            client.scheduler.identity, n_workers=-1, callback_timeout=CONNECT_SECONDS
        )
    except (OSError, TimeoutError) as error:
        raise ClusterLostError(
            f"{where}: the cluster went away before anything started ({_reason(error)}); start "
            "it and run again"
        ) from error
    workers: dict[str, Any] = info["workers"]
    return workers


def _check_scheduler_file(path: Path) -> None:
    try:
        found = json.loads(files.read_bytes(path))["address"]
    except (OSError, ValueError, TypeError, KeyError):
        found = None
    if not isinstance(found, str):
        raise ClusterError(
            f"{path}: is not what a scheduler writes; give the file of "
            "'dask scheduler --scheduler-file FILE'"
        )


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def version_faults(client: Client) -> list[str]:
    """What workers run that is not what runs here, or that they do not answer."""
    try:
        answers = client.sync(
            client._run,
            version_fault,
            versions(),
            on_error="return",
            callback_timeout=START_SECONDS,
        )
    except (OSError, TimeoutError) as error:
        return [f"a worker does not answer ({_reason(error)})"]
    return [f"worker {address}: {fault}" for address, fault in answers.items() if fault]


def memory_per_thread(client: Client) -> int | None:
    """Least memory in bytes that any worker has for one task; None if unlimited."""
    workers = _states(client, client.scheduler.address).values()
    limits = [w["memory_limit"] // max(1, w["nthreads"]) for w in workers if w["memory_limit"]]
    return min(limits, default=None)


def is_unencrypted_remote(address: str) -> bool:
    """Whether an address leads to another host without TLS."""
    host = address.rpartition("://")[2].rpartition(":")[0].strip("[]")
    return not address.startswith("tls://") and host not in ("127.0.0.1", "localhost", "::1", "")


def _security(options: ClusterOptions) -> Security | None:
    if not (options.tls_ca_file or options.tls_cert or options.tls_key):
        return None
    return Security(
        tls_ca_file=str(options.tls_ca_file),
        tls_client_cert=str(options.tls_cert),
        tls_client_key=str(options.tls_key),
        require_encryption=True,
    )


def _prepare() -> None:
    steady_clock.use()
    # What matters of a lost or restarted worker we say ourselves, in one line.
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
