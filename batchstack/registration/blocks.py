"""How far the blocks of two images that nearly agree lie apart, from their gradients.

Each block gives the normal equations of the shift that brings it to agreement [1]_, with the
gradients of both images, which makes one step nearly exact [2]_.
Frames of a stack differ in blur and light as well, and a block that shows an outline more blurred
on one side would pass for moved.
So each block is fitted by a shift, a Laplacian (blur by a little more or less adds a multiple of
it [3]_, whatever the lens's disc) and a gain; the latter two are then eliminated.
Values of one image are multiplied with those of the other, so that noise and what only one
frame shows sharply add nothing: squares of them would pass for certainty that nothing moved.
No block is searched: a frame is moved by what is known so far, and the rest is small.

References
----------
.. [1] B. D. Lucas and T. Kanade, "An iterative image registration technique with an application
   to stereo vision", IJCAI 1981, 674-679.
.. [2] S. Benhimane and E. Malis, "Real-time image-based tracking of planes using efficient
   second-order minimization", IROS 2004, 943-948. :doi:`10.1109/IROS.2004.1389474`
.. [3] M. Subbarao and G. Surya, "Depth from defocus: a spatial domain approach", International
   Journal of Computer Vision 13(3), 271-294, 1994. :doi:`10.1007/BF02028349`
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack.registration.warp import Values

Points = npt.NDArray[np.float64]

# What `block_sums` gives for a block, and the pixels beside one that its sums reach.
_SUMS, REACH = 15, 2
# What keeps blur and gain from explaining a block that hardly tells them from its noise.
_DAMPING = 1e-2
# Share of a difference that is taken for noise however well blur and gain explain it.
_LEAST_LEFT = 0.02


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks of the reference, seen against the frame once that is moved.

    Parameters
    ----------
    points : (N, 2) array
        Their centres (x, y) in pixels of the whole image.
    gradients : (N, 2, 2) array
        Sums of products of the reference's gradient with the frame's, per pixel of the level,
        without what blur and gain explain.
    slopes : (N, 2) array
        Sums of products of the mean gradient with the difference, reference minus frame, without
        what blur and gain explain.
    noise : (N,) array
        Mean square of the difference that blur and gain leave.
    size, factor : int
        Their sides in pixels of the level, and the level that they are seen on.
    products, energies : (N,) arrays
        Sums of the images' product, and of the mean of their squares.
    """

    points: Points
    gradients: Points
    slopes: Points
    noise: Points
    size: int
    factor: int
    products: Points
    energies: Points

    def among(self, chosen: npt.NDArray[np.bool_]) -> "Blocks":
        """Some of the blocks."""
        points, gradients, slopes, noise, products, energies = (
            array[chosen]
            for array in (
                *(self.points, self.gradients, self.slopes),
                *(self.noise, self.products, self.energies),
            )
        )
        form = self.size, self.factor
        return Blocks(points, gradients, slopes, noise, *form, products, energies)

    def agreement(self, among: Points | None = None) -> float:
        """Correlation of the two images, -1..1, over all blocks or those at given points.

        A block of much contrast counts as twice a typical one at most.
        """
        chosen: Any = slice(None)
        if among is not None:
            chosen = np.isin(self.points @ [1, 1j], among @ [1, 1j])
        products, energies = self.products[chosen], self.energies[chosen]
        if not energies.any():
            return 0.0
        shares = 1 / (energies + max(float(np.median(energies)), 1e-9))
        return float(products @ shares) / float(energies @ shares)


def block_sums(fixed: Values, moving: Values, size: int, margin: int) -> tuple[Points, Points]:
    """Sums over blocks of two images.

    Parameters
    ----------
    fixed, moving : (H, W) float32 arrays
    size : int
        Side of a block.
    margin : int
        Pixels along the edges that are left out, at least `REACH`.

    Returns
    -------
    corners : (N, 2) array
        First pixel (x, y) of each block.
    sums : (N, 15) array
        With the gradient along x and y, the Laplacian and the value itself as four images of
        each, a and b: of (ai bj + aj bi) / 2 for ij = xx, xy, xl, xv, yy, yl, yv, ll, lv, vv;
        of (ai + bi) / 2 times t for i = x, y, l, v, where t is a - b; and of t t.
    """
    rows, columns = ((side - 2 * margin) // size for side in fixed.shape)
    if rows < 1 or columns < 1:
        return np.empty((0, 2)), np.empty((0, _SUMS))
    # Who only plans does not wait for the kernels.
    from batchstack.registration.kernels.blocks import summed

    sums = np.empty((rows, columns, _SUMS), np.float32)
    spare = np.zeros((_SUMS + 8, fixed.shape[1]), np.float32)
    summed(fixed, moving, size, margin, spare, sums)
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    corners = np.stack([x.ravel(), y.ravel()], axis=1) * float(size) + margin
    return corners, sums.reshape(-1, _SUMS).astype(np.float64)


def joined(parts: list[tuple[Points, Points]], size: int, factor: int) -> Blocks:
    """Blocks of all parts of an image.

    Parameters
    ----------
    parts : list of (points, sums)
        Centres in pixels of the whole image, and what `block_sums` found.
    size, factor : int
        Side of the blocks in pixels of the level, and the level.
    """
    # Who only plans does not wait for the kernels.
    from batchstack.registration.kernels.fits import eliminate

    points, sums = (np.concatenate(part) for part in zip(*parts, strict=True))
    count = len(sums)
    gradients, slopes, left = np.empty((count, 2, 2)), np.empty((count, 2)), np.empty(count)
    eliminate(sums, _DAMPING, _LEAST_LEFT, gradients, slopes, left)
    products, squares = sums[:, 9], sums[:, 14]
    energies = squares / 2 + products
    return Blocks(points, gradients, slopes, left / size**2, size, factor, products, energies)
