"""`batchstack report`: what an output directory holds, as pages for a browser."""

from pathlib import Path

import click

from batchstack.batch.ledger import existing_ledger
from batchstack.cli import options as shared
from batchstack.cli.screen import bar


@click.command("report", cls=shared.GroupedCommand)
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
def command(directory: Path) -> None:
    """Write DIRECTORY/report.html: what a run has done, worst first, to open in a browser.

    It needs no network.  A run writes it at its end; this brings it up to date, or makes it
    while a run goes on.  batchstack_mqc.tsv beside it is the same list for MultiQC.
    """
    click.echo(click.format_filename(write(directory)))


def write(directory: Path) -> Path:
    """Write the report of a directory, with a bar where it takes its time on a terminal."""
    from batchstack.report import write_report

    with existing_ledger(directory) as ledger, bar(len(ledger.ids()), "report") as show:
        return write_report(ledger, directory, show)
