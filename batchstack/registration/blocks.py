"""How far the blocks of two images that nearly agree lie apart, from their gradients.

Each block gives the normal equations of the shift that brings it to agreement [1]_, with the
gradients of both images, which makes one step nearly exact [2]_.
Gradients of one image are multiplied with those of the other, so that noise and what only one
frame shows sharply add nothing: squares of them would pass for certainty that nothing moved.
No block is searched: a frame is moved by what is known so far, and the rest is small.

References
----------
.. [1] B. D. Lucas and T. Kanade, "An iterative image registration technique with an application
   to stereo vision", IJCAI 1981, 674-679.
.. [2] S. Benhimane and E. Malis, "Real-time image-based tracking of planes using efficient
   second-order minimization", IROS 2004, 943-948. :doi:`10.1109/IROS.2004.1389474`
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from batchstack.registration.warp import Values

Points = npt.NDArray[np.float64]

_SUMS = 7  # what `block_sums` gives for a block


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks of the reference, seen against the frame once that is moved.

    Parameters
    ----------
    points : (N, 2) array
        Their centres (x, y) in pixels of the whole image.
    gradients : (N, 2, 2) array
        Sums of products of the reference's gradient with the frame's, per pixel of the level.
    slopes : (N, 2) array
        Sums of products of the mean gradient with the difference, reference minus frame.
    noise : (N,) array
        Mean square of the difference.
    factor : int
        The level they are seen on.
    products, energies : (N,) arrays
        Sums of the images' product, and of the mean of their squares.
    """

    points: Points
    gradients: Points
    slopes: Points
    noise: Points
    factor: int
    products: Points
    energies: Points

    def among(self, chosen: npt.NDArray[np.bool_]) -> "Blocks":
        """Some of the blocks."""
        arrays = ("points", "gradients", "slopes", "noise", "products", "energies")
        return replace(self, **{name: getattr(self, name)[chosen] for name in arrays})

    def agreement(self, among: Points | None = None) -> float:
        """Correlation of the two images, -1..1, over all blocks or those at given points."""
        chosen: Any = slice(None)
        if among is not None:
            chosen = np.isin(self.points @ [1, 1j], among @ [1, 1j])
        energy = float(self.energies[chosen].sum())
        return float(self.products[chosen].sum()) / energy if energy > 0 else 0.0


def block_sums(fixed: Values, moving: Values, size: int, margin: int) -> tuple[Points, Points]:
    """Sums over blocks of two images.

    Parameters
    ----------
    fixed, moving : (H, W) float32 arrays
    size : int
        Side of a block.
    margin : int
        Pixels along the edges that are left out, at least 1.

    Returns
    -------
    corners : (N, 2) array
        First pixel (x, y) of each block.
    sums : (N, 7) array
        Of ax bx, (ax by + ay bx) / 2, ay by, gx t, gy t, t t and a b, where a and b are the two
        images, with an axis their gradients, g the mean of these, and t is a - b.
    """
    rows, columns = ((side - 2 * margin) // size for side in fixed.shape)
    if rows < 1 or columns < 1:
        return np.empty((0, 2)), np.empty((0, _SUMS))
    sums = np.empty((rows, columns, _SUMS), np.float32)
    _summed()(fixed, moving, size, margin, sums)
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    corners = np.stack([x.ravel(), y.ravel()], axis=1) * float(size) + margin
    return corners, sums.reshape(-1, _SUMS).astype(np.float64)


@cache
def _summed() -> Callable[..., None]:
    from batchstack.compiled import kernel

    # Of differences over two pixels, and of sums of two.
    share = np.array([1 / 4, 1 / 8, 1 / 4, 1 / 4, 1 / 4, 1, 1], np.float32)

    @kernel
    def summed(fixed: Values, moving: Values, size: int, margin: int, sums: Values) -> None:
        width = fixed.shape[1]
        lines = np.empty((_SUMS, width), np.float32)
        xx, xy, yy, xt = lines[0], lines[1], lines[2], lines[3]
        yt, tt, ab = lines[4], lines[5], lines[6]
        for row in range(sums.shape[0]):
            lines[:] = 0
            top = margin + row * size
            # Sums of columns first: a sum along a row would have to go pixel by pixel.
            for y in range(top, top + size):
                above, one, below = fixed[y - 1], fixed[y], fixed[y + 1]
                over, other, under = moving[y - 1], moving[y], moving[y + 1]
                for x in range(1, width - 1):
                    ax, bx = one[x + 1] - one[x - 1], other[x + 1] - other[x - 1]
                    ay, by = below[x] - above[x], under[x] - over[x]
                    gx, gy = ax + bx, ay + by
                    t = one[x] - other[x]
                    xx[x] += ax * bx
                    xy[x] += ax * by + ay * bx
                    yy[x] += ay * by
                    xt[x] += gx * t
                    yt[x] += gy * t
                    tt[x] += t * t
                    ab[x] += one[x] * other[x]
            for column in range(sums.shape[1]):
                left = margin + column * size
                for k in range(_SUMS):
                    total = np.float32(0)
                    for x in range(left, left + size):
                        total += lines[k, x]
                    sums[row, column, k] = total * share[k]

    return cast(Callable[..., None], summed)


def joined(parts: list[tuple[Points, Points]], size: int, factor: int) -> Blocks:
    """Blocks of all parts of an image.

    Parameters
    ----------
    parts : list of (points, sums)
        Centres in pixels of the whole image, and what `block_sums` found.
    size, factor : int
        Side of the blocks in pixels of the level, and the level.
    """
    points, sums = (np.concatenate(part) for part in zip(*parts, strict=True))
    xx, xy, yy, xt, yt, tt, ab = sums.T
    gradients = np.stack([xx, xy, xy, yy], axis=1).reshape(-1, 2, 2)
    slopes = np.stack([xt, yt], axis=1)
    return Blocks(points, gradients, slopes, tt / size**2, factor, ab, tt / 2 + ab)
