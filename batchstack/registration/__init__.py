"""Registration: where the frames of a stack lie, and frames moved onto one of them.

Usable on its own, from a notebook for example::

    from batchstack.registration import estimate_stack, valid_area, warp_window
    transforms = estimate_stack([back, front])
"""

from batchstack.registration.estimation import (
    BETWEEN,
    TOO_SMALL,
    estimate,
    estimate_stack,
    link,
    link_all,
)
from batchstack.registration.exposure import Exposures, compare_light
from batchstack.registration.fits import Fit
from batchstack.registration.light import Light
from batchstack.registration.reference import choose_reference
from batchstack.registration.residuals import residual, typical_residual
from batchstack.registration.warp import (
    Transform,
    corner_pixels,
    turns_too_far,
    valid_area,
    warp_window,
)

__all__ = [
    "BETWEEN",
    "TOO_SMALL",
    "Exposures",
    "Fit",
    "Light",
    "Transform",
    "choose_reference",
    "compare_light",
    "corner_pixels",
    "estimate",
    "estimate_stack",
    "link",
    "link_all",
    "residual",
    "turns_too_far",
    "typical_residual",
    "valid_area",
    "warp_window",
]
