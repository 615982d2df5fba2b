"""Previews of stacks: those that tasks have left, and those that are made because they miss."""

import base64
import mimetypes
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from batchstack import files
from batchstack.batch.previews import (
    ENCODING,
    SIDE,
    THUMB,
    Kept,
    Picture,
    Preview,
    content,
    frame_name,
    is_small,
    itself,
    output_name,
    picture,
    spread,
    thumb,
    white_of_map,
    write,
)
from batchstack.errors import FileError, ImageError
from batchstack.fusion.methods import DEPTH_MAPS
from batchstack.images import encoded, is_shown, probe, read_preview
from batchstack.images.preview import read_preview_and_white
from batchstack.images.white import white_of_type
from batchstack.report.stacks import Stack, is_known, recommended, stem


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
    for path, name, of, white in _wanted(stack, top):
        preview = before.previews.get(name)
        if preview is None or preview.of != of or not files.is_file(place(preview, path, folder)):
            preview = _made(path, folder, name, of, white)
        if preview is not None:
            shown[str(path)] = preview
    _update_thumb(stack, top, folder, shown, before)
    for name in _own(before.previews.values()) - _own(shown.values()):
        files.remove(folder / name)
    return shown


def place(preview: Preview, path: Path, folder: Path) -> Path:
    """The file that a preview is, given the one that it shows and the folder of its stack."""
    return path if preview.is_itself else folder / preview.name


def _own(previews: Iterable[Preview]) -> set[str]:
    return {preview.name for preview in previews if not preview.is_itself}


def _wanted(stack: Stack, top: Path) -> Iterable[tuple[Path, str, str, float | None]]:
    """What is to be shown: the file, the name of its preview, what tells its content, its white.

    The value for white is None where the file itself tells it.
    """
    given = stack.data_range
    for index in spread(len(stack.frames)):
        frame = stack.frames[index]
        path = Path(frame.path)
        of = content(frame.size, frame.digest) if frame.digest else _as_it_is(path)
        yield path, frame_name(index), of, given
    for name, output in stack.outputs.items():
        if is_known(name) and name not in stack.missing:
            path = top / stack.places[name]
            of = content(output.size, output.digest) if output.digest else _as_it_is(path)
            yield path, output_name(stem(name)), of, white_of_map(stem(name)) or given


def _as_it_is(path: Path) -> str:
    try:
        found = files.status(path)
    except OSError:
        return "missing"
    return content(found.st_size, str(found.st_mtime_ns))


def embedded(preview: Preview, path: Path, folder: Path) -> str | None:
    """A preview as an address that holds all of it; None if it cannot be read.

    Of what scripts of a page from a disk may not read they can read that.
    """
    try:
        if preview.is_itself:
            white = white_of_map(stem(preview.name))
            data = encoded(preview.name, read_preview(path, SIDE, white), ENCODING)
        else:
            data = files.read_bytes(folder / preview.name)
    except (OSError, FileError, ImageError):
        return None
    kind, _ = mimetypes.guess_type(preview.name)
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _made(path: Path, folder: Path, name: str, of: str, white: float | None) -> Preview | None:
    if not files.is_file(path):  # a pipe would be waited for
        return None
    try:
        info = probe(path)
        pixels, white, dtype = read_preview_and_white(path, SIDE, white)
        is_full = white == white_of_type(np.dtype(dtype))
        is_itself = is_small(info.shape) and is_shown(info) and is_full
        if is_itself and stem(name) not in DEPTH_MAPS:
            return itself(name, of, info.shape).preview
        made = picture(name, of, pixels)
    except (FileError, ImageError):
        return None
    if is_itself:
        return itself(name, of, info.shape, made.preview.mean).preview
    return _written(folder, made)


def _written(folder: Path, made: Picture) -> Preview:
    write(folder / made.preview.name, made.content or b"")
    return made.preview


def _update_thumb(
    stack: Stack, top: Path, folder: Path, shown: dict[str, Preview], before: Kept
) -> None:
    """The picture in the list of stacks: of the recommended output, or else of a frame."""
    name = recommended(stack.outputs)
    best = str(top / stack.places[name]) if name else ""
    for path in sorted(shown, key=lambda path: path != best):
        if small := _thumb(shown[path], Path(path), folder, before.previews.get(THUMB)):
            shown[THUMB] = small
            return


def _thumb(shown: Preview, path: Path, folder: Path, known: Preview | None) -> Preview | None:
    if known is not None and known.of == shown.of and files.is_file(folder / THUMB):
        return known
    try:
        seen = read_preview(place(shown, path, folder), SIDE)
    except (FileError, ImageError):  # whose headers may tell nothing of it
        return None
    return _written(folder, thumb(shown.of, seen))
