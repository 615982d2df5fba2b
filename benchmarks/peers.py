"""Whole programs on the same pair, one core: batchstack's outputs against the one of others.

    python benchmarks/peers.py --megapixels 12 --megapixels 24

Measured are those that are installed: enfuse (Debian's package, with the settings its manual
gives for focus stacks) and focusweave (from PyPI, alignment off), each writing one image of
one pair.  batchstack writes all of the original's outputs, then a single one, in a run of as
many pairs as make 240 megapixels, but at least five, so that its start is shared as in a
night's batch; then one pair by `batchstack fuse`, with its start.  All read and write JPEG;
every output is a new file.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from batchstack.images import write_image
from batchstack.scenes import make_stack

ENFUSE = ["enfuse", "--exposure-weight=0", "--saturation-weight=0", "--contrast-weight=1"]
ENFUSE += ["--hard-mask", "--compression=95", "-o", "fused.jpg", "pair/back.jpg", "pair/front.jpg"]
FOCUSWEAVE = ["focusweave", "pair", "--no-align", "--output", "fused.jpg"]
ORIGINAL = "by_channel,all_channels,laplacian,median_mask,direct"
MEGAPIXELS = 240  # of all pairs of a run


@click.command(help=__doc__.splitlines()[0])
@click.option("--megapixels", type=float, multiple=True, default=(12.0, 24.0), show_default=True)
@click.option("--repeats", type=int, default=5, show_default=True)
def main(megapixels: tuple[float, ...], repeats: int) -> None:
    peers = [command for command in (ENFUSE, FOCUSWEAVE) if shutil.which(command[0])]
    if not peers:
        raise click.ClickException("neither enfuse nor focusweave is installed")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for size in megapixels:
        with TemporaryDirectory() as folder:
            measure(Path(folder), size, peers, repeats)


def measure(folder: Path, size: float, peers: list[list[str]], repeats: int) -> None:
    rows, pairs = round((size * 1e6 * 3 / 4) ** 0.5), max(5, round(MEGAPIXELS / size))
    stack = make_stack((rows, rows * 4 // 3), scene="hair", blur=8.0)
    for name, frame in zip(("back", "front"), stack.frames, strict=True):
        write_image(folder / "pair" / f"{name}.jpg", frame)
    lines = ["id,back,front", *(f"p{i},pair/back.jpg,pair/front.jpg" for i in range(pairs))]
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    batchstack = [sys.executable, "-m", "batchstack"]
    run = [*batchstack, "run", "pairs.csv", "--workers", "0", "--output", "out"]
    fuse = [*batchstack, "fuse", "pair/back.jpg", "pair/front.jpg", "--output", "out"]
    commands = {f"{peer[0]}, one output": (peer, 1) for peer in peers}
    for title, command, count in (
        (f"batchstack run, {pairs} pairs", run, pairs),
        ("batchstack fuse", fuse, 1),
    ):
        command += ["--align", "off", "--methods"]
        commands[f"{title}, six outputs"] = [*command, ORIGINAL], count
        commands[f"{title}, all_channels"] = [*command, "all_channels"], count
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, (command, count) in commands.items():
            shutil.rmtree(folder / "out", ignore_errors=True)
            (folder / "fused.jpg").unlink(missing_ok=True)
            start = time.perf_counter()
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            seconds[name].append((time.perf_counter() - start) / count)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, median in medians.items():
        ratios = [
            f"{medians[peer] / median:4.1f} x {peer.split(',')[0]}"
            for peer in commands
            if not peer.startswith("batchstack")
        ]
        click.echo(
            f"{size:4.0f} MP  {name:42} {median:6.2f} s a pair, {size / median:5.1f} MP/s, "
            + ", ".join(ratios)
        )


if __name__ == "__main__":
    main()
