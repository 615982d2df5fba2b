"""`batchstack scan`: from a folder of photographs to a manifest."""

import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import click

from batchstack import files
from batchstack.batch.machine import ClusterOptions
from batchstack.batch.main_job import run
from batchstack.batch.manifest import load_manifest
from batchstack.cli import options as shared
from batchstack.cli.progress import closing_summary
from batchstack.cli.proposal import lines, refuse_none
from batchstack.cli.screen import say, tell
from batchstack.errors import BatchstackError, ExitCode, OptionError
from batchstack.options import RunOptions
from batchstack.scan.folder import Folder
from batchstack.scan.manifests import as_manifest
from batchstack.scan.watch import Watch

_LOOK_SECONDS = 2.0  # between two looks at a folder that is watched


@click.command("scan", cls=shared.ConfiguredCommand)
@click.argument("folder", type=shared.present_folder_path)
@shared.option(
    "-o",
    "--output",
    "manifest",
    group="Output",
    type=shared.new_file_path,
    required=True,
    help="Manifest to write.",
)
@shared.option(
    "--replace", group="Output", is_flag=True, help="Replace a manifest that is there already."
)
@shared.option(
    "--as-taken",
    group="Input",
    is_flag=True,
    help="Leave photographs in the order in which they were taken where no tag tells, and do not "
    "look how scale changes; --reverse takes them from front to back instead.",
)
@shared.option(
    "--watch",
    group="Watch",
    is_flag=True,
    help="Keep looking, and add stacks to the manifest when their capture has ended.",
)
@shared.option(
    "--quiet",
    group="Watch",
    type=click.FloatRange(1.0),
    default=30.0,
    help="Seconds without a new photograph after which a capture has ended.",
)
@shared.option(
    "--fuse",
    "fuse_to",
    group="Watch",
    type=shared.folder_path,
    default=None,
    show_default="only the manifest is written",
    help="With --watch: fuse every stack that has ended into this directory.",
)
@shared.run_options(shared.RECOMMENDED)
def command(
    folder: Path,
    manifest: Path,
    replace: bool,
    as_taken: bool,
    watch: bool,
    quiet: float,
    fuse_to: Path | None,
    **settings: Any,
) -> None:
    """Propose which photographs below FOLDER are stacks, and write a manifest of them.

    Photographs belong together by the camera's own tags of focus brackets, by names such as
    x_back and x_front, by the time they were taken, and by what they show.  Nothing in FOLDER
    is changed, and nothing is fused unless --watch and --fuse say so.
    """
    if fuse_to is not None and not watch:
        raise OptionError(
            f"--fuse goes with --watch; without it, run: batchstack run {manifest} -o {fuse_to}"
        )
    if files.is_file(manifest) and not replace:
        raise OptionError(f"{manifest}: is there already; give --replace or another name")
    options = shared.take_run_options(settings)
    by_scale = not (as_taken or options.reverse)
    content = Folder(folder, skip=(fuse_to,) if fuse_to else (), by_scale=by_scale)
    if watch:
        _watch(Watch(content, quiet), folder, manifest, fuse_to, options)
    proposal = content.propose()
    if options.reverse:
        proposal = proposal.back_first()
    text, unnamed = as_manifest(proposal, folder, manifest)
    for line in lines(proposal.groups, [*proposal.left, *unnamed]):
        click.echo(line)
    refuse_none(proposal, folder)
    files.replace_file(manifest, text.encode())
    load_manifest(manifest)
    say(f"{len(proposal.groups)} stacks in {manifest}; look through it, then")
    say(f"  batchstack run {shlex.quote(str(manifest))} -o OUTPUT")


def _watch(
    watch: Watch, folder: Path, manifest: Path, fuse_to: Path | None, options: RunOptions
) -> NoReturn:
    """Look at the folder until the process is ended; write and fuse what has ended."""
    before = ""
    tell(f"watching {folder}; end with Ctrl-C")
    while True:
        proposal = watch.ended()
        if options.reverse:
            proposal = proposal.back_first()
        text, _ = as_manifest(proposal, folder, manifest)
        if proposal.groups and text != before:
            files.replace_file(manifest, text.encode())
            new = len(proposal.groups) - max(0, before.count("\n") - 1)
            say(f"{new:+d} stacks, {len(proposal.groups)} in {manifest}")
            before = text
            if fuse_to is not None:
                _fuse(manifest, fuse_to, options)
        time.sleep(_LOOK_SECONDS)


def _fuse(manifest: Path, fuse_to: Path, options: RunOptions) -> None:
    """Fuse what is not done yet; whatever keeps it from being done, the watch goes on.

    Frames that belong to a stack after all make it a new one, which is fused anew.
    """
    options = replace(options, reverse=False)  # which the manifest is by now
    try:
        summary = run(manifest, fuse_to, options, ClusterOptions(workers=0), say=tell)
    except BatchstackError as error:
        tell(str(error))
        return
    say(closing_summary(summary, fuse_to.absolute(), options.output.name))
    if summary.interrupted:
        sys.exit(ExitCode.INTERRUPTED)
