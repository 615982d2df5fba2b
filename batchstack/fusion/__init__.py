"""Fusion: arrays in, arrays out.

Usable on its own, from a notebook for example::

    from batchstack.fusion import fuse
    sharp = fuse([back, front], ["all_channels"])["focus_stacked_all_channels"]
"""

from batchstack.fusion.engine import fuse
from batchstack.fusion.methods import METHODS

__all__ = ["METHODS", "fuse"]
