"""PSNR and SSIM: how close is an image to the known truth?"""

import numpy as np

from batchstack.quality.luma import PEAK, Grey

_SIGMA = 1.5  # pixels


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
            data_range=PEAK,
            gaussian_weights=True,
            sigma=_SIGMA,
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
    return decibels(squared_error(truth, image))


def squared_error(truth: Grey, image: Grey) -> float:
    """Mean squared difference."""
    return float(np.mean((truth - image) ** 2))


def decibels(error: float) -> float:
    """PSNR of a mean squared error."""
    return float(10 * np.log10(PEAK**2 / error)) if error > 0 else float("inf")
