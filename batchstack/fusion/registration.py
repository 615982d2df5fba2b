"""Registration: where each frame of a stack lies relative to the reference.

Focus breathing scales frames, hands shift and turn them, light changes.
The transform of a frame is found coarse to fine:

1. phase correlation and ECC on strongly reduced images give a first guess;
2. windows of detail are followed from the reference to the frame (Lucas-Kanade), and a robust fit
   through hundreds of them gives the transform.
   Step 2 repeats on finer levels as long as the error it predicts for itself shrinks.
   On fine levels of large images only a bounded number of patches is looked at.

Frames of a stack are sharp in different places.
Out of focus the fine detail is lost or even inverted, and at depth edges a blurred foreground
pulls windows along, so the finest level is seldom the best and the fit has to be robust.
All images are band-passed and divided by their local contrast first, which also removes
differences of exposure, white balance and contrast.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import cv2
import numpy as np
import numpy.typing as npt

from batchstack.errors import OptionError, StackError
from batchstack.fusion.tiles import Box
from batchstack.fusion.warp import (
    IDENTITY,
    Matrix,
    Pixels,
    Transform,
    Values,
    corner_pixels,
)

Points = npt.NDArray[np.float64]
Model = Literal["off", "auto", "translation", "similarity", "affine"]

MODELS: tuple[Model, ...] = ("off", "auto", "translation", "similarity", "affine")

# Pixels of a level that is looked at whole; above it, patches.
_WHOLE = 1_500_000
_COARSEST = 100_000
_PATCH, _PATCHES_PER_SIDE = 192, 6
_WINDOW = 31
_LEAST_CELLS = 8

# "auto" moves nothing below this many pixels, nor a stack of which no frame lies further off than
# 2 px and of whose disagreement alignment removes less than this share (the rest is focus).
_SLIGHT, _EXPLAINED = 0.1, 0.1


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


def estimate_stack(
    frames: Sequence[Pixels],
    *,
    model: Model = "auto",
    reference: int = 0,
    data_range: float | None = None,
) -> tuple[Transform, ...]:
    """Find the transforms of all frames of a stack.

    Each frame is compared with its neighbour on the side of the reference, because neighbours
    differ least in focus, and the transforms are composed.
    The sum is then refined against the reference itself and the refinement is taken where it
    predicts a smaller error than the chain, so that errors do not add up in deep stacks.
    Frames are fetched one at a time and at most three are held, whatever their number.

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

    Returns
    -------
    tuple of Transform
        One for each frame, the identity for the reference.
    """
    fixed = _Image(frames[reference], data_range)
    moved: dict[int, Transform] = {reference: Transform()}
    stays: dict[int, Transform] = {reference: Transform()}
    for order in (range(reference + 1, len(frames)), range(reference - 1, -1, -1)):
        before, chain = fixed, _Fit()
        for index in order:
            frame = _Image(frames[index], data_range)
            _check(fixed, frame, model)
            if model == "off":
                moved[index] = stays[index] = Transform()
                continue
            pair = _Pair(fixed, frame)
            chain = _follow(chain, pair, before, model)
            moved[index], stays[index] = _decide(pair, chain, model)
            before = frame
    # All or nothing: a threshold between two neighbours would tear them apart.
    untouched = all(transform.is_identity for transform in stays.values())
    chosen = stays if untouched else moved
    return tuple(chosen[index] for index in range(len(frames)))


# --- estimation


@dataclass(frozen=True, eq=False)
class _Image:
    """Views of a frame in units of 8-bit code values, reduced by whole factors.

    Small views of the whole frame are kept, because every step asks for them again.
    """

    pixels: Pixels
    data_range: float | None = None
    kept: dict[int, Values] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        return cast(tuple[int, int], self.pixels.shape[:2])

    def grey(self, box: Box, factor: int) -> Values:
        """The box (sides divisible by the factor) averaged over factor x factor pixels."""
        return _mean_channel(self.colour(box, factor))

    def colour(self, box: Box, factor: int) -> Values:
        whole = _whole_box(self.shape, factor)
        if whole.bottom * whole.right > _WHOLE * factor * factor:
            return self._read(box, factor)
        if factor not in self.kept:
            self.kept[factor] = self._read(whole, factor)
        rows = slice(box.top // factor, box.bottom // factor)
        return self.kept[factor][rows, box.left // factor : box.right // factor]

    def _read(self, box: Box, factor: int) -> Values:
        """Strip by strip: a whole frame in float32 may be too large."""
        rows = max(1, 4_000_000 // max(1, (box.right - box.left) * factor)) * factor
        strips = [
            self._strip(top, min(top + rows, box.bottom), box, factor)
            for top in range(box.top, box.bottom, rows)
        ]
        return np.concatenate(strips)

    def _strip(self, top: int, bottom: int, box: Box, factor: int) -> Values:
        part = np.asarray(self.pixels[top:bottom, box.left : box.right])
        full = self.data_range or (1.0 if part.dtype.kind == "f" else np.iinfo(part.dtype).max)
        values = part.astype(np.float32) * np.float32(255.0 / full)
        size = ((box.right - box.left) // factor, (bottom - top) // factor)
        return cast(Values, cv2.resize(values, size, interpolation=cv2.INTER_AREA))


@dataclass(frozen=True)
class _Pair:
    reference: _Image
    frame: _Image

    @property
    def shape(self) -> tuple[int, int]:
        return self.reference.shape


@dataclass(frozen=True)
class _Fit:
    """A measured transform.

    `error` is the predicted standard error of the corners, `scatter` that of one window, both in
    pixels; `factor` is the level it was measured on.
    """

    matrix: tuple[float, ...] = IDENTITY
    model: str = "similarity"
    error: float = 0.0
    note: str = ""
    scatter: float = 0.0
    factor: int = 1

    @property
    def homogeneous(self) -> Matrix:
        return np.vstack([np.reshape(self.matrix, (2, 3)), [0.0, 0.0, 1.0]])


def _check(reference: _Image, frame: _Image, model: str) -> None:
    if model not in MODELS:
        raise OptionError(f"align is {model!r}; give one of {', '.join(MODELS)}")
    if reference.shape != frame.shape:
        raise StackError(
            f"frames of {reference.shape} and {frame.shape} pixels cannot be aligned; "
            "give frames of one size"
        )


def _measure(pair: _Pair, model: Model, guess: _Fit | None = None) -> _Fit:
    """Fit of a model; "auto" takes the affine one only if clearly different and better."""
    if model != "auto":
        return _measure_model(pair, model, guess)
    plain = _measure_model(pair, "similarity", guess)
    if plain.note:
        return plain
    free = _follow_windows(pair, plain.homogeneous, plain.factor, "affine")
    if not free or free.scatter > 0.9 * plain.scatter:
        return plain
    apart = _corner_distance(plain.homogeneous, free.homogeneous, pair.shape)
    return plain if apart < max(0.3, 4 * free.error) else _measure_model(pair, "affine", free)


def _measure_model(pair: _Pair, model: Model, guess: _Fit | None) -> _Fit:
    """Coarse to fine; a level is kept if it predicts a smaller error than the one before."""
    factor = 1
    while pair.shape[0] * pair.shape[1] > _COARSEST * factor * factor:
        factor *= 2
    start = guess.homogeneous if guess else _first_guess(pair, factor)
    start = _projected(start, model, pair.shape)
    best: _Fit | None = None
    while factor >= 1:
        fit = _follow_windows(pair, start, factor, model)
        if fit and best and fit.error > best.error:
            break
        if fit:
            best, start = fit, fit.homogeneous
        factor //= 2
    return best or _Fit(error=float("inf"), note="too little common detail to align")


def _first_guess(pair: _Pair, factor: int) -> Matrix:
    """Phase correlation, then affine ECC [1]_, on images of at most `_COARSEST` pixels.

    References
    ----------
    .. [1] G. D. Evangelidis and E. Z. Psarakis, "Parametric image alignment using enhanced
       correlation coefficient maximization", IEEE Transactions on Pattern Analysis and Machine
       Intelligence 30(10), 1858-1865, 2008. :doi:`10.1109/TPAMI.2008.113`
    """
    box = _whole_box(pair.shape, factor)
    fixed, moving = pair.reference.grey(box, factor), pair.frame.grey(box, factor)
    levels = [(fixed, moving)]
    while min(levels[-1][0].shape) > 128:
        levels.append((cv2.pyrDown(levels[-1][0]), cv2.pyrDown(levels[-1][1])))
    matrix = np.eye(2, 3, dtype=np.float32)
    for depth, (one, other) in reversed(list(enumerate(levels))):
        one, other = _normalised(one), _normalised(other)
        if depth == len(levels) - 1:
            hanning = cv2.createHanningWindow(one.shape[::-1], cv2.CV_32F)
            matrix[:, 2] = cv2.phaseCorrelate(one, other, hanning)[0]
        matrix = _ecc(one, other, matrix)
        if depth:
            matrix[:, 2] *= 2  # pyrDown keeps the even pixels
    scale = _to_full(box, factor)
    return cast(Matrix, scale @ np.vstack([matrix, [0, 0, 1]]) @ np.linalg.inv(scale))


def _ecc(fixed: Values, moving: Values, matrix: Values) -> Values:
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-5)
    try:
        start = matrix.copy()
        return cast(
            Values,
            cv2.findTransformECC(fixed, moving, start, cv2.MOTION_AFFINE, stop, None, 1)[1],
        )
    except cv2.error:  # no convergence: images without common detail
        return matrix


def _normalised(image: Values) -> Values:
    """Band-passed (sigma 1.5 to 8 px) and divided by local contrast, so that light drops out."""
    smooth = cv2.GaussianBlur(image, (0, 0), 1.5)
    detail = smooth - cv2.GaussianBlur(smooth, (0, 0), 8)
    contrast = cv2.GaussianBlur(detail * detail, (0, 0), 8)
    return np.asarray(detail / np.sqrt(contrast + 4.0), dtype=np.float32)


def _follow_windows(pair: _Pair, start: Matrix, factor: int, model: Model) -> _Fit | None:
    """Fit through windows followed on the level reduced by `factor`, or None if they are few."""
    matrix, found = start, None
    for _ in range(2):  # the second time from nearby, where windows see the same pixels
        seen = [_displacements(pair, box, matrix, factor) for box in _boxes(pair.shape, factor)]
        points, moves = (np.concatenate(part) for part in zip(*seen, strict=True))
        cells = len(np.unique(points // (_WINDOW * factor), axis=0))
        if cells < _LEAST_CELLS:
            return None
        found = _fit(points, moves, cells, pair.shape, model)
        matrix = matrix @ found.homogeneous
    assert found is not None
    return replace(found, matrix=tuple(matrix[:2].ravel().tolist()), factor=factor)


def _boxes(shape: tuple[int, int], factor: int) -> list[Box]:
    """The whole image if it is small on this level, else a bounded number of patches."""
    whole = _whole_box(shape, factor)
    if whole.bottom * whole.right <= _WHOLE * factor * factor:
        return [whole]
    size = _PATCH * factor
    tops = np.linspace(0, whole.bottom // factor - _PATCH, _PATCHES_PER_SIDE).astype(int) * factor
    lefts = np.linspace(0, whole.right // factor - _PATCH, _PATCHES_PER_SIDE).astype(int) * factor
    return [Box(top, left, top + size, left + size) for top in tops for left in lefts]


def _whole_box(shape: tuple[int, int], factor: int) -> Box:
    return Box(0, 0, shape[0] // factor * factor, shape[1] // factor * factor)


def _to_full(box: Box, factor: int) -> Matrix:
    """From pixels of a box reduced by `factor` to pixels of the image."""
    middle = (factor - 1) / 2
    return np.array([[factor, 0, box.left + middle], [0, factor, box.top + middle], [0, 0, 1.0]])


def _displacements(pair: _Pair, box: Box, matrix: Matrix, factor: int) -> tuple[Points, Points]:
    """Points (x, y) of the reference and how far what they show lies off in the moved frame."""
    fixed, moved, valid = _aligned(pair, box, matrix, factor)
    one, other = (_bytes(_normalised(image)) for image in (fixed, moved))
    inside = cv2.erode(valid, np.ones((_WINDOW, _WINDOW), np.uint8), borderValue=0)
    here, there = _followed(one, other, inside)
    back, forth = _followed(other, one, inside)  # detail that only the frame has
    points = np.concatenate([here, back])
    moves = np.concatenate([there - here, back - forth])
    offset = np.array([box.left, box.top]) + (factor - 1) / 2
    return points * factor + offset, moves * factor


def _aligned(
    pair: _Pair, box: Box, matrix: Matrix, factor: int, channels: bool = False
) -> tuple[Values, Values, npt.NDArray[np.uint8]]:
    """The reference in a box, the frame moved there, and 255 where the frame covers it."""
    source = _covering(box, matrix, pair.shape, factor)
    view = _Image.colour if channels else _Image.grey
    fixed, moving = view(pair.reference, box, factor), view(pair.frame, source, factor)
    local = np.linalg.inv(_to_full(source, factor)) @ matrix @ _to_full(box, factor)
    size = fixed.shape[1::-1]
    how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(moving, local[:2], size, flags=how, borderMode=cv2.BORDER_REPLICATE)
    covered = np.full(moving.shape[:2], 255, np.uint8)
    how = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return fixed, moved, cv2.warpAffine(covered, local[:2], size, flags=how)


def _covering(box: Box, matrix: Matrix, shape: tuple[int, int], factor: int) -> Box:
    """The part of the frame that `matrix` maps a box to, with room for the windows' context."""
    x, y = (matrix @ corner_pixels(box))[:2]
    margin, whole = 16 * factor, _whole_box(shape, factor)
    low = np.clip([y.min() - margin, x.min() - margin], 0, None) // factor
    top, left = np.minimum(low.astype(int) * factor, [whole.bottom - factor, whole.right - factor])
    high = -(-np.array([y.max() + margin, x.max() + margin]) // factor)
    bottom, right = np.minimum(high.astype(int) * factor, [whole.bottom, whole.right])
    return Box(top, left, max(bottom, top + factor), max(right, left + factor))


def _mean_channel(values: Values) -> Values:
    return cast(Values, cv2.cvtColor(values, cv2.COLOR_RGB2GRAY)) if values.ndim == 3 else values


def _bytes(normalised: Values) -> npt.NDArray[np.uint8]:
    values = np.clip(np.rint(normalised * 40) + 128, 0, 255)
    return cast(npt.NDArray[np.uint8], values.astype(np.uint8))


def _followed(
    one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8], inside: npt.NDArray[np.uint8]
) -> tuple[Points, Points]:
    """Points of detail in `one` and their places in `other`, where forth and back agree [1]_.

    References
    ----------
    .. [1] Z. Kalal, K. Mikolajczyk and J. Matas, "Forward-backward error: automatic detection of
       tracking failures", ICPR 2010, 2756-2759. :doi:`10.1109/ICPR.2010.675`
    """
    spacing = max(4.0, 0.6 * (one.size / 1500) ** 0.5)
    start = cv2.goodFeaturesToTrack(one, 1500, 0.005, spacing, mask=inside, blockSize=15)
    if start is None:
        return np.empty((0, 2)), np.empty((0, 2))
    how: dict[str, Any] = {
        "winSize": (_WINDOW, _WINDOW),
        "maxLevel": 1,
        "criteria": (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 0.003),
    }
    end, there, _ = cv2.calcOpticalFlowPyrLK(one, other, start, None, **how)
    again, back, _ = cv2.calcOpticalFlowPyrLK(other, one, end, None, **how)
    agree = np.linalg.norm(again - start, axis=2) < 0.5
    good = (agree & (there == 1) & (back == 1)).ravel()
    return start[good, 0].astype(np.float64), end[good, 0].astype(np.float64)


# --- fits


def _fit(points: Points, moves: Points, cells: int, shape: tuple[int, int], model: str) -> _Fit:
    """Robust fit; moves are linear in the parameters of every model."""
    from scipy.optimize import least_squares

    middle, scale = (np.array(shape[::-1]) - 1) / 2, max(shape) / 2
    design = _design((points - middle) / scale, model)
    observed = moves.ravel()
    parameters = np.median(moves, axis=0) @ _design(np.zeros((1, 2)), model)
    for _ in range(3):
        scatter = 1.4826 * float(np.median(np.abs(design @ parameters - observed)))
        parameters = least_squares(
            lambda p: design @ p - observed,
            parameters,
            jac=lambda _: design,
            loss="cauchy",
            f_scale=max(scatter, 0.01),
        ).x
    # Points closer than a window see the same pixels: only the windows count as observations.
    covariance = scatter**2 * np.linalg.pinv(design.T @ design) * len(points) / cells
    box = Box(0, 0, *shape)
    ends = _design((corner_pixels(box)[:2].T - middle) / scale, model)
    error = float(np.sqrt(np.einsum("ij,jk,ik->i", ends, covariance, ends).max() * 2))
    return _Fit(_matrix(parameters, model, middle, scale), model, error, scatter=scatter)


def _design(points: Matrix, model: str) -> Matrix:
    """Two rows per point, for x and y: how the parameters move it."""
    x, y = points.T
    one, none = np.ones_like(x), np.zeros_like(x)
    columns = {
        "translation": ([one, none], [none, one]),
        "similarity": ([one, none, x, -y], [none, one, y, x]),
        "affine": ([one, none, x, y, none, none], [none, one, none, none, x, y]),
    }[model]
    return np.stack([np.stack(row, axis=-1) for row in columns], axis=1).reshape(2 * len(x), -1)


def _matrix(parameters: Matrix, model: str, middle: Matrix, scale: float) -> tuple[float, ...]:
    """The 2 x 3 matrix that adds the fitted moves to a point."""
    probe = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    at = probe + (_design((probe - middle) / scale, model) @ parameters).reshape(3, 2)
    linear = np.stack([at[1] - at[0], at[2] - at[0]], axis=1)
    return tuple(np.hstack([linear, at[:1].T]).ravel().tolist())


def _projected(matrix: Matrix, model: Model, shape: tuple[int, int]) -> Matrix:
    """The transform of a model that is nearest over the image."""
    if model == "affine":
        return matrix
    box = Box(0, 0, *shape)
    points = corner_pixels(box)[:2].T
    moves = (matrix @ corner_pixels(box))[:2].T - points
    name = "translation" if model == "translation" else "similarity"
    middle, scale = (np.array(shape[::-1]) - 1) / 2, max(shape) / 2
    design = _design((points - middle) / scale, name)
    parameters = np.linalg.lstsq(design, moves.ravel(), rcond=None)[0]
    return _Fit(_matrix(parameters, name, middle, scale)).homogeneous


def _corner_distance(one: Matrix, other: Matrix, shape: tuple[int, int]) -> float:
    """How far apart two transforms put the corners, at most, in pixels."""
    apart = ((one - other) @ corner_pixels(Box(0, 0, *shape)))[:2]
    return float(np.hypot(*apart).max())


# --- decisions


def _follow(chain: _Fit, pair: _Pair, before: _Image, model: Model) -> _Fit:
    """Transform of the next frame: over its neighbour, or directly where that is more exact."""
    link = _Pair(before, pair.frame)
    step = _verified(link, _measure(link, model))
    if before is pair.reference:
        return step
    composed = _compose(chain, step)
    direct = _verified(pair, _measure(pair, model, composed))
    return direct if direct.error < composed.error else composed


def _compose(chain: _Fit, step: _Fit) -> _Fit:
    """The transform from the reference to a frame, over its neighbour."""
    names = ("translation", "similarity", "affine")
    matrix = step.homogeneous @ chain.homogeneous
    model = max(step.model, chain.model, key=names.index)
    error = float(np.hypot(chain.error, step.error))
    return _Fit(tuple(matrix[:2].ravel().tolist()), model, error, step.note)


def _verified(pair: _Pair, fit: _Fit) -> _Fit:
    """The fit, or 'stays where its neighbour is' with the reason."""
    reason = fit.note or _implausible(fit.homogeneous, pair.shape)
    if not reason and _is_noise(fit, pair.shape):
        return fit
    if not reason:
        aligned = _agreement(pair, fit.homogeneous)[0]
        as_is = _agreement(pair, np.eye(3), fit.homogeneous)[0]
        if aligned >= as_is:
            return fit
        reason = f"agreement would fall from {as_is:.3f} to {aligned:.3f}"
    return _Fit(error=float("inf"), note=f"not aligned: {reason}")


def _is_noise(fit: _Fit, shape: tuple[int, int]) -> bool:
    """Whether the measurement cannot tell the move from none."""
    error = fit.error if np.isfinite(fit.error) else 0.0
    distance = _corner_distance(fit.homogeneous, np.eye(3), shape)
    return distance < max(_SLIGHT, min(3 * error, 0.3))


def _decide(pair: _Pair, fit: _Fit, model: Model) -> tuple[Transform, Transform]:
    """The transform, and what it is if the whole stack may stay untouched."""
    matrix = fit.homogeneous
    distance = _corner_distance(matrix, np.eye(3), pair.shape)
    as_is, plain_gain = _agreement(pair, np.eye(3))
    error = fit.error if np.isfinite(fit.error) else 0.0
    stay = Transform(score=as_is, error=error, gain=plain_gain, note=fit.note)
    if distance == 0 or (model == "auto" and _is_noise(fit, pair.shape)):
        return stay, stay
    score, gain = _agreement(pair, matrix)
    move = Transform(fit.matrix, fit.model, score, error, gain, fit.note)
    if model != "auto" or distance >= 2:
        return move, move
    as_is = _agreement(pair, np.eye(3), matrix)[0]
    explained = (score - as_is) / max(1 - as_is, 1e-6)
    return move, stay if explained < _EXPLAINED else move


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


def _agreement(
    pair: _Pair, matrix: Matrix, area: Matrix | None = None
) -> tuple[float, tuple[float, ...]]:
    """Correlation of detail and gain per channel, where both `matrix` and `area` have pixels."""
    factor = 1
    while pair.shape[0] * pair.shape[1] > 4 * _COARSEST * factor * factor:
        factor *= 2
    box = _whole_box(pair.shape, factor)
    fixed, moved, valid = _aligned(pair, box, matrix, factor, channels=True)
    if area is not None:
        valid = valid & _aligned(pair, box, area, factor)[2]
    both = valid > 0
    if not both.any():
        return 0.0, (1.0,) * (fixed.shape[2] if fixed.ndim == 3 else 1)
    one = _normalised(_mean_channel(fixed))[both]
    other = _normalised(_mean_channel(moved))[both]
    one, other = one - one.mean(), other - other.mean()
    energy = float(np.sqrt((one @ one) * (other @ other)))
    light = np.atleast_1d(fixed[both].mean(axis=0)), np.atleast_1d(moved[both].mean(axis=0))
    gain = light[0] / np.maximum(light[1], 1e-3)
    return float(one @ other) / energy if energy > 0 else 0.0, tuple(gain.tolist())
