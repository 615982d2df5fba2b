"""Time and memory of fusing a stack in memory, against the codec floor of a pair.

    python benchmarks/compute.py --megapixels 12 --megapixels 24
    python benchmarks/compute.py --frames 12 --megapixels 8 --methods all_channels

The codec floor is the time OpenCV needs, on one core, to decode the two JPEG frames and
to encode five JPEG outputs.  Floor and fusion take turns in one process that is held to
one core; compilation is done before, and working memory and outputs are kept from
stack to stack, as by a worker.
"""

import cProfile
import os
import pstats
import resource
import statistics
import time
from collections.abc import Callable

import click
import cv2
import numpy as np
import psutil
from skimage import data

from batchstack.fusion import METHODS
from batchstack.fusion.engine import StackToFuse, fuse_image
from batchstack.fusion.methods import select_methods
from batchstack.fusion.scratch import Scratch
from batchstack.fusion.team import Team
from batchstack.geometry import Box
from batchstack.options import FusionOptions

JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]
FACTORS = {"uint8": 1, "uint16": 257, "float32": 1 / 255}


@click.command(help=__doc__.splitlines()[0])
@click.option("--megapixels", type=float, multiple=True, default=(12.0, 24.0), show_default=True)
@click.option("--dtype", type=click.Choice(list(FACTORS)), default="uint8", show_default=True)
@click.option("--methods", default=",".join(METHODS), show_default=True, help="Joined by commas.")
@click.option("--frames", type=click.IntRange(min=2), default=2, show_default=True)
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--fresh", is_flag=True, help="Do not keep working memory and outputs.")
@click.option("--each", is_flag=True, help="Also time every method alone.")
@click.option("--profile", is_flag=True, help="Show instead which kernels take the time.")
def main(
    megapixels: tuple[float, ...],
    dtype: str,
    methods: str,
    frames: int,
    repeats: int,
    fresh: bool,
    each: bool,
    profile: bool,
) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    names = methods.split(",")
    groups = [names, *([name] for name in names if each)]
    start = time.perf_counter()
    small = [frame[:64, :64] for frame in render(0.02, dtype, frames)]
    for group in groups:
        fuse(small, group)
    click.echo(f"first call {time.perf_counter() - start:.1f} s (compiling, or loading from cache)")
    for size in sorted(megapixels):
        if profile:
            show_profile(size, dtype, names, frames, repeats)
        else:
            measure(size, dtype, groups, frames, repeats, fresh)


def measure(
    size: float,
    dtype: str,
    groups: list[list[str]],
    count: int,
    repeats: int,
    fresh: bool,
) -> None:
    frames = render(size, dtype, count)
    pixels = frames[0].shape[0] * frames[0].shape[1]
    files = [cv2.imencode(".jpg", frame, JPEG)[1] for frame in render(size, "uint8", 2)]
    scratch = Scratch()
    before = psutil.Process().memory_info().rss
    outputs = fuse(frames, groups[0], scratch)
    size_of_outputs = sum(output.nbytes for output in outputs.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    above = peak - before - size_of_outputs
    kept = () if fresh else (scratch,)
    del scratch, outputs
    floors, times = [], [[] for _ in groups]
    for _ in range(repeats):
        floors.append(seconds(lambda: codec_floor(files)))
        for group, taken in zip(groups, times, strict=True):
            taken.append(seconds(lambda group=group: fuse(frames, group, *kept)))
    floor = statistics.median(floors)
    click.echo(f"{size:g} MP {dtype}: codec floor {floor:.3f} s, {floor / pixels * 1e9:.1f} ns/px")
    for group, taken in zip(groups, times, strict=True):
        middle = statistics.median(taken)
        ratio = statistics.median(t / f for t, f in zip(taken, floors, strict=True))
        click.echo(
            f"  {'+'.join(group)}: {middle:.3f} s, {middle / pixels * 1e9:.1f} ns/px, "
            f"{ratio:.2f} x floor"
        )
    click.echo(f"  peak above frames and outputs: {above / pixels:.0f} bytes per pixel")


def show_profile(size: float, dtype: str, names: list[str], count: int, repeats: int) -> None:
    """Time within every function, kernels among them, of fusing pairs one after the other."""
    frames, scratch = render(size, dtype, count), Scratch()
    fuse(frames, names, scratch)
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(repeats):
        fuse(frames, names, scratch)
    profiler.disable()
    stats = pstats.Stats(profiler).get_stats_profile()
    functions = sorted(stats.func_profiles.items(), key=lambda entry: -entry[1].tottime)
    click.echo(f"{size:g} MP {dtype}, {'+'.join(names)}: {1000 * stats.total_tt / repeats:.0f} ms")
    for name, function in functions[:15]:
        share = function.tottime / stats.total_tt
        click.echo(f"  {share:6.1%}  {1000 * function.tottime / repeats:6.1f} ms  {name}")


def render(megapixels: float, dtype: str, count: int) -> list[np.ndarray]:
    """A photograph repeated to the size; each frame is sharp in its own stripes."""
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    height = round(megapixels * 1e6 / width)
    photograph = data.astronaut()
    repeats = -(-height // photograph.shape[0]), -(-width // photograph.shape[1]), 1
    sharp = np.tile(photograph, repeats)[:height, :width]
    soft = cv2.GaussianBlur(sharp, (0, 0), 4)
    stripe = np.arange(width) // 300 % count
    frames = [np.where((stripe == index)[:, np.newaxis], sharp, soft) for index in range(count)]
    return [(frame.astype(dtype) * FACTORS[dtype]).astype(dtype) for frame in frames]


def fuse(
    frames: list[np.ndarray], names: list[str], scratch: Scratch | None = None
) -> dict[str, np.ndarray]:
    def read(index: int, box: Box) -> np.ndarray:
        return frames[index][box.slices]

    shape, methods = frames[0].shape[:2], select_methods(names)
    stack = StackToFuse(read, len(frames), shape, methods, FusionOptions())
    return fuse_image(stack, None, Team([scratch]))


def codec_floor(files: list[np.ndarray]) -> None:
    images = [cv2.imdecode(file, cv2.IMREAD_COLOR) for file in files]
    for image in (*images, *images, images[0][..., 0]):
        cv2.imencode(".jpg", image, JPEG)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
