"""After a warm-up nothing is left to load or to compile when frames are aligned."""

import subprocess
import sys

SCRIPT = """
import numpy as np
from batchstack.batch.warm import warm_up
from batchstack.geometry import Box
from batchstack.registration import Light, Transform, compare_light, estimate_stack, warp_window

def known():
    from batchstack.registration.kernels import blocks, fits, light, resampling
    kernels = (blocks.summed, light.linear_grey, light.average, light.relight, resampling.resample)
    kernels += (fits.eliminate, fits.locate, fits.prepare, fits.fit, light.polish)
    return [kernel.prepared for kernel in kernels]

warm_up({names})
before = known()
frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
(_, found) = estimate_stack([frame, np.roll(frame, 2, axis=0)], model="translation")
whole = Box(0, 0, 90, 120)
assert not found.is_identity
compare_light([frame, frame], [Transform(), found])
warp_window(frame, found, whole)
warp_window(frame, found, whole, light=Light((1.0, 1.1, 0.9)))
print(before, known())
"""


def signatures(names: tuple[str, ...]) -> tuple[list[int], list[int]]:
    """How many each kernel has after a warm-up, and after an alignment."""
    script = SCRIPT.format(names=names)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300
    )
    before, after = done.stdout.strip().removeprefix("[").removesuffix("]").split("] [")
    return [int(one) for one in before.split(",")], [int(one) for one in after.split(",")]


def test_a_warm_up_for_alignment_leaves_nothing_to_compile() -> None:
    before, after = signatures(("direct", "alignment"))
    assert before == after and min(before) > 0


def test_a_run_without_alignment_loads_none_of_its_kernels() -> None:
    before, after = signatures(("direct",))
    assert max(before) == 0 and min(after) > 0
