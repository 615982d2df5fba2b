"""NMI: how much does the fused image tell of the frames?"""

from collections.abc import Iterable

import numpy as np

from batchstack.quality.luma import CODES, Grey, stretched
from batchstack.quality.measure import over


def nmi(frames: Iterable[Grey], fused: Grey) -> float:
    """Mutual information with the frames, normalised by the entropies as in Hossny et al. [1]_.

    For two frames A, B and the fused F: 2 (I(A,F) / (H(A) + H(F)) + I(B,F) / (H(B) + H(F))),
    from histograms of 256 bins over the range of each image.
    For N frames twice the mean of the N symmetric uncertainties 2 I / (H + H).

    Parameters
    ----------
    frames : iterable of (H, W) float64 arrays
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
    return over(frames, Information(fused))


class Information:
    """The symmetric uncertainties of the frames so far."""

    def __init__(self, fused: Grey) -> None:
        self._target = stretched(fused)
        self._shared: list[float] = []

    def add(self, frame: Grey) -> None:
        self._shared.append(_symmetric_uncertainty(stretched(frame), self._target))

    def result(self) -> float:
        return 2 * float(np.mean(self._shared))


def _symmetric_uncertainty(left: Grey, right: Grey) -> float:
    pairs = (left * CODES + right).astype(np.int64).ravel()
    joint = np.bincount(pairs, minlength=CODES**2).reshape(CODES, CODES) / pairs.size
    alone = _entropy(joint.sum(axis=1)) + _entropy(joint.sum(axis=0))
    return 2 * (alone - _entropy(joint)) / alone if alone > 0 else 1.0


def _entropy(probability: Grey) -> float:
    """Entropy in bits."""
    positive = probability[probability > 0]
    return -float((positive * np.log2(positive)).sum())
