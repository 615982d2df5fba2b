"""Running the kernels of registration once, before they are needed."""

import numpy as np

from batchstack.geometry import Box
from batchstack.registration.blocks import block_sums, joined
from batchstack.registration.exposure import compare_light
from batchstack.registration.fits import fitted
from batchstack.registration.light import Light
from batchstack.registration.views import View
from batchstack.registration.warp import Transform, warp_window


def run_kernels() -> None:
    """Compare, move and relight a tiny frame: kernels are loaded, or compiled and kept on disk."""
    from batchstack.registration.kernels.light import polish

    row = np.arange(16, dtype=np.uint8)
    frame, whole = np.stack([row[:, None] * row] * 3, axis=2), Box(0, 0, 16, 16)
    light = View(frame).light(whole, 1)
    blocks = joined([block_sums(light, light, 4, 2)], 4, 1)
    fitted(blocks, np.eye(3), frame.shape[:2], "translation")
    moved = Transform((1.0, 0.0, 0.5, 0.0, 1.0, 0.5), "translation")
    compare_light([frame, frame], [moved, moved])
    polish(np.zeros((2, 3, 4)), 1, 0.0, np.empty(10), np.empty((2, 3)))
    warp_window(frame, moved, whole)
    warp_window(frame, moved, whole, light=Light((0.9, 1.0, 1.1)))
