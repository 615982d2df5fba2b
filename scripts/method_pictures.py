"""Make the pictures of docs/algorithms.md: details of every method's output on rendered stacks."""

import sys
from pathlib import Path

import cv2
import numpy as np
from demo_sheet import Pixels, cell, decibels

from batchstack.fusion import METHODS, fuse
from batchstack.images import Encoding, write_image
from batchstack.scenes import Camera, make_stack, sample_texture

# Name, pictures of background and foreground, and how to render.
SCENES = [
    ("hairs", ("grass", "chelsea"), {"scene": "hair", "blur": 6.0, "seed": 2}),
    (
        "noise",
        ("coffee", "astronaut"),
        {"scene": "blob", "blur": 8.0, "seed": 1, "camera": Camera(noise=3.0)},
    ),
]
SHAPE = (600, 800)
DETAIL = (120, 160)
ERROR_GAIN = 4


def main(folder: Path) -> None:
    stacks = []
    for name, pictures, how in SCENES:
        back, front = (sample_texture(picture) for picture in pictures)
        stack = make_stack(SHAPE, textures=(back, front), **how)
        stacks.append((name, stack, seam(stack.depth), fuse(stack.frames)))
    for name, method in METHODS.items():
        strips = [strip(*stack, method) for stack in stacks]
        write_image(folder / f"{name}.jpg", np.concatenate(strips), Encoding(quality=88))


def seam(depth: np.ndarray) -> tuple[slice, slice]:
    """The window with the longest edge of the foreground."""
    rise = np.abs(np.diff(depth, axis=1, append=0)).astype(np.float32)
    length = cv2.boxFilter(rise, -1, DETAIL[::-1])
    half = DETAIL[0] // 2, DETAIL[1] // 2
    inner = length[half[0] : -half[0], half[1] : -half[1]]
    top, left = np.unravel_index(np.argmax(inner), inner.shape)
    return slice(int(top), int(top) + DETAIL[0]), slice(int(left), int(left) + DETAIL[1])


def strip(name: str, stack, box: tuple[slice, slice], fused: dict, method) -> Pixels:
    """One row: back, front and truth, then what the method made of them."""
    pictures = [
        (f"{name}: back", stack.frames[0][box]),
        ("front", stack.frames[-1][box]),
        ("truth", stack.truth[box]),
    ]
    if method.output:
        image = fused[method.output]
        error = np.abs(image.astype(int) - stack.truth) * ERROR_GAIN
        pictures += [
            (f"{method.name} {decibels(stack.truth, image):.1f} dB", image[box]),
            (f"error x {ERROR_GAIN}", np.minimum(error, 255).astype(np.uint8)[box]),
        ]
    pictures += [(key, as_colour(fused[key])[box]) for key in method.maps]
    return np.concatenate([cell(label, picture) for label, picture in pictures], axis=1)


def as_colour(plane: np.ndarray) -> Pixels:
    eight = (plane >> 8).astype(np.uint8) if plane.dtype == np.uint16 else plane
    return np.repeat(eight[..., np.newaxis], 3, axis=2)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
