"""Render the demo's stacks with known truth from scikit-image's bundled pictures."""

import sys
from pathlib import Path

from batchstack.images import write_image
from batchstack.scenes import Camera, make_stack, sample_texture

MOVING = Camera(breathing=0.015, shift=(9.0, -6.0), rotation=0.5)
# Name, suffix, size, pictures of the background and the foreground, and how to render.
STACKS = [
    ("blob", ".jpg", (600, 800), ("coffee", "astronaut"), {"scene": "blob", "blur": 5.0}),
    ("hair", ".png", (600, 800), ("grass", "chelsea"), {"scene": "hair", "blur": 5.0}),
    ("large", ".jpg", (1500, 2000), ("gravel", "rocket"), {"scene": "lace", "blur": 8.0}),
    (
        "deep",
        ".tif",
        (600, 800),
        ("immunohistochemistry", "coffee"),
        {"scene": "blob", "blur": 5.0, "camera": Camera(dtype="uint16", noise=1.0)},
    ),
    (
        "slope",
        ".png",
        (600, 800),
        ("brick", "brick"),
        {"scene": "slant", "blur": 10.0, "frames": 5},
    ),
    (
        "moved",
        ".jpg",
        (600, 800),
        ("rocket", "grass"),
        {"scene": "hair", "blur": 5.0, "camera": MOVING},
    ),
]


def main(root: Path) -> None:
    for seed, (name, suffix, shape, pictures, how) in enumerate(STACKS, start=1):
        back, front = (sample_texture(picture) for picture in pictures)
        stack = make_stack(shape, textures=(back, front), seed=seed, **how)
        lossless = ".tif" if suffix == ".tif" else ".png"
        for index, frame in enumerate(stack.frames):
            write_image(root / "frames" / name / f"frame{index}{suffix}", frame)
        write_image(root / "truth" / f"{name}{lossless}", stack.truth)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
