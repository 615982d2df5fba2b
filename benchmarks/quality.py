"""Quality of every method on folders of stacks, with or without a known truth.

    python benchmarks/quality.py FOLDER --align auto --csv scores.csv

A stack is a folder with `back.*` and `front.*`, or with two or more numbered frames; `gt.*` or
`truth.*` beside them is the image that is sharp throughout.  Stacks of one parent folder share a
table: PSNR over all channels in dB, its gain over `all_channels` (mean, median, worst), measures
without a truth, the mean rank by the published ones among the methods (1 is best), and seconds per
megapixel of a frame for fusing alone.  Images above 1 MP are scored in windows, but for PSNR;
artefacts are in percent, and the lower the better.
"""

import csv
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import click
import numpy as np
from natsort import natsorted
from scipy.stats import rankdata

from batchstack import quality
from batchstack.fusion import METHODS
from batchstack.fusion.codes import DATA_RANGES
from batchstack.fusion.engine import fuse
from batchstack.fusion.methods import select_methods
from batchstack.geometry import Box
from batchstack.images import read_image, write_image
from batchstack.options import ALIGN_MODELS
from batchstack.registration import estimate_stack, valid_area, warp_window

IMAGES = {".jpg", ".jpeg", ".png", ".tif", ".tiff"}
TRUTHS = ("gt", "truth")
BASELINE = "all_channels"
CAP = 99.0  # dB, in place of infinity
MEASURES = quality.MEASURES
RANKED_BY = tuple(name for name in MEASURES if name not in quality.RECOMMENDED)
WHOLE = 2**20  # pixels that are scored as one image


@dataclass(frozen=True)
class Stack:
    """Files of one stack, frames from back to front."""

    folder: Path
    frames: tuple[Path, ...]
    truth: Path | None


@dataclass(frozen=True)
class Score:
    """What one method reached on one stack; PSNR in dB, None without a truth."""

    group: str
    stack: str
    method: str
    seconds_per_mp: float
    PSNR: float | None
    Qsharp: float
    Artefacts: float
    Qabf: float
    NMI: float
    QY: float
    QCB: float


@click.command(help=__doc__.splitlines()[0])
@click.argument(
    "folders",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option("--methods", default="all", show_default=True, help="Comma-separated, or all.")
@click.option("--align", type=click.Choice(ALIGN_MODELS), default="auto", show_default=True)
@click.option("--write", type=click.Path(path_type=Path), help="Keep DIR/METHOD/STACK.png.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="One line per score.")
def main(
    folders: Sequence[Path], methods: str, align: str, write: Path | None, csv_file: Path | None
) -> None:
    stacks = [stack for folder in folders for stack in find_stacks(folder.resolve())]
    if not stacks:
        raise click.ClickException("no stacks below these folders: give back.* and front.*")
    labels = [stack.folder.name for stack in stacks]
    if write and len(set(labels)) < len(labels):
        raise click.ClickException("--write needs folders of stacks with different names")
    names = [method.name for method in select_methods(methods.split(",")) if method.output]
    compile_all(names)
    scores: list[Score] = []
    for group in dict.fromkeys(stack.folder.parent for stack in stacks):
        members = [stack for stack in stacks if stack.folder.parent == group]
        some = [score for stack in members for score in score_stack(stack, names, align, write)]
        print(f"\n{group.name}: {len(members)} stacks, align {align}")
        print_means(names, some)
        print_stacks(names, some)
        scores += some
    if csv_file:
        with csv_file.open("w", newline="") as file:
            writer = csv.DictWriter(file, [item.name for item in fields(Score)])
            writer.writeheader()
            writer.writerows(asdict(score) for score in scores)


def find_stacks(folder: Path) -> Iterator[Stack]:
    """All stacks at and below a folder, in natural order."""
    for place in natsorted([folder, *(path for path in folder.rglob("*") if path.is_dir())]):
        images = natsorted(path for path in place.iterdir() if path.suffix.lower() in IMAGES)
        named = {path.stem.lower(): path for path in images}
        truth = next((named[name] for name in TRUTHS if name in named), None)
        frames = [path for path in images if path.stem[-1].isdigit()]
        if {"back", "front"} <= named.keys():
            frames = [named["back"], named["front"]]
        if len(frames) > 1:
            yield Stack(place, tuple(frames), truth)


def compile_all(names: Sequence[str]) -> None:
    """Let what is compiled at its first use be compiled before a clock runs."""
    noise = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    fuse(list(noise), names)


def score_stack(
    stack: Stack, names: Sequence[str], align: str, write: Path | None
) -> Iterator[Score]:
    frames = [read_image(path) for path in stack.frames]
    size = frames[0].shape[:2]
    transforms = estimate_stack(frames, model=align)
    area = valid_area(transforms, size)
    whole = Box(0, 0, *size)
    frames = [
        warp_window(frame, transform, whole)
        for frame, transform in zip(frames, transforms, strict=True)
    ]
    truth = None if stack.truth is None else read_image(stack.truth)
    megapixels = size[0] * size[1] / 1e6
    for name in names:
        start = time.perf_counter()
        image = fuse(frames, [name])[METHODS[name].output]
        seconds = time.perf_counter() - start
        measured = measure(frames, image, area)
        decibels = None if truth is None else psnr(truth[area.slices], image[area.slices])
        if write:
            suffix = ".tif" if image.dtype.kind == "f" else ".png"
            target = write / name / f"{stack.folder.name}{suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            write_image(target, image[area.slices])
        group, label = stack.folder.parent.name, stack.folder.name
        yield Score(group, label, name, seconds / megapixels, decibels, **measured)


def measure(frames: Sequence[np.ndarray], image: np.ndarray, area: Box) -> dict[str, float]:
    if area.shape[0] * area.shape[1] <= WHOLE:
        return quality.score([frame[area.slices] for frame in frames], image[area.slices])
    return quality.score_windows(
        lambda index, box: frames[index][box.slices],
        len(frames),
        {"": lambda box: image[box.slices]},
        area,
        MEASURES,
    )[""]


def psnr(truth: np.ndarray, image: np.ndarray) -> float:
    """In dB over all channels; infinite for equal images."""
    if truth.shape != image.shape or truth.dtype != image.dtype:
        raise click.ClickException(
            f"the truth is {truth.shape} {truth.dtype}, the fused image {image.shape} "
            f"{image.dtype}; give a truth of the size and depth of the frames"
        )
    error = np.mean((truth.astype(np.float64) - image) ** 2)
    return float(10 * np.log10(DATA_RANGES[image.dtype.name] ** 2 / error)) if error else np.inf


def print_means(names: Sequence[str], scores: Sequence[Score]) -> None:
    """One line per method; a dash where there is no truth or no baseline."""
    base = {score.stack: score.PSNR for score in scores if score.method == BASELINE}
    ranks = mean_ranks(names, scores)
    heads = ("PSNR", "gain", "median", "worst", *MEASURES, "rank", "s/MP")
    print(f"{'method':14}" + "".join(f"{head:>10}" for head in heads))
    for name in names:
        mine = [score for score in scores if score.method == name]
        known = [score for score in mine if score.PSNR is not None]
        levels = [capped(score.PSNR) for score in known]
        gains = [capped(score.PSNR) - capped(base[score.stack]) for score in known if base]
        cells = [
            cell(levels, np.mean, 2),
            *(cell(gains, pick, 2) for pick in (np.mean, np.median, np.min)),
            *(cell([getattr(score, measure) for score in mine], np.mean) for measure in MEASURES),
            cell(ranks[name], np.mean, 2),
            cell([score.seconds_per_mp for score in mine], np.mean, 3),
        ]
        print(f"{name:14}" + "".join(cells))
    infinite = sum(score.PSNR is not None and np.isinf(score.PSNR) for score in scores)
    if infinite:
        print(f"{infinite} images equal the truth; their PSNR counts as {CAP:.0f} dB")


def print_stacks(names: Sequence[str], scores: Sequence[Score]) -> None:
    """PSNR of every stack that has a truth, one line each."""
    known = {(score.stack, score.method): score.PSNR for score in scores if score.PSNR is not None}
    if known:
        print(f"\n{'PSNR':18}" + "".join(f"{name:>14}" for name in names))
    for stack in dict.fromkeys(stack for stack, _ in known):
        print(f"{stack:18}" + "".join(f"{capped(known[stack, name]):14.2f}" for name in names))


def mean_ranks(names: Sequence[str], scores: Sequence[Score]) -> dict[str, list[float]]:
    """For each method its rank on each stack by each measure; equal scores share a rank."""
    ranks: dict[str, list[float]] = {name: [] for name in names}
    for stack in dict.fromkeys(score.stack for score in scores):
        rivals = [score for score in scores if score.stack == stack]
        for measure in RANKED_BY:
            order = rankdata([-getattr(score, measure) for score in rivals])
            for score, rank in zip(rivals, order, strict=True):
                ranks[score.method].append(rank)
    return ranks


def capped(level: float) -> float:
    return min(level, CAP)


def cell(values: Sequence[float], pick: Callable[..., float], digits: int = 4) -> str:
    return f"{pick(values):10.{digits}f}" if len(values) else f"{'-':>10}"


if __name__ == "__main__":
    main()
