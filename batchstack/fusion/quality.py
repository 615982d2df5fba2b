"""Quality measures of a fused image, with and without a known truth.

The measures see grey float64 images on 0..255, the unit of 8-bit code values; `grey` makes them.
All of them are 'higher is better'.
Those without a truth compare the fused image with the frames it was made from and can be fooled,
because they reward keeping what is in a frame, noise included: read PSNR beside them where a
truth exists.

For stacks of more than two frames each measure is extended so that two frames give exactly the
published definition; the docstrings say how.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from batchstack.errors import StackError

Grey = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]

# Luma of Rec. 601 as MATLAB's rgb2gray rounds it: the published scores were computed with it.
_RED, _GREEN, _BLUE = 0.298936021293775, 0.587043074451121, 0.114020904255103
_FULL_SCALE = {"uint8": 255.0, "uint16": 65535.0}
_CODES = 256
_SSIM_SIGMA = 1.5


def score(
    frames: Sequence[Pixels],
    fused: Pixels,
    truth: Pixels | None = None,
    data_range: float | None = None,
) -> dict[str, float]:
    """All measures of one fused image.

    Parameters
    ----------
    frames : sequence of (H, W) or (H, W, 3) arrays
        The frames the image was fused from, aligned and of its size.
    fused : (H, W) or (H, W, 3) array
        The fused image.
    truth : (H, W) or (H, W, 3) array, optional
        The image in focus everywhere; adds the keys "PSNR" (dB) and "SSIM".
    data_range : float, optional
        The stored value that means 1.0; by default 255, 65535 or 1.0 by data type.

    Returns
    -------
    dict of str to float
        "Qabf" (0..1), "NMI" (0..2), "QY" (about 0..1), "QCB" (0..1) and, with a truth, "PSNR"
        (infinite for equal images) and "SSIM" (-1..1).

    Raises
    ------
    StackError
        If there is no frame or the sizes differ.
    """
    images = [*frames, fused] if truth is None else [*frames, fused, truth]
    sizes = {image.shape[:2] for image in images}
    if not frames or len(sizes) > 1:
        raise StackError(
            f"cannot score {len(frames)} frames of the sizes {sorted(sizes)}; "
            "give at least one frame and images of one size"
        )
    sources = [grey(frame, data_range) for frame in frames]
    result = grey(fused, data_range)
    scores = {
        "Qabf": qabf(sources, result),
        "NMI": nmi(sources, result),
        "QY": qy(sources, result),
        "QCB": qcb(sources, result),
    }
    if truth is not None:
        reference = grey(truth, data_range)
        scores |= {"PSNR": psnr(reference, result), "SSIM": ssim(reference, result)}
    return scores


def grey(image: Pixels, data_range: float | None = None) -> Grey:
    """Grey image in units of 8-bit code values.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) array
        Grey or RGB pixels, uint8, uint16 or float32.
    data_range : float, optional
        The stored value that means 1.0; by default 255, 65535 or 1.0 by data type.

    Returns
    -------
    (H, W) float64 array
        Values on 0..255, whole numbers for uint8 images: the published scores round there.
    """
    full = data_range or _FULL_SCALE.get(image.dtype.name, 1.0)
    values = image.astype(np.float64)
    if values.ndim == 3:
        values = _BLUE * values[..., 2] + _GREEN * values[..., 1] + _RED * values[..., 0]
    if image.dtype == np.uint8:
        values = _round(values)
    return values if full == 255 else values * (255.0 / full)


# --- edges


def qabf(frames: Sequence[Grey], fused: Grey) -> float:
    """How well the edges of the frames survive, after Xydeas and Petrovic [1]_.

    Strength and direction of Sobel edges in the fused image are compared with those of every
    frame; each comparison counts by the strength of the frame's edge.
    For N frames the two strongest edges of each pixel count, as if the frames were two.
    (Sums over all frames would prefer the mean of a deep stack to the sharp image, because each
    part is blurred in most of its frames.)

    Parameters
    ----------
    frames : sequence of (H, W) float64 arrays
        Grey frames on 0..255.
    fused : (H, W) float64 array
        Grey fused image on 0..255.

    Returns
    -------
    float
        From 0 to 0.975, reached when the fused image has the edges of all frames.

    References
    ----------
    .. [1] C. S. Xydeas and V. Petrovic, "Objective image fusion performance measure",
       Electronics Letters 36(4), 308-309, 2000. :doi:`10.1049/el:20000267`
    """
    target = _edges(fused)
    first = second = np.zeros((2, *fused.shape))
    for frame in frames:
        source = _edges(frame)
        edge = np.stack([source[0], _edge_preservation(source, target)])
        leads, follows = _is_stronger(edge, first), _is_stronger(edge, second)
        second = np.where(leads, first, np.where(follows, edge, second))
        first = np.where(leads, edge, first)
    kept = first.prod(axis=0).sum() + second.prod(axis=0).sum()
    return float(kept / (first[0].sum() + second[0].sum()))


def _is_stronger(edge: Grey, other: Grey) -> npt.NDArray[np.bool_]:
    """Compare (strength, preservation): with ties decided, the order of frames has no influence."""
    return np.asarray((edge[0] > other[0]) | ((edge[0] == other[0]) & (edge[1] > other[1])))


def _edges(image: Grey) -> tuple[Grey, Grey]:
    """Strength (never 0) and direction in radians (-pi/2..pi/2) of the Sobel gradient."""
    smooth, slope = np.array([1.0, 2.0, 1.0]), np.array([-1.0, 0.0, 1.0])
    across = cv2.sepFilter2D(image, cv2.CV_64F, slope, smooth, borderType=cv2.BORDER_CONSTANT)
    down = cv2.sepFilter2D(image, cv2.CV_64F, smooth, slope, borderType=cv2.BORDER_CONSTANT)
    strength = np.hypot(across, down)
    direction = np.arctan(down / np.where(across == 0, 1e-5, across))
    return np.where(strength == 0, 1e-5, strength), direction


def _edge_preservation(source: tuple[Grey, Grey], target: tuple[Grey, Grey]) -> Grey:
    """Per pixel product of kept strength and kept direction, each through its sigmoid."""
    strength = np.minimum(source[0], target[0]) / np.maximum(source[0], target[0])
    direction = 1 - np.abs(source[1] - target[1]) * (2 / np.pi)
    kept_strength = 0.9994 / (1 + np.exp(-15 * (strength - 0.5)))
    kept_direction = 0.9879 / (1 + np.exp(-22 * (direction - 0.8)))
    return np.asarray(kept_strength * kept_direction)


# --- information


def nmi(frames: Sequence[Grey], fused: Grey) -> float:
    """Mutual information with the frames, normalised by the entropies as in Hossny et al. [1]_.

    For two frames A, B and the fused F: 2 (I(A,F) / (H(A) + H(F)) + I(B,F) / (H(B) + H(F))),
    from histograms of 256 bins over the range of each image.
    For N frames twice the mean of the N symmetric uncertainties 2 I / (H + H).

    Parameters
    ----------
    frames : sequence of (H, W) float64 arrays
        Grey frames on 0..255.
    fused : (H, W) float64 array
        Grey fused image on 0..255.

    Returns
    -------
    float
        From 0 to 2, reached when the fused image determines every frame and the reverse.
        Two images without entropy count as the same.

    References
    ----------
    .. [1] M. Hossny, S. Nahavandi and D. Creighton, "Comments on 'Information measure for
       performance of image fusion'", Electronics Letters 44(18), 1066-1067, 2008.
       :doi:`10.1049/el:20081754`
    """
    target = _codes(fused)
    return 2 * float(np.mean([_symmetric_uncertainty(_codes(frame), target) for frame in frames]))


def _symmetric_uncertainty(left: Grey, right: Grey) -> float:
    pairs = (left * _CODES + right).astype(np.int64).ravel()
    joint = np.bincount(pairs, minlength=_CODES**2).reshape(_CODES, _CODES) / pairs.size
    alone = _entropy(joint.sum(axis=1)) + _entropy(joint.sum(axis=0))
    return 2 * (alone - _entropy(joint)) / alone if alone > 0 else 1.0


def _entropy(probability: Grey) -> float:
    """Entropy in bits."""
    positive = probability[probability > 0]
    return -float((positive * np.log2(positive)).sum())


def _codes(image: Grey) -> Grey:
    """The image stretched to whole numbers on 0..255; zeros if it is flat."""
    low, high = image.min(), image.max()
    if high == low:
        return np.zeros_like(image)
    return _round((image - low) / (high - low) * (_CODES - 1))


def _round(values: Grey) -> Grey:
    """Halves go up, as MATLAB rounds what is not negative; NumPy would go to even numbers."""
    return np.floor(values + 0.5)


# --- structure


def qy(frames: Sequence[Grey], fused: Grey) -> float:
    """Structural similarity with the frames after Yang et al. [1]_.

    In windows of 7 x 7 px (Gaussian of sigma 1.5 px) where the frames resemble each other
    (SSIM of 0.75 or more) the similarities with the frames are averaged by the frames' variances;
    elsewhere the best similarity counts.
    For N frames 'resemble' means that every frame does so with the next one, and the last with the
    first: the ends of a stack differ most, and N comparisons suffice instead of N squared.

    Parameters
    ----------
    frames : sequence of (H, W) float64 arrays
        Grey frames on 0..255, 7 px a side or more.
    fused : (H, W) float64 array
        Grey fused image on 0..255.

    Returns
    -------
    float
        At most 1, reached when every window equals that of the best frame; above 0 in practice.

    References
    ----------
    .. [1] C. Yang, J.-Q. Zhang, X.-R. Wang and X. Liu, "A novel similarity based quality metric
       for image fusion", Information Fusion 9(2), 156-160, 2008.
       :doi:`10.1016/j.inffus.2006.09.001`
    """
    moments = [_local_moments(frame) for frame in frames]
    target = _local_moments(fused)
    followers = moments[1:] + moments[:1] if len(moments) > 2 else moments[1:]
    alike = np.ones_like(target[1])
    for one, other in zip(moments, followers, strict=False):
        alike = np.minimum(alike, _similarity(one, other))
    similarities = np.stack([_similarity(one, target) for one in moments])
    variances = np.stack([variance for _, variance, _ in moments])
    flat = variances.sum(axis=0) == 0
    weights = np.where(flat, 1.0, variances)
    mean = (weights * similarities).sum(axis=0) / weights.sum(axis=0)
    return float(np.where(alike >= 0.75, mean, similarities.max(axis=0)).mean())


_Moments = tuple[Grey, Grey, Grey]


def _local_moments(image: Grey) -> _Moments:
    """Local mean, local variance (exactly 0 where flat) and the image about mid-grey."""
    # About mid-grey the variance of flat saturated areas does not drown in rounding.
    centred = image - 128.0
    mean = _window_mean(centred)
    variance = _window_mean(centred * centred) - mean * mean
    return mean + 128.0, np.where(variance < 1e-9, 0.0, variance), centred


def _similarity(left: _Moments, right: _Moments) -> Grey:
    """Map of SSIM with constants that only keep 0 / 0 away, as QY defines it."""
    tiny = 2e-16
    mean_left, variance_left, centred_left = left
    mean_right, variance_right, centred_right = right
    product = _window_mean(centred_left * centred_right)
    covariance = product - (mean_left - 128.0) * (mean_right - 128.0)
    covariance = np.where((variance_left == 0) | (variance_right == 0), 0.0, covariance)
    light = (2 * mean_left * mean_right + tiny) / (mean_left**2 + mean_right**2 + tiny)
    return np.asarray(light * (2 * covariance + tiny) / (variance_left + variance_right + tiny))


def _window_mean(image: Grey) -> Grey:
    """Gaussian mean over 7 x 7 px, at the pixels whose window lies inside the image."""
    window = _bell(3, _SSIM_SIGMA)
    window /= window.sum()
    mean = cv2.sepFilter2D(image, cv2.CV_64F, window, window)
    return np.asarray(mean[3:-3, 3:-3])


def ssim(truth: Grey, image: Grey) -> float:
    """Mean structural similarity of Wang et al. [1]_ with the authors' settings.

    Parameters
    ----------
    truth, image : (H, W) float64 arrays
        Grey images on 0..255, 11 px a side or more.

    Returns
    -------
    float
        From -1 to 1 for equal images.

    References
    ----------
    .. [1] Z. Wang, A. C. Bovik, H. R. Sheikh and E. P. Simoncelli, "Image quality assessment: from
       error visibility to structural similarity", IEEE Transactions on Image Processing 13(4),
       600-612, 2004. :doi:`10.1109/TIP.2003.819861`
    """
    from skimage.metrics import structural_similarity

    return float(
        structural_similarity(
            truth,
            image,
            data_range=255.0,
            gaussian_weights=True,
            sigma=_SSIM_SIGMA,
            use_sample_covariance=False,
        )
    )


def psnr(truth: Grey, image: Grey) -> float:
    """Peak signal-to-noise ratio in dB, for a peak of 255; infinite for equal images.

    Parameters
    ----------
    truth, image : (H, W) float64 arrays
        Grey images on 0..255.
    """
    from skimage.metrics import peak_signal_noise_ratio

    if np.array_equal(truth, image):  # the library divides by 0 here
        return float("inf")
    return float(peak_signal_noise_ratio(truth, image, data_range=255.0))


# --- perception


def qcb(frames: Sequence[Grey], fused: Grey) -> float:
    """How well the contrast that people perceive survives, after Chen and Blum [1]_.

    Images are filtered by the contrast sensitivity of the eye (difference of Gaussians), local
    contrast is masked, and the preserved share of each frame's contrast counts by the square of
    that contrast.
    For N frames the weights run over all of them: c_i^2 / sum_j c_j^2.

    Parameters
    ----------
    frames : sequence of (H, W) float64 arrays
        Grey frames on 0..255.
    fused : (H, W) float64 array
        Grey fused image on 0..255.

    Returns
    -------
    float
        From 0 to 1, reached when the fused image has the contrast of every frame.
        Pixels without any contrast do not count; if no frame has contrast anywhere, the result is
        1 for a flat fused image and 0 for one that is not.

    References
    ----------
    .. [1] Y. Chen and R. S. Blum, "A new automated quality assessment algorithm for image fusion",
       Image and Vision Computing 27(10), 1421-1432, 2009. :doi:`10.1016/j.imavis.2007.12.002`
    """
    target = _masked_contrast(fused)
    kept, total = np.zeros_like(target), np.zeros_like(target)
    defined = np.ones(target.shape, dtype=bool)
    for frame in frames:
        contrast = _masked_contrast(frame)
        strongest = np.maximum(contrast, target)
        defined &= strongest > 0
        share = np.minimum(contrast, target) / np.where(strongest > 0, strongest, 1.0)
        kept += contrast**2 * share
        total += contrast**2
    defined &= total > 0
    if not defined.any():
        return 0.0 if target.any() else 1.0
    return float((kept[defined] / total[defined]).mean())


def _masked_contrast(image: Grey) -> Grey:
    """Local contrast as the eye sees it: c^3 / (c^2 + 0.0001) of Peli's contrast c."""
    spectrum = np.fft.rfft2(_codes(image)) * _contrast_sensitivity(image.shape)
    seen = np.fft.irfft2(spectrum, s=image.shape)
    fine, coarse = _blur(seen, 2.0), _blur(seen, 4.0)
    ratio = np.divide(fine, coarse, out=np.ones_like(fine), where=coarse != 0)
    contrast = np.abs(ratio - 1)
    return np.asarray(contrast**3 / (contrast**2 + 1e-4))


def _contrast_sensitivity(shape: tuple[int, ...]) -> Grey:
    """Transfer of the eye on the half plane of rfft2, the image taken to span 15 degrees."""
    height, width = shape
    down = np.fft.fftfreq(height)[:, None] * (2 * height / 30.0)
    across = np.fft.rfftfreq(width)[None, :] * (2 * width / 30.0)
    squared = down**2 + across**2
    return np.asarray(np.exp(-squared / 15.3870**2) - 0.7622 * np.exp(-squared / 1.3456**2))


def _blur(image: Grey, sigma: float) -> Grey:
    # As published: cut off at 15 px, not normalised after that, zeros beyond the image.
    kernel = _bell(15, sigma) / (np.sqrt(2 * np.pi) * sigma)
    return np.asarray(
        cv2.sepFilter2D(image, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
    )


def _bell(radius: int, sigma: float) -> Grey:
    offsets = np.arange(-radius, radius + 1)
    return np.asarray(np.exp(-(offsets**2) / (2 * sigma * sigma)))
