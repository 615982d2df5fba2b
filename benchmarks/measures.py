"""Which measure without a truth follows the truth?

    python benchmarks/measures.py --megapixels 0.3,1,3,12

Rendered stacks are fused by every method, and the fusions are damaged as fusions go wrong: a wrong
frame in a region or in patches, halos, polygons of other brightness, noise, blur, a frame that is
not aligned, the mean of the frames, a frame alone.
For each measure the rank correlation (Spearman) with PSNR to the truth, over the fusions of one
stack (mean of the stacks: which fusion is the best?) and over all fusions of all stacks (which
stack is the worst?); then PSNR and the measures of each kind of fusion, as medians.
Measures see the windows that `--score` looks at, those that are slow at most 8 of them.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import click
import cv2
import numpy as np
from scipy.stats import spearmanr

from batchstack import quality
from batchstack.fusion import METHODS
from batchstack.fusion.engine import fuse
from batchstack.geometry import Box
from batchstack.scenes import Camera, SyntheticStack, make_stack, sample_texture

GOOD = {method.output: name for name, method in METHODS.items() if method.output}
BEST = "bayesian"
LEVELS = "Qabf levels"
COLUMNS = ("Qsharp", LEVELS, "Qabf", "NMI", "QY", "QCB", "Artefacts")
LOWER = {"Artefacts"}
SLOW_WINDOWS = 8
# Background (none is flat), foreground, scene, frames, noise in code values.
KINDS = (
    ("grass", "immunohistochemistry", "hair", 2, 2.0),
    (None, "coffee", "blob", 2, 1.5),
    ("chelsea", "brick", "lace", 2, 3.0),
    ("gravel", "moon", "slant", 4, 2.0),
    (None, "immunohistochemistry", "hair", 4, 1.0),
    ("rocket", "grass", "blob", 3, 1.0),
)
DETAIL = 700  # rows of a picture that is sharp at the size of its pixels; larger ones are enlarged

Score = dict[str, float]
Result = tuple[float, int, str, Score]  # megapixels, stack, fusion, measures and PSNR


@click.command(help=__doc__.splitlines()[0])
@click.option("--megapixels", default="0.3,1,3,12", show_default=True)
@click.option("--stacks", type=int, default=len(KINDS), show_default=True, help="Of each size.")
def main(megapixels: str, stacks: int) -> None:
    sizes = [float(size) for size in megapixels.split(",")]
    cv2.setNumThreads(1)
    results: list[Result] = []
    for size in sizes:
        for number in range(stacks):
            start = time.perf_counter()
            results += measure_stack(size, number)
            seconds = time.perf_counter() - start
            click.echo(f"{size:g} MP, stack {number}: {seconds:.0f} s", err=True)
    print_correlations(results, sizes)
    print_kinds(results)


def measure_stack(megapixels: float, number: int) -> Iterator[Result]:
    stack, scale = render(megapixels, number)
    frames = list(stack.frames)
    fused = {
        GOOD[name]: image
        for name, image in fuse(frames, list(GOOD.values())).items()
        if name in GOOD
    }
    images = fused | bad_fusions(frames, fused[BEST], np.random.default_rng(number), scale)
    for name, scores in measure(frames, images).items():
        scores["PSNR"] = decibels(stack.truth, images[name])
        yield megapixels, number, name, scores


def render(megapixels: float, number: int) -> tuple[SyntheticStack, float]:
    """A stack of one of the kinds, and how many pixels wide its finest detail is."""
    background, foreground, scene, frames, noise = KINDS[number % len(KINDS)]
    rows = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    scale = max(1.0, rows / DETAIL)
    pictures = tuple(enlarged(picture(name), scale) for name in (background, foreground))
    camera = Camera(noise=noise, exposure_ev=0.02)
    shape = (rows, round(rows * 4 / 3))
    options = {"frames": frames, "scene": scene, "seed": number, "blur": 4 * scale}
    return make_stack(shape, textures=pictures, camera=camera, **options), scale


def picture(name: str | None) -> np.ndarray:
    """A texture; without a name a backdrop without any detail."""
    if name:
        return sample_texture(name)
    return stored(cv2.GaussianBlur(sample_texture("astronaut").astype(np.float32), (0, 0), 60))


def enlarged(image: np.ndarray, scale: float) -> np.ndarray:
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)


# --- fusions that went wrong


def bad_fusions(
    frames: Sequence[np.ndarray], good: np.ndarray, rng: np.random.Generator, scale: float
) -> dict[str, np.ndarray]:
    shape, values = good.shape[:2], good.astype(np.float32)
    cells, count = polygons(shape, rng)
    some = rng.integers(len(frames), size=count)
    wrong = (rng.uniform(size=count) < 0.15)[cells][..., None]
    patches = np.choose(some[cells][..., None], frames)
    offsets = rng.uniform(-1, 1, count)[cells][..., None]
    wide = blurred(values, 3 * scale) - blurred(values, 20 * scale)
    moved = [frames[0], *(shifted(frame, 3 * scale, 2 * scale) for frame in frames[1:])]
    return {
        "mean of frames": stored(np.mean(frames, axis=0, dtype=np.float32)),
        "first frame": frames[0],
        "last frame": frames[-1],
        "blur 1 px": stored(blurred(values, scale)),
        "blur 2 px": stored(blurred(values, 2 * scale)),
        "noise 4": stored(values + rng.normal(0, 4, good.shape)),
        "noise 10": stored(values + rng.normal(0, 10, good.shape)),
        "region 2 %": replaced(values, frames, 0.02, rng, scale),
        "region 10 %": replaced(values, frames, 0.1, rng, scale),
        "region 30 %": replaced(values, frames, 0.3, rng, scale),
        "patches": patches,
        "few patches": np.where(wrong, patches, good),
        "halos": stored(values + 0.6 * (values - blurred(values, 6 * scale))),
        "wide halos": stored(values + 0.4 * wide),
        "polygons 4": stored(values + 4 * offsets),
        "polygons 12": stored(values + 12 * offsets),
        "not aligned": fuse(moved, [BEST])[METHODS[BEST].output],
    }


def polygons(shape: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """For each pixel the nearest of some points."""
    count, reduced = 60, (shape[0] // 8 + 1, shape[1] // 8 + 1)
    rows, columns = np.indices(reduced)
    distances = [
        (rows - row) ** 2 + (columns - column) ** 2
        for row, column in rng.uniform(0, 1, (count, 2)) * reduced
    ]
    nearest = np.argmin(distances, axis=0).astype(np.uint8)
    return cv2.resize(nearest, shape[::-1], interpolation=cv2.INTER_NEAREST), count


def replaced(
    values: np.ndarray,
    frames: Sequence[np.ndarray],
    share: float,
    rng: np.random.Generator,
    scale: float,
) -> np.ndarray:
    """A soft-edged ellipse of another frame."""
    rows, columns = values.shape[:2]
    mask = np.zeros((rows, columns), np.float32)
    centre = (int(columns * rng.uniform(0.3, 0.7)), int(rows * rng.uniform(0.3, 0.7)))
    side = (share * rows * columns / np.pi) ** 0.5
    axes, turn = (int(side * 1.3), int(side / 1.3)), rng.uniform(0, 180)
    cv2.ellipse(mask, centre, axes, turn, 0, 360, 1, -1)
    mask = blurred(mask, 2 * scale)[..., None]
    return stored(values * (1 - mask) + mask * frames[int(rng.integers(len(frames)))])


def shifted(frame: np.ndarray, right: float, down: float) -> np.ndarray:
    move = np.array([[1, 0, right], [0, 1, down]], np.float32)
    return cv2.warpAffine(frame, move, frame.shape[1::-1], borderMode=cv2.BORDER_REFLECT)


def blurred(values: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(values, (0, 0), sigma)


def stored(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


# --- measures


def measure(frames: Sequence[np.ndarray], images: Mapping[str, np.ndarray]) -> dict[str, Score]:
    area = Box(0, 0, *frames[0].shape[:2])
    readers: dict[str, Callable[[Box], np.ndarray]] = {
        name: lambda box, image=image: image[box.slices] for name, image in images.items()
    }
    found = quality.score_windows(
        lambda index, box: frames[index][box.slices], len(frames), readers, area
    )
    boxes = quality.windows(area)
    boxes = boxes[:: -(-len(boxes) // SLOW_WINDOWS)]
    slow: dict[str, list[Score]] = defaultdict(list)
    for box in boxes:
        sources = [quality.grey(frame[box.slices]) for frame in frames]
        for name, image in images.items():
            slow[name].append(slow_measures(sources, quality.grey(image[box.slices])))
    for name, scores in slow.items():
        found[name] |= {key: float(np.mean([one[key] for one in scores])) for key in scores[0]}
    return found


def slow_measures(frames: Sequence[np.ndarray], fused: np.ndarray) -> Score:
    levels, images, target = [], list(frames), fused
    for _ in range(4):
        levels.append(quality.qabf(images, target))
        images, target = [cv2.pyrDown(image) for image in images], cv2.pyrDown(target)
    return {
        "Qabf": levels[0],
        LEVELS: float(np.mean(levels)),
        "NMI": quality.nmi(frames, fused),
        "QY": quality.qy(frames, fused),
        "QCB": quality.qcb(frames, fused),
    }


def decibels(truth: np.ndarray, image: np.ndarray) -> float:
    error = np.mean((truth.astype(np.float32) - image) ** 2, dtype=np.float64)
    return float(10 * np.log10(255**2 / error))


# --- tables


def print_correlations(results: Sequence[Result], sizes: Sequence[float]) -> None:
    heads = "".join(f"{size:>7g} MP" for size in sizes)
    print(f"{'within a stack':16}{'all':>8}{heads}")
    for name in COLUMNS:
        print(f"{name:16}" + "".join(f"{within(results, name, one):10.2f}" for one in [0, *sizes]))
    print(f"\n{'across stacks':16}{'all':>8}{heads}")
    for name in COLUMNS:
        print(f"{name:16}" + "".join(f"{across(results, name, one):10.2f}" for one in [0, *sizes]))


def within(results: Sequence[Result], name: str, size: float) -> float:
    """Mean over the stacks of a size, all sizes if 0."""
    stacks = {(one, number) for one, number, _, _ in results if size in (0, one)}
    return float(
        np.mean(
            [
                correlation(
                    [scores for one, number, _, scores in results if (one, number) == stack], name
                )
                for stack in sorted(stacks)
            ]
        )
    )


def across(results: Sequence[Result], name: str, size: float) -> float:
    return correlation([scores for one, _, _, scores in results if size in (0, one)], name)


def correlation(scores: Sequence[Score], name: str) -> float:
    sign = -1 if name in LOWER else 1
    return float(
        spearmanr([one["PSNR"] for one in scores], [sign * one[name] for one in scores]).statistic
    )


def print_kinds(results: Sequence[Result]) -> None:
    columns = ("PSNR", *COLUMNS)
    print(f"\n{'median of':16}" + "".join(f"{name:>13}" for name in columns))
    for kind in dict.fromkeys(kind for _, _, kind, _ in results):
        rows = [scores for _, _, name, scores in results if name == kind]
        medians = (np.median([row[name] for row in rows]) for name in columns)
        print(f"{kind:16}" + "".join(f"{value:13.4f}" for value in medians))


if __name__ == "__main__":
    main()
