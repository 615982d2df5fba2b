"""`batchstack align`: transforms that hold for all stacks of one device."""

import sys
from pathlib import Path
from typing import Any

import click

from batchstack.batch.device import write_device_set
from batchstack.batch.device_stacks import StackMeasured, measure_device
from batchstack.batch.machine import cores
from batchstack.batch.manifest import load_manifest
from batchstack.cli import options as shared
from batchstack.cli.screen import say, tell
from batchstack.errors import ExitCode, OptionError
from batchstack.options import ALIGN_MODELS, AlignModel

_MODELS = tuple(model for model in ALIGN_MODELS if model != "off")


@click.command("align", cls=shared.GroupedCommand)
@click.argument("manifest", type=shared.file_path)
@shared.option(
    "-o",
    "--output",
    group="Output",
    type=shared.new_file_path,
    required=True,
    help="File of transforms to write, such as transforms.json; one that is there is replaced.",
)
@shared.option(
    "--align",
    "model",
    group="Alignment",
    type=click.Choice(_MODELS),
    default="auto",
    help="How frames may move onto the first one; auto is similarity.",
)
@shared.run_option("data_range", group="Alignment")
@shared.run_option("reverse", group="Alignment")
@shared.option(
    "--stacks",
    group="Alignment",
    type=click.IntRange(1),
    default=50,
    help="Stacks that are measured at most, spread evenly over the manifest.",
)
@shared.option(
    "--workers",
    group="Run",
    type=click.IntRange(1),
    default=None,
    show_default="one per core",
    help="Stacks that are measured at once.",
)
@shared.option("-v", "--verbose", group="Run", is_flag=True, help="Name every stack when measured.")
def command(
    manifest: Path,
    output: Path,
    model: AlignModel,
    stacks: int,
    workers: int | None,
    verbose: bool,
    **settings: Any,
) -> None:
    """Measure how frames of MANIFEST's stacks lie, once for all stacks of the same device.

    A rail, a lens or a microscope breathes alike in every stack.  'run --transforms' takes what
    is written here instead of measuring each stack, so all of them get one crop and one scale.
    The exit code is 0, or 1 if a stack could not be measured; it is named, and so are stacks
    that differ from the others and are left out.
    """
    if output.suffix.lower() != ".json":
        raise OptionError(f"{output}: is not named like JSON; give a name that ends with .json")
    options = shared.take_run_options(settings)
    failed = 0

    def told(event: StackMeasured) -> None:
        nonlocal failed
        failed += not event.transforms
        if event.message:
            tell(f"warning: {event.message}" if event.transforms else event.message)
        elif verbose:
            tell(f"{event.row.id}: measured")

    measured, size = measure_device(
        load_manifest(manifest),
        model,
        most=stacks,
        threads=workers or cores(),
        data_range=options.fusion.data_range,
        reverse=options.reverse,
        listener=told,
    )
    write_device_set(output, measured, size)
    for name, pixels in measured.outliers.items():
        tell(f"warning: {name}: lies up to {pixels:.1f} px off from the other stacks; left out")
    say(
        f"batchstack: {len(measured.matrices)} frames measured over {measured.n_stacks} stacks, "
        f"right to {max(measured.errors):.2f} px; {len(measured.outliers)} left out, {failed} "
        f"failed\n  {click.format_filename(output)}"
    )
    sys.exit(ExitCode.FAILED if failed else ExitCode.OK)
