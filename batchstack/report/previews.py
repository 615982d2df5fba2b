"""Previews: small pictures of frames and outputs, kept while what they show is unchanged."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from batchstack import files
from batchstack.errors import FileError, ImageError
from batchstack.images import Encoding, read_preview, write_image
from batchstack.report.stacks import Stack, is_known, recommended, stem

SIDE, THUMB_SIDE = 768, 128
"""Pixels of the longer side of previews, and of the pictures in the list of stacks."""
MOST_FRAMES = 24
"""Frames of a stack that have previews; of longer ones these lie evenly spread."""

_KEPT, THUMB = "kept.json", "thumb.jpg"
_ENCODING = Encoding(quality=80)
# Raised when previews of the same file change.
_VERSION = 1


@dataclass(frozen=True)
class Preview:
    """A picture of a file.

    Attributes
    ----------
    name : str
        Its file in the folder of its stack.
    of : str
        What tells the content of the file it shows.
    height, width : int
        In pixels.
    mean : float
        Of its values, from 0 to 1.
    """

    name: str
    of: str
    height: int
    width: int
    mean: float


@dataclass(frozen=True)
class Kept:
    """What a folder of the report holds from the last time.

    Attributes
    ----------
    previews : dict of str to Preview
        By their file.
    page : str
        What tells the content of its page.
    """

    previews: dict[str, Preview]
    page: str = ""


def kept_in(folder: Path) -> Kept:
    """What the last report has left in the folder of a stack; nothing if that is damaged."""
    try:
        data = json.loads(files.read_bytes(folder / _KEPT))
        previews = [Preview(*values) for values in data["previews"]]
        return Kept({preview.name: preview for preview in previews}, str(data["page"]))
    except (OSError, ValueError, TypeError, KeyError):
        return Kept({})


def keep(folder: Path, kept: Kept) -> None:
    """Remember what is there for the next report."""
    previews = [list(vars(preview).values()) for preview in kept.previews.values()]
    text = json.dumps({"page": kept.page, "previews": previews})
    with files.part_file(folder / _KEPT, durable=False) as (_, file):
        file.write(text.encode())


def update(stack: Stack, top: Path, folder: Path, before: Kept) -> dict[str, Preview]:
    """Make the previews of a stack that are not there yet, and remove those of the past.

    Parameters
    ----------
    stack : Stack
    top : Path
        The output directory.
    folder : Path
        Where the previews go.
    before : Kept
        What is there.

    Returns
    -------
    dict of str to Preview
        By the path of the file that is shown; files that cannot be read have none.
    """
    shown: dict[str, Preview] = {}
    for path, name, of in _wanted(stack, top):
        preview = before.previews.get(name)
        if preview is None or preview.of != of or files.size_of(folder / name) is None:
            preview = _made(path, folder, name, of)
        if preview is not None:
            shown[str(path)] = preview
    _update_thumb(stack, top, folder, shown, before)
    for name in before.previews.keys() - {preview.name for preview in shown.values()} - {THUMB}:
        files.remove(folder / name)
    return shown


def _wanted(stack: Stack, top: Path) -> Iterable[tuple[Path, str, str]]:
    """What is to be shown: the file, the name of its preview, what tells its content."""
    for index in spread(len(stack.frames), MOST_FRAMES):
        frame = stack.frames[index]
        path = Path(frame.path)
        of = f"{frame.size} {frame.digest}" if frame.digest else _as_it_is(path)
        yield path, f"frame-{index + 1}.jpg", f"{_VERSION} {SIDE} {of}"
    for name, output in stack.outputs.items():
        if is_known(name) and name not in stack.missing:
            path = top / stack.id / name
            of = f"{output.size} {output.digest}" if output.digest else _as_it_is(path)
            yield path, f"{stem(name)}.jpg", f"{_VERSION} {SIDE} {of}"


def spread(count: int, most: int) -> list[int]:
    """Indices of at most so many of `count` things, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(step * (count - 1) / (most - 1)) for step in range(most)]


def _as_it_is(path: Path) -> str:
    try:
        found = files.status(path)
    except OSError:
        return "missing"
    return f"{found.st_size} {found.st_mtime_ns}"


def _made(path: Path, folder: Path, name: str, of: str) -> Preview | None:
    try:
        pixels = read_preview(path, SIDE)
    except (FileError, ImageError):
        return None
    write_image(folder / name, pixels, _ENCODING, durable=False)
    height, width = pixels.shape[:2]
    return Preview(name, of, height, width, round(float(pixels.mean()) / 255, 4))


def _update_thumb(
    stack: Stack, top: Path, folder: Path, shown: dict[str, Preview], before: Kept
) -> None:
    """The picture in the list of stacks: of the recommended output, or else of a frame."""
    name = recommended(stack.outputs)
    best = shown.get(str(top / stack.id / name)) if name else None
    best = best or next(iter(shown.values()), None)
    if best is None:
        return
    thumb = before.previews.get(THUMB)
    if thumb is None or thumb.of != best.of or files.size_of(folder / THUMB) is None:
        pixels = read_preview(folder / best.name, THUMB_SIDE)
        write_image(folder / THUMB, pixels, _ENCODING, durable=False)
        height, width = pixels.shape[:2]
        thumb = Preview(THUMB, best.of, height, width, best.mean)
    shown[THUMB] = thumb
