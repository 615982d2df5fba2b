"""Normal equations of blocks, and the robust fit through them."""

from typing import Any

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
    """Normal equations by Cholesky, with a trace of damping for freedoms that are left open."""
    size, trace = side.size, 0.0
    for p in range(size):
        trace += normal[p, p]
    for p in range(size):
        for q in range(p + 1):
            rest = normal[p, q] + (1e-9 * trace if p == q else 0.0)
            for k in range(q):
                rest -= lower[p, k] * lower[q, k]
            lower[p, q] = max(rest, 1e-300) ** 0.5 if p == q else rest / lower[q, q]
    for p in range(size):
        rest = side[p]
        for k in range(p):
            rest -= lower[p, k] * out[k]
        out[p] = rest / lower[p, p]
    for p in range(size - 1, -1, -1):
        rest = out[p]
        for k in range(p + 1, size):
            rest -= lower[k, p] * out[k]
        out[p] = rest / lower[p, p]


@routine
def add_up(trust: Numbers, terms: Numbers, total: Numbers) -> None:
    total[:] = 0
    for n in range(trust.size):
        for p in range(total.size):
            total[p] += trust[n] * terms[n, p]


@kernel
def reweigh(
    design: Numbers, moves: Numbers, sure: Numbers, rounds: int, cut: float,
    told: Numbers, trust: Numbers, normal: Numbers, parameters: Numbers,
) -> float:  # fmt: skip
    """Iteratively reweighted least squares; returns the typical misfit, with 1 as chi-square has.

    Parameters
    ----------
    design : (N, 2, P) array
    moves, sure : (N, 2) and (N, 2, 2) arrays
        Of `locate`.
    rounds, cut
        How often, and by how many typical misfits a block loses half of its weight.
    told, trust, normal, parameters : (N,), (N,), (P, P) and (P,) arrays
        Filled with what blocks tell, their weights, the normal equations and what solves them.
    """
    count, size = design.shape[0], design.shape[2]
    sides, squares = np.empty((count, size)), np.empty((count, size * size))
    alone, misfit, side = np.empty(count), np.empty(count), np.empty(size)
    lower, flat, order = np.zeros((size, size)), np.empty(size * size), np.empty(count, np.int64)
    for n in range(count):
        xx, xy, yy = sure[n, 0, 0], sure[n, 0, 1], sure[n, 1, 1]
        x, y = moves[n, 0], moves[n, 1]
        told[n], trust[n] = xx + yy, 1.0
        alone[n] = xx * x * x + 2 * xy * x * y + yy * y * y
        for p in range(size):
            along = design[n, 0, p] * xx + design[n, 1, p] * xy
            down = design[n, 0, p] * xy + design[n, 1, p] * yy
            sides[n, p] = along * x + down * y
            for q in range(size):
                squares[n, p * size + q] = along * design[n, 0, q] + down * design[n, 1, q]
    half, typical = told.sum() / 2, 0.0
    for _ in range(rounds):
        add_up(trust, squares, flat)
        add_up(trust, sides, side)
        normal[:] = flat.reshape(size, size)
        solve(normal, side, lower, parameters)
        for n in range(count):
            total = alone[n]
            for p in range(size):
                total -= 2 * sides[n, p] * parameters[p]
                for q in range(size):
                    total += squares[n, p * size + q] * parameters[p] * parameters[q]
            misfit[n] = total
        order[:] = np.argsort(misfit)
        # The median of chi-square is 1.386; blocks without detail say nothing about it.
        typical = max(misfit[middle(order, told, half)] / 1.386, 1e-9)
        for n in range(count):
            trust[n] = 1 / (1 + max(misfit[n], 0.0) / (cut * typical))
    return typical


@routine
def middle(order: Any, weights: Numbers, half: float) -> Any:
    """The one at which the weights of a sorted list come to a half."""
    share = 0.0
    for place in order:
        share += weights[place]
        if share >= half:
            return place
    return order[order.size - 1]
