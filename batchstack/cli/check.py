"""`batchstack check`: the plan, without doing it."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from batchstack.batch.ledger import Ledger
from batchstack.batch.machine import cores, worker_count, worker_memory
from batchstack.batch.manifest import load_manifest
from batchstack.batch.plan import make_plan
from batchstack.batch.steps import Step, is_split, most_memory
from batchstack.cli import options as shared
from batchstack.cli.screen import bar
from batchstack.errors import ExitCode


@click.command("check", cls=shared.ConfiguredCommand)
@click.argument("manifest", type=shared.file_path)
@shared.option(
    "-o",
    "--output",
    group="Output",
    type=shared.folder_path,
    default=None,
    show_default="none: as if nothing were done yet",
    help="Output directory whose records decide what is up to date.",
)
@shared.run_options()
@shared.worker_options
@shared.option("--json", "as_json", group="Run", is_flag=True, help="One JSON object per stack.")
@shared.option(
    "--look",
    group="Run",
    is_flag=True,
    help="Also read what stacks to fuse show, and point out frames that are damaged, of another "
    "scene, or sharp all over like an old result.",
)
def command(
    manifest: Path, output: Path | None, as_json: bool, look: bool, **settings: Any
) -> None:
    """Validate MANIFEST, and show for each stack fuse, skip or refuse with the reason.

    Nothing is written.  The exit code is 0 if a run would succeed as far as headers tell,
    1 if it would refuse a stack, 2 if it would not start.
    """
    cluster = shared.take_cluster_options(settings)
    options = shared.take_run_options(settings)
    stacks = load_manifest(manifest)
    nowhere = manifest.parent / f".{manifest.name}.none"
    directory = output or nowhere
    limit = worker_memory(cluster)
    as_data = partial(_as_data, limit=limit, workers=worker_count(cluster))
    with Ledger(directory) as ledger:
        steps: Iterable[Step] = make_plan(stacks, directory, options, ledger, memory_limit=limit)
    if look:
        steps = _looked_at(list(steps))
    counts = Counter[str]()
    hopeless = False
    for step in steps:
        counts[step.action] += 1
        hopeless |= step.hopeless
        click.echo(json.dumps(as_data(step)) if as_json else _as_line(step, as_data(step)))
        for warning in step.warnings:
            click.echo(f"warning: {warning}", err=True)
    click.echo(
        f"batchstack: {counts['fuse']} to fuse, {counts['skip']} to skip, "
        f"{counts['refuse']} to refuse",
        err=True,
    )
    if hopeless:
        sys.exit(ExitCode.REFUSED)
    sys.exit(ExitCode.FAILED if counts["refuse"] else ExitCode.OK)


def _looked_at(steps: list[Step]) -> Iterator[Step]:
    """The steps, with warnings of what frames show for those that fuse."""
    from batchstack.cli.looking import odd_frames

    with bar(len(steps), "looking") as show, ThreadPoolExecutor(cores()) as pool:
        for number, step in enumerate(steps, start=1):
            if step.job is not None:
                odd = odd_frames(step.job.frames, pool)
                job = replace(step.job, warnings=(*step.job.warnings, *odd))
                step = replace(step, job=job)
            show(number)
            yield step


def _as_line(step: Step, data: dict[str, Any]) -> str:
    line = f"{step.action:6}  {step.row.id}: {'; '.join(step.reasons)}"
    if step.footprint is None:
        return line
    return (
        f"{line} ({len(step.row.paths)} frames of {step.megapixels:.1f} MP, "
        f"{data['tasks']}, {data['memory'] / 2**20:.0f} MiB)"
    )


def _as_data(step: Step, limit: int, workers: int) -> dict[str, Any]:
    data: dict[str, Any] = {
        "id": step.row.id,
        "place": step.row.place,
        "action": step.action,
        "reasons": list(step.reasons),
        "warnings": list(step.warnings),
    }
    if step.job and step.footprint:
        split = is_split(step, limit)
        data |= {
            "methods": list(step.job.methods),
            "megapixels": step.megapixels,
            "tasks": "tile by tile" if split else "one task",
            "memory": most_memory(step, limit, workers),
        }
    return data
