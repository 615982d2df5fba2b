"""Residuals of frames that no affine transform brings together."""

import cv2
import numpy as np
import pytest

from batchstack.registration import Transform, estimate_stack, residual, typical_residual
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


def best_affine_leaves(pixels):
    """The 95th percentile of what no affine transform follows of a barrel."""
    y, x = (place[::8, ::8].ravel() for place in np.mgrid[: SHAPE[0], : SHAPE[1]])
    u, v = (2 * x / SHAPE[1] - 1), (2 * y - SHAPE[0]) / SHAPE[1]
    moves = pixels * (u**2 + v**2) * np.array([u, v])
    design = np.array([np.ones_like(u), u, v]).T
    left = moves.T - design @ np.linalg.lstsq(design, moves.T, rcond=None)[0]
    return np.percentile(np.hypot(*left.T), 95)


@pytest.mark.parametrize("pixels", [2.0, 4.0, 8.0])
def test_residuals_are_found_while_frames_are_aligned(pixels):
    """Medians over neighbours, and blocks that reach no edge, find somewhat less than there is."""
    found = typical_residual(estimate_stack(bent(stack()[0], pixels)))
    assert 0.5 * best_affine_leaves(pixels) < found < 1.2 * best_affine_leaves(pixels)


def test_frames_that_were_not_compared_tell_nothing():
    assert typical_residual([Transform()] * 3) is None


@pytest.mark.parametrize("flat", [np.zeros, np.ones])
def test_frames_without_detail_tell_nothing(flat):
    frames = [flat(SHAPE, np.float32)] * 2
    assert residual(frames, [Transform()] * 2) is None
