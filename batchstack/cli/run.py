"""`batchstack run`: the main job."""

import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from batchstack.batch.main_job import RunEvent, RunStarted, run
from batchstack.cli import options as shared
from batchstack.cli.progress import Progress, closing_summary
from batchstack.cli.screen import say, tell
from batchstack.errors import BatchstackError, ExitCode


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
@shared.option(
    "--no-report",
    group="Output",
    is_flag=True,
    help="Leave out the report, which is written to OUTPUT/report.html at the end.",
)
@shared.option("-v", "--verbose", group="Run", is_flag=True, help="Name every stack when done.")
def command(
    manifest: Path,
    output: Path,
    max_failures: int | None,
    verbose: bool,
    no_report: bool,
    **settings: Any,
) -> None:
    """Fuse every stack of MANIFEST and record it, so that a second run resumes.

    MANIFEST is CSV, TSV, JSONL or YAML with the columns id, back and front, or id and
    frames; docs/manifest.md describes it.
    """
    settings["previews"] = not no_report
    cluster, options = shared.take_cluster_options(settings), shared.take_run_options(settings)
    with _Screen(verbose) as screen:
        summary = run(
            manifest,
            output,
            options,
            cluster,
            max_failures=max_failures,
            listener=screen,
            say=tell,
        )
    say(closing_summary(summary, output.absolute()))
    if summary.interrupted or not (no_report or _leave_report(output)):
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


class _Screen(ExitStack):
    """Shows the progress of a run as soon as it is known how much there is to do."""

    def __init__(self, verbose: bool) -> None:
        super().__init__()
        self._verbose = verbose

    def __call__(self, event: RunEvent) -> None:
        if isinstance(event, RunStarted):
            self._progress = self.enter_context(Progress(event.stacks, verbose=self._verbose))
        else:
            self._progress(event)
