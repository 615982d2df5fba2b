"""Running the kernels of registration once, before they are needed."""

import numpy as np

from batchstack.geometry import Box
from batchstack.registration.blocks import block_sums
from batchstack.registration.light import Light
from batchstack.registration.views import View
from batchstack.registration.warp import Transform, warp_window


def run_kernels() -> None:
    """Compare, move and relight a tiny frame: kernels are loaded, or compiled and kept on disk."""
    frame, whole = np.zeros((16, 16, 3), np.uint8), Box(0, 0, 16, 16)
    light = View(frame).light(whole, 1)
    block_sums(light, light, 4, 2)
    moved = Transform((1.0, 0.0, 0.5, 0.0, 1.0, 0.5), "translation")
    warp_window(frame, moved, whole)
    warp_window(frame, moved, whole, light=Light((0.9, 1.0, 1.1)))
