"""The main job: from a manifest to outputs, records and a summary, on the engine asked for."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from batchstack.batch import fork_server
from batchstack.batch.claim import Claim, claim, refuse_scratch
from batchstack.batch.dispatch import Dispatcher
from batchstack.batch.engines import Engine, LoopEngine, Say, StopRequest
from batchstack.batch.events import Event, Summary
from batchstack.batch.failed_list import refuse_strange_list
from batchstack.batch.interrupts import interruptible
from batchstack.batch.ledger import Ledger, ledger_to_write
from batchstack.batch.machine import ClusterOptions, worker_memory
from batchstack.batch.manifest import Manifest, load_manifest
from batchstack.batch.plan import make_plan
from batchstack.batch.run import Plan, run_plan
from batchstack.batch.steps import Step
from batchstack.batch.warm import needed, warm_up
from batchstack.errors import FileError, OutputLostError, PlanError
from batchstack.fusion.methods import select_methods
from batchstack.options import RunOptions


def run(
    manifest: str | Path | Callable[[Ledger], Path],
    output: str | Path,
    options: RunOptions | None = None,
    cluster: ClusterOptions | None = None,
    *,
    max_failures: int | None = None,
    listener: Callable[[Event], None] = lambda event: None,
    say: Say = lambda message: None,
    stop: StopRequest | None = None,
) -> Summary:
    """Fuse every stack of a manifest and record it, so that a second run resumes.

    Parameters
    ----------
    manifest : str, Path or callable
        CSV, TSV, JSONL or YAML; see `load_manifest`.  A function is given the ledger when the
        output directory is the run's, and writes the manifest.
    output : str or Path
        Output directory; outputs go to `output/<id>/`, unless the options name them otherwise.
    options : RunOptions, optional
        What to compute and to write; rows may have values of their own.
    cluster : ClusterOptions, optional
        Where the tasks run; by default on an embedded cluster of one worker per core.
    max_failures : int, optional
        Start no further stacks after so many failures.
    listener : callable
        Told when the run starts, and of every stack that finishes or fails.
    say : callable
        Told in a sentence what is waited for, warned of or done again.
    stop : StopRequest, optional
        Set from outside to stop the run.  Without it, in the main thread, Ctrl-C, SIGTERM and a
        closed terminal stop it: the first time after the stacks under way, then at once.

    Returns
    -------
    Summary
        What the run came to.  A stack that fails does not end it; see `Summary.failures`.

    Raises
    ------
    ManifestError
        If the manifest has problems; then, as with the next four, nothing is started.
    OptionError
        If options cannot work, alone or together.
    PlanError
        If no stack can be fused as asked.
    OutputInUseError
        If another run has the output directory, or it cannot be written.
    ClusterError
        If workers cannot be started, reached or used.
    ClusterLostError, OutputLostError
        If the cluster or the output directory goes away; what was finished is recorded.
    KeyboardInterrupt
        If it is stopped at once; likewise.

    Examples
    --------
    >>> import batchstack
    >>> here = batchstack.ClusterOptions(workers=0)
    >>> options = batchstack.RunOptions(methods=("direct",))
    >>> def tell(event):
    ...     if isinstance(event, batchstack.StackDone):
    ...         print(event.row.id, sorted(event.result.outputs))
    >>> summary = batchstack.run("pairs.csv", "out", options, here, listener=tell)
    first ['focus_stacked_direct']
    second ['focus_stacked_direct']
    >>> summary.done, summary.skipped, summary.failures
    (2, 0, [])
    """
    options, cluster = options or RunOptions(), cluster or ClusterOptions()
    select_methods(options.methods)
    output = Path(output).absolute()
    scratch = cluster.scratch and cluster.scratch.absolute()
    given = None if callable(manifest) else _load(manifest, output, scratch)
    with claim(output, scratch) as held, ledger_to_write(output) as ledger:
        stacks = given or _load(manifest(ledger), output, scratch)  # type: ignore[operator]

        def plan(memory_limit: int | None) -> Plan:
            steps = make_plan(stacks, output, options, ledger, memory_limit=memory_limit)
            _refuse_hopeless(steps)
            return Plan(steps, stacks.path, memory_limit, cluster.previews)

        with _engine(cluster, held, plan, say) as ready, _stoppable(stop, say) as stopping:
            try:
                return run_plan(
                    ready.plan,
                    held,
                    ledger,
                    ready.engine,
                    max_failures=max_failures,
                    listener=listener,
                    stop=stopping,
                )
            except FileError as error:  # of the records: what is not recorded is done again
                raise OutputLostError(str(error)) from error


def _load(path: str | Path, output: Path, scratch: Path | None) -> Manifest:
    """The stacks of a manifest, unless what a run keeps would replace what is not its own."""
    stacks = load_manifest(path)
    refuse_scratch(scratch, output, (frame for row in stacks.rows for frame in row.frames))
    refuse_strange_list(output, stacks.path)
    return stacks


def _refuse_hopeless(steps: Sequence[Step]) -> None:
    """Stop before anything starts if nothing can be done as asked."""
    hopeless = [step for step in steps if step.hopeless]
    if hopeless and not any(step.action == "fuse" for step in steps):
        lines = [f"{step.row.place} {step.row.id}: {step.reasons[0]}" for step in hopeless]
        raise PlanError("\n".join([*lines, "nothing was started"]))


@contextmanager
def _stoppable(stop: StopRequest | None, say: Say) -> Iterator[StopRequest]:
    """The request given, or one that signals make where they arrive."""
    if stop is None and threading.current_thread() is threading.main_thread():
        stop = StopRequest()
        with interruptible(stop, say):
            yield stop
    else:
        yield stop or StopRequest()


# --- the engine

MakePlan = Callable[[int | None], Plan]


@dataclass(frozen=True)
class _Ready:
    """An engine that can start, with the plan for the memory that its workers have."""

    engine: Engine
    plan: Plan


def _engine(
    options: ClusterOptions, held: Claim, make: MakePlan, say: Say
) -> AbstractContextManager[_Ready]:
    """The engine asked for, running for as long as the context."""
    if options.external:
        return _on_scheduler(options, held, make, say)
    plan = make(worker_memory(options))
    kernels = needed(step.job for step in plan.steps if step.job)
    # A cluster takes seconds to start; without work none is.
    if kernels and options.workers != 0:
        fork_server.start(kernels)
        return _embedded(options, held, plan, say)
    if kernels:
        warm_up(kernels, say)
    return nullcontext(_Ready(LoopEngine(), plan))


@contextmanager
def _embedded(options: ClusterOptions, held: Claim, plan: Plan, say: Say) -> Iterator[_Ready]:
    from batchstack.batch import cluster
    from batchstack.batch.dask_cluster import DaskCluster

    with cluster.embedded(options, say) as client, DaskCluster(client, held) as dask:
        engine = Dispatcher(dask, wait_workers=options.patience, one_machine=True, say=say)
        yield _Ready(engine, plan)


@contextmanager
def _on_scheduler(
    options: ClusterOptions, held: Claim, make: MakePlan, say: Say
) -> Iterator[_Ready]:
    from batchstack.batch import cluster
    from batchstack.batch.dask_cluster import DaskCluster

    with cluster.connected(options, say) as client, DaskCluster(client, held) as dask:
        address = client.scheduler.address
        if cluster.is_unencrypted_remote(address):
            say(
                f"warning: the connection to {address} is not encrypted, and whoever reaches a "
                "Dask port can run code; use TLS outside a network you trust"
            )
        found = cluster.memory_per_thread(client)
        plan = make(options.memory_limit or found)
        # Whoever gives a limit knows better than the workers that come.
        needed = None if options.memory_limit else found
        engine = Dispatcher(dask, wait_workers=options.patience, memory_needed=needed, say=say)
        yield _Ready(engine, plan)
