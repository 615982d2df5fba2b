"""All measures of one fused image, on the whole of it or on windows of a large one."""

from collections.abc import Callable, Sequence

import numpy as np

from batchstack.errors import StackError
from batchstack.geometry import Box
from batchstack.quality.edges import Edges
from batchstack.quality.fidelity import decibels, squared_error, ssim
from batchstack.quality.information import Information
from batchstack.quality.luma import Pixels, grey
from batchstack.quality.measure import Measure
from batchstack.quality.perception import Perception
from batchstack.quality.structure import Structure

MEASURES: dict[str, type[Measure]] = {
    "Qabf": Edges,
    "NMI": Information,
    "QY": Structure,
    "QCB": Perception,
}

# Pixels that are scored as one image, the side of the windows of larger ones, and the most
# windows along a side; together the windows have four times as many pixels.
WHOLE_PIXELS = 2**20
WINDOW = 512
WINDOWS_A_SIDE = 4


def score(
    frames: Sequence[Pixels],
    fused: Pixels,
    truth: Pixels | None = None,
    data_range: float | None = None,
) -> dict[str, float]:
    """All measures of one fused image.

    Parameters
    ----------
    frames : sequence of (H, W) or (H, W, 3) arrays
        The frames the image was fused from, aligned and of its size.
    fused : (H, W) or (H, W, 3) array
        The fused image.
    truth : (H, W) or (H, W, 3) array, optional
        The image in focus everywhere; adds the keys "PSNR" (dB) and "SSIM".
    data_range : float, optional
        The stored value that means 1.0; by default 255, 65535 or 1.0 by data type.

    Returns
    -------
    dict of str to float
        "Qabf" (0..1), "NMI" (0..2), "QY" (about 0..1), "QCB" (0..1) and, with a truth, "PSNR"
        (infinite for equal images) and "SSIM" (-1..1).

    Raises
    ------
    StackError
        If there is no frame or the sizes differ.
    """
    images = [*frames, fused] if truth is None else [*frames, fused, truth]
    sizes = {image.shape[:2] for image in images}
    if not frames or len(sizes) > 1:
        raise StackError(
            f"cannot score {len(frames)} frames of the sizes {sorted(sizes)}; "
            "give at least one frame and images of one size"
        )
    whole = Box(0, 0, fused.shape[0], fused.shape[1])
    return _score_in(
        [whole],
        lambda index, box: frames[index],
        len(frames),
        lambda box: fused,
        None if truth is None else lambda box: truth,
        data_range,
    )


def score_windows(
    read: Callable[[int, Box], Pixels],
    n_frames: int,
    fused: Callable[[Box], Pixels],
    area: Box,
    truth: Callable[[Box], Pixels] | None = None,
    data_range: float | None = None,
) -> dict[str, float]:
    """All measures of one fused image, on a bounded number of its pixels.

    They are the means over `windows`; PSNR comes from the squared error of all windows together.
    One window of one frame is read at a time, so memory depends neither on the size of the image
    nor on the number of frames.

    Parameters
    ----------
    read : callable
        Frame index and box to the pixels of that frame, aligned, in that box.
    n_frames : int
    fused : callable
        Box to the pixels of the fused image.
    area : Box
        The part of the image to score, in the coordinates that the callables use.
    truth : callable, optional
        Box to the pixels of the image in focus everywhere.
    data_range : float, optional
        The stored value that means 1.0; by default 255, 65535 or 1.0 by data type.

    Returns
    -------
    dict of str to float
        As `score`, which it equals for an image of one window.
        Windows of a larger image score a little differently from the whole: NMI stretches each
        to its own range, QCB takes each to fill the field of view.

    Raises
    ------
    StackError
        If there is no frame.
    """
    if n_frames < 1:
        raise StackError("cannot score without frames; give at least one")
    return _score_in(windows(area), read, n_frames, fused, truth, data_range)


def windows(area: Box) -> list[Box]:
    """The parts of an area that are scored.

    The area itself if it has at most `WHOLE_PIXELS`, else an even grid of up to
    `WINDOWS_A_SIDE` x `WINDOWS_A_SIDE` windows of `WINDOW` pixels a side, from edge to edge; they
    overlap where they would otherwise leave a part of a smaller area out.
    """
    height, width = area.shape
    if height * width <= WHOLE_PIXELS:
        return [area]
    rows, columns = min(height, WINDOW), min(width, WINDOW)
    return [
        Box(top, left, top + rows, left + columns)
        for top in _starts(area.top, height)
        for left in _starts(area.left, width)
    ]


def _starts(begin: int, side: int) -> list[int]:
    """Where the windows along a side begin, the first and the last at its ends."""
    count = min(-(-side // WINDOW), WINDOWS_A_SIDE)
    spare = max(side - WINDOW, 0)
    return [begin + spare * number // max(count - 1, 1) for number in range(count)]


def _score_in(
    boxes: Sequence[Box],
    read: Callable[[int, Box], Pixels],
    n_frames: int,
    fused: Callable[[Box], Pixels],
    truth: Callable[[Box], Pixels] | None,
    data_range: float | None,
) -> dict[str, float]:
    found: dict[str, list[float]] = {name: [] for name in MEASURES}
    errors: list[float] = []
    alike: list[float] = []
    for box in boxes:
        image = grey(fused(box), data_range)
        measures = {name: kind(image) for name, kind in MEASURES.items()}
        for index in range(n_frames):
            frame = grey(read(index, box), data_range)
            for measure in measures.values():
                measure.add(frame)
        for name, measure in measures.items():
            found[name].append(measure.result())
        if truth is not None:
            reference = grey(truth(box), data_range)
            errors.append(squared_error(reference, image))
            alike.append(ssim(reference, image))
    scores = {name: float(np.mean(values)) for name, values in found.items()}
    if truth is not None:
        scores |= {"PSNR": decibels(float(np.mean(errors))), "SSIM": float(np.mean(alike))}
    return scores
