"""`batchstack run`: the main job."""

import shlex
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from batchstack import files
from batchstack.batch.events import Event, RunStarted
from batchstack.batch.ledger import Ledger
from batchstack.batch.main_job import run
from batchstack.cli import options as shared
from batchstack.cli.json_log import JsonLog
from batchstack.cli.progress import Progress, closing_summary
from batchstack.cli.screen import say, tell
from batchstack.errors import BatchstackError, ExitCode, OptionError


@click.command("run", cls=shared.ConfiguredCommand)
@click.argument("manifest", metavar="MANIFEST|FOLDER", type=shared.present_path)
@shared.option(
    "-o",
    "--output",
    group="Output",
    type=shared.folder_path,
    required=True,
    help="Output directory; outputs go to OUTPUT/<id>/, unless --name says otherwise.",
)
@shared.as_taken_option
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
@shared.option(
    "--no-report",
    group="Output",
    is_flag=True,
    help="Leave out the report, which is written to OUTPUT/report.html at the end.",
)
@shared.option("-v", "--verbose", group="Run", is_flag=True, help="Name every stack when done.")
@shared.option(
    "--json-log",
    group="Run",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    default=None,
    help="Append what happens to this file, one JSON object per line; - has stderr say nothing "
    "else.",
)
def command(
    manifest: Path,
    output: Path,
    as_taken: bool,
    max_failures: int | None,
    verbose: bool,
    no_report: bool,
    json_log: Path | None,
    **settings: Any,
) -> None:
    """Fuse every stack of MANIFEST and record it, so that a second run resumes.

    MANIFEST is CSV, TSV, JSONL or YAML with the columns id, back and front, or id and
    frames; docs/manifest.md describes it.  Of a FOLDER of photographs it is shown which are
    taken for stacks, as by 'batchstack scan', and these are fused; OUTPUT/proposal.csv keeps
    the manifest.
    """
    settings["previews"] = not no_report
    if as_taken and not files.is_folder(manifest):
        raise OptionError(f"--as-taken goes with a FOLDER; {manifest} says the order of its frames")
    cluster, options = shared.take_cluster_options(settings), shared.take_run_options(settings)
    hint = shared.is_default("methods")
    with ExitStack() as until_it_ends:
        progress = Progress(verbose=verbose)
        log = until_it_ends.enter_context(JsonLog(json_log, progress)) if json_log else None
        with progress:

            def listen(event: Event) -> None:
                if isinstance(event, RunStarted) and event.stacks and hint:
                    tell(f"all methods are computed; --methods {shared.RECOMMENDED} asks for one")
                progress(event)
                if log:
                    log(event)

            source: Path | Callable[[Ledger], Path] = manifest
            if files.is_folder(manifest):
                from batchstack.cli.proposal import FolderRun, Order

                order = Order(reverse=options.reverse, as_taken=as_taken)
                source = FolderRun(manifest, output, order).write
                options = replace(options, reverse=False)  # which the manifest is by now
            summary = run(
                source,
                output,
                options,
                cluster,
                max_failures=max_failures,
                listener=listen,
                say=tell,
            )
        if log:
            log.finish(summary)
        say(closing_summary(summary, output.absolute(), options.output.name))
        finished = not summary.interrupted and (no_report or _leave_report(output))
    if not finished:
        sys.exit(ExitCode.INTERRUPTED)
    sys.exit(ExitCode.FAILED if summary.failures else ExitCode.OK)


def _leave_report(output: Path) -> bool:
    """Write the report; the run is over, and what goes wrong here does not make it fail.

    Returns
    -------
    bool
        False if it was interrupted.
    """
    try:
        from batchstack.cli.report import write

        say(f"  report: {click.format_filename(write(output))}")
    except Exception as error:
        why = str(error) if isinstance(error, BatchstackError) else repr(error)
        tell(f"the report was not written; the outputs are as they should be: {why}")
    except KeyboardInterrupt:
        tell(
            "interrupted; the run is done and recorded, its report was left out: "
            f"batchstack report {shlex.quote(click.format_filename(output))} writes it"
        )
        return False
    return True
