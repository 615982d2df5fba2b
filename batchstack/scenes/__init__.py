"""Rendered scenes: stacks with known truth, for the demo, the tests and the benchmarks.

A scene is made of endless functions of (row, column), so that any part of it can be
looked at: strips bound the memory, and a frame that is turned or shifted sees what
lies beyond the edge instead of a border.

A frame forms as behind a lens, in linear light, from back to front::

    image = D(r) * (alpha rgb) + (1 - D(r) * alpha) image

where D(r) is a disc whose radius r grows with the distance of the layer from the
focus. A defocused foreground so spreads over the background and lets light past,
which cutting and pasting along a mask does not do.
"""

from batchstack.scenes.camera import DTYPES, Camera, SyntheticStack, make_stack
from batchstack.scenes.views import TEXTURES, sample_texture

__all__ = ["DTYPES", "TEXTURES", "Camera", "SyntheticStack", "make_stack", "sample_texture"]
