"""`batchstack fuse`: one stack, in this process, by as many threads as it is worth."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from batchstack import files
from batchstack.batch.broken import without_broken
from batchstack.batch.claim import claim
from batchstack.batch.events import StackUnderWay
from batchstack.batch.frame_names import frames_in, is_named_as_output
from batchstack.batch.jobs import Job, Result
from batchstack.batch.ledger import Ledger
from batchstack.batch.machine import ClusterOptions, cores, worker_memory
from batchstack.batch.manifest import Manifest, Row
from batchstack.batch.placement import cost_of_crop
from batchstack.batch.plan import make_plan
from batchstack.batch.progress import UnderWay, hearing
from batchstack.batch.steps import Step, can_spread, is_split, most_threads
from batchstack.batch.warm import telling
from batchstack.cli import options as shared
from batchstack.cli.progress import Progress, loss
from batchstack.cli.screen import tell
from batchstack.errors import ExitCode, OptionError

# What the original script wrote.
ORIGINAL_METHODS = ("by_channel", "all_channels", "median_mask", "direct")


@click.command("fuse", cls=shared.ConfiguredCommand)
@click.argument("frames", nargs=-1, metavar="[FRAMES]...|FOLDER", type=shared.present_path)
@shared.option("--back", group="Input", type=shared.file_path, help="Frame focused far.")
@shared.option("--front", group="Input", type=shared.file_path, help="Frame focused near.")
@shared.option(
    "-o",
    "--output",
    group="Output",
    type=shared.folder_path,
    required=True,
    help="Folder the outputs go to; outputs of the same name are replaced.",
)
@shared.run_options(
    None,
    shown=f"{shared.RECOMMENDED}; with --back and --front {','.join(ORIGINAL_METHODS)}",
    without=("score", "rerun", "name"),
)
def command(
    frames: tuple[Path, ...], back: Path | None, front: Path | None, output: Path, **settings: Any
) -> None:
    """Fuse one stack: FRAMES from back to front, a FOLDER of them, or --back A --front B.

    The frames of a FOLDER are all its images, in natural order of their names; a camera's counter
    that was full goes on behind 9999.
    """
    paths = _frames(frames, back, front)
    _check(paths)
    if settings["methods"] is None:
        settings["methods"] = (shared.RECOMMENDED,) if frames else ORIGINAL_METHODS
    options = shared.take_run_options(settings)
    row = Row(id="", paths=tuple(str(path.absolute()) for path in paths), place="fuse")
    limit = worker_memory(ClusterOptions(workers=0))
    output = output.absolute()
    # Fused into the folder itself and never skipped: one stack needs no ledger.
    nothing_done = Ledger(output / ".none")
    (step,) = make_plan(Manifest(output, (row,)), output, options, nothing_done, memory_limit=limit)
    if step.job is None:
        tell(step.reasons[0])
        sys.exit(ExitCode.REFUSED if step.hopeless else ExitCode.FAILED)
    with telling(tell), claim(output, lasting=False) as held:
        result = _fuse(step, replace(step.job, claim=held, recorded=False), limit)
        while result.error and (job := without_broken(result)):
            result = _fuse(step, replace(job, number=job.number + 1), limit)
    if result.error or result.unfit:
        tell((result.error or result.unfit or "").removeprefix("fuse : "))
        sys.exit(ExitCode.FAILED)
    for remark in result.remarks:
        tell(remark.removeprefix("fuse : "))
    for warning in result.warnings:
        tell(f"warning: {warning.removeprefix('fuse : ')}")
    for what in result.lost:
        tell(loss(what, result))
    if cost := cost_of_crop(result.facts):
        tell(cost)
    for name in result.outputs:
        click.echo(click.format_filename(step.job.output_path(name)))


def _check(paths: tuple[Path, ...]) -> None:
    """Refuse what can be no frames of one stack."""
    seen: dict[tuple[int, int], Path] = {}
    for path in paths:
        # A pipe would be waited for, for ever if nobody writes to it.
        if not files.is_file(path):
            raise OptionError(f"{path}: is not a regular file; give an image file")
        if is_named_as_output(str(path)):
            tell(f"warning: {path}: is named like an output; leave it out unless it is a frame")
        status = files.status(path)
        other = seen.setdefault((status.st_dev, status.st_ino), path)
        if other is not path:
            raise OptionError(f"{path}: is the same file as {other}; give each frame once")


def _frames(frames: tuple[Path, ...], back: Path | None, front: Path | None) -> tuple[Path, ...]:
    if back and front and not frames:
        return back, front
    if back or front or not frames:
        raise OptionError(
            "give --back and --front, or two or more FRAMES from back to front, or their FOLDER"
        )
    if len(frames) > 1:
        return frames
    (folder,) = frames
    if not files.is_folder(folder):
        raise OptionError(f"{folder}: is only one frame; give two or more, or their folder")
    names = frames_in(folder)
    tell(f"{len(names)} frames in {folder}, {names[0]} to {names[-1]}")
    return tuple(folder / name for name in names)


def _fuse(step: Step, job: Job, limit: int) -> Result:
    threads = most_threads(step, limit)
    in_tasks = 0 if threads > 1 else _threads(step, limit)
    with Progress(alone=True) as progress:

        def told(stack: UnderWay) -> None:
            progress(StackUnderWay(step.row, stack.fraction, stack.phase))

        with hearing(told):
            if in_tasks < 2 and not is_split(step, limit):
                from batchstack.batch.tasks import do_stack

                return do_stack(replace(job, threads=threads))
            from batchstack.batch.engines import compute_in_threads
            from batchstack.batch.graph import split_graph

            if not is_split(step, limit):
                job = replace(job, spread=in_tasks)
            graph = split_graph(job, job.name, step.shape)
            # Tasks whose scratch is gone end with the next rows that they want to read.
            give_up = partial(files.remove_tree, job.scratch)
            return compute_in_threads(graph, in_tasks, give_up)


def _threads(step: Step, limit: int) -> int:
    """How many share a stack through scratch: as many as there are cores and memory for.

    For a small stack it is one.
    """
    assert step.footprint is not None
    if is_split(step, limit):
        return max(1, min(cores(), limit // step.footprint.split))
    if can_spread(step, limit):
        return max(1, min(cores(), limit // step.footprint.spread))
    return 1
