"""Whole programs with alignment beside the same with `--align off`, on one core.

    python benchmarks/aligning.py --frames 12 --megapixels 8
    python benchmarks/aligning.py --frames 2 --megapixels 0.27 --stacks 60

Stacks are rendered with 1.5 % of breathing, a shift and a rotation, and written as JPEG.  Seconds
are CPU time of `batchstack run` with its start, in which all stacks are copies of one; focusweave
(from PyPI), where it is installed, aligns and fuses one of them.  A run that is not counted comes
first, and programs take turns.
"""

import resource
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from batchstack.images import write_image
from batchstack.scenes import Camera, make_stack

MOVED = Camera(breathing=0.015, shift=(2.3, -1.7), rotation=0.05, noise=2.0)


@click.command(help=__doc__.splitlines()[0])
@click.option("--frames", type=click.IntRange(2), default=12, show_default=True)
@click.option("--megapixels", type=float, default=8.0, show_default=True)
@click.option("--stacks", type=click.IntRange(1), default=1, show_default=True)
@click.option("--methods", default="bayesian", show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
def main(frames: int, megapixels: float, stacks: int, methods: str, repeats: int) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        pixels = write_stacks(folder, frames, megapixels, stacks)
        run = [sys.executable, "-m", "batchstack", "run", "stacks.csv", "--workers", "0"]
        run += ["--output", "out", "--methods", methods]
        commands = {
            "aligned": (run, pixels * stacks),
            "off": ([*run, "--align", "off"], pixels * stacks),
        }
        if shutil.which("focusweave"):
            commands["focusweave"] = ["focusweave", "stack", "--output", "fused.jpg"], pixels
        spent: dict[str, list[float]] = {title: [] for title in commands}
        for number in range(repeats + 1):
            for title, (command, _) in commands.items():
                seconds = cpu_seconds(folder, command)
                if number:
                    spent[title].append(seconds)
        cost = {
            title: 1e9 * statistics.median(spent[title]) / count
            for title, (_, count) in commands.items()
        }
        for title, value in cost.items():
            click.echo(
                f"{title:12} {value:6.1f} ns per input pixel, "
                f"{value / cost['aligned']:.2f} times the aligned run"
            )
        click.echo(f"aligning      {cost['aligned'] - cost['off']:6.1f} ns per input pixel")


def write_stacks(folder: Path, frames: int, megapixels: float, stacks: int) -> int:
    """Write one stack and a manifest of many; returns the pixels of its frames."""
    rows = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    shape = rows, rows * 4 // 3
    stack = make_stack(shape, frames=frames, scene="hair", blur=rows / 250, camera=MOVED)
    names = [f"stack/{index:03d}.jpg" for index in range(frames)]
    for name, frame in zip(names, stack.frames, strict=True):
        write_image(folder / name, frame)
    lines = [f"s{index:04d},{'|'.join(names)}" for index in range(stacks)]
    (folder / "stacks.csv").write_text("\n".join(["id,frames", *lines]) + "\n")
    return frames * shape[0] * shape[1]


def cpu_seconds(folder: Path, command: list[str]) -> float:
    shutil.rmtree(folder / "out", ignore_errors=True)
    (folder / "fused.jpg").unlink(missing_ok=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
