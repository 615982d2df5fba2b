"""An independent reference of the methods, to compare the program with.

Plain float64 numpy, all frames at once, written from the definitions in prose and from
nothing in the package.
Pyramids are those of Burt and Adelson with the borders OpenCV gives them.

Every function takes and returns arrays of shape (H, W) or (H, W, C); frames become
(H, W, C) first.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[np.float64]
Frame = npt.NDArray[np.generic]

DATA_RANGES = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
OUTPUT_NAMES = {
    "by_channel": "focus_stacked_by_channel",
    "all_channels": "focus_stacked_all_channels",
    "laplacian": "focus_stacked_laplacian",
    "median_mask": "focus_stacked_new_method",
    "direct": "focus_stacked_direct",
    "guided": "focus_stacked_guided",
    "bayesian": "focus_stacked_bayesian",
}
MEDIAN_SIZES_OF_FIVE_LEVELS = (35, 19, 9, 5, 3)


def reference_fuse(
    frames: list[Frame],
    method: str,
    *,
    levels: int = 5,
    beta: float = 0.1,
    kernel: int = 3,
    median_sizes: tuple[int, ...] | None = None,
    data_range: float | None = None,
) -> dict[str, Frame]:
    """Fuse frames, back to front, and return the method's outputs by name.

    Outputs have the shape and the data type of the frames, `blending_mask` is uint8
    of shape (H, W).
    """
    dtype = frames[0].dtype
    unit = (data_range or DATA_RANGES[dtype.name]) / 255
    stack = [np.atleast_3d(frame).astype(np.float64) / unit for frame in frames]
    masks = {}
    if method == "guided":
        fused = guided(stack, levels)
    elif method == "bayesian":
        fused = bayesian(stack, levels)
    elif method == "direct":
        fused = blend(stack, soft_weights(strength(stack, second_differences, kernel), beta))
    else:
        pyramids = [laplacian_pyramid(frame, levels) for frame in stack]
        bands = [list(level) for level in zip(*pyramids, strict=True)]
        if method == "median_mask":
            sizes = median_sizes or default_median_sizes(levels)
            maps = [
                median(decision(strength(band, second_differences, kernel)), size)
                for band, size in zip(bands, sizes, strict=True)
            ]
            weights = [one_hot(index, len(frames)) for index in maps]
            masks["blending_mask"] = depth_mask(maps[0], len(frames))
        else:
            weights = [level_weights(band, method, beta, kernel) for band in bands]
        fused = collapse([blend(*pair) for pair in zip(bands, weights, strict=True)])
    image = (fused * unit).reshape(frames[0].shape)
    return {OUTPUT_NAMES[method]: to_dtype(image, dtype), **masks}


def level_weights(band: list[Array], method: str, beta: float, kernel: int) -> list[Array]:
    """Weights of every frame at one level, shape (H, W, C) or (H, W, 1)."""
    if method == "by_channel":
        return soft_weights([box_sum(second_differences(x), kernel) for x in band], beta)
    if method == "all_channels":
        return soft_weights(strength(band, second_differences, kernel), beta)
    if method == "laplacian":
        weights = soft_weights(strength(band, four_neighbours, kernel), beta)
        return [gaussian(w, sigma=3, radius=12) for w in weights]
    raise ValueError(f"unknown method {method}")


def default_median_sizes(levels: int) -> tuple[int, ...]:
    """Sides of the median filter, finest level first."""
    if levels == 5:
        return MEDIAN_SIZES_OF_FIVE_LEVELS
    sizes = [3, 5]
    while len(sizes) < levels:
        sizes.append(2 * sizes[-1] + 1)
    return tuple(reversed(sizes[:levels]))


# --- activity, weights, decisions


def second_differences(x: Array, step: int = 1) -> Array:
    """|[-1 2 -1] * x| + |[-1 2 -1]^T * x| of pixels `step` apart."""
    gap = [0] * (step - 1)
    taps = [-1, *gap, 2, *gap, -1]
    return np.abs(convolve(x, taps, 0)) + np.abs(convolve(x, taps, 1))


def four_neighbours(x: Array) -> Array:
    """|4-neighbour Laplacian of x|."""
    return np.abs(convolve(x, [-1, 2, -1], 0) + convolve(x, [-1, 2, -1], 1))


def strength(band: list[Array], activity, kernel: int) -> list[Array]:
    """S of every frame: activity summed over channels, then over a box; (H, W, 1)."""
    return [box_sum(activity(x).sum(axis=2, keepdims=True), kernel) for x in band]


def soft_weights(s: list[Array], beta: float) -> list[Array]:
    """w_i proportional to exp(beta * max(S_i - max_j S_j, -50))."""
    best = np.max(s, axis=0)
    raw = [np.exp(beta * np.maximum(x - best, -50)) for x in s]
    return [w / np.sum(raw, axis=0) for w in raw]


def decision(s: list[Array]) -> npt.NDArray[np.int64]:
    """Index of the frame with the largest S, ties to the back; (H, W, 1)."""
    return np.argmax(s, axis=0)


def one_hot(index: npt.NDArray[np.int64], count: int) -> list[Array]:
    """Hard weights of every frame."""
    return [(index == i).astype(np.float64) for i in range(count)]


def depth_mask(index: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.uint8]:
    """255 where the back frame wins down to 0 where the front frame does; (H, W)."""
    scaled = 255 * (count - 1 - index[:, :, 0]) / (count - 1)
    return np.rint(scaled).astype(np.uint8)


def blend(band: list[Array], weights: list[Array]) -> Array:
    """Sum of the frames times their weights."""
    return sum(w * x for w, x in zip(weights, band, strict=True))


def to_dtype(image: Array, dtype: np.dtype) -> Frame:
    """Round, clip to what the data type holds and cast; floats are only cast."""
    if dtype.kind == "f":
        return image.astype(dtype)
    return np.clip(np.rint(image), 0, np.iinfo(dtype).max).astype(dtype)


# --- the decision map and what is built on it


def decision_map(stack: list[Array]) -> tuple[npt.NDArray[np.int64], Array]:
    """Index of the sharpest frame and trust in it; (H, W, 1).

    Regions with fewer than 20 sure pixels take the frame of the nearest that stays; trust is 1
    within 3 pixels of one that stays and falls to 0 at 12 pixels, in steps of 1 / 128; there it is
    more the clearer a pixel is sure, up to 2.
    """
    focus = np.stack([gaussian(mean(second_differences(x)), sigma=1, radius=4) for x in stack])
    index = decision(list(focus))
    best = focus.max(axis=0)
    others = (focus.sum(axis=0) - best) / (len(stack) - 1)
    clear = np.where(best - others > 2, np.rint(255 * (best - others) / (best + 0.1)), 0)
    sure = clear >= 84
    kept = np.zeros_like(sure)
    for i in range(len(stack)):
        regions, count = ndimage.label(index[..., 0] == i)
        for region in range(1, count + 1):
            mine = regions == region
            kept[mine] = sure[mine].sum() >= 20
    if not kept.any():
        return np.full_like(index, np.bincount(index.ravel()).argmax()), np.zeros(index.shape)
    distance, nearest = ndimage.distance_transform_edt(~kept[..., 0], return_indices=True)
    trust = np.rint(128 * np.clip((12 - distance) / 9, 0, 1))[..., np.newaxis] / 128
    settled = index[tuple(nearest)]
    clear[(settled != index) | (trust < 1)] = 0
    return settled, trust + 3 * np.clip(clear - 84, 0, 42) / 128


def map_shares(hits: list[Array], trust: Array, levels: int) -> list[list[Array]]:
    """Of every frame: what the map gives to it, by level, finest first.

    Where the map is not trusted all have equal shares; they are smoothed by 1 6 1 both ways.
    """
    equal = 1 / len(hits)
    taps = np.array([1, 6, 1]) / 8
    shares = [equal + np.minimum(trust, 1) * (hit - equal) for hit in hits]
    smooth = [convolve(convolve(share, taps, 0), taps, 1) for share in shares]
    return [gaussian_levels(share, levels) for share in smooth]


def band_strength(x: Array) -> Array:
    """How much there is in a band; (H, W, 1)."""
    return 3 * gaussian(mean(second_differences(x) + 3 * np.abs(x)), 1, 4) + 5


def normalised(weights: list[Array]) -> list[Array]:
    """Weights that add up to one."""
    total = np.sum(weights, axis=0)
    return [w / total for w in weights]


def bases(stack: list[Array], hits: list[Array], trust: Array, levels: int) -> list[Array]:
    """The coarsest of levels of every frame, and last their blend; all expanded to (H, W, C).

    Shares of the blend are how many trusted pixels of each frame there are in blocks of two levels
    finer, reduced to the coarsest level, times the eighth power of the strength of the frame's
    edges around and 128, and 0.02 pixels more of all frames alike.
    """
    coarse = [gaussian_levels(x, levels) for x in stack]
    shapes = [image.shape for image in coarse[0]]
    counted = max(levels - 3, 0)
    evidence = [blocks(hit * np.minimum(trust, 1), counted, shapes[counted]) for hit in hits]
    support = [gaussian_levels(counts, levels - counted)[-1] for counts in evidence]
    edges = [128 + mean(second_differences(image[max(levels - 2, 1)])) for image in coarse]
    if levels > 2:
        edges = [reduce(strength) for strength in edges]
    most = np.max(edges, axis=0)
    support = [mine * (edge / most) ** 8 for mine, edge in zip(support, edges, strict=True)]
    total = np.sum(support, axis=0) + 0.02
    lowest = [levels_of[-1] for levels_of in coarse]
    shares = [(mine + 0.02 / len(stack)) / total for mine in support]
    lowest.append(blend(lowest, shares))
    for shape in reversed(shapes[:-1]):
        lowest = [expand(image, shape) for image in lowest]
    return lowest


def blocks(image: Array, level: int, shape: tuple[int, ...]) -> Array:
    """Sums over the pixels nearest to each pixel of a coarser level."""
    total = np.zeros((*shape[:2], image.shape[2]))
    half = (1 << level) >> 1
    rows, columns = (
        np.minimum((np.arange(n) + half) >> level, end - 1)
        for n, end in zip(image.shape[:2], shape[:2], strict=True)
    )
    np.add.at(total, (rows[:, np.newaxis], columns[np.newaxis]), image)
    return total


def within(image: Array, stack: list[Array]) -> Array:
    """Clamped to the range that the frames span at each pixel."""
    return np.clip(image, np.min(stack, axis=0), np.max(stack, axis=0))


def luma(x: Array) -> Array:
    """Brightness of RGB, or the grey value; (H, W, 1)."""
    return x if x.shape[2] == 1 else x @ np.array([[0.299], [0.587], [0.114]])


def guided(stack: list[Array], levels: int) -> Array:
    """The decision map under a guided filter of radius 1 and epsilon 0.01.

    These are the weights of the finest band; those of coarser ones are the map's shares and 0.01
    more, times the fourth power of strength, and of the coarsest one the map's shares alone.
    Where the map is not trusted all frames count alike; bases are blended apart.
    Details are drawn to those that the weights of the finest band alone would make.
    """
    levels = max(levels, 1)
    index, trust = decision_map(stack)
    hits = one_hot(index, len(stack))
    guide = luma(blend(stack, hits)) / 255
    mean = box_sum(guide, 3) / 9
    variance = box_sum(guide * guide, 3) / 9 - mean**2
    weights = []
    for hit in hits:
        hit_mean = box_sum(hit, 3) / 9
        slope = (box_sum(guide * hit, 3) / 9 - mean * hit_mean) / (variance + 0.01)
        offset = hit_mean - slope * mean
        filtered = box_sum(slope, 3) / 9 * guide + box_sum(offset, 3) / 9
        weights.append(np.maximum(filtered, 0))
    weights = faded(normalised(weights), trust)
    shares = map_shares(hits, trust, levels)
    bands = list(zip(*[laplacian_pyramid(x, levels + 1) for x in stack], strict=True))
    fused = [blend(bands[0], weights)]
    for at in range(1, levels):
        mine = [share[at] for share in shares]
        if at < levels - 1:
            strengths = [band_strength(x) / 100 for x in bands[at]]
            mine = normalised([(m + 0.01) * e**4 for m, e in zip(mine, strengths, strict=True)])
        fused.append(blend(bands[at], mine))
    detail = collapse([*fused, np.zeros_like(bands[-1][0])])
    *own, base = bases(stack, hits, trust, levels + 1)
    alone = blend([x - mine for x, mine in zip(stack, own, strict=True)], weights)
    return within(base + drawn(detail, alone, trust), stack)


def faded(weights: list[Array], trust: Array) -> list[Array]:
    """Equal weights of all frames where the map is not trusted."""
    equal = 1 / len(weights)
    return [equal + np.minimum(trust, 1) * (w - equal) for w in weights]


def drawn(detail: Array, alone: Array, trust: Array) -> Array:
    """What pixels alone would make from within 6 times the trust, further away less.

    They are drawn by the square of that / distance.
    """
    away = detail - alone
    distance = np.maximum(np.abs(away), 1e-9)
    return alone + away * np.maximum(1 - (6 * trust / distance) ** 2, 0)


def bayesian(stack: list[Array], levels: int) -> Array:
    """Pyramid blend weighted by the eighth power of strength, on a blended base.

    Bands above the finest are also weighed by the map's shares and 0.3 more, the coarsest by the
    shares alone; details are drawn to what these would make of pixels alone.
    """
    levels = max(levels, 1)
    index, trust = decision_map(stack)
    hits = one_hot(index, len(stack))
    pyramids = [laplacian_pyramid(frame, levels + 1) for frame in stack]
    shares = map_shares(hits, trust, levels)
    fused = []
    for level in range(levels):
        band = [pyramid[level] for pyramid in pyramids]
        mine = [share[level] for share in shares]
        weights = [(band_strength(x) / 100) ** 8 for x in band]
        if level == 0:
            weights = faded(normalised(weights), trust)
        elif level < levels - 1:
            weights = normalised([(m + 0.3) * w for m, w in zip(mine, weights, strict=True)])
        else:
            weights = mine
        fused.append(blend(band, weights))
    detail = collapse([*fused, np.zeros_like(pyramids[0][-1])])
    *own, base = bases(stack, hits, trust, levels + 1)
    finest = [share[0] for share in shares]
    named = blend([x - mine for x, mine in zip(stack, own, strict=True)], finest)
    return within(base + drawn(detail, named, trust), stack)


def mean(x: Array) -> Array:
    """Mean of the channels; (H, W, 1)."""
    return x.mean(axis=2, keepdims=True)


def gaussian_levels(image: Array, levels: int) -> list[Array]:
    """The image and its reductions."""
    result = [image]
    for _ in range(levels - 1):
        result.append(reduce(result[-1]))
    return result


# --- pyramids


def laplacian_pyramid(image: Array, levels: int) -> list[Array]:
    """`levels - 1` bands from the finest on, and the residual."""
    bands = []
    for _ in range(levels - 1):
        smaller = reduce(image)
        bands.append(image - expand(smaller, image.shape))
        image = smaller
    return [*bands, image]


def collapse(pyramid: list[Array]) -> Array:
    """The image a Laplacian pyramid stands for."""
    *bands, image = pyramid
    for band in reversed(bands):
        image = band + expand(image, band.shape)
    return image


def reduce(image: Array) -> Array:
    """Half the size, sides rounded up: `cv2.pyrDown`."""
    for axis in (0, 1):
        smooth = convolve(image, np.array([1, 4, 6, 4, 1]) / 16, axis)
        image = np.take(smooth, np.arange(0, smooth.shape[axis], 2), axis)
    return image


def expand(image: Array, shape: tuple[int, ...]) -> Array:
    """Twice the size, cut to `shape`: `cv2.pyrUp` with a destination size."""
    for axis in (0, 1):
        image = expand_axis(image, axis, shape[axis])
    return image


def expand_axis(x: Array, axis: int, size: int) -> Array:
    """Interpolate along one axis.

    OpenCV mirrors the twice as large grid before the first sample but not after the
    last, which it repeats: the grid ends with an odd place that holds no sample.
    """
    n = x.shape[axis]
    last = n - 1
    before = np.take(x, np.r_[min(1, last), 0:last], axis)
    after = np.take(x, np.r_[1:n, last], axis)
    pairs = np.stack([(before + 6 * x + after) / 8, (x + after) / 2], axis=axis + 1)
    merged = pairs.reshape(*x.shape[:axis], 2 * n, *x.shape[axis + 1 :])
    return np.take(merged, np.arange(size), axis)


# --- filters with reflect-101 borders


def reflect_101(n: int, margin: int) -> npt.NDArray[np.intp]:
    """Indices -margin to n + margin - 1 folded into 0 to n - 1, as often as needed."""
    if n == 1:
        return np.zeros(1 + 2 * margin, dtype=np.intp)
    folded = np.arange(-margin, n + margin) % (2 * n - 2)
    return np.minimum(folded, 2 * n - 2 - folded)


def convolve(x: Array, taps, axis: int) -> Array:
    """Filter along one axis with symmetric taps."""
    n = x.shape[axis]
    indices = reflect_101(n, len(taps) // 2)
    return sum(tap * np.take(x, indices[i : i + n], axis) for i, tap in enumerate(taps))


def box_sum(x: Array, side: int) -> Array:
    """Sum over a square."""
    return convolve(convolve(x, np.ones(side), 0), np.ones(side), 1)


def gaussian(x: Array, sigma: float, radius: int) -> Array:
    """Smooth with a truncated Gaussian whose taps sum to one."""
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps /= taps.sum()
    return convolve(convolve(x, taps, 0), taps, 1)


def median(index: npt.NDArray[np.int64], side: int) -> npt.NDArray[np.int64]:
    """Median over a square: the number of values k >= 1 that most of the square reaches."""
    reached = np.zeros_like(index)
    for k in range(1, int(index.max()) + 1):
        votes = box_sum((index >= k).astype(np.float64), side)
        reached += votes > side * side / 2
    return reached
