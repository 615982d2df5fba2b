"""Normal equations of blocks, and the robust fit through them."""

import numpy as np
import numpy.typing as npt

from batchstack.compiled import kernel, routine

Numbers = npt.NDArray[np.float64]


@kernel
def eliminate(
    sums: Numbers, damping: float, least: float, gradients: Numbers, slopes: Numbers, left: Numbers
) -> None:
    """Fill what shift alone leaves of `block_sums`: see `registration.blocks.joined`.

    That is the Schur complement of the equations of shift, blur and gain; a block that does not
    tell of blur and gain is left as it is.
    """
    for n in range(sums.shape[0]):
        xx, xy, xl, xv, yy, yl, yv, ll, lv, vv, xt, yt, lt, vt, tt = sums[n]
        bent, even = ll * (1 + damping), vv * (1 + damping)
        volume = bent * even - lv * lv
        told = ll > 0 and vv > 0 and volume != 0
        inverse = 1 / volume if told else 0.0
        # Of each of x, y and t, how much of the Laplacian and of the value explains it.
        x_bent, x_even = (even * xl - lv * xv) * inverse, (bent * xv - lv * xl) * inverse
        y_bent, y_even = (even * yl - lv * yv) * inverse, (bent * yv - lv * yl) * inverse
        t_bent, t_even = (even * lt - lv * vt) * inverse, (bent * vt - lv * lt) * inverse
        gradients[n, 0, 0] = xx - xl * x_bent - xv * x_even
        gradients[n, 0, 1] = gradients[n, 1, 0] = xy - xl * y_bent - xv * y_even
        gradients[n, 1, 1] = yy - yl * y_bent - yv * y_even
        slopes[n, 0] = xt - xl * t_bent - xv * t_even
        slopes[n, 1] = yt - yl * t_bent - yv * t_even
        left[n] = max(tt - lt * t_bent - vt * t_even, least * tt)


@kernel
def locate(
    gradients: Numbers, slopes: Numbers, noise: Numbers, bias: float, moves: Numbers, sure: Numbers
) -> None:
    """Fill how far each block lies off (N, 2), and the inverse of its covariance (N, 2, 2)."""
    for n in range(moves.shape[0]):
        xx, xy, yy = gradients[n, 0, 0], gradients[n, 0, 1], gradients[n, 1, 1]
        a, c = xx + 1e-3, yy + 1e-3
        volume = a * c - xy * xy
        moves[n, 0] = (c * slopes[n, 0] - xy * slopes[n, 1]) / volume
        moves[n, 1] = (a * slopes[n, 1] - xy * slopes[n, 0]) / volume
        # Gradients and their share of the bias commute, so that the product is symmetric.
        spread = noise[n] + 1e-6
        a, b, c = spread + bias * bias * xx, bias * bias * xy, spread + bias * bias * yy
        volume = a * c - b * b
        sure[n, 0, 0] = (xx * c - xy * b) / volume
        sure[n, 0, 1] = sure[n, 1, 0] = (xy * a - xx * b) / volume
        sure[n, 1, 1] = (yy * a - xy * b) / volume


@routine
def solve(normal: Numbers, side: Numbers, lower: Numbers, out: Numbers) -> None:
    """Normal equations by Cholesky, with a trace of damping for freedoms that are left open.

    `lower` has room for their triangle, (P * P,).
    """
    size, trace = side.size, 0.0
    for p in range(size):
        trace += normal[p, p]
    for p in range(size):
        for q in range(p + 1):
            rest = normal[p, q] + (1e-9 * trace if p == q else 0.0)
            for k in range(q):
                rest -= lower[p * size + k] * lower[q * size + k]
            root = max(rest, 1e-300) ** 0.5 if p == q else rest / lower[q * size + q]
            lower[p * size + q] = root
    for p in range(size):
        rest = side[p]
        for k in range(p):
            rest -= lower[p * size + k] * out[k]
        out[p] = rest / lower[p * size + p]
    for p in range(size - 1, -1, -1):
        rest = out[p]
        for k in range(p + 1, size):
            rest -= lower[k * size + p] * out[k]
        out[p] = rest / lower[p * size + p]


@routine
def add_up(trust: Numbers, terms: Numbers, total: Numbers) -> None:
    total[:] = 0
    for n in range(trust.size):
        for p in range(total.size):
            total[p] += trust[n] * terms[n, p]


@kernel
def prepare(
    design: Numbers, moves: Numbers, sure: Numbers,
    told: Numbers, alone: Numbers, sides: Numbers, squares: Numbers,
) -> None:  # fmt: skip
    """Fill what each block tells, and what it adds to the equations of a least-squares fit.

    Parameters
    ----------
    design : (N, 2, P) array
    moves, sure : (N, 2) and (N, 2, 2) arrays
        Of `locate`.
    told, alone, sides, squares : (N,), (N,), (N, P) and (N, P * P) arrays
        Of its misfit the terms without parameters, with one and with two of them.
    """
    size = design.shape[2]
    for n in range(design.shape[0]):
        xx, xy, yy = sure[n, 0, 0], sure[n, 0, 1], sure[n, 1, 1]
        x, y = moves[n, 0], moves[n, 1]
        told[n] = xx + yy
        alone[n] = xx * x * x + 2 * xy * x * y + yy * y * y
        for p in range(size):
            along = design[n, 0, p] * xx + design[n, 1, p] * xy
            down = design[n, 0, p] * xy + design[n, 1, p] * yy
            sides[n, p] = along * x + down * y
            for q in range(size):
                squares[n, p * size + q] = along * design[n, 0, q] + down * design[n, 1, q]


@kernel
def fit(
    alone: Numbers, sides: Numbers, squares: Numbers, trust: Numbers, spare: Numbers,
    normal: Numbers, parameters: Numbers, misfit: Numbers,
) -> None:  # fmt: skip
    """Weighted least squares.

    Parameters
    ----------
    alone, sides, squares : arrays
        Of `prepare`.
    trust : (N,) array
        Weights of the blocks.
    spare : (3, P * P) array
    normal, parameters, misfit : (P, P), (P,) and (N,) arrays
        Filled with the normal equations, what solves them, and how badly it fits each block.
    """
    size = parameters.size
    flat, side, lower = spare[0], spare[1, :size], spare[2]
    add_up(trust, squares, flat)
    add_up(trust, sides, side)
    for p in range(size):
        for q in range(size):
            normal[p, q] = flat[p * size + q]
    solve(normal, side, lower, parameters)
    for n in range(trust.size):
        total = alone[n]
        for p in range(size):
            total -= 2 * sides[n, p] * parameters[p]
            for q in range(size):
                total += squares[n, p * size + q] * parameters[p] * parameters[q]
        misfit[n] = total
