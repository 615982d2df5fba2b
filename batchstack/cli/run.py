"""`batchstack run`: the main job."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from batchstack.batch import fork_server
from batchstack.batch.claim import Claim, claim, refuse_scratch
from batchstack.batch.dispatch import Dispatcher
from batchstack.batch.engines import Engine, LoopEngine, StopRequest
from batchstack.batch.ledger import Ledger, ledger_to_write
from batchstack.batch.machine import ClusterOptions, worker_memory
from batchstack.batch.manifest import load_manifest
from batchstack.batch.plan import Step, make_plan
from batchstack.batch.run import Summary, interruptible, refuse_strange_list, run_plan
from batchstack.cli import options as shared
from batchstack.cli.progress import Progress, closing_summary
from batchstack.cli.screen import say, tell
from batchstack.errors import ExitCode, FileError, OutputLostError
from batchstack.fusion.methods import METHODS
from batchstack.fusion.warm import warm_up
from batchstack.options import RunOptions


@click.command("run", cls=shared.GroupedCommand)
@click.argument("manifest", type=shared.file_path)
@shared.option(
    "-o",
    "--output",
    group="Output",
    type=shared.folder_path,
    required=True,
    help="Output directory; outputs go to OUTPUT/<id>/.",
)
@shared.run_options()
@shared.scratch_option
@shared.worker_options
@shared.scheduler_options
@shared.wait_option
@shared.option(
    "--dashboard", group="Cluster", is_flag=True, help="Serve Dask's dashboard on loopback."
)
@shared.option(
    "--max-failures",
    group="Run",
    type=click.IntRange(1),
    default=None,
    show_default="no limit",
    help="Start no further stacks after this many failures.",
)
@shared.option("-v", "--verbose", group="Run", is_flag=True, help="Name every stack when done.")
def command(manifest: Path, output: Path, **settings: Any) -> None:
    """Fuse every stack of MANIFEST and record it, so that a second run resumes.

    MANIFEST is CSV, TSV, JSONL or YAML with the columns id, back and front, or id and
    frames; docs/manifest.md describes it.
    """
    cluster: ClusterOptions = shared.take_cluster_options(settings)
    options: RunOptions = shared.take_run_options(settings)
    stacks = load_manifest(manifest, known_methods=METHODS)
    output, scratch = output.absolute(), settings["scratch"]
    refuse_scratch(scratch, output, (frame for row in stacks.rows for frame in row.frames))
    refuse_strange_list(output, manifest)
    with claim(output, scratch) as held, ledger_to_write(output) as ledger:

        def plan(memory_limit: int | None) -> list[Step]:
            steps = make_plan(stacks, output, options, ledger, memory_limit=memory_limit)
            _refuse_hopeless(steps)
            return steps

        with _engine(cluster, held, plan) as (engine, steps, memory_limit):
            summary = _run(
                steps,
                held,
                options,
                ledger,
                engine,
                manifest=manifest,
                memory_limit=memory_limit,
                settings=settings,
            )
    say(closing_summary(summary, output))
    if summary.interrupted:
        sys.exit(ExitCode.INTERRUPTED)
    sys.exit(ExitCode.FAILED if summary.failures else ExitCode.OK)


def _run(
    steps: Sequence[Step],
    held: Claim,
    options: RunOptions,
    ledger: Ledger,
    engine: Engine,
    *,
    manifest: Path,
    memory_limit: int | None,
    settings: dict[str, Any],
) -> Summary:
    stop = StopRequest()
    total = sum(step.action == "fuse" for step in steps)
    with (
        Progress(total, verbose=settings["verbose"]) as progress,
        interruptible(stop, tell),
    ):
        try:
            return run_plan(
                steps,
                held,
                options,
                ledger,
                engine,
                manifest=manifest,
                memory_limit=memory_limit,
                max_failures=settings["max_failures"],
                listener=progress,
                stop=stop,
            )
        except FileError as error:  # of the records: what is not recorded is done again
            raise OutputLostError(str(error)) from error


@contextmanager
def _engine(
    options: ClusterOptions, held: Claim, plan: Callable[[int | None], list[Step]]
) -> Iterator[tuple[Engine, list[Step], int | None]]:
    """The engine asked for, the plan, and the memory in bytes that one of its workers has."""
    if options.external:
        with _external(options, held, plan) as ready:
            yield ready
        return
    memory_limit = worker_memory(options)
    steps = plan(memory_limit)
    methods = {name for step in steps if step.job for name in step.job.methods}
    # A cluster takes seconds to start; without work none is.
    if options.workers == 0 or not methods:
        if methods:
            warm_up(methods, say)
        yield LoopEngine(), steps, memory_limit
        return
    fork_server.start(methods)
    from batchstack.batch import cluster
    from batchstack.batch.dask_cluster import DaskCluster

    with cluster.embedded(options, tell) as client, DaskCluster(client, held) as dask:
        yield Dispatcher(dask, wait_workers=options.patience, say=tell), steps, memory_limit


@contextmanager
def _external(
    options: ClusterOptions, held: Claim, plan: Callable[[int | None], list[Step]]
) -> Iterator[tuple[Engine, list[Step], int | None]]:
    from batchstack.batch import cluster
    from batchstack.batch.dask_cluster import DaskCluster

    with cluster.connected(options, tell) as client, DaskCluster(client, held) as dask:
        if cluster.is_unencrypted_remote(client.scheduler.address):
            tell(
                f"warning: the connection to {client.scheduler.address} is not encrypted, and "
                "whoever reaches a Dask port can run code; use TLS outside a network you trust"
            )
        found = cluster.memory_per_thread(client)
        memory_limit = options.memory_limit or found
        steps = plan(memory_limit)
        # Whoever gives a limit knows better than the workers that come.
        needed = None if options.memory_limit else found
        engine = Dispatcher(dask, wait_workers=options.patience, memory_needed=needed, say=tell)
        yield engine, steps, memory_limit


def _refuse_hopeless(steps: Sequence[Step]) -> None:
    """Stop before anything starts if nothing can be done as asked."""
    if any(step.action == "fuse" for step in steps):
        return
    hopeless = [step for step in steps if step.hopeless]
    for step in hopeless:
        tell(f"{step.row.place} {step.row.id}: {step.reasons[0]}")
    if hopeless:
        tell("nothing was started")
        sys.exit(ExitCode.REFUSED)
