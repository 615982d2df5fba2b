"""Rendered stacks fused by batchstack and by other programs, beside their truth.

    python -m benchmarks.leaderboard
    python -m benchmarks.leaderboard --sets occlusion --megapixels 12

Nothing is fetched: the stacks are rendered with a lens that occludes (`batchstack.scenes`), and of
other programs those are run that are installed: enfuse (with the settings its manual gives for
focus stacks), focusweave and focus-stack, each as a whole program that reads and writes PNG.
Alignment is off, as all frames are registered; focus-stack has no such switch, so that its figures
include its alignment, and whatever that gets wrong.

Per set and program, means over its stacks: PSNR in dB and SSIM to the truth; PSNR near silhouettes,
within the largest blur of where depth changes; invented edges (`Artefacts`, percent of the worst
level); pixels beyond what the frames span by more than one code, in percent; noise in flat places,
relative to that of a frame, in sets that have noise; seconds of the processor.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import cv2
import numpy as np

from batchstack import quality
from batchstack.batch.warm import warm_up
from batchstack.fusion import METHODS
from batchstack.images import write_image
from batchstack.scenes import Camera, SyntheticStack, make_stack, sample_texture
from benchmarks.peers import BATCHSTACK, ENFUSE, timed

PEERS: dict[str, Callable[[Path, list[str]], list[str]]] = {
    "enfuse": lambda out, files: [*ENFUSE, "-o", str(out), *files],
    "focusweave": lambda out, files: ["focusweave", "frames", "--no-align", "--output", str(out)],
    "focus-stack": lambda out, files: [
        "focus-stack",
        "--reference=0",
        "--no-whitebalance",
        "--no-contrast",
        "--align-keep-size",
        f"--output={out}",
        *files,
    ],
}
FLAT = 0.25  # the share of places where the truth has the least detail, for the noise


@dataclass(frozen=True)
class Recipe:
    """One rendered stack.

    Parameters
    ----------
    scene : str
        As of `make_stack`.
    textures : (str, str)
        Names of sample textures, or "backdrop": background and foreground.
    frames : int
    blur : float
        Radius in pixels at 1 megapixel; it grows with the side of the picture.
    noise : float
        Standard deviation in 8-bit code values.
    """

    scene: str
    textures: tuple[str, str]
    frames: int
    blur: float
    noise: float


def of(scenes: Sequence[str], frames: Sequence[int], blur: float, noise: float) -> list[Recipe]:
    """Each scene with each number of frames; the textures go round."""
    turns = [(scene, count) for scene in scenes for count in frames]
    return [
        Recipe(scene, TEXTURES[turn % len(TEXTURES)], count, blur, noise)
        for turn, (scene, count) in enumerate(turns)
    ]


TEXTURES = (
    ("gravel", "chelsea"),
    ("backdrop", "coffee"),
    ("brick", "immunohistochemistry"),
    ("rocket", "grass"),
)
SETS = {
    "occlusion": of(("blob", "hair", "lace"), (2, 5), 6.0, 1.5),
    "long": of(("slant", "hair"), (12, 30), 12.0, 1.5),
    "noisy": of(("slant", "blob"), (8, 32), 8.0, 6.0),
    "pairs": of(("blob", "hair", "lace", "slant"), (2,), 4.0, 0.0),
}


@dataclass(frozen=True)
class Result:
    """What a program reached on one stack; see the head of this file."""

    dB: float
    SSIM: float
    silhouettes: float
    edges: float
    range: float
    noise: float
    seconds: float


@click.command(help=__doc__.splitlines()[0])
@click.option("--sets", default=",".join(SETS), show_default=True)
@click.option("--megapixels", type=float, default=1.0, show_default=True)
@click.option("--methods", default="all", show_default=True, help="Comma-separated, or all.")
@click.option("--seed", type=int, default=0, show_default=True, help="Other scenes and noise.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep frames and pictures here.")
def main(sets: str, megapixels: float, methods: str, seed: int, keep: Path | None) -> None:
    wanted = list(METHODS) if methods == "all" else methods.split(",")
    warm_up(wanted)  # kernels are compiled once, which is no time of a picture
    programs = {
        f"batchstack {name}": batchstack(name) for name in wanted if METHODS[name].output
    } | {name: command for name, command in PEERS.items() if shutil.which(name)}
    for name in sets.split(","):
        results: dict[str, list[Result]] = {program: [] for program in programs}
        for number, recipe in enumerate(SETS[name]):
            with TemporaryDirectory() as temporary:
                folder = (keep or Path(temporary)) / f"{name}-{number}"
                for program, result in compare(
                    folder.resolve(), recipe, seed + number, megapixels, programs
                ):
                    results[program].append(result)
            click.echo(f"{name} {number + 1} of {len(SETS[name])}", err=True)
        print_table(f"{name}: {len(SETS[name])} stacks of {megapixels:g} MP", results)


def batchstack(method: str) -> Callable[[Path, list[str]], list[str]]:
    """The command that writes the output of one method."""

    def command(out: Path, files: list[str]) -> list[str]:
        fuse = [*BATCHSTACK, "fuse", *files, "--align", "off"]
        fuse += ["--format", "png", "--match-exposure", "off", "--methods", method]
        return [*fuse, "--output", str(out.parent / method)]

    return command


def compare(
    folder: Path,
    recipe: Recipe,
    seed: int,
    megapixels: float,
    programs: dict[str, Callable[[Path, list[str]], list[str]]],
) -> Iterator[tuple[str, Result]]:
    """Render one stack, run the programs on it, and measure what they wrote."""
    stack, blur = render(recipe, seed, megapixels)
    names = [f"frames/{number:03}.png" for number in range(recipe.frames)]
    for name, frame in zip(names, stack.frames, strict=True):
        write_image(folder / name, frame)
    look = Looks(stack, blur, recipe.noise)
    for program, command in programs.items():
        target = folder / f"{program}.png"
        seconds = timed(command(target, names), folder)
        if program.startswith("batchstack "):
            method = program.split()[1]
            target = folder / method / f"{METHODS[method].output}.png"
        # Of other programs some write a channel of opacity, which batchstack refuses.
        picture = cv2.cvtColor(cv2.imread(str(target), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        yield program, look.at(picture, seconds)


def render(recipe: Recipe, seed: int, megapixels: float) -> tuple[SyntheticStack, float]:
    """The stack, and its largest blur in pixels."""
    rows = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    scale = rows / 866  # of a picture of 1 megapixel
    pictures = [texture(name, max(1.0, scale)) for name in recipe.textures]
    stack = make_stack(
        (rows, round(rows * 4 / 3)),
        frames=recipe.frames,
        scene=recipe.scene,
        textures=(pictures[0], pictures[1]),
        blur=recipe.blur * scale,
        seed=seed,
        camera=Camera(noise=recipe.noise),
    )
    return stack, recipe.blur * scale


def texture(name: str, scale: float) -> np.ndarray:
    """A sample texture, as fine as the picture is; a backdrop has no detail."""
    if name == "backdrop":
        image = cv2.GaussianBlur(sample_texture("astronaut"), (0, 0), 60)
    else:
        image = sample_texture(name)
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)


class Looks:
    """What pictures of one stack are held against.

    Parameters
    ----------
    stack : SyntheticStack
    blur : float
        Its largest blur, in pixels.
    noise : float
        Standard deviation of a frame's noise in code values.
    """

    def __init__(self, stack: SyntheticStack, blur: float, noise: float) -> None:
        self.truth = stack.truth
        self.frames = stack.frames
        self.noise = noise
        step = cv2.morphologyEx(stack.depth, cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0.1
        reach = 2 * round(blur) + 1
        self.near = cv2.dilate(step.astype(np.uint8), np.ones((reach, reach))) > 0
        self.lowest = np.minimum.reduce(self.frames).astype(np.int16)
        self.highest = np.maximum.reduce(self.frames).astype(np.int16)
        grey = quality.grey(self.truth)
        detail = cv2.blur(np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 2)), (15, 15))
        self.flat = detail <= np.quantile(detail, FLAT)

    def at(self, image: np.ndarray, seconds: float) -> Result:
        """What one picture reached."""
        if image.shape != self.truth.shape:
            raise click.ClickException(f"a picture of {image.shape} instead of {self.truth.shape}")
        code = image.astype(np.int16)
        error = code - self.truth.astype(np.int16)
        outside = (code < self.lowest - 1) | (code > self.highest + 1)
        sources = [quality.grey(frame) for frame in self.frames]
        fused, truth = quality.grey(image), quality.grey(self.truth)
        return Result(
            dB=decibels(error),
            SSIM=quality.ssim(truth, fused),
            silhouettes=decibels(error[self.near]) if self.near.any() else np.nan,
            edges=quality.artefacts(sources, fused),
            range=100 * float(outside.any(axis=-1).mean()),
            noise=self.ratio(fused - truth, sources[0] - truth) if self.noise else np.nan,
            seconds=seconds,
        )

    def ratio(self, error: np.ndarray, of_frame: np.ndarray) -> float:
        """Fine error in flat places, relative to a frame's: what is left of the noise."""
        fine = [one - cv2.GaussianBlur(one, (0, 0), 2) for one in (error, of_frame)]
        return float(fine[0][self.flat].std() / fine[1][self.flat].std())


def decibels(error: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(np.mean(np.square(error, dtype=np.float64)), 1e-9)))


def print_table(title: str, results: dict[str, list[Result]]) -> None:
    names = [field.name for field in fields(Result)]
    print(f"\n{title}\n{'program':26}" + "".join(f"{name:>12}" for name in names))
    means = {
        program: {name: mean(some, name) for name in names} for program, some in results.items()
    }
    for program, row in sorted(means.items(), key=lambda item: -item[1]["dB"]):
        cells = (f"{row[name]:12.{4 if name == 'SSIM' else 2}f}" for name in names)
        print(f"{program:26}" + "".join(cells), flush=True)


def mean(results: Sequence[Result], name: str) -> float:
    """Over the stacks for which there is a figure."""
    values = [getattr(result, name) for result in results]
    return float(np.mean([value for value in values if not np.isnan(value)] or np.nan))


if __name__ == "__main__":
    main()
