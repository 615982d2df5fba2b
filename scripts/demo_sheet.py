"""Compare the demo's outputs with the truth: a table and a contact sheet."""

import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from batchstack.batch.manifest import load_manifest
from batchstack.fusion import METHODS
from batchstack.images import read_image, write_image
from batchstack.quality import psnr

CELL = (240, 320)  # rows and columns of a picture on the sheet
LABEL = 26  # rows
SHOWN = "bayesian"
FUSING = {name: method for name, method in METHODS.items() if method.output}
MANIFEST = Path(__file__).parent.parent / "manifests" / "demo.csv"

Pixels = npt.NDArray[np.uint8]


def main(root: Path) -> None:
    rows = load_manifest(MANIFEST, known_methods=METHODS).rows
    print("\nPSNR against the truth in dB; 'frame' is the better of the frames as they are:")
    print(f"{'stack':8}" + "".join(f"{name:>14}" for name in ("frame", *FUSING)))
    strips = []
    for row in rows:
        truth = read_any(root / "truth", row.id)
        frames = [read_image(path) for path in row.frames]
        fused = {
            name: read_any(root / "output" / row.id, method.output)
            for name, method in FUSING.items()
        }
        scores = {"frame": max(decibels(truth, frame) for frame in frames)}
        scores |= {name: decibels(truth, image) for name, image in fused.items()}
        print(f"{row.id:8}" + "".join(f"{score:14.2f}" for score in scores.values()))
        strips.append(strip(row.id, frames, fused[SHOWN], truth, scores[SHOWN]))
    sheet = root / "contact_sheet.png"
    write_image(sheet, np.concatenate(strips))
    print(f"\nOutputs are in {root / 'output'}/<stack>/.")
    print(f"Look at the contact sheet: {sheet.resolve()}")
    print(f"Open the report in a browser: {(root / 'output' / 'report.html').resolve()}")


def read_any(folder: Path, name: str) -> npt.NDArray[np.generic]:
    (path,) = folder.glob(f"{name}.*")
    return read_image(path)


def decibels(truth: npt.NDArray[np.generic], image: npt.NDArray[np.generic]) -> float:
    scale = 255.0 / np.iinfo(truth.dtype).max
    return psnr(truth * scale, image * scale)


def strip(name: str, frames: list, fused: Pixels, truth: Pixels, score: float) -> Pixels:
    """One row of the sheet: back, front and fused whole, then a detail of each."""
    box = detail(frames, truth)
    pictures = [
        (f"{name}: back", frames[0]),
        ("front", frames[-1]),
        (f"{SHOWN} {score:.1f} dB", fused),
        ("back, detail", frames[0][box]),
        ("front, detail", frames[-1][box]),
        ("fused, detail", fused[box]),
        ("truth, detail", truth[box]),
    ]
    return np.concatenate([cell(label, picture) for label, picture in pictures], axis=1)


def detail(frames: list, truth: Pixels) -> tuple[slice, slice]:
    """A window where back and front both miss much: an edge in depth."""
    grey = [frame.astype(np.float32).mean(axis=2) for frame in (frames[0], frames[-1], truth)]
    missed = np.minimum(abs(grey[0] - grey[2]), abs(grey[1] - grey[2]))
    height, width = CELL[0] // 2, CELL[1] // 2
    energy = cv2.boxFilter(missed, -1, (width, height))
    inner = energy[height // 2 : -height // 2, width // 2 : -width // 2]
    top, left = np.unravel_index(np.argmax(inner), inner.shape)
    return slice(int(top), int(top) + height), slice(int(left), int(left) + width)


def cell(label: str, picture: Pixels) -> Pixels:
    if picture.dtype == np.uint16:
        picture = (picture >> 8).astype(np.uint8)
    enlarge = picture.shape[0] < CELL[0]
    how = cv2.INTER_NEAREST if enlarge else cv2.INTER_AREA
    small = cv2.resize(picture, CELL[::-1], interpolation=how)
    head = np.full((LABEL, CELL[1], 3), 32, np.uint8)
    cv2.putText(head, label, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (240,) * 3, 1, cv2.LINE_AA)
    return np.pad(np.concatenate([head, small]), ((0, 4), (0, 4), (0, 0)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
