"""Error and speed of registration on rendered stacks whose motion is known.

    python benchmarks/registration.py --repeats 3

The error is the distance between where the found and the true transform put a corner: of the
first frame beside the reference, of the middle one and of the last, and the largest of all.
With --truth, stacks of many kinds are drawn instead, that stand still or move, and it is counted
how many frames end further off than they were by more than 0.15 px.

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
from collections.abc import Callable
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
from batchstack.scenes import TEXTURES, Camera, SyntheticStack, make_stack, sample_texture

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
@click.option("--truth", default=0, help="Draw so many stacks of each kind and compare with truth.")
@click.option("--seed", default=0, help="Of the stacks that are drawn.")
def main(repeats: int, only: str, peer: bool, truth: int, seed: int) -> None:
    cv2.setNumThreads(1)
    if truth:
        compare_with_truth(truth, seed, only)
        return
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


# --- never worse than no alignment


def as_it_is(frames: list[Any], rng: np.random.Generator) -> list[Any]:
    return frames


def toned(frames: list[Any], rng: np.random.Generator) -> list[Any]:
    """Another tone curve than sRGB's, as a camera's."""
    return [whole(255 * (frame / 255) ** 1.6) for frame in frames]


def faint(frames: list[Any], rng: np.random.Generator) -> list[Any]:
    """A twenty-fifth of the contrast of light, under noise of one code value."""
    light = [0.2 + ((frame / 255) ** 2.2 - 0.2) / 25 for frame in frames]
    return [whole(255 * one ** (1 / 2.2) + rng.standard_normal(one.shape)) for one in light]


def faint_as_stored(frames: list[Any], rng: np.random.Generator) -> list[Any]:
    """A thirtieth of the contrast of code values, in which blur is no blur any more."""
    return [whole(128 + (one - 128.0) / 30 + rng.standard_normal(one.shape)) for one in frames]


def with_highlights(frames: list[Any], rng: np.random.Generator) -> list[Any]:
    """Bright spots, each of which moves by itself."""
    high, wide = frames[0].shape[:2]
    at, moves = rng.uniform(40, [wide - 40, high - 40], (60, 2)), rng.uniform(-20, 20, (60, 2))
    shown = [frame.copy() for frame in frames]
    for index, frame in enumerate(shown):
        for x, y in (at + index * moves).round().astype(int).tolist():
            cv2.circle(frame, (x, y), 5, (255, 255, 255), -1, cv2.LINE_AA)
    return shown


def with_dust(frames: list[Any], rng: np.random.Generator) -> list[Any]:
    """Dark spots on the sensor, which stay where they are."""
    dust = np.ones((*frames[0].shape[:2], 1), np.float32)
    for centre in rng.integers(0, dust.shape[1::-1], (60, 2)).tolist():
        cv2.circle(dust, centre, int(rng.integers(3, 9)), float(rng.uniform(0.4, 0.85)), -1)
    return [whole(frame * dust) for frame in frames]


def whole(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


Change = Callable[[list[Any], np.random.Generator], list[Any]]
KINDS: tuple[Change, ...] = (as_it_is, toned, faint, faint_as_stored, with_highlights, with_dust)
SHAPES = (600, 800), (520, 520), (450, 600), (900, 1200)
# Up to a fifteenth of the shorter side; and how far stacks move, beside 1.5 % of breathing.
BLURS, MOVES = (3.0, 5.0, 8.0, 12.0, 20.0, 30.0), (0.0, 0.0, 0.03, 0.1, 0.3, 1.0)


def compare_with_truth(count: int, seed: int, only: str) -> None:
    head = (
        "kind",
        "stacks",
        "frames",
        "as is",
        "aligned",
        "median",
        "90 %",
        "max",
        "touched",
        "worse",
    )
    print("{:<16} {:>6} {:>6} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>6}".format(*head))
    for change in KINDS:
        if only in change.__name__:
            rng, before, after, touched = np.random.default_rng(seed), [0.0], [0.0], 0
            for _ in range(count):
                stack = drawn(rng)
                found = estimate_stack(change(list(stack.frames), rng))
                touched += not all(transform.is_identity for transform in found)
                shape = stack.frames[0].shape[:2]
                for transform, warp in list(zip(found, stack.warps, strict=True))[1:]:
                    before.append(corner_distance(warp, np.reshape(IDENTITY, (2, 3)), shape))
                    after.append(corner_distance(warp, transform.array, shape))
            was, now = np.array(before[1:]), np.array(after[1:])
            numbers = (was.mean(), now.mean(), *np.percentile(now, [50, 90, 100]))
            print(
                f"{change.__name__:<16} {count:6} {len(now):6} "
                + " ".join(f"{number:7.3f}" for number in numbers)
                + f" {touched:7} {int((now > was + 0.15).sum()):6}",
                flush=True,
            )


def drawn(rng: np.random.Generator) -> SyntheticStack:
    """Any two textures in any scene; a third of the stacks stand still."""
    much = rng.choice(MOVES)
    camera = Camera(
        breathing=much * rng.uniform(-0.015, 0.015),
        shift=tuple(much * rng.uniform(-4, 4, 2)),
        rotation=much * rng.uniform(-0.1, 0.1),
        noise=rng.choice([0.0, 1.0, 2.0, 4.0]),
        exposure_ev=rng.choice([0.0, 0.2]),
    )
    names = rng.choice(TEXTURES, 2, replace=False)
    return make_stack(
        SHAPES[rng.integers(len(SHAPES))],
        textures=tuple(sample_texture(str(name)) for name in names),
        frames=int(rng.choice([2, 2, 2, 3, 5])),
        scene=str(rng.choice(["hair", "blob", "lace", "slant"])),
        blur=float(rng.choice(BLURS)),
        seed=int(rng.integers(1_000_000)),
        camera=camera,
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
