"""Compiled measures of activity: how sharp a band or a frame is at each pixel.

The rules are those of `compiled`.
A formula is made of the second differences of a value across and down, and of the value itself.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from batchstack.compiled import Planes, inlined, routine
from batchstack.fusion.rules import Formula

_MODIFIED_LAPLACIAN, _LAPLACIAN = int(Formula.MODIFIED_LAPLACIAN), int(Formula.LAPLACIAN)

# The share of the coefficient itself in `detail`.
SHARE = np.float32(3)


@routine
def modified_laplacian(across: np.float32, down: np.float32, value: np.float32) -> np.float32:
    """|[-1 2 -1] * x| + |[-1 2 -1]^T * x|, the modified Laplacian of Nayar [1]_.

    References
    ----------
    .. [1] S. K. Nayar and Y. Nakagawa, "Shape from focus", IEEE Trans. Pattern Anal.
       Mach. Intell. 16(8), 1994. :DOI:`10.1109/34.308479`
    """
    return abs(across) + abs(down)


@routine
def laplacian(across: np.float32, down: np.float32, value: np.float32) -> np.float32:
    """|4 x - x_up - x_down - x_left - x_right|, the magnitude of the Laplacian."""
    return abs(across + down)


@routine
def detail(across: np.float32, down: np.float32, value: np.float32) -> np.float32:
    """The modified Laplacian and three times the magnitude of a coefficient."""
    return (abs(across) + abs(down)) + SHARE * abs(value)


def _measured(name: str, formula: Callable[..., Any]) -> Any:
    """The routine that measures one channel of a row of all frames by a formula."""

    def measure(
        above: Planes,
        here: Planes,
        below: Planes,
        which: tuple[int, int, int],
        rings: Planes,
        plane: int,
        row: int,
        relative: bool,
    ) -> None:
        """Add to a row of the planes from `plane` on, one of each frame.

        Parameters
        ----------
        above, here, below : (frames, channels, columns + 2)
            Rows of the first frame and of what the others differ from it by.
        which : (int, int, int)
            The channel, and the first and one past the last of the frames.
        rings : (planes, rows, columns)
        relative : bool
            Whether the measure of the first frame is taken away from the others' and not added
            itself.
        """
        two, size, (channel, start, stop) = np.float32(2), rings.shape[2], which
        upper, base, lower = above[0, channel, 1:], here[0, channel], below[0, channel, 1:]
        if start == 0 and not relative:
            out = rings[plane, row]
            for j in range(size):
                twice = two * base[j + 1]
                across = twice - (base[j] + base[j + 2])
                down = twice - (upper[j] + lower[j])
                out[j] += formula(across, down, base[j + 1])
        first = plane - 1 if relative else plane
        for i in range(max(start, 1), stop):
            up, x, under = above[i, channel, 1:], here[i, channel], below[i, channel, 1:]
            out = rings[first + i, row]
            if relative:
                for j in range(size):
                    twice = two * base[j + 1]
                    across = twice - (base[j] + base[j + 2])
                    down = twice - (upper[j] + lower[j])
                    alone = formula(across, down, base[j + 1])
                    twice = two * x[j + 1]
                    across += twice - (x[j] + x[j + 2])
                    down += twice - (up[j] + under[j])
                    out[j] += formula(across, down, base[j + 1] + x[j + 1]) - alone
            else:
                for j in range(size):
                    twice = two * base[j + 1]
                    across = twice - (base[j] + base[j + 2])
                    down = twice - (upper[j] + lower[j])
                    twice = two * x[j + 1]
                    across += twice - (x[j] + x[j + 2])
                    down += twice - (up[j] + under[j])
                    out[j] += formula(across, down, base[j + 1] + x[j + 1])

    # Compiled and kept code is told apart by name alone.
    measure.__name__ = measure.__qualname__ = f"measure_{name}"
    return routine(measure)


_measure_modified_laplacian = _measured("modified_laplacian", modified_laplacian)
_measure_laplacian = _measured("laplacian", laplacian)
_measure_detail = _measured("detail", detail)


@inlined
def measure(
    formula: int,
    above: Planes,
    here: Planes,
    below: Planes,
    which: tuple[int, int, int],
    rings: Planes,
    plane: int,
    row: int,
    relative: bool,
) -> None:
    """Measure one channel of a row of some frames by the formula of a `rules.Formula`."""
    if formula == _MODIFIED_LAPLACIAN:
        _measure_modified_laplacian(above, here, below, which, rings, plane, row, relative)
    elif formula == _LAPLACIAN:
        _measure_laplacian(above, here, below, which, rings, plane, row, relative)
    else:
        _measure_detail(above, here, below, which, rings, plane, row, relative)
