"""Residuals of frames that no affine transform brings together."""

import cv2
import numpy as np
import pytest

from batchstack.registration import Transform, residual
from batchstack.scenes import Camera, make_stack

SHAPE = (420, 560)


def stack(**camera):
    moved = Camera(noise=2.0, breathing=0.01, **camera)
    rendered = make_stack(SHAPE, frames=3, scene="slant", blur=6.0, camera=moved)
    matrices = [tuple(warp.ravel().tolist()) for warp in rendered.warps]
    places = [Transform()] + [Transform(matrix, "similarity") for matrix in matrices[1:]]
    return rendered.frames, places


def bent(frames, pixels):
    """Barrels that grow from frame to frame, by so many pixels at the left and right edges."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    u, v = (2 * x / SHAPE[1] - 1), (2 * y - SHAPE[0]) / SHAPE[1]
    swing = pixels * (u**2 + v**2)
    return [
        cv2.remap(frame, x + i * swing * u, y + i * swing * v, cv2.INTER_CUBIC)
        for i, frame in enumerate(frames)
    ]


def test_moves_that_are_affine_leave_nothing():
    frames, places = stack(rotation=0.3)
    # Even if they were not found: residuals are those of the best transform.
    assert residual(frames, places) < 0.3
    assert residual(frames, [Transform()] * 3) < 0.3


def test_the_more_a_lens_bends_the_more_is_left():
    frames, places = stack()
    found = [residual(bent(frames, pixels), places) for pixels in (0.5, 4.0, 8.0)]
    assert found[0] < 0.3 < 0.6 < found[1] < found[2]


@pytest.mark.parametrize("flat", [np.zeros, np.ones])
def test_frames_without_detail_tell_nothing(flat):
    frames = [flat(SHAPE, np.float32)] * 2
    assert residual(frames, [Transform()] * 2) is None
