"""Seconds, megapixels per second and peak memory of a pair, against codec and prediction.

    python benchmarks/main_job.py --megapixels 12 --repeats 5

Each figure comes from fresh processes on files rendered for it; the codec floor is the
time to decode the frames and encode the same outputs with nothing in between, measured
in turn with the runs.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from batchstack.fusion import METHODS
from batchstack.images import read_image, write_image
from batchstack.scenes import make_stack


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", type=float, default=12.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--suffix", default=".jpg", choices=[".jpg", ".png", ".tif"])
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        measure(Path(folder), options)


def measure(folder: Path, options: argparse.Namespace) -> None:
    width = round((options.megapixels * 1e6 * 4 / 3) ** 0.5)
    shape = (round(options.megapixels * 1e6 / width), width)
    frames = make_stack(shape, scene="hair", blur=8.0).frames
    for name, frame in zip(("back", "front"), frames, strict=True):
        write_image(folder / f"{name}{options.suffix}", frame)
    (folder / "pairs.csv").write_text(
        f"id,back,front\npair,back{options.suffix},front{options.suffix}\n"
    )
    command = [sys.executable, "-m", "batchstack"]
    check = [*command, "check", "pairs.csv", "--json", "--workers", "0"]
    plan = subprocess.run(check, cwd=folder, capture_output=True, text=True, check=True)
    runs, floors = [], []
    for number in range(options.repeats):
        output = f"out{number}"
        run = [*command, "run", "pairs.csv", "-o", output, "--workers", "0"]
        subprocess.run(run, cwd=folder, capture_output=True, check=True)
        status = [*command, "status", output, "--json"]
        told = subprocess.run(status, cwd=folder, capture_output=True, text=True, check=True)
        runs.append(json.loads(told.stdout))
        floors.append(codec_floor(folder, options.suffix))
    report(runs, floors, json.loads(plan.stdout)["memory"])


def codec_floor(folder: Path, suffix: str) -> float:
    """Seconds to decode both frames and encode one of them once per output."""
    start = time.perf_counter()
    pixels = [read_image(folder / f"{name}{suffix}") for name in ("back", "front")]
    for name in (name for method in METHODS.values() for name in method.outputs):
        target = pixels[0][..., 0].copy() if name == "blending_mask" else pixels[0]
        write_image(folder / f"floor_{name}{suffix}", target)
    return time.perf_counter() - start


def report(runs: list[dict], floors: list[float], predicted: int) -> None:
    seconds = statistics.median(run["seconds"] for run in runs)
    ratio = statistics.median(
        run["seconds"] / floor for run, floor in zip(runs, floors, strict=True)
    )
    peak = max(run["peak_memory"] for run in runs)
    megapixels = runs[0]["megapixels"]
    print(f"pair of {megapixels:.1f} MP frames, all methods, one process")
    print(f"seconds {seconds:.2f}, {megapixels / seconds:.2f} MP/s of output scene")
    print(f"codec floor {statistics.median(floors):.2f} s, whole task / floor {ratio:.1f}")
    print(f"peak {peak / 2**20:.0f} MiB, predicted {predicted / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
