"""Registration: where the frames of a stack lie, and frames moved onto one of them.

Usable on its own, from a notebook for example::

    from batchstack.registration import estimate_stack, valid_area, warp_window
    transforms = estimate_stack([back, front])
"""

from batchstack.registration.estimation import estimate, estimate_stack, link, link_all
from batchstack.registration.fits import Fit
from batchstack.registration.reference import choose_reference
from batchstack.registration.warp import Transform, valid_area, warp_window

__all__ = [
    "Fit",
    "Transform",
    "choose_reference",
    "estimate",
    "estimate_stack",
    "link",
    "link_all",
    "valid_area",
    "warp_window",
]
