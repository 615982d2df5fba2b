"""`batchstack scan`: from a folder of photographs to a manifest."""

import shlex
import sys
import time
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any, NoReturn

import click

from batchstack import files
from batchstack.batch.engines import StopRequest
from batchstack.batch.interrupts import interruptible
from batchstack.batch.machine import ClusterOptions
from batchstack.batch.main_job import run
from batchstack.batch.manifest import load_manifest
from batchstack.cli import options as shared
from batchstack.cli.progress import closing_summary
from batchstack.cli.proposal import (
    Order,
    in_short,
    lines,
    load_kernels,
    refuse_none,
    with_allowed_ids,
)
from batchstack.cli.screen import bar, columns, say, tell
from batchstack.errors import BatchstackError, ExitCode, FileError, OptionError
from batchstack.options import RunOptions
from batchstack.scan.folder import Folder
from batchstack.scan.grouping import Proposal
from batchstack.scan.manifests import as_manifest, nameable
from batchstack.scan.watch import Watch

_LOOK_SECONDS = 2.0  # between two looks at a folder that is watched
_LONGEST_PAUSE = 600.0  # seconds between two tries to fuse what could not be


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
@shared.as_taken_option
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
    order = Order(reverse=options.reverse, as_taken=as_taken)
    skip = (fuse_to,) if fuse_to else ()
    if watch:
        content = Folder(folder, skip, by_scale=order.by_scale, prepare=load_kernels)
        _watch(Watch(content, quiet), folder, manifest, fuse_to, options, order)
    content = Folder(folder, skip, by_scale=order.by_scale, bar=bar, prepare=load_kernels)
    proposal = _named(content.propose(), folder, manifest, order)
    if proposal.groups:  # whoever reads the table may go away in the middle of it
        files.replace_file(manifest, as_manifest(proposal.groups, folder, manifest))
        load_manifest(manifest)
    for line in lines(proposal.groups, proposal.left, columns(sys.stdout)):
        click.echo(line)
    refuse_none(proposal, folder)
    say(f"{in_short(proposal)}; look through {manifest}, then")
    say(f"  batchstack run {shlex.quote(str(manifest))} -o OUTPUT")


def _named(proposal: Proposal, folder: Path, manifest: Path, order: Order) -> Proposal:
    """What of a proposal a manifest can name, in the order that was asked for."""
    return with_allowed_ids(nameable(order.of(proposal), folder, manifest))


def _watch(
    watch: Watch,
    folder: Path,
    manifest: Path,
    fuse_to: Path | None,
    options: RunOptions,
    order: Order,
) -> NoReturn:
    """Look at the folder until the process is ended; write and fuse what has ended.

    What keeps it from looking or writing is told once, and tried again.
    """
    before, stacks, trouble = b"", 0, ""
    fusing = _Fusing(manifest, fuse_to, options) if fuse_to is not None else None
    tell(f"watching {folder}; end with Ctrl-C")
    while True:
        told, trouble = trouble, ""
        try:
            groups = _named(watch.ended(), folder, manifest, order).groups
            content = as_manifest(groups, folder, manifest)
            if groups and content != before:
                files.replace_file(manifest, content)
                say(f"{len(groups) - stacks:+d} stacks, {len(groups)} in {manifest}")
                before, stacks = content, len(groups)
                if fusing:
                    fusing.begin()
        except FileError as error:
            trouble = str(error)
            if trouble != told:
                tell(f"{trouble}; the watch goes on")
        if fusing:
            fusing.go_on()
        time.sleep(_LOOK_SECONDS)


class _Fusing:
    """Fuses what a watch has found, and again what could not be, at ever longer intervals.

    Frames that belong to a stack after all make it a new one, which is fused anew.
    """

    def __init__(self, manifest: Path, fuse_to: Path, options: RunOptions) -> None:
        self._manifest, self._output = manifest, fuse_to
        self._options = replace(options, reverse=False)  # which the manifest is by now
        self._due = inf  # on the clock that nobody sets
        self._pause, self._trouble = _LOOK_SECONDS, ""

    def begin(self) -> None:
        """There is something new."""
        self._due, self._pause, self._trouble = time.monotonic(), _LOOK_SECONDS, ""

    def go_on(self) -> None:
        """Fuse what is not done, if it is time."""
        if time.monotonic() < self._due:
            return
        told, self._trouble = self._trouble, self._fuse()
        self._due = time.monotonic() + self._pause if self._trouble else inf
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        if self._trouble and self._trouble != told:
            tell(f"{self._trouble}\nit is tried again now and then")

    def _fuse(self) -> str:
        """Why something could not be fused, empty if all is."""
        try:
            cluster, stop = ClusterOptions(workers=0), StopRequest()
            with interruptible(stop, tell):
                summary = run(
                    self._manifest, self._output, self._options, cluster, say=tell, stop=stop
                )
        except BatchstackError as error:
            return str(error)
        trouble = "\n".join(failure.message for failure in summary.failures)
        if summary.done or trouble != self._trouble:
            name = self._options.output.name
            say(closing_summary(summary, self._output.absolute(), name))
        if stop.drain:  # also if nothing was left to do when it came
            sys.exit(ExitCode.INTERRUPTED)
        return trouble
