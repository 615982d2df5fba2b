"""Whole programs on the same pair, one core: batchstack's outputs against enfuse's one.

    python benchmarks/enfuse.py --megapixels 12 --megapixels 24

enfuse (Debian's package) writes one image with the settings its manual gives for focus
stacks; batchstack writes all of the original's outputs, then a single one, from a run of
several pairs, so that its start is shared as in a night's batch.  Both read and write JPEG.
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

from batchstack.fusion.synthetic import make_stack
from batchstack.images import write_image

ENFUSE = ["enfuse", "--exposure-weight=0", "--saturation-weight=0", "--contrast-weight=1"]
ENFUSE += ["--hard-mask", "--compression=95", "-o"]
ORIGINAL = "by_channel,all_channels,laplacian,median_mask,direct"
PAIRS = 5


@click.command(help=__doc__.splitlines()[0])
@click.option("--megapixels", type=float, multiple=True, default=(12.0, 24.0), show_default=True)
@click.option("--repeats", type=int, default=5, show_default=True)
def main(megapixels: tuple[float, ...], repeats: int) -> None:
    if shutil.which("enfuse") is None:
        raise click.ClickException("enfuse is not installed")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for size in megapixels:
        with TemporaryDirectory() as folder:
            measure(Path(folder), size, repeats)


def measure(folder: Path, size: float, repeats: int) -> None:
    rows = round((size * 1e6 * 3 / 4) ** 0.5)
    stack = make_stack((rows, rows * 4 // 3), scene="hair", blur=8.0)
    for name, frame in zip(("back", "front"), stack.frames, strict=True):
        write_image(folder / f"{name}.jpg", frame)
    lines = ["id,back,front", *(f"p{i},back.jpg,front.jpg" for i in range(PAIRS))]
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    run = [sys.executable, "-m", "batchstack", "run", "pairs.csv", "--workers", "0", "-o", "out"]
    run += ["--align", "off", "--methods"]
    commands = {
        "enfuse, one output": ([*ENFUSE, "fused.jpg", "back.jpg", "front.jpg"], 1),
        "batchstack, six outputs": ([*run, ORIGINAL], PAIRS),
        "batchstack, all_channels": ([*run, "all_channels"], PAIRS),
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, (command, pairs) in commands.items():
            shutil.rmtree(folder / "out", ignore_errors=True)
            start = time.perf_counter()
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            seconds[name].append((time.perf_counter() - start) / pairs)
    base = statistics.median(seconds["enfuse, one output"])
    for name, times in seconds.items():
        median = statistics.median(times)
        click.echo(
            f"{size:4.0f} MP  {name:26} {median:6.2f} s a pair, {size / median:5.1f} MP/s, "
            f"{base / median:4.1f} x enfuse"
        )


if __name__ == "__main__":
    main()
