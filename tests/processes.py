"""Real processes for the tests: waiting for them, and a Dask cluster started by hand."""

import os
import subprocess
import sys
import time

import psutil


def wait_for(condition, process=None, seconds=240):
    """Wait until a condition holds, while a process goes on."""
    end = time.monotonic() + seconds
    while not condition():
        if process is not None and process.poll() is not None:
            raise AssertionError(process.communicate()[0])
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


def wait_for_death_of_workers(root, seconds=240):
    """Workers of a killed run notice and end by themselves."""
    wait_for(lambda: not processes_in(root), seconds=seconds)


def processes_in(root):
    """Processes that work in a folder."""
    return [process for process in psutil.process_iter() if _works_in(process, root)]


def _works_in(process, root):
    try:
        return process.cwd() == str(root) and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def workers_of(process):
    """The worker processes of a run: they are children of its fork server."""
    return [
        grandchild
        for child in psutil.Process(process.pid).children()
        for grandchild in child.children()
    ]


class DaskProcesses:
    """A scheduler and workers started by hand, as on a cluster.

    Parameters
    ----------
    root : Path
        The folder they work in.
    workers : int
        How many are started, and waited for, with the scheduler.
    environment : dict, optional
        Variables that they have besides those of this process.
    """

    def __init__(self, root, workers, environment=None):
        self.root, self._workers, self._environment = root, workers, environment or {}
        self.file = root / "scheduler.json"
        self.processes = []

    def __enter__(self):
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self):
        options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.scheduler = self._start(
            "distributed.cli.dask_scheduler", *options, "--scheduler-file", str(self.file)
        )
        wait_for(lambda: self.file.exists() and self.file.read_text().strip())
        for _ in range(self._workers):
            self.add_worker()
        if self._workers:
            self.wait_for_workers(self._workers)

    @property
    def address(self):
        from distributed import Client

        with Client(scheduler_file=str(self.file)) as client:
            return client.scheduler.address

    def wait_for_workers(self, count):
        from distributed import Client

        with Client(scheduler_file=str(self.file)) as client:
            client.wait_for_workers(count, timeout=240)

    def add_worker(self, *options, before=(), environment=None):
        """Start one more worker.

        Parameters
        ----------
        options : str
            Of the command `dask worker`.
        before : sequence of str
            A command that starts it.
        environment : dict, optional
            Variables that it has besides those of the cluster.
        """
        return self._start(
            "distributed.cli.dask_worker",
            *("--scheduler-file", str(self.file), "--nthreads", "1"),
            *("--no-dashboard", "--no-nanny", "--host", "127.0.0.1"),
            *options,
            before=before,
            environment=environment,
        )

    def _start(self, module, *arguments, before=(), environment=None):
        process = subprocess.Popen(
            [*before, sys.executable, "-m", module, *arguments],
            cwd=self.root,
            env=os.environ | self._environment | (environment or {}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process

    def __exit__(self, *error):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait(timeout=240)
