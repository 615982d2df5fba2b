"""Previews: small pictures of frames and outputs, which tasks leave for the report.

    OUTPUT/.batchstack/report/<stack>/frame-1.jpg, <output>.jpg    of a file
                                      thumb.jpg                    for the list of stacks
                                      kept.json                    what they show

A file that browsers show and that is smaller than a preview is shown itself.
Nothing depends on previews, so whatever goes wrong with them harms no stack: the report makes
those that are missing.
"""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack import files
from batchstack.batch.claim import FOLDER
from batchstack.batch.jobs import Input, Job
from batchstack.formats import lossy, of_suffix
from batchstack.fusion.methods import METHODS
from batchstack.images import Encoding, Written, encoded, is_shown, probe, reduced
from batchstack.images.white import Held, white_of, white_of_type

SIDE, THUMB_SIDE = 768, 128
"""Pixels of the longer side of previews, and of the pictures in the list of stacks."""
MOST_FRAMES = 24
"""Frames of a stack that have previews; of longer ones these lie evenly spread."""
_SUFFIX = lossy()[0].suffix
THUMB = f"thumb{_SUFFIX}"
"""The picture in the list of stacks."""

ENCODING = Encoding(quality=80)
"""Of previews."""

_KEPT, _PAGE = "kept.json", "index.html"
# Raised when previews of the same file change.
_VERSION = 3

Rows = Callable[[int, int], npt.NDArray[Any]]
"""The first row of an image and the one behind the last to their pixels."""


@dataclass(frozen=True)
class Preview:
    """A small picture of a file.

    Attributes
    ----------
    name : str
        Its file in the folder of its stack.
    of : str
        What tells the content of the file it shows.
    height, width : int
        In pixels.
    mean : float, optional
        Of its values, from 0 to 1, if it is grey.
    is_itself : bool
        The file is small and shown itself; there is no other.
    """

    name: str
    of: str
    height: int
    width: int
    mean: float | None
    is_itself: bool = False


@dataclass(frozen=True)
class Picture:
    """A preview that is not yet there; without content if the file is shown itself."""

    preview: Preview
    content: bytes | None


@dataclass(frozen=True)
class Kept:
    """What is there of a stack.

    Attributes
    ----------
    previews : dict of str to Preview
        By their names.
    page : str
        What tells the content of its page.
    """

    previews: dict[str, Preview] = field(default_factory=dict)
    page: str = ""


def report_folder(directory: Path) -> Path:
    """Where all of a report is but its first page, in an output directory."""
    return directory / FOLDER / "report"


def folder_name(stack_id: str) -> str:
    """The name of a stack's folder in there, whatever characters its id has."""
    return sha256(stack_id.encode(errors="surrogatepass")).hexdigest()[:16]


def content(size: int, digest: str) -> str:
    """What tells the content of a file, for `Preview.of`."""
    return f"{_VERSION} {SIDE} {size} {digest}"


def frame_name(index: int) -> str:
    """The preview of a frame."""
    return f"frame-{index + 1}{_SUFFIX}"


def output_name(output: str) -> str:
    """The preview of an output, given its name without ending."""
    return f"{output}{_SUFFIX}"


def is_of_report(name: str) -> bool:
    """Whether a file in the folder of a stack may be one that a report or a task has made."""
    if name in (_PAGE, _KEPT, THUMB):
        return True
    stem, _, suffix = name.rpartition(".")
    outputs = {output for method in METHODS.values() for output in method.outputs}
    is_frame = stem.removeprefix("frame-").isdecimal()
    return f".{suffix}" == _SUFFIX and (is_frame or stem in outputs)


def spread(count: int, most: int = MOST_FRAMES) -> list[int]:
    """Indices of at most so many of `count` things, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(step * (count - 1) / (most - 1)) for step in range(most)]


def kept_in(folder: Path) -> Kept:
    """What was left in the folder of a stack; nothing if that is damaged."""
    try:
        data = json.loads(files.read_bytes(folder / _KEPT))
        previews = [Preview(*values) for values in data["previews"]]
        return Kept({preview.name: preview for preview in previews}, str(data["page"]))
    except (OSError, ValueError, TypeError, KeyError):
        return Kept()


def keep(folder: Path, kept: Kept, publish: Callable[[], None] = lambda: None) -> None:
    """Remember what is there.

    Raises
    ------
    FileError
    """
    previews = [list(vars(preview).values()) for preview in kept.previews.values()]
    text = json.dumps({"page": kept.page, "previews": previews})
    write(folder / _KEPT, text.encode(), publish)


def write(path: Path, data: bytes, publish: Callable[[], None] = lambda: None) -> None:
    """Write a file of a report; it can be made again, so nobody waits for the disk.

    Raises
    ------
    FileError
    """
    with files.part_file(path, durable=False, publish=publish) as (_, file):
        file.write(data)


def picture(name: str, of: str, pixels: npt.NDArray[np.uint8]) -> Picture:
    """A small picture as a file of its own."""
    height, width = pixels.shape[:2]
    preview = Preview(name, of, height, width, _mean(pixels))
    return Picture(preview, encoded(name, pixels, ENCODING))


def itself(name: str, of: str, shape: tuple[int, ...], mean: float | None = None) -> Picture:
    """A small file that is shown itself."""
    return Picture(Preview(name, of, shape[0], shape[1], mean, is_itself=True), None)


def white_of_map(output: str) -> float | None:
    """The value for white of an output, given its name without ending, if it is a map."""
    maps = {name: dtype for method in METHODS.values() for name, dtype in method.maps.items()}
    return white_of_type(np.dtype(maps[output])) if output in maps else None


def is_small(shape: tuple[int, ...]) -> bool:
    """Whether an image is smaller than previews are."""
    return max(shape[:2]) < SIDE


def _mean(pixels: npt.NDArray[np.uint8]) -> float | None:
    return round(float(pixels.mean()) / 255, 4) if pixels.ndim == 2 else None


# --- what tasks do


def frame_pictures(
    job: Job, index: int, read: Input, held: Held | None, rows: Rows, shape: tuple[int, ...]
) -> list[Picture]:
    """The preview of a frame as it was read, if it is to have one.

    `held` is what it holds, unless the value for white is given.
    """
    if not job.previews or index not in spread(len(job.frames)):
        return []
    name, of = frame_name(index), content(read.size, read.digest)
    with suppress(Exception):  # whatever it is, nothing depends on it
        white = job.fusion.data_range or white_of(job.data_range, [held]).value
        if is_small(shape) and white is None and is_shown(probe(job.frames[index])):
            return [itself(name, of, shape)]
        return [picture(name, of, reduced(rows, shape, SIDE, white))]
    return []


def output_pictures(
    job: Job, output: str, written: Written, rows: Rows, shape: tuple[int, ...]
) -> list[Picture]:
    """The preview of an output, and of the recommended one that of the list of stacks."""
    if not job.previews or written.digest is None:
        return []
    name, of = output_name(output), content(written.size, written.digest)
    is_best = output == next(filter(None, (METHODS[name].output for name in job.methods)), None)
    with suppress(Exception):  # likewise
        of_a_map = white_of_map(output)
        white = of_a_map or job.fusion.data_range
        in_browsers = of_suffix(job.output_path(output).suffix).in_browsers
        shows = is_small(shape) and in_browsers and white == of_a_map
        if shows and not is_best and len(shape) == 3:
            return [itself(name, of, shape)]
        pixels = reduced(rows, shape, SIDE, white)
        made = itself(name, of, shape, _mean(pixels)) if shows else picture(name, of, pixels)
        return [made, thumb(of, pixels)] if is_best else [made]
    return []


def thumb(of: str, pixels: npt.NDArray[np.uint8]) -> Picture:
    """The picture in the list of stacks, of a small picture."""
    small = reduced(lambda top, bottom: pixels[top:bottom], pixels.shape, THUMB_SIDE)
    return picture(THUMB, of, small)


def publish(job: Job, pictures: Iterable[Picture]) -> list[Preview]:
    """Write what has been made, while the output directory is the run's; what can be is there."""
    there = []
    for made in pictures:
        with suppress(Exception):  # likewise
            if made.content is not None:
                path = stack_folder(job) / made.preview.name
                write(path, made.content, job.held.check)
            there.append(made.preview)
    return there


def remember(job: Job, previews: Iterable[Preview]) -> None:
    """Tell the report what is there now besides what was."""
    new = {preview.name: preview for preview in previews}
    if not new:
        return
    with suppress(Exception):  # likewise
        before = kept_in(stack_folder(job))
        keep(stack_folder(job), Kept(before.previews | new, before.page), job.held.check)


def clear_leftovers(job: Job) -> None:
    """Remove what a killed process has left of previews that it was writing."""
    if job.previews:
        files.remove_parts(stack_folder(job), is_of_report)


def stack_folder(job: Job) -> Path:
    """The folder of a stack in the report."""
    return report_folder(job.held.directory) / folder_name(job.id)
