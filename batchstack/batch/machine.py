"""What this machine offers, without loading Dask: cores, memory, and shares of them."""

import os
from dataclasses import dataclass
from pathlib import Path

from batchstack import files
from batchstack.errors import OptionError

# Of the machine's memory; the rest is for the client, the system and the page cache.
MEMORY_SHARE = 0.85
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class ClusterOptions:
    """Where the tasks run.

    Attributes
    ----------
    workers : int, optional
        Of the embedded cluster; None for one per core, 0 for a loop in this process.
    memory_limit : int, optional
        Bytes per worker of the embedded cluster; None for a share of the machine's.
    scheduler : str, optional
        Address of a running scheduler, such as "tcp://10.0.0.5:8786".
    scheduler_file : Path, optional
        File that a running scheduler wrote.
    tls_ca_file, tls_cert, tls_key : Path, optional
        PEM files; with them the connection is encrypted and checked both ways.
    dashboard : bool
        Serve Dask's dashboard from the embedded cluster, on loopback.
    wait_workers : float, optional
        Seconds to wait while no worker can be used; None for longer on another's cluster,
        whose workers may have to queue for a machine.
    scratch : Path, optional
        Folder for the tiles of images too large for one worker, which all workers must see;
        None for one inside the output directory.
    previews : bool
        Have tasks leave previews for the report of the output directory.

    Raises
    ------
    OptionError
        If they contradict each other.
    """

    workers: int | None = None
    memory_limit: int | None = None
    scheduler: str | None = None
    scheduler_file: Path | None = None
    tls_ca_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    dashboard: bool = False
    wait_workers: float | None = None
    scratch: Path | None = None
    previews: bool = False

    def __post_init__(self) -> None:
        if self.scheduler and self.scheduler_file:
            raise OptionError("give --scheduler or --scheduler-file, not both")
        if self.external and self.workers is not None:
            raise OptionError(
                "--workers is for the embedded cluster; leave it out with a scheduler"
            )
        tls = (self.tls_ca_file, self.tls_cert, self.tls_key)
        if any(tls) and not all(tls):
            raise OptionError("give --tls-ca-file, --tls-cert and --tls-key together")

    @property
    def patience(self) -> float:
        """Seconds to wait while no worker can be used."""
        if self.wait_workers is not None:
            return self.wait_workers
        return 300.0 if self.external else 60.0

    @property
    def external(self) -> bool:
        """Whether the tasks run on a cluster that was there before."""
        return self.scheduler is not None or self.scheduler_file is not None


def cores() -> int:
    """Cores this process may use: its affinity, and a container's share if less."""
    affinity = getattr(os, "sched_getaffinity", None)
    available = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = _text(_CGROUP / "cpu.max").split()
        available = min(available, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no container, or no limit ("max")
        pass
    return available


def memory() -> int:
    """Bytes of memory this process may use: the machine's, or a container's if less."""
    import psutil

    available = int(psutil.virtual_memory().total)
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            available = min(available, int(_text(_CGROUP / name)))
        except (OSError, ValueError):
            continue
    return available


def _text(path: Path) -> str:
    return files.read_bytes(path).decode()


def worker_count(options: ClusterOptions) -> int:
    """Workers of the embedded cluster."""
    return cores() if options.workers is None else options.workers


def worker_memory(options: ClusterOptions) -> int:
    """Bytes one worker of the embedded cluster, or the loop, may use."""
    if options.memory_limit:
        return options.memory_limit
    return int(memory() * MEMORY_SHARE / max(1, worker_count(options)))
