"""What photographs show, as far as it tells which belong together: scene and focus."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from batchstack.images.preview import read_preview_and_white

Values: TypeAlias = npt.NDArray[np.float32]

SIDE = 768  # pixels of the previews that are looked at
_SCENE = 16  # pixels of the picture that two scenes are compared on
_COARSER = 4  # times, before it is blurred
_BLOCKS = 16  # along the longer side, in each of which sharpness is measured
# Correlation of two small pictures from which they show one scene.  In rendered shoots, frames
# beside each other in a stack of four with strong blur have .77 and more, other scenes mostly .5.
_SAME_SCENE = 0.7
# Spread of the logarithm of sharpness over the frames of a stack, in its liveliest quarter of
# blocks; a burst has .03, stacks have .3 and more.
_MOVING_FOCUS = 0.12
_JUMP = 3.0  # usual steps in the row, from which a step back is a new series
_WIDER = 1.5  # times the usual difference, without which there is no jump
_LIKE = 0.5  # of the step before: what is nearer than that to an earlier one repeats it
_FEW = 4  # photographs, of fewer no usual step is known


# Blocks are lively where sharpness, as a logarithm, differs so much between frames; a picture is
# sharp all over if in so many of them it is as sharp as the sharpest other, nearly.
_LIVELY, _FEWEST_LIVELY, _AS_SHARP, _ALL_OVER = 0.4, 12, 0.15, 0.95
_BLURRED = 0.75  # of the blocks, in which a picture that is out of focus is less sharp


@dataclass(frozen=True)
class Look:
    """A photograph, made small.

    Parameters
    ----------
    scene : ndarray of float32, (s, s)
        Grey of mean 0 and norm 1, so smooth that focus hardly matters.
    sharpness : ndarray of float32, (n,)
        Mean absolute Laplacian in blocks, in units of 1/255 of white.
    white : float
        The stored value that means it.
    dtype : str
        Type of the stored values.
    """

    scene: Values
    sharpness: Values
    white: float = 255.0
    dtype: str = "uint8"


def look_at(path: Path) -> Look:
    """Read a photograph and make it small.

    Raises
    ------
    FileError, ImageError
        As `read_preview`.
    """
    preview, white, dtype = read_preview_and_white(path, SIDE)
    grey = preview if preview.ndim == 2 else cv2.cvtColor(preview, cv2.COLOR_RGB2GRAY)
    # A wide blur is cheap on a small picture, and the same.
    least = [max(1, side // _COARSER) for side in grey.shape[::-1]]
    coarse = cv2.resize(grey.astype(np.float32), least, interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(coarse, (0, 0), SIDE / _SCENE / 2 / _COARSER)
    scene = cv2.resize(smooth, (_SCENE, _SCENE), interpolation=cv2.INTER_AREA)
    scene -= scene.mean()
    detail = np.abs(cv2.Laplacian(grey, cv2.CV_32F, ksize=3))
    scale = _BLOCKS / max(grey.shape)
    blocks = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    sharpness = cv2.resize(detail, blocks, interpolation=cv2.INTER_AREA)
    return Look(scene / max(float(np.linalg.norm(scene)), 1e-6), sharpness.ravel(), white, dtype)


def _sharpness(looks: Sequence[Look]) -> Values:
    """The logarithm of the sharpness of some photographs, (photographs, blocks).

    Those of one type are in units of one white: what is out of focus may use fewer bits than the
    others.
    """
    white: dict[str, float] = {}
    for look in looks:
        white[look.dtype] = max(look.white, white.get(look.dtype, 0.0))
    return np.log([look.sharpness * (look.white / white[look.dtype]) + 0.5 for look in looks])


def show_one_scene(one: Look, other: Look) -> bool:
    """Whether two photographs are of one scene in one framing, whatever is in focus."""
    return float((one.scene * other.scene).sum()) >= _SAME_SCENE


def focus_moves(looks: Sequence[Look]) -> bool:
    """Whether focus differs between photographs of one scene, as in a burst it does not."""
    spread = np.std(_sharpness(looks), axis=0)
    lively = np.sort(spread)[-max(1, len(spread) // 4) :]
    return float(np.median(lively)) >= _MOVING_FOCUS


def odd_ones(looks: Sequence[Look]) -> dict[int, str]:
    """The photographs of a stack that are unlike the others, and how.

    One that shows another scene than both its neighbours, which agree, is of another stack; one
    that is sharp wherever any other is, is no frame but what others were stacked to; one that is
    less sharp than both its neighbours nearly everywhere is out of focus or shaken.

    Parameters
    ----------
    looks : sequence of Look
        Of one stack, three or more, in their order; of fewer nothing is said.

    Returns
    -------
    dict of int to str
    """
    if len(looks) < 3:
        return {}
    found = {
        index: "shows another scene than the frames beside it"
        for index in range(len(looks))
        if _is_stranger(looks, index)
    }
    found |= {
        index: "is less sharp all over than the frames beside it, as if the camera had moved"
        for index in range(len(looks))
        if _is_blurred(looks, index) and index not in found
    }
    kin = [index for index in range(len(looks)) if index not in found]
    sharpest = _sharp_all_over(_sharpness([looks[index] for index in kin]))
    if sharpest is not None:
        found[kin[sharpest]] = "is sharp wherever any other frame is, as a stacked picture is"
    return found


def _is_stranger(looks: Sequence[Look], index: int) -> bool:
    """Whether a photograph's scene is another than that of its neighbours, which have one."""
    first = min(max(index - 1, 0), len(looks) - 3)
    one, other = (looks[n] for n in range(first, first + 3) if n != index)
    return show_one_scene(one, other) and not (
        show_one_scene(one, looks[index]) or show_one_scene(looks[index], other)
    )


def _is_blurred(looks: Sequence[Look], index: int) -> bool:
    """Whether a photograph is clearly less sharp than both its neighbours nearly everywhere."""
    if not 0 < index < len(looks) - 1:
        return False
    before, own, behind = _sharpness(looks[index - 1 : index + 2])
    return float(np.mean(own < np.minimum(before, behind) - _LIVELY)) >= _BLURRED


def _sharp_all_over(blocks: Values) -> int | None:
    """The one of three or more that is sharp nearly wherever any other is; None if none is."""
    if len(blocks) < 3:
        return None
    lively = np.ptp(blocks, axis=0) >= _LIVELY
    if lively.sum() < _FEWEST_LIVELY:
        return None
    best = np.sort(blocks[:, lively], axis=0)
    for index, own in enumerate(blocks[:, lively]):
        # What is best without it: the second best where it is the best itself.
        others = np.where(own >= best[-1], best[-2], best[-1])
        if np.mean(own >= others - _AS_SHARP) >= _ALL_OVER:
            return index
    return None


def returns(looks: Sequence[Look]) -> list[int]:
    """Where focus jumps back, or what was sharp before is so again, so that a new series begins.

    The photographs are put in a row by what is sharp in them: the Fiedler vector of their
    likeness orders things that resemble their neighbours most (Atkins, Boman, Hendrickson: A
    spectral algorithm for seriation, SIAM J. Comput. 28, 1998).

    Parameters
    ----------
    looks : sequence of Look
        Of one scene, as they were taken.

    Returns
    -------
    list of int
        Indices of the photographs that begin a new series, ascending.
    """
    # What is out of focus everywhere has no place in the row, and would upset that of others.
    kept = [index for index in range(len(looks)) if not _is_blurred(looks, index)]
    if len(kept) < _FEW:
        return []
    sharpness = _sharpness([looks[index] for index in kept])
    distance = np.linalg.norm(sharpness[:, None] - sharpness[None], axis=2)
    steps = np.diagonal(distance, 1)
    jumps = _jumps_back(_places(distance)) & (steps > _WIDER * np.median(steps))
    starts = [0]
    for index in range(1, len(kept)):
        if jumps[index - 1] or _repeats(distance, starts[-1], index):
            starts.append(index)
    return [kept[index] for index in starts[1:]]


def _places(distance: Values) -> npt.NDArray[np.float64]:
    """The place of each photograph in a row of all, from 0."""
    likeness = np.exp(-((distance / max(float(np.median(distance)), 1e-6)) ** 2))
    laplacian = np.diag(likeness.sum(axis=1)) - likeness
    _, vectors = np.linalg.eigh(laplacian)
    return np.argsort(np.argsort(vectors[:, 1])).astype(float)


def _jumps_back(places: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """For each step in a row whether it leads far against the direction of most."""
    steps = np.diff(places)
    forward = np.sign(np.median(steps)) or 1.0
    return np.asarray(-steps * forward >= _JUMP * max(float(np.median(np.abs(steps))), 1.0))


def _repeats(distance: Values, start: int, index: int) -> bool:
    """Whether a photograph and the next resemble the first two of the series more than another."""
    if index < start + 2 or index + 1 >= len(distance):
        return False
    return all(
        distance[index + n, start + n] < _LIKE * distance[index + n, index + n - 1] for n in (0, 1)
    )
