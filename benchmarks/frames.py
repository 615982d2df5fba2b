"""Memory and noise of stacks of many frames.

    python benchmarks/frames.py --memory 10 50 200 --noise 7 50

Memory: the largest resident size of `batchstack run` on a stack of N frames, in a process of
its own.  Noise: the standard deviation in a flat region, in 8-bit code values, of the best
single frame and of every method's output; `maximum` is `median_mask` without its median, the
plain selection of the largest coefficient.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from batchstack.fusion import METHODS, fuse
from batchstack.images import write_image
from batchstack.options import FusionOptions
from batchstack.scenes import Camera, make_stack, sample_texture

NOISE = 3.0  # 8-bit code values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memory", type=int, nargs="*", default=[10, 50, 200])
    parser.add_argument("--noise", type=int, nargs="*", default=[7, 50])
    parser.add_argument("--megapixels", type=float, default=2.0)
    parser.add_argument("--methods", default="all")
    options = parser.parse_args()
    if options.memory:
        print("frames  peak MiB  predicted MiB   seconds")
        for count in options.memory:
            with TemporaryDirectory() as folder:
                print(
                    memory_row(Path(folder), count, options.megapixels, options.methods), flush=True
                )
    for count in options.noise:
        print(f"\nnoise of a flat region, {count} frames, standard deviation in codes")
        for name, value in noise(count).items():
            print(f"{name:20} {value:.2f}", flush=True)


def memory_row(folder: Path, count: int, megapixels: float, methods: str) -> str:
    rows = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    sharp = make_stack((rows, rows * 4 // 3), frames=2, scene="slant", blur=8.0)
    for index in range(count):
        # Which frame is which does not matter for memory; rendering 200 would take minutes.
        write_image(folder / f"frame{index:03}.jpg", sharp.frames[index % 2])
    (folder / "stacks.csv").write_text("id,frames\nstack,frame*.jpg\n")
    command = [sys.executable, "-m", "batchstack"]
    here = "--workers", "0", "--align", "off", "--methods", methods
    plan = run([*command, "check", "stacks.csv", "--json", *here], folder)
    run([*command, "run", "stacks.csv", "-o", "out", *here], folder)
    told = run([*command, "status", "out", "--json"], folder)
    predicted = plan["memory"] / 2**20
    return f"{count:6} {told['peak_memory'] / 2**20:9.0f} {predicted:14.0f} {told['seconds']:9.1f}"


def run(command: list[str], folder: Path) -> dict:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout) if done.stdout.startswith("{") else {}


def noise(count: int) -> dict[str, float]:
    """Standard deviations where the truth is flat, a blur away from all texture."""
    texture = np.tile(sample_texture("grass"), (2, 2, 1))[:480, :640].copy()
    texture[:, 200:440] = 128
    scene = {"scene": "slant", "textures": (texture, texture), "blur": 6.0}
    stack = make_stack((480, 640), frames=count, camera=Camera(noise=NOISE), **scene)
    grey = stack.truth[..., 1]
    around = np.ones((41, 41), np.uint8)
    flat = cv2.dilate(grey, around) == cv2.erode(grey, around)
    methods = [name for name, method in METHODS.items() if method.output]
    fused = fuse(stack.frames, methods)
    selection = FusionOptions(median_sizes=(1,) * 5)
    selected = fuse(stack.frames, ["median_mask"], selection)["focus_stacked_new_method"]
    return {
        "best single frame": min(deviation(frame[flat]) for frame in stack.frames),
        **{name: deviation(fused[METHODS[name].output][flat]) for name in methods},
        "maximum": deviation(selected[flat]),
    }


def deviation(pixels: np.ndarray) -> float:
    return float(pixels.astype(float).std(axis=0).mean())


if __name__ == "__main__":
    main()
