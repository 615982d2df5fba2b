"""Which frame of a stack stays where it is."""

from collections.abc import Sequence

import numpy as np

from batchstack.registration.fits import Fit

# Fields of view that differ by less are as good as equal.
_EQUAL = 0.002


def choose_reference(links: Sequence[Fit]) -> tuple[int, str]:
    """The best reference by what neighbours say of each other, and why, in words.

    The frame with the narrowest field is covered by all others, so that nothing has to be cropped
    or made up at the edges.
    If fields are as good as equal it is the middle frame, from which chains are shortest.

    Parameters
    ----------
    links : sequence of Fit
        The `link` of each two neighbours, N - 1 of N frames.

    Returns
    -------
    index : int
    reason : str
    """
    # How large each frame shows the scene; a larger scale is a narrower field.
    scales = [1.0]
    for link in links:
        area = float(np.linalg.det(link.homogeneous[:2, :2]))
        scales.append(scales[-1] * max(area, 1e-6) ** 0.5)
    spread = max(scales) / min(scales) - 1
    if spread < _EQUAL:
        middle = len(links) // 2
        return middle, f"fields of view differ by {100 * spread:.2f} %, so the middle frame"
    narrowest = int(np.argmax(scales))
    return narrowest, (
        f"the narrowest of fields that differ by {100 * spread:.1f} %, which all others cover"
    )
