"""Measures of fused images, on the whole of them or on small windows of large ones."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from batchstack.errors import StackError
from batchstack.geometry import Box
from batchstack.quality.edges import Edges
from batchstack.quality.fidelity import psnr, ssim
from batchstack.quality.information import Information
from batchstack.quality.luma import Pixels, grey, luma
from batchstack.quality.measure import Measure
from batchstack.quality.perception import Perception
from batchstack.quality.sharpest import SharpestFrames
from batchstack.quality.structure import Structure

PUBLISHED: dict[str, type[Measure]] = {
    "Qabf": Edges,
    "NMI": Information,
    "QY": Structure,
    "QCB": Perception,
}
QSHARP, ARTEFACTS = "Qsharp", "Artefacts"
# What is quick, and follows the truth best.
RECOMMENDED = (QSHARP, ARTEFACTS)
MEASURES = (*RECOMMENDED, *PUBLISHED)

# Pixels that are scored as one image; of larger ones, one in so many and so many at most, in
# windows of so many a side.
WHOLE_PIXELS = 2**16
ONE_IN, MOST_PIXELS = 6, 2**20
WINDOW = 128


def score(
    frames: Sequence[Pixels],
    fused: Pixels,
    truth: Pixels | None = None,
    data_range: float | None = None,
) -> dict[str, float]:
    """All measures of one fused image, on all of its pixels.

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
        "Qsharp" (-1..1), "Artefacts" (percent, lower is better), "Qabf" (0..1), "NMI" (0..2),
        "QY" (about 0..1), "QCB" (0..1) and, with a truth, "PSNR" (infinite for equal images) and
        "SSIM" (-1..1).

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
    (scores,) = _in_boxes(
        [whole], lambda i, box: frames[i], len(frames), [lambda box: fused], MEASURES, data_range
    )
    if truth is not None:
        reference, image = grey(truth, data_range), grey(fused, data_range)
        scores |= {"PSNR": psnr(reference, image), "SSIM": ssim(reference, image)}
    return scores


def score_windows(
    read: Callable[[int, Box], Pixels],
    n_frames: int,
    fused: Mapping[str, Callable[[Box], Pixels]],
    area: Box,
    measures: Sequence[str] = RECOMMENDED,
    data_range: float | None = None,
) -> dict[str, dict[str, float]]:
    """Measures of the fused images of one stack, on a bounded number of its pixels.

    They are those of all `windows` together.
    Each is read once of every frame, one frame at a time, for all fused images, so memory depends
    neither on the size of the image nor on the number of frames.

    Parameters
    ----------
    read : callable
        Frame index and box to the pixels of that frame, aligned, in that box.
    n_frames : int
    fused : mapping of str to callable
        By name of the fused image, box to its pixels.
    area : Box
        The part of the image to score, in the coordinates that the callables use.
    measures : sequence of str
        Of `MEASURES`; by default those that are quick.
    data_range : float, optional
        The stored value that means 1.0; by default 255, 65535 or 1.0 by data type.

    Returns
    -------
    dict of str to dict
        By name of the fused image, those of `score`, which they equal for an image of one window.
        Windows of a larger image score a little differently from the whole: NMI stretches each
        to its own range, QCB takes each to fill the field of view.

    Raises
    ------
    StackError
        If there is no frame.
    """
    if n_frames < 1:
        raise StackError("cannot score without frames; give at least one")
    images = list(fused.values())
    scores = _in_boxes(windows(area), read, n_frames, images, measures, data_range)
    return dict(zip(fused, scores, strict=True))


def windows(area: Box) -> list[Box]:
    """The parts of an area that are scored.

    The area itself if it has at most `WHOLE_PIXELS`, else an even grid, from edge to edge, of
    windows of `WINDOW` pixels a side with one in `ONE_IN` of its pixels, `MOST_PIXELS` at most.
    """
    height, width = area.shape
    pixels = height * width
    if pixels <= WHOLE_PIXELS:
        return [area]
    rows, columns = min(height, WINDOW), min(width, WINDOW)
    wanted = min(pixels / ONE_IN, MOST_PIXELS)
    most = max(int(wanted / (rows * columns)), 1)
    # Along the shorter side first: where it holds one window, all others lie along the longer.
    short, long = sorted((height, width))
    few = min(max(round(short * (wanted / pixels) ** 0.5 / WINDOW), 1), most)
    many = min(most // few, -(-long // WINDOW))
    down, across = (few, many) if height <= width else (many, few)
    return [
        Box(top, left, top + rows, left + columns)
        for top in _starts(area.top, height, down)
        for left in _starts(area.left, width, across)
    ]


def _starts(begin: int, side: int, count: int) -> list[int]:
    """Where the windows along a side begin, the first and the last at its ends."""
    spare = max(side - WINDOW, 0)
    if count == 1:
        return [begin + spare // 2]
    return [begin + spare * number // (count - 1) for number in range(count)]


def _in_boxes(
    boxes: Sequence[Box],
    read: Callable[[int, Box], Pixels],
    n_frames: int,
    fused: Sequence[Callable[[Box], Pixels]],
    measures: Sequence[str],
    data_range: float | None,
) -> list[dict[str, float]]:
    """The measures of each fused image, means over boxes of one size."""
    parts = []
    for box in boxes:
        frames = (read(index, box) for index in range(n_frames))
        images = [image(box) for image in fused]
        parts.append(_in_box(frames, images, measures, data_range))
    # A measure with a value for each level is that of its largest, in all boxes together.
    return [
        {name: float(np.max(np.mean([one[name] for one in same], axis=0))) for name in measures}
        for same in zip(*parts, strict=True)
    ]


def _in_box(
    frames: Iterable[Pixels],
    images: Sequence[Pixels],
    measures: Sequence[str],
    data_range: float | None,
) -> list[dict[str, float | list[float]]]:
    """The measures of each fused image in one box, by level where it is the largest that counts."""
    kinds = {name: PUBLISHED[name] for name in measures if name in PUBLISHED}
    # The quick measures have a quick grey, so that the other is made for those that need it alone.
    published = [
        {name: kind(target) for name, kind in kinds.items()}
        for target in (grey(image, data_range) for image in images if kinds)
    ] or [{} for _ in images]
    sharpest = SharpestFrames()
    for frame in frames:
        sharpest.add(luma(frame, data_range))
        if kinds:
            source = grey(frame, data_range)
            for measure in (one for same in published for one in same.values()):
                measure.add(source)
    reference = sharpest.together()
    found: list[dict[str, float | list[float]]] = []
    for image, same in zip(images, published, strict=True):
        alike, own = reference.compare(luma(image, data_range))
        quick: dict[str, float | list[float]] = {QSHARP: alike, ARTEFACTS: own}
        found.append(quick | {name: measure.result() for name, measure in same.items()})
    return found
