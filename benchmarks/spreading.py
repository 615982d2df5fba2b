"""What one long stack gains from more workers, from the first import to the exit of the process.

    python benchmarks/spreading.py --frames 30 --megapixels 12 --methods all_channels

The same stack by one worker and by more, in turn: `run` with so many workers, and `fuse` held to so
many cores.  The ratio is of each two that follow one another.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from batchstack.images import write_image
from batchstack.scenes import make_stack

DISTINCT = 6  # renders; the frames are copies of them


@click.command(help=__doc__.splitlines()[0])
@click.option("--frames", type=int, default=30, show_default=True)
@click.option("--megapixels", type=float, default=12.0, show_default=True)
@click.option("--methods", default="all_channels", show_default=True)
@click.option("--align", default="off", show_default=True)
@click.option("--workers", type=int, default=2, show_default=True)
@click.option("--repeats", type=int, default=5, show_default=True)
@click.option("--folder", type=Path, help="Where the stack is kept for the next time.")
def main(
    frames: int,
    megapixels: float,
    methods: str,
    align: str,
    workers: int,
    repeats: int,
    folder: Path | None,
) -> None:
    options = ["--methods", methods, "--align", align]
    with TemporaryDirectory() as temporary:
        folder = (folder or Path(temporary)).absolute()
        names = write_stack(folder, frames, megapixels)
        (folder / "stack.csv").write_text(f"id,frames\nstack,{'|'.join(names)}\n")
        for command in ("run", "fuse"):
            measure = partial(seconds, folder, command, names, options)
            compare(command, measure, workers, repeats)


def write_stack(folder: Path, count: int, megapixels: float) -> list[str]:
    """Frames as files, unless they are there; rendering all of them would take minutes."""
    names = [f"frame{index:03}.jpg" for index in range(count)]
    folder.mkdir(exist_ok=True)
    if not (folder / names[-1]).exists():
        rows = round((megapixels * 1e6 * 3 / 4) ** 0.5)
        stack = make_stack((rows, rows * 4 // 3), frames=DISTINCT, scene="slant", blur=8.0)
        for index, name in enumerate(names):
            if index < DISTINCT:
                write_image(folder / name, stack.frames[index])
            else:
                shutil.copyfile(folder / names[index % DISTINCT], folder / name)
    return names


def compare(command: str, measure, workers: int, repeats: int) -> None:
    ratios = []
    for number in range(repeats + 1):
        one, more = measure(1), measure(workers)
        if number:  # the first two load what the others find loaded
            ratios.append(one / more)
            click.echo(
                f"{command}: 1 worker {one:.2f} s, {workers} workers {more:.2f} s, "
                f"ratio {ratios[-1]:.2f}"
            )
    click.echo(f"{command}: median ratio {statistics.median(ratios):.2f}")


def seconds(folder: Path, command: str, names: list[str], options: list[str], count: int) -> float:
    line = [sys.executable, "-m", "batchstack", command, "-o", "out", *options]
    line += ["stack.csv", "--workers", str(count)] if command == "run" else names
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(cores)[:count]))  # inherited
    try:
        start = time.perf_counter()
        subprocess.run(line, cwd=folder, check=True, capture_output=True)
        return time.perf_counter() - start
    finally:
        os.sched_setaffinity(0, cores)
        shutil.rmtree(folder / "out")


if __name__ == "__main__":
    main()
