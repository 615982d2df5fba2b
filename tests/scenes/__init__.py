"""Small frames for the tests: one scene, sharp in different places."""

import cv2
import numpy as np

DATA_RANGES = {"uint8": 255, "uint16": 65535, "float32": 1.0}


def stack(shape, n_frames, *, dtype="uint8", grey=False, seed=0):
    """Noise-like texture; frame i is sharp in the i-th vertical stripe of the image."""
    rng = np.random.default_rng(seed)
    full = shape if grey else (*shape, 3)
    scene = rng.uniform(0, 1, full).astype(np.float32)
    soft = cv2.GaussianBlur(scene, (0, 0), 2.0).reshape(full)
    column = np.arange(shape[1]) * n_frames // max(shape[1], 1)
    frames = []
    for index in range(n_frames):
        near = np.abs(column - index) < 0.5
        frame = np.where(near if grey else near[:, np.newaxis], scene, soft)
        frame = frame + rng.normal(0, 0.01, full)
        frames.append(quantise(frame, dtype))
    return frames


def pair(shape, **options):
    return stack(shape, 2, **options)


def quantise(values, dtype):
    """Values of 0 to 1 in the given type, over its whole data range."""
    scaled = np.clip(values, 0, 1) * DATA_RANGES[dtype]
    return (np.rint(scaled) if dtype != "float32" else scaled).astype(dtype)
