"""What `--score` and the previews for the report add to a run.

    python benchmarks/scoring.py --megapixels 1,12

Rendered pairs are run in this process as they are, with scores, and with previews, in turn,
after one run of each that is not counted.
Figures are seconds of the processor, medians of the repeats, and the medians of what each
costs beyond the plain run of the same turn.
"""

import shutil
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import cv2

from batchstack import METHODS, ClusterOptions, RunOptions, run
from batchstack.images import write_image
from batchstack.scenes import make_stack

PIXELS = 24.0  # megapixels of the pairs of a run, so that its start does not count
METHOD_LISTS = {"all methods": tuple(METHODS), "bayesian": ("bayesian",)}
KINDS = ("plain", "score", "previews")


@click.command(help=__doc__.splitlines()[0])
@click.option("--megapixels", default="1,12", show_default=True)
@click.option("--repeats", type=int, default=3, show_default=True)
def main(megapixels: str, repeats: int) -> None:
    cv2.setNumThreads(1)
    click.echo(f"{'':24}{'plain':>9}{'score':>9}{'previews':>11}")
    for size in map(float, megapixels.split(",")):
        with TemporaryDirectory() as name:
            folder = Path(name)
            write_pairs(folder, size)
            for title, methods in METHOD_LISTS.items():
                turns = [measure(folder, methods) for _ in range(repeats + 1)][1:]
                print_row(f"{size:g} MP, {title}", turns)


def write_pairs(folder: Path, megapixels: float) -> None:
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    shape = (round(megapixels * 1e6 / width), width)
    frames = make_stack(shape, scene="hair", blur=4.0 * megapixels**0.5).frames
    for side, frame in zip(("back", "front"), frames, strict=True):
        write_image(folder / f"{side}.jpg", frame)
    count = max(1, round(PIXELS / megapixels))
    lines = ["id,back,front", *(f"p{number},back.jpg,front.jpg" for number in range(count))]
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")


def measure(folder: Path, methods: tuple[str, ...]) -> dict[str, float]:
    """Seconds of the processor of each kind of run, one after the other."""
    seconds = {}
    for kind in KINDS:
        options = RunOptions(methods=methods, score=kind == "score")
        cluster = ClusterOptions(workers=0, previews=kind == "previews")
        before = time.process_time()
        summary = run(folder / "pairs.csv", folder / "out", options, cluster)
        seconds[kind] = time.process_time() - before
        if summary.failures:
            raise click.ClickException(str(summary.failures))
        shutil.rmtree(folder / "out")
    return seconds


def print_row(title: str, turns: list[dict[str, float]]) -> None:
    plain = statistics.median(turn["plain"] for turn in turns)
    added = {
        kind: statistics.median(turn[kind] / turn["plain"] - 1 for turn in turns)
        for kind in ("score", "previews")
    }
    click.echo(f"{title:24}{plain:7.2f} s{added['score']:+9.1%}{added['previews']:+11.1%}")


if __name__ == "__main__":
    main()
