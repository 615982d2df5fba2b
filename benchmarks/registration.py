"""Error and speed of registration on rendered stacks whose motion is known.

    python benchmarks/registration.py --repeats 3

The error is the distance between where the found and the true transform put a corner: of the
first frame beside the reference, of the middle one and of the last, and the largest of all.
Seconds are the median over the repeats, after one stack that is not counted; frames are in
memory.  ns/px counts the pixels of all frames.

With --peer, align_image_stack (Debian's hugin-tools) gets the same frames as files, with -m for
breathing, and its CPU seconds are those of a whole run with reading and writing.  Its error is how
far its moved frames lie from the frames moved by the truth, found by an affine registration of the
two, which show the same blur.
"""

import resource
import shutil
import statistics
import subprocess
import time
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import cv2
import numpy as np
import tifffile

from batchstack.geometry import Box
from batchstack.images import write_image
from batchstack.registration import estimate, estimate_stack
from batchstack.registration.warp import IDENTITY, Transform, corner_pixels, warp_window
from batchstack.scenes import Camera, SyntheticStack, make_stack, sample_texture

DEEP, SMALL, LARGE = (520, 700), (900, 1200), (3000, 4000)
MOVED = Camera(breathing=0.015, shift=(2.3, -1.7), rotation=0.05)
LIGHT = Camera(noise=3.0, exposure_ev=0.3)
BOTH = replace(MOVED, noise=LIGHT.noise, exposure_ev=LIGHT.exposure_ev)


@dataclass(frozen=True)
class Case:
    name: str
    shape: tuple[int, int]
    scene: dict[str, Any]
    textures: tuple[str, str] = ("grass", "immunohistochemistry")

    def render(self) -> SyntheticStack:
        back, front = (sample_texture(name) for name in self.textures)
        return make_stack(self.shape, textures=(back, front), **self.scene)


CASES = (
    Case("hair, moved", SMALL, {"scene": "hair", "blur": 7.0, "seed": 1, "camera": MOVED}),
    Case("slant, moved", SMALL, {"scene": "slant", "blur": 6.0, "seed": 4, "camera": MOVED}),
    Case(
        "photos, moved",
        SMALL,
        {"scene": "hair", "blur": 7.0, "seed": 21, "camera": MOVED},
        ("coffee", "chelsea"),
    ),
    Case("noise, 0.3 EV", SMALL, {"scene": "hair", "blur": 7.0, "seed": 1, "camera": BOTH}),
    Case("shift of 0.2 px", SMALL, {"blur": 5.0, "seed": 9, "camera": Camera(shift=(0.2, 0.0))}),
    Case("shift of 0.05 px", SMALL, {"blur": 5.0, "seed": 9, "camera": Camera(shift=(0.05, 0.0))}),
    Case("registered", SMALL, {"scene": "hair", "blur": 7.0, "seed": 7, "camera": LIGHT}),
    Case(
        "7 frames", SMALL, {"scene": "slant", "frames": 7, "blur": 8.0, "seed": 10, "camera": MOVED}
    ),
    Case(
        "pair of 520 x 520",
        (520, 520),
        {"scene": "hair", "blur": 5.0, "seed": 3, "camera": BOTH},
    ),
    Case(
        "20 frames", DEEP, {"scene": "hair", "frames": 20, "blur": 10.0, "seed": 5, "camera": BOTH}
    ),
    Case(
        "50 frames", DEEP, {"scene": "slant", "frames": 50, "blur": 16.0, "seed": 5, "camera": BOTH}
    ),
    Case("12 MP, wide blur", LARGE, {"scene": "hair", "blur": 24.0, "seed": 12, "camera": MOVED}),
    Case(
        "12 MP, photos",
        LARGE,
        {"scene": "blob", "blur": 24.0, "seed": 22, "camera": MOVED},
        ("astronaut", "coffee"),
    ),
    Case("12 MP, noise", LARGE, {"scene": "hair", "blur": 10.0, "seed": 15, "camera": BOTH}),
    Case(
        "12 MP, registered",
        LARGE,
        {"scene": "hair", "blur": 16.0, "seed": 16, "camera": Camera(noise=2.0)},
    ),
)


@click.command(help=__doc__)
@click.option("--repeats", default=3, show_default=True, help="Measurements of each stack.")
@click.option("--only", default="", help="Only cases whose name contains this.")
@click.option("--peer", is_flag=True, help="Have align_image_stack align the same frames.")
def main(repeats: int, only: str, peer: bool) -> None:
    cv2.setNumThreads(1)
    if peer and not shutil.which("align_image_stack"):
        raise click.ClickException("align_image_stack is not installed")
    estimate_stack(make_stack((300, 400)).frames)
    head = ("case", "motion", "first", "middle", "last", "max px", "predicted", "seconds", "ns/px")
    print("{:<18} {:>7} {:>7} {:>7} {:>7} {:>7} {:>9} {:>8} {:>6}".format(*head))
    for case in CASES:
        if only in case.name:
            stack = case.render()
            print(measured(case, stack, repeats), flush=True)
            if peer:
                print(peer_measured(case, stack), flush=True)
    print(f"moving a 12 MP colour frame: {warp_speed(repeats):.0f} MP/s")


def measured(case: Case, stack: SyntheticStack, repeats: int) -> str:
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = estimate_stack(stack.frames)
        taken.append(time.perf_counter() - start)
    seconds = statistics.median(taken)
    still = np.reshape(IDENTITY, (2, 3))
    motion = max(corner_distance(warp, still, case.shape) for warp in stack.warps)
    errors = [
        corner_distance(warp, transform.array, case.shape)
        for warp, transform in zip(stack.warps, found, strict=True)
    ]
    first, middle, last = errors[1], errors[len(errors) // 2], errors[-1]
    predicted = max(transform.error for transform in found)
    pixels = len(found) * case.shape[0] * case.shape[1]
    return (
        f"{case.name:<18} {motion:7.2f} {first:7.3f} {middle:7.3f} {last:7.3f} "
        f"{max(errors):7.3f} {predicted:9.3f} {seconds:8.2f} {seconds / pixels * 1e9:6.1f}"
    )


def peer_measured(case: Case, stack: SyntheticStack) -> str:
    with TemporaryDirectory() as name:
        folder = Path(name)
        names = [f"{index:03d}.png" for index in range(len(stack.frames))]
        for file, frame in zip(names, stack.frames, strict=True):
            write_image(folder / file, frame)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [
            "align_image_stack",
            "-m",
            "-f",
            "40",
            "--use-given-order",
            "-a",
            "moved",
            *names,
        ]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        moved = sorted(folder.glob("moved*.tif"))
        if done.returncode or len(moved) != len(names):
            return f"  align_image_stack fails after {seconds:.2f} s"
        images = [tifffile.imread(file) for file in moved]
    errors = []
    for image, frame, warp in zip(images, stack.frames, stack.warps, strict=True):
        there = Transform(tuple(warp.ravel().tolist()), "affine")
        expected = warp_window(frame, there, Box(0, 0, *case.shape))
        shown = np.where(image[..., 3:] > 0, image[..., :3], expected)
        lies = estimate(expected, shown, model="affine")
        errors.append(corner_distance(lies.array, np.eye(2, 3), case.shape))
    first, middle, last = errors[1], errors[len(errors) // 2], errors[-1]
    return (
        f"  align_image_stack        {first:7.3f} {middle:7.3f} {last:7.3f} {max(errors):7.3f} "
        f"{'':>9} {seconds:8.2f}"
    )


def corner_distance(one: np.ndarray, other: np.ndarray, shape: tuple[int, int]) -> float:
    return float(np.hypot(*((one - other) @ corner_pixels(Box(0, 0, *shape)))).max())


def warp_speed(repeats: int) -> float:
    """Megapixels per second, in tiles as fusion asks for them."""
    frame = np.random.default_rng(0).integers(0, 256, (*LARGE, 3), np.uint8)
    transform = Transform((1.015, 0.0009, -7.1, -0.0009, 1.015, -7.9), "similarity")
    corners = product(range(0, LARGE[0], 750), range(0, LARGE[1], 1000))
    tiles = [Box(top, left, top + 750, left + 1000) for top, left in corners]
    warp_window(frame, transform, Box(0, 0, 8, 8))
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        for tile in tiles:
            warp_window(frame, transform, tile)
        taken.append(time.perf_counter() - start)
    return LARGE[0] * LARGE[1] / 1e6 / statistics.median(taken)


if __name__ == "__main__":
    main()
