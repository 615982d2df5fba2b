"""`batchstack verify`: whether outputs are still what was written."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from batchstack.batch.ledger import existing_ledger
from batchstack.batch.verify import Subset, Verified, recorded_outputs, subset, verify
from batchstack.cli import options as shared
from batchstack.cli.screen import bar, tell
from batchstack.errors import ExitCode


class SubsetType(click.ParamType[Subset]):
    """all, a share like 5%, or a number of outputs."""

    name = "subset"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> Subset:
        try:
            return subset(value)
        except ValueError:
            self.fail(
                f"{value!r} is no part of the outputs; give all, a share like 5% or a number",
                parameter,
                context,
            )


@click.command("verify", cls=shared.GroupedCommand)
@click.argument("directory", type=shared.present_folder_path)
@shared.option(
    "--read-subset",
    group="Input",
    type=SubsetType(),
    metavar="SUBSET",
    default="all",
    help="How many outputs to read: all, a share like 5%, or a number. They are chosen at "
    "random, others each time; of the rest the size is compared.",
)
@shared.option(
    "--json", "as_json", group="Output", is_flag=True, help="One JSON object per difference."
)
def command(directory: Path, read_subset: Subset, as_json: bool) -> None:
    """Compare all outputs in DIRECTORY with what was recorded when they were written.

    An output differs if it is missing, has another size or other content, or cannot be
    decoded.  Those without a recorded digest, of earlier versions, are decoded only, which
    finds less.  Outputs that a run replaces meanwhile may differ.

    The exit code is 0 if all is as recorded, 1 if something differs, 2 if no run has
    written here.
    """
    differing = read = without_digest = 0
    with existing_ledger(directory) as ledger:
        total = sum(1 for _ in recorded_outputs(ledger))
        found = verify(ledger, directory, total, read_subset(total))
        with bar(total, "outputs") as show:
            for number, output in enumerate(found, start=1):
                read += output.was_read
                without_digest += output.was_read and not output.has_digest
                if output.difference is not None:
                    differing += 1
                    click.echo(_as_data(output) if as_json else _as_line(output))
                show(number)
    click.echo(
        f"batchstack: {total} outputs recorded, {read} of them read"
        + (f" ({without_digest} without a recorded digest)" if without_digest else "")
        + f"; {differing} differ",
        err=True,
    )
    if differing:
        tell("outputs that differ come back when they are removed and the run is started again")
    sys.exit(ExitCode.FAILED if differing else ExitCode.OK)


def _as_line(output: Verified) -> str:
    return f"{click.format_filename(output.path)}: {output.difference}"


def _as_data(output: Verified) -> str:
    data = {"id": output.stack, "path": str(output.path), "difference": output.difference}
    return json.dumps(data)
