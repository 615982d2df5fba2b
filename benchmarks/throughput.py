"""A whole run on two workers against twice the rate of one core.

    python benchmarks/throughput.py --pairs 40 --megapixels 12
    python benchmarks/throughput.py --pairs 400 --megapixels 0.27

The rate of one core is that of the tasks alone: decode, fuse and encode one pair after the
other in one process that is held to one core, after a first pair that is not counted.  The
run is `batchstack run` as a user starts it, from the first import to the exit of the process.
Both write new files.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from batchstack.batch.claim import claim
from batchstack.batch.ledger import Ledger
from batchstack.batch.manifest import load_manifest
from batchstack.batch.plan import RunOptions, make_plan
from batchstack.batch.tasks import do_stack
from batchstack.fusion import METHODS
from batchstack.images import write_image
from batchstack.options import AlignOptions, OutputOptions
from batchstack.scenes import Camera, make_stack

ORIGINAL = "by_channel,all_channels,laplacian,median_mask,direct"
DISTINCT = 4  # renders; the pairs are links to them


@click.command(help=__doc__.splitlines()[0])
@click.option("--pairs", type=int, default=40, show_default=True)
@click.option("--megapixels", type=float, default=12.0, show_default=True)
@click.option("--methods", default=ORIGINAL, show_default=True)
@click.option("--align", default="off", show_default=True)
@click.option("--format", "suffix", default="auto", show_default=True, help="Of the outputs.")
@click.option("--deep", is_flag=True, help="Frames are 16-bit TIFF instead of JPEG.")
@click.option("--workers", type=int, default=2, show_default=True)
@click.option("--repeats", type=int, default=3, show_default=True)
def main(
    pairs: int,
    megapixels: float,
    methods: str,
    align: str,
    suffix: str,
    deep: bool,
    workers: int,
    repeats: int,
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder, pairs, megapixels, deep)
        options = {"methods": methods, "align": align, "format": suffix}
        ratios = []
        for number in range(repeats):
            core = one_core(folder, options, min(pairs, 12 if megapixels > 1 else 60))
            seconds = whole_run(folder, f"out{number}", options, workers)
            ratio = pairs * core / workers / seconds
            ratios.append(ratio)
            click.echo(
                f"one core {1 / core:.2f} pairs/s, {workers} workers {pairs / seconds:.2f} pairs/s "
                f"({megapixels * pairs / seconds:.1f} MP/s), {100 * ratio:.0f} % of {workers} cores"
            )
        click.echo(f"median {100 * statistics.median(ratios):.0f} %")


def write_pairs(folder: Path, pairs: int, megapixels: float, deep: bool) -> None:
    rows = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    end, camera = (".tif", Camera(dtype="uint16", noise=1.0)) if deep else (".jpg", Camera())
    for number in range(DISTINCT):
        shape = rows, rows * 4 // 3
        stack = make_stack(shape, scene="hair", blur=6.0, seed=number, camera=camera)
        for side, frame in zip(("back", "front"), stack.frames, strict=True):
            write_image(folder / f"{side}{number}{end}", frame)
    names = [f"back{i}{end},front{i}{end}" for i in range(DISTINCT)]
    lines = [f"p{i:04},{names[i % DISTINCT]}" for i in range(pairs)]
    (folder / "pairs.csv").write_text("\n".join(["id,back,front", *lines]) + "\n")


def one_core(folder: Path, wanted: dict[str, str], count: int) -> float:
    """Seconds per pair of the tasks alone."""
    manifest = load_manifest(folder / "pairs.csv", known_methods=METHODS)
    options = RunOptions(
        methods=tuple(wanted["methods"].split(",")),
        alignment=AlignOptions(align=wanted["align"]),
        output=OutputOptions(format=wanted["format"]),
    )
    output = folder / "core"
    steps = make_plan(manifest, output, options, Ledger(output))[: count + 1]
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(everywhere)})
    try:
        with claim(output) as held:
            for number, step in enumerate(steps):
                if number == 1:
                    start = time.perf_counter()
                result = do_stack(replace(step.job, claim=held))
                assert result.error is None, result.error
            return (time.perf_counter() - start) / (len(steps) - 1)
    finally:
        os.sched_setaffinity(0, everywhere)
        shutil.rmtree(output)


def whole_run(folder: Path, output: str, options: dict[str, str], workers: int) -> float:
    command = [sys.executable, "-m", "batchstack", "run", "pairs.csv", "-o", output]
    command += ["--workers", str(workers)]
    command += [part for name, value in options.items() for part in (f"--{name}", value)]
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    seconds = time.perf_counter() - start
    shutil.rmtree(folder / output)
    return seconds


if __name__ == "__main__":
    main()
