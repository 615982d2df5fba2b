"""Registration: where each frame of a stack lies relative to the reference.

Focus breathing scales frames, hands shift and turn them.
The transform of a frame is found coarse to fine:

1. phase correlation on strongly reduced images gives a first guess;
2. the frame is moved by it, and a robust fit through what all blocks of the images still lie
   apart gives the transform.
   Step 2 repeats on finer levels as long as the error it predicts for itself shrinks.
   On fine levels of large images only a bounded number of patches is looked at.

All images are taken to linear light first and band-passed.
What frames differ in by blur and light is fitted along with the move, block by block.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import cast

import numpy as np

from batchstack.errors import OptionError, StackError
from batchstack.options import ALIGN_MODELS as MODELS
from batchstack.options import AlignModel as Model
from batchstack.registration.fits import (
    Fit,
    Freedoms,
    composed,
    corner_distance,
    fitted,
    typical_move,
)
from batchstack.registration.motion import first_guess, judged, measured, seen, telling
from batchstack.registration.residuals import left_over
from batchstack.registration.views import Pair, View, factor_for
from batchstack.registration.warp import IDENTITY, Matrix, Pixels, Transform

__all__ = ["MODELS", "Model", "estimate", "estimate_stack", "link"]

# Pixels of the level where the search begins, and of the first that a fit may be taken from; steps
# on each level of the search, at most.
_FIRST, _COARSEST = 12_000, 30_000
_STEPS = 8

# Pixels a side below which no window has a neighbour, and the correlation of detail below which
# images do not show the same scene.
_SMALLEST, _LEAST_AGREEMENT = 64, 0.1
_TOO_LITTLE = "too little common detail to align"
# Less agreement than by this much is none that can be told.
_TOLD = 0.005
TOO_SMALL = "not aligned: a move is smaller than can be told"
BETWEEN = ", so it is put between its neighbours"  # ends the note of a frame that is

# Predicted error of the corners, in pixels, that needs no refinement; and how much larger than
# the best so far it may be for a still finer level to be looked at.
_GOOD, _HOPELESS = 0.04, 2.0

# What levels next to the one that is taken tell otherwise, beyond their errors, is bias: blur and
# depth edges make of it what they do, on each level something else.  So much of it is believed.
_DOUBT = 0.5

# "auto" moves nothing below `_SLIGHT` pixels, nor a stack of which no frame lies `_FAR` off or by
# more than `_CLEAR` times what single blocks scatter: that is focus and perspective.
_SLIGHT, _FAR, _CLEAR = 0.1, 2.0, 1.4
# So many times the predicted error is as far as a fit may be off, and a stack is touched if it is
# `_SURE` that some frame moves by this much of what was measured.
_FARTHEST_OFF, _SURE = 3.0, 0.5


def estimate(
    reference: Pixels, frame: Pixels, *, model: Model = "auto", data_range: float | None = None
) -> Transform:
    """Find the transform of one frame.

    Parameters
    ----------
    reference, frame : (H, W) or (H, W, 3) arrays
        Images of one size; anything that can be sliced into arrays works, a memory map for example.
    model : str
        "translation", "similarity" (shift, rotation, scale), "affine", "off", or "auto":
        similarity, affine where that is clearly needed, and the identity where the frame lies
        right already.
    data_range : float, optional
        The stored value that means 1.0; by default 255, 65535 or 1.0 by data type.

    Returns
    -------
    Transform
        The identity, with a note, if the result is implausible (scale off by more than 10 %,
        rotation above 10 degrees, shift above 20 % of a side), or if the frame agrees with the
        reference less than before.

    Raises
    ------
    OptionError
        If `model` is unknown.
    StackError
        If the sizes differ.
    """
    return estimate_stack((reference, frame), model=model, data_range=data_range)[1]


def link(
    before: Pixels, frame: Pixels, *, model: Model = "auto", data_range: float | None = None
) -> Fit:
    """What `estimate_stack` finds between two neighbours, whatever the other frames are.

    Parameters
    ----------
    before, frame : (H, W) or (H, W, 3) arrays
        Neighbours in a stack, the one nearer to the reference first.
    model, data_range
        As for `estimate_stack`.
    """
    pair = Pair(View(before, data_range), View(frame, data_range))
    _check(pair.reference, pair.frame, model)
    return _link(pair, model)


def link_all(
    frames: Sequence[Pixels], *, model: Model = "auto", data_range: float | None = None
) -> list[Fit]:
    """The `link` of each two neighbours; each frame is fetched once, and two are held."""
    links = []
    before = View(frames[0], data_range)
    for index in range(1, len(frames)):
        frame = View(frames[index], data_range)
        _check(before, frame, model)
        links.append(_link(Pair(before, frame), model))
        before = frame
    return links


def estimate_stack(
    frames: Sequence[Pixels],
    *,
    model: Model = "auto",
    reference: int = 0,
    data_range: float | None = None,
    links: Sequence[Fit] = (),
    bounded: bool = True,
    threads: int = 1,
) -> tuple[Transform, ...]:
    """Find the transforms of all frames of a stack.

    Each frame is compared with its neighbour on the side of the reference, because neighbours
    differ least in focus, and the transforms are composed.
    The sum is then measured against an anchor, at first the reference itself, and what predicts
    the smaller error is taken, so that errors do not add up in deep stacks.
    Where the anchor is too far out of focus to help, the last frame becomes the next anchor.
    A frame that matches neither is passed over: the next one is compared with the last that did,
    and the frame is put between the two.
    A frame moves only as far as brings it nearer to the truth wherever that lies within three times
    the predicted error.
    Frames are fetched one at a time and at most four are held, whatever their number.

    Parameters
    ----------
    frames : sequence of (H, W) or (H, W, 3) arrays
        Images of one size, from back to front; each is fetched by its index once.
    model : str
        As for `estimate`; with "auto" the decisions are made relative to the reference.
    reference : int
        Index of the frame that stays where it is.
    data_range : float, optional
        The stored value that means 1.0; by default 255, 65535 or 1.0 by data type.
    links : sequence of Fit, optional
        The `link` of each two neighbours, if found before.
    bounded : bool
        Whether doubtful moves are shortened; who averages many stacks wants them as measured.
    threads : int
        With more than one, a frame is read while the one before it is compared.

    Returns
    -------
    tuple of Transform
        One for each frame, the identity for the reference.
    """
    fixed = View(frames[reference], data_range)
    found: dict[int, Transform] = {reference: Transform()}
    stays: dict[int, Transform] = {reference: Transform()}
    for order in (range(reference + 1, len(frames)), range(reference - 1, -1, -1)):
        chain, unmatched = _Chain(fixed, model), list[int]()
        place: Matrix = np.eye(3)
        for index, frame in _views(frames, order, data_range, threads):
            _check(fixed, frame, model)
            if model == "off":
                found[index] = stays[index] = Transform()
                continue
            fit, matched = chain.add(frame, _known(links, index, order.step))
            doubt = fit.error if bounded else 0.0
            place = _nearest_sure(fit.homogeneous, doubt, place, fixed.shape)
            found[index], stays[index] = _decide(Pair(fixed, frame), fit, place, model)
            if matched:
                _place_between(found, unmatched, index)
                unmatched.clear()
            else:
                unmatched.append(index)
    # All or nothing: a threshold between two neighbours would tear them apart.
    untouched = all(transform.is_identity for transform in stays.values())
    chosen = stays if untouched else found
    return tuple(chosen[index] for index in range(len(frames)))


def _views(
    frames: Sequence[Pixels], order: Iterable[int], data_range: float | None, threads: int
) -> Iterator[tuple[int, View]]:
    """Frames one after the other, each with its index."""
    views = ((index, View(frames[index], data_range)) for index in order)
    if threads < 2:
        yield from views
        return
    with ThreadPoolExecutor(1) as pool:
        reading = [(index, pool.submit(view.read)) for index, view in islice(views, 1)]
        while reading:
            index, frame = reading.pop()
            reading += [(later, pool.submit(view.read)) for later, view in islice(views, 1)]
            yield index, frame.result()


def _known(links: Sequence[Fit], index: int, step: int) -> Fit | None:
    """What is known of a frame and its neighbour on the side of the reference."""
    if not links:
        return None
    return links[index - 1] if step > 0 else links[index].inverse


def _place_between(found: dict[int, Transform], unmatched: Sequence[int], index: int) -> None:
    """Put frames that match none evenly between those on both sides that do."""
    if not unmatched:
        return
    step = 1 if index > unmatched[0] else -1
    before = unmatched[0] - step
    ends = np.array([found[before].matrix, found[index].matrix])
    for place in unmatched:
        share = (place - before) / (index - before)
        matrix = tuple(((1 - share) * ends[0] + share * ends[1]).tolist())
        if matrix != IDENTITY:
            models = {found[before].model, found[index].model}
            model = "affine" if "affine" in models else "similarity"
            note = found[place].note + BETWEEN
            found[place] = replace(found[place], matrix=matrix, model=model, note=note)


class _Chain:
    """Frames on one side of the reference, each placed by what it is most surely compared with."""

    def __init__(self, fixed: View, model: Model) -> None:
        self._model = model
        self._last = self._anchor = (fixed, Fit(model="translation"))
        self._bridging = False

    def add(self, frame: View, link: Fit | None) -> tuple[Fit, bool]:
        """Where the next frame lies relative to the reference, and whether it matches any.

        `link` is what is known of it and its neighbour.
        """
        before, so_far = self._last
        if link is None or self._bridging:
            link = _link(Pair(before, frame), self._model)
        fit = composed(so_far, link)
        if before is not self._anchor[0] and not fit.error < _GOOD:
            fit = self._anchored(frame, fit, link)
        fit = replace(fit, left=link.left)
        matched = bool(np.isfinite(fit.error))
        if matched:
            self._last = frame, fit
        self._bridging = not matched
        return fit, matched

    def _anchored(self, frame: View, chained: Fit, link: Fit) -> Fit:
        """Over the anchor, where that is more exact."""
        anchor, so_far = self._anchor
        pair = Pair(anchor, frame)
        step = chained.over(so_far)
        direct = _biased(_refined(pair, step, link, self._model), link.bias)
        if direct.error < step.error:
            direct = _verified(pair, direct)
        over_anchor = composed(so_far, direct)
        if over_anchor.error < chained.error:
            return over_anchor
        self._anchor = self._last
        return chained


def _check(reference: View, frame: View, model: str) -> None:
    if model not in MODELS:
        raise OptionError(f"align is {model!r}; give one of {', '.join(MODELS)}")
    if reference.shape != frame.shape:
        raise StackError(
            f"frames of {reference.shape} and {frame.shape} pixels cannot be aligned; "
            "give frames of one size"
        )


# --- measuring


def _link(pair: Pair, model: Model) -> Fit:
    fit = _verified(pair, _measure(pair, model))
    return replace(fit, left=left_over(judged(pair, fit.homogeneous, fit.factor)))


def _refined(pair: Pair, guess: Fit, step: Fit, model: Model) -> Fit:
    """Measured against an anchor, on the level where the neighbours agreed best."""
    if not np.isfinite(step.error):
        return _measure(pair, model, guess)
    fit = measured(pair, guess.homogeneous, step.factor, guess.model)
    return fit or Fit(error=float("inf"), note=_TOO_LITTLE)


def _measure(pair: Pair, model: Model, guess: Fit | None = None) -> Fit:
    """Fit of a model; "auto" takes the affine one only if clearly different and better."""
    if model != "auto":
        return _coarse_to_fine(pair, cast(Freedoms, model), guess)
    plain = _coarse_to_fine(pair, "similarity", guess, _SLIGHT)
    if plain.note:
        return plain
    start = plain.homogeneous
    free = fitted(telling(seen(pair, start, plain.factor)), start, pair.shape, "affine")
    free = _biased(free, plain.bias)
    apart = corner_distance(plain.homogeneous, free.homogeneous, pair.shape)
    if free.scatter > 0.9 * plain.scatter or apart < max(0.3, 4 * free.error):
        return plain
    better = measured(pair, free.homogeneous, plain.factor, "affine")
    return _biased(better, plain.bias) if better else plain


def _coarse_to_fine(pair: Pair, model: Freedoms, guess: Fit | None, slight: float = 0.0) -> Fit:
    """Fit on the level that predicts the smallest error.

    Finer levels are left out once the error is good, or the move is `slight` beyond doubt.
    """
    if min(pair.shape) < _SMALLEST:
        return Fit(error=float("inf"), note=_TOO_LITTLE)
    factor = factor_for(pair.shape, _COARSEST)
    start, others = (guess.homogeneous, []) if guess else _approached(pair, factor, model)
    best: Fit | None = None
    while factor >= 1:
        fit = measured(pair, start, factor, model)
        others += [fit] if fit else []
        if fit and best and fit.error > _HOPELESS * best.error:
            break
        if fit and not (best and fit.error > best.error):
            best, start = fit, fit.homogeneous
            move = corner_distance(start, np.eye(3), pair.shape)
            if fit.error < _GOOD or move + 2 * fit.error < slight:
                break
        factor //= 2
    if best:
        return _biased(best, _DOUBT * _disagreement(best, others, pair.shape))
    return Fit(error=float("inf"), note=_TOO_LITTLE)


def _approached(pair: Pair, finest: int, model: Freedoms) -> tuple[Matrix, list[Fit]]:
    """Phase correlation, then steps on ever finer levels until those change little."""
    factor = max(finest, factor_for(pair.shape, _FIRST))
    start, fits = first_guess(pair, factor), list[Fit]()
    while factor > finest:
        fit = measured(pair, start, factor, model, _STEPS)
        if fit:
            start = fit.homogeneous
            fits.append(fit)
        factor //= 2
    return start, fits


def _disagreement(fit: Fit, others: Sequence[Fit], shape: tuple[int, int]) -> float:
    """How far the corners lie from where the next levels put them, beyond what errors explain."""
    excess = [0.0]
    for other in others:
        if other.factor in (2 * fit.factor, fit.factor / 2):
            apart = corner_distance(fit.homogeneous, other.homogeneous, shape)
            excess.append(apart**2 - fit.error**2 - other.error**2)
    return float(max(excess) ** 0.5)


def _biased(fit: Fit, bias: float) -> Fit:
    """The fit with a bias that its own error does not tell of."""
    return replace(fit, error=float(np.hypot(fit.error, bias)), bias=bias)


# --- deciding


def _verified(pair: Pair, fit: Fit) -> Fit:
    """The fit, or 'stays where its neighbour is' with the reason."""
    reason = fit.note or _implausible(fit.homogeneous, pair.shape)
    if not reason and _is_noise(fit, pair.shape):
        return fit
    if not reason:
        moved = judged(pair, fit.homogeneous, fit.factor)
        after = moved.agreement()
        as_is = judged(pair, np.eye(3), fit.factor).agreement(moved.points)
        if after >= max(as_is, _LEAST_AGREEMENT):
            return fit
        if after > max(as_is - _TOLD, _LEAST_AGREEMENT):
            # It matches where it is, as far as can be told.
            move = corner_distance(fit.homogeneous, np.eye(3), pair.shape)
            return replace(
                fit, matrix=IDENTITY, error=float(np.hypot(fit.error, move)), note=TOO_SMALL
            )
        if after >= as_is:
            reason = f"the frames hardly agree anywhere ({after:.3f})"
        else:
            reason = f"agreement would fall from {as_is:.3f} to {after:.3f}"
    return Fit(error=float("inf"), note=f"not aligned: {reason}")


def _is_noise(fit: Fit, shape: tuple[int, int]) -> bool:
    """Whether the measurement cannot tell the move from none."""
    error = fit.error if np.isfinite(fit.error) else 0.0
    distance = corner_distance(fit.homogeneous, np.eye(3), shape)
    return distance < max(_SLIGHT, min(3 * error, 0.3))


def _decide(pair: Pair, fit: Fit, matrix: Matrix, model: Model) -> tuple[Transform, Transform]:
    """The transform `matrix` that comes of a fit, and what it is if the stack may stay as it is."""
    distance = corner_distance(fit.homogeneous, np.eye(3), pair.shape)
    error = fit.error if np.isfinite(fit.error) else 0.0

    def stay() -> Transform:
        return Transform(
            score=judged(pair, np.eye(3), fit.factor).agreement(),
            error=error,
            note=fit.note,
            residual=fit.left,
        )

    if np.array_equal(matrix, np.eye(3)) or (model == "auto" and _is_noise(fit, pair.shape)):
        return (stay(),) * 2
    score = judged(pair, matrix, fit.factor).agreement()
    found = tuple(matrix[:2].ravel().tolist())
    move = Transform(found, fit.model, score, error, fit.note, fit.left)
    # A frame that matches none lies where the one before it does, and says nothing by itself.
    sure = bool(np.isfinite(fit.error)) and _believed(distance, error) > _SURE
    clear = typical_move(matrix, pair.shape) > _CLEAR * fit.scatter or distance > _FAR
    return move, move if model != "auto" or (sure and clear) else stay()


def _nearest_sure(
    matrix: Matrix, error: float, neighbour: Matrix, shape: tuple[int, int]
) -> Matrix:
    """Where a frame is put: where it was measured if that is sure, else nearer to its neighbour."""
    if _believed(corner_distance(matrix, np.eye(3), shape), error) == 1:
        return matrix
    share = _believed(corner_distance(matrix, neighbour, shape), error)
    return cast(Matrix, neighbour + share * (matrix - neighbour))


def _believed(distance: float, error: float) -> float:
    """The share of a move that is an improvement wherever the truth may lie.

    Of all places within a radius r of the measured one, at a distance m, those nearest to where
    the frame is lie m - r off.
    Up to twice as far a move towards the measured place gets nearer to all of them, and further off
    from none by more than `_SLIGHT`.
    """
    known = distance - max(_FARTHEST_OFF * error - _SLIGHT / 2, 0.0)
    return min(max(2 * known / distance, 0.0), 1.0) if distance else 0.0


def _implausible(matrix: Matrix, shape: tuple[int, int]) -> str:
    """Why no camera moves like this between two frames of a stack; empty if one may."""
    scales = np.linalg.svd(matrix[:2, :2], compute_uv=False)
    turn = np.degrees(np.arctan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1]))
    middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2, 1.0])
    shift = np.abs((matrix @ middle - middle)[:2]) / np.array(shape[::-1])
    if scales.min() < 0.9 or scales.max() > 1.1 or not np.isfinite(scales).all():
        return f"the scale would be {scales[0]:.3f} by {scales[1]:.3f}"
    if abs(turn) > 10:
        return f"the rotation would be {turn:.1f} degrees"
    if shift.max() > 0.2:
        return f"the shift would be {100 * shift.max():.0f} % of the image"
    return ""
