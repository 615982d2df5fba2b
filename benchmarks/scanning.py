"""How often `scan` groups a rendered shoot rightly, with the camera's tags and without.

    python benchmarks/scanning.py --stacks 100

Each shoot has stacks of 4 to 14 frames, single shots, bursts without a change of focus, and
stacks that are begun anew right after they were taken, all in one folder.
"""

import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
from PIL.Image import Exif

from batchstack.images import Encoding, Metadata, write_image
from batchstack.scan.folder import Folder
from batchstack.scenes import Camera, make_stack
from batchstack.scenes.camera import Pixels

SCENES = ("blob", "hair", "lace", "slant")


@dataclass
class Shoot:
    """Photographs as a card holds them, and the stacks that they are."""

    folder: Path
    rng: random.Random
    tagged: bool = False
    seconds: float = 1_700_000_000.0
    number: int = 9_800  # the counter goes over its end
    stacks: list[list[str]] = field(default_factory=list)

    def take(self, frame: Pixels, wait: float, number_in_series: int | None) -> str:
        self.seconds += wait
        self.number = self.number % 9999 + 1
        name = f"IMG_{self.number:04}.jpg"
        exif = exif_block(self.seconds, number_in_series if self.tagged else None)
        encoding = Encoding(metadata=Metadata(exif=exif))
        write_image(self.folder / name, frame, encoding=encoding)
        return name

    def stack(self, frames: tuple[Pixels, ...], wait: float) -> None:
        self.stacks.append(
            [
                self.take(frame, wait if index == 0 else self.rng.uniform(0.2, 0.9), index + 1)
                for index, frame in enumerate(frames)
            ]
        )


def exif_block(seconds: float, number_in_series: int | None) -> bytes:
    """Time, body and lens, and for a frame of a series the tags that Panasonic writes."""
    moment = time.strftime("%Y:%m:%d %H:%M:%S", time.gmtime(seconds))
    exif = Exif()
    exif[0x010F], exif[0x0110] = "Panasonic", "DC-S5"
    inner = exif.get_ifd(0x8769)
    inner[0x9003], inner[0x9291] = moment, f"{int(seconds % 1 * 100):02}"
    inner[0x829D], inner[0xA434] = 5.6, "LUMIX S 100/F2.8 MACRO"
    bracketed = number_in_series is not None
    inner[0x927C] = panasonic_note(3 if bracketed else 0, number_in_series or 0)
    return exif.tobytes().removeprefix(b"Exif\0\0")


def panasonic_note(burst_mode: int, number: int) -> bytes:
    """BurstMode and SequenceNumber as in ExifTool's table of Panasonic's tags."""
    entries = [(0x002A, 3, 1, burst_mode), (0x002B, 4, 1, number)]
    order = "big"  # as Pillow writes the block
    note = b"Panasonic\0\0\0" + len(entries).to_bytes(2, order)
    for tag, kind, count, value in entries:
        stored = value.to_bytes(2, order) + b"\0\0" if kind == 3 else value.to_bytes(4, order)
        note += tag.to_bytes(2, order) + kind.to_bytes(2, order) + count.to_bytes(4, order) + stored
    return note + b"\0\0\0\0"


def make_shoot(folder: Path, stacks: int, seed: int, *, tagged: bool) -> Shoot:
    """Render a shoot."""
    rng = random.Random(seed)
    shoot = Shoot(folder, rng, tagged)
    for index in range(stacks):
        n_frames = rng.randint(4, 14)
        rendered = make_stack(
            (480, 640),
            frames=n_frames,
            scene=SCENES[index % len(SCENES)],
            blur=rng.uniform(5, 12),
            seed=seed * 1000 + index,
            camera=Camera(noise=2.0, breathing=rng.uniform(0, 0.01)),
        )
        what = rng.random()
        if what < 0.3:  # a test shot, and a look at it
            middle = rendered.frames[n_frames // 2]
            shoot.take(np.rot90(middle, 2).copy(), rng.uniform(10, 60), None)
        elif what < 0.4:  # a burst
            noise = np.random.default_rng(index)
            for shot in range(rng.randint(2, 5)):
                grain = noise.normal(0, 2, rendered.truth.shape)
                frame = np.clip(rendered.truth + grain, 0, 255).astype(np.uint8)
                shoot.take(frame, rng.uniform(10, 60) if shot == 0 else 0.3, None)
        shoot.stack(rendered.frames, rng.uniform(8, 60))
        if what > 0.85:  # once more, right away
            shoot.stack(rendered.frames, rng.uniform(1.5, 20))
    return shoot


def score(shoot: Shoot) -> tuple[int, int, float]:
    """Stacks found whole and in order, wrong groups, seconds."""
    start = time.perf_counter()
    proposal = Folder(shoot.folder).propose()
    seconds = time.perf_counter() - start
    found = [list(group.frames) for group in proposal.groups]
    right = sum(stack in found for stack in shoot.stacks)
    wrong = sum(group not in shoot.stacks for group in found)
    return right, wrong, seconds


@click.command(help=__doc__.splitlines()[0])
@click.option("--stacks", type=int, default=100, show_default=True)
@click.option("--seeds", type=int, default=1, show_default=True, help="Shoots of each kind.")
def main(stacks: int, seeds: int) -> None:
    for tagged in (True, False):
        for seed in range(seeds):
            with TemporaryDirectory() as name:
                shoot = make_shoot(Path(name), stacks, seed, tagged=tagged)
                right, wrong, seconds = score(shoot)
                photographs = len(list(Path(name).iterdir()))
            kind = "with tags" if tagged else "without"
            click.echo(
                f"{kind:9}, seed {seed}: {right} of {len(shoot.stacks)} stacks right, "
                f"{wrong} groups wrong, {photographs} photographs in {seconds:.1f} s"
            )


if __name__ == "__main__":
    main()
