"""Time and memory of fusing a pair in memory, against the codec floor of the same pair.

    python benchmarks/compute.py --megapixels 12 --megapixels 24

The codec floor is the time OpenCV needs, on one core, to decode the two JPEG frames and
to encode five JPEG outputs.  Floor and fusion take turns in one process that is held to
one core; compilation is done before, and working memory and outputs are kept from pair
to pair, as by a worker.
"""

import cProfile
import os
import pstats
import resource
import statistics
import time
from collections.abc import Callable, Sequence

import click
import cv2
import numpy as np
import psutil
from skimage import data

from batchstack.fusion import METHODS
from batchstack.fusion.blocks import Scratch
from batchstack.fusion.engine import fuse_image, output_form
from batchstack.fusion.methods import Method, select_methods
from batchstack.options import FusionOptions

JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]
FACTORS = {"uint8": 1, "uint16": 257, "float32": 1 / 255}


@click.command(help=__doc__.splitlines()[0])
@click.option("--megapixels", type=float, multiple=True, default=(12.0, 24.0), show_default=True)
@click.option("--dtype", type=click.Choice(list(FACTORS)), default="uint8", show_default=True)
@click.option("--methods", default=",".join(METHODS), show_default=True, help="Joined by commas.")
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--fresh", is_flag=True, help="Do not keep working memory and outputs.")
@click.option("--each", is_flag=True, help="Also time every method alone.")
@click.option("--profile", is_flag=True, help="Show instead which kernels take the time.")
def main(
    megapixels: tuple[float, ...],
    dtype: str,
    methods: str,
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
    small = [frame[:64, :64] for frame in render(0.02, dtype)]
    for group in groups:
        fuse(small, group)
    click.echo(f"first call {time.perf_counter() - start:.1f} s (compiling, or loading from cache)")
    for size in sorted(megapixels):
        if profile:
            show_profile(size, dtype, names, repeats)
        else:
            measure(size, dtype, groups, repeats, fresh)


def measure(size: float, dtype: str, groups: list[list[str]], repeats: int, fresh: bool) -> None:
    frames = render(size, dtype)
    pixels = frames[0].shape[0] * frames[0].shape[1]
    files = [cv2.imencode(".jpg", frame, JPEG)[1] for frame in render(size, "uint8")]
    scratch = Scratch()
    before = psutil.Process().memory_info().rss
    outputs = fuse(frames, groups[0], scratch)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    above = peak - before - sum(output.nbytes for output in outputs.values())
    kept = () if fresh else (scratch, outputs)
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


def show_profile(size: float, dtype: str, names: list[str], repeats: int) -> None:
    """Time within every function, kernels among them, of fusing pairs one after the other."""
    frames, scratch = render(size, dtype), Scratch()
    outputs = fuse(frames, names, scratch)
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(repeats):
        fuse(frames, names, scratch, outputs)
    profiler.disable()
    stats = pstats.Stats(profiler).get_stats_profile()
    functions = sorted(stats.func_profiles.items(), key=lambda entry: -entry[1].tottime)
    click.echo(f"{size:g} MP {dtype}, {'+'.join(names)}: {1000 * stats.total_tt / repeats:.0f} ms")
    for name, function in functions[:15]:
        share = function.tottime / stats.total_tt
        click.echo(f"  {share:6.1%}  {1000 * function.tottime / repeats:6.1f} ms  {name}")


def render(megapixels: float, dtype: str) -> list[np.ndarray]:
    """A photograph repeated to the size, sharp in alternate stripes of either frame."""
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    height = round(megapixels * 1e6 / width)
    photograph = data.astronaut()
    repeats = -(-height // photograph.shape[0]), -(-width // photograph.shape[1]), 1
    sharp = np.tile(photograph, repeats)[:height, :width]
    soft = cv2.GaussianBlur(sharp, (0, 0), 4)
    near = (np.arange(width) // 300 % 2 == 0)[:, np.newaxis]
    frames = np.where(near, sharp, soft), np.where(near, soft, sharp)
    return [(frame.astype(dtype) * FACTORS[dtype]).astype(dtype) for frame in frames]


def fuse(
    frames: list[np.ndarray],
    names: list[str],
    scratch: Scratch | None = None,
    outputs: dict[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    methods, shape = select_methods(names), frames[0].shape
    if outputs is None:
        outputs = new_outputs(frames, methods)
    fuse_image(
        lambda index, box: frames[index][box.slices],
        len(frames),
        shape[:2],
        methods,
        FusionOptions(),
        None,
        {name: outputs[name] for method in methods for name in method.outputs},
        scratch,
    )
    return outputs


def new_outputs(frames: list[np.ndarray], methods: Sequence[Method]) -> dict[str, np.ndarray]:
    shape, dtype = frames[0].shape, frames[0].dtype
    return {
        name: np.empty(*output_form(name, methods, shape, dtype))
        for method in methods
        for name in method.outputs
    }


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
