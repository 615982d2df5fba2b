"""Sums of products of two images and their derivatives over blocks."""

import numpy as np
import numpy.typing as npt

from batchstack.compiled import kernel, routine

Values = npt.NDArray[np.float32]

_HALF, _QUARTER = np.float32(0.5), np.float32(0.25)
# Unsigned indices spare the test for negative ones.
_ONE, _TWO = np.uintp(1), np.uintp(2)


@routine
def derive(image: Values, y: int, out: Values) -> None:
    """Gradient along x and y, Laplacian and value of a row."""
    over, above, row = image[y - 2], image[y - 1], image[y]
    below, under = image[y + 1], image[y + 2]
    along, down, bent, value = out[0], out[1], out[2], out[3]
    for x in range(row.size):
        value[x] = row[x]
        down[x] = (below[x] - above[x]) * _HALF
        bent[x] = (over[x] + under[x]) * _QUARTER - row[x]
    for x in range(_TWO, np.uintp(row.size - 2)):
        along[x] = (row[x + _ONE] - row[x - _ONE]) * _HALF
        bent[x] += (row[x - _TWO] + row[x + _TWO]) * _QUARTER


@routine
def add_slopes(a: Values, b: Values, lines: Values) -> None:
    av, bv, tt = a[3], b[3], lines[14]
    ax, ay, al = a[0], a[1], a[2]
    bx, by, bl = b[0], b[1], b[2]
    xt, yt, lt, vt = lines[10], lines[11], lines[12], lines[13]
    for x in range(tt.size):
        t = av[x] - bv[x]
        half_of_it = t * _HALF
        xt[x] += (ax[x] + bx[x]) * half_of_it
        yt[x] += (ay[x] + by[x]) * half_of_it
        lt[x] += (al[x] + bl[x]) * half_of_it
        vt[x] += (av[x] + bv[x]) * half_of_it
        tt[x] += t * t


@routine
def add_first(a: Values, b: Values, lines: Values) -> None:
    ax, ay, al, av = a[0], a[1], a[2], a[3]
    bx, by, bl, bv = b[0], b[1], b[2], b[3]
    xx, xy, xl, xv, yy = lines[0], lines[1], lines[2], lines[3], lines[4]
    for x in range(xx.size):
        xx[x] += ax[x] * bx[x]
        xy[x] += (ax[x] * by[x] + ay[x] * bx[x]) * _HALF
        xl[x] += (ax[x] * bl[x] + al[x] * bx[x]) * _HALF
        xv[x] += (ax[x] * bv[x] + av[x] * bx[x]) * _HALF
        yy[x] += ay[x] * by[x]


@routine
def add_second(a: Values, b: Values, lines: Values) -> None:
    ay, al, av = a[1], a[2], a[3]
    by, bl, bv = b[1], b[2], b[3]
    yl, yv, ll, lv, vv = lines[5], lines[6], lines[7], lines[8], lines[9]
    for x in range(yl.size):
        yl[x] += (ay[x] * bl[x] + al[x] * by[x]) * _HALF
        yv[x] += (ay[x] * bv[x] + av[x] * by[x]) * _HALF
        ll[x] += al[x] * bl[x]
        lv[x] += (al[x] * bv[x] + av[x] * bl[x]) * _HALF
        vv[x] += av[x] * bv[x]


@kernel
def summed(
    fixed: Values, moving: Values, size: int, margin: int, spare: Values, sums: Values
) -> None:
    """Fill `sums` (rows, columns, 15) of blocks; see `registration.blocks.block_sums`.

    `spare` has room for 23 rows of pixels, and is zero.
    """
    lines, a, b = spare[:15], spare[15:19], spare[19:]
    for row in range(sums.shape[0]):
        lines[:] = 0
        top = margin + row * size
        # Sums of columns first: a sum along a row would have to go pixel by pixel.
        for y in range(top, top + size):
            derive(fixed, y, a)
            derive(moving, y, b)
            # More arrays in one loop, and the compiler would not work on many pixels at once.
            add_first(a, b, lines)
            add_second(a, b, lines)
            add_slopes(a, b, lines)
        for column in range(sums.shape[1]):
            left = margin + column * size
            for k in range(sums.shape[2]):
                total = np.float32(0)
                for x in range(left, left + size):
                    total += lines[k, x]
                sums[row, column, k] = total
