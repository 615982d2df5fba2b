"""Whole programs on the same frames, one core: batchstack's outputs against the one of others.

    python benchmarks/peers.py --megapixels 12 --megapixels 24
    python benchmarks/peers.py --megapixels 8 --frames 12

Measured are those that are installed: enfuse (Debian's package, with the settings its manual
gives for focus stacks) and focusweave (from PyPI, alignment off), each writing one image of
one pair.  batchstack writes all of the original's outputs, then a single one, in a run of as
many pairs as make 240 megapixels, but at least five, so that its start is shared as in a
night's batch; then one pair by `batchstack fuse`, with its start.  Of more than two frames
each program fuses one stack, with its start.  All read and write JPEG; every output is a new
file.  The time is that of the processor, programs in turn, medians of the repeats, after one of
each that is not counted.  Python may keep bytecode, as it does where programs are installed.
"""

import os
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

ENFUSE = ["enfuse", "--exposure-weight=0", "--saturation-weight=0", "--contrast-weight=1"]
ENFUSE += ["--hard-mask"]
FOCUSWEAVE = ["focusweave", "frames", "--no-align", "--output", "fused.jpg"]
BATCHSTACK = [sys.executable, "-m", "batchstack"]
SINGLE = ("all_channels", "bayesian")
ORIGINAL = "by_channel,all_channels,laplacian,median_mask,direct"
MEGAPIXELS = 240  # of all pairs of a run
NOISE = 2.0  # 8-bit code values


@click.command(help=__doc__.splitlines()[0])
@click.option("--megapixels", type=float, multiple=True, default=(12.0, 24.0), show_default=True)
@click.option("--frames", type=click.IntRange(2), default=2, show_default=True)
@click.option("--repeats", type=int, default=5, show_default=True)
def main(megapixels: tuple[float, ...], frames: int, repeats: int) -> None:
    peers = [name for name in ("enfuse", "focusweave") if shutil.which(name)]
    if not peers:
        raise click.ClickException("neither enfuse nor focusweave is installed")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for size in megapixels:
        with TemporaryDirectory() as folder:
            measure(Path(folder), size, frames, peers, repeats)


def measure(folder: Path, size: float, frames: int, peers: list[str], repeats: int) -> None:
    files = render(folder / "frames", size, frames)
    others = {
        "enfuse": [*ENFUSE, "--compression=95", "-o", "fused.jpg", *files],
        "focusweave": FOCUSWEAVE,
    }
    commands = {f"{name}, one output": (others[name], 1) for name in peers}
    commands |= of_pairs(folder, size, files) if frames == 2 else of_stack(files)
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(1 + repeats):
        for name, (command, count) in commands.items():
            shutil.rmtree(folder / "out", ignore_errors=True)
            (folder / "fused.jpg").unlink(missing_ok=True)
            seconds[name].append(timed(command, folder) / count)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    for name, median in medians.items():
        ratios = [
            f"{medians[peer] / median:4.1f} x {peer.split(',')[0]}"
            for peer in commands
            if not peer.startswith("batchstack")
        ]
        click.echo(
            f"{frames} x {size:.0f} MP  {name:42} {median:6.2f} s, "
            f"{median / size / frames * 1e3:5.1f} ns a pixel, {', '.join(ratios)}"
        )


def render(folder: Path, size: float, frames: int) -> list[str]:
    """Frames of one scene, and their names, back to front."""
    rows = round((size * 1e6 * 3 / 4) ** 0.5)
    shape = (rows, rows * 4 // 3)
    # Without noise the cells of the decision map are pixels, which no photograph asks for.
    camera = Camera(noise=NOISE)
    stack = make_stack(shape, frames=frames, scene="hair", blur=8.0, camera=camera)
    names = [f"{number:03}.jpg" for number in range(frames)]
    for name, frame in zip(names, stack.frames, strict=True):
        write_image(folder / name, frame)
    return [f"{folder.name}/{name}" for name in names]


def of_pairs(folder: Path, size: float, files: list[str]) -> dict[str, tuple[list[str], int]]:
    """A run of many pairs, then one, each of six outputs and of one."""
    pairs = max(5, round(MEGAPIXELS / size))
    lines = ["id,back,front", *(f"p{i},{','.join(files)}" for i in range(pairs))]
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    run = [*BATCHSTACK, "run", "pairs.csv", "--workers", "0", "--no-report", "--output", "out"]
    commands = {}
    for title, command, count in (
        (f"batchstack run, {pairs} pairs", run, pairs),
        ("batchstack fuse", [*BATCHSTACK, "fuse", *files, "--output", "out"], 1),
    ):
        command += ["--align", "off", "--methods"]
        commands[f"{title}, six outputs"] = [*command, ORIGINAL], count
        commands[f"{title}, all_channels"] = [*command, "all_channels"], count
    return commands


def of_stack(files: list[str]) -> dict[str, tuple[list[str], int]]:
    """The stack fused once by each of single methods."""
    fuse = [*BATCHSTACK, "fuse", *files, "--output", "out", "--align", "off", "--methods"]
    return {f"batchstack fuse, {method}": ([*fuse, method], 1) for method in SINGLE}


def timed(command: list[str], folder: Path) -> float:
    """Run a program in a folder; seconds of the processor that it takes."""
    # Installed programs have their bytecode, so batchstack may keep its own.
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, env=kept, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
