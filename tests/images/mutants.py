"""Small files of every kind, damaged at random: a program that reads them all.

    python -m tests.images.mutants FOLDER COUNT [SEED]

It prints how many reads gave an image and how many an `ImageError`; anything else ends it.
"""

import io
import resource
import struct
import sys
import tempfile
from pathlib import Path
from random import Random

import numpy as np
import tifffile
from PIL import Image

from batchstack.errors import ImageError
from batchstack.formats import FORMATS
from batchstack.images import (
    Encoding,
    probe,
    read_image,
    read_metadata,
    stage_image,
    write_image,
)
from tests.images import sources
from tests.images.samples import SRGB, XMP, exif_block, jpeg_bytes, noise, photo, png_bytes

EXIF = b"Exif\0\0" + exif_block(6)
RGB = photo(24, 33)
OME = (
    '<?xml version="1.0"?><OME><Image><Pixels PhysicalSizeX="0.5" PhysicalSizeY="1"/></Image></OME>'
)
VALUES = (0, 1, 2, 3, 4, 7, 8, 16, 255, 256, 1025, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)
ROOM = 4 << 30  # bytes of addresses, of which the libraries take one billion


def tiff(pixels, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **({"metadata": None} | options))
    return buffer.getvalue()


def two_pages():
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(RGB, photometric="rgb", metadata=None)
        writer.write(RGB[::2, ::2], photometric="rgb", metadata=None)
    return buffer.getvalue()


def samples():
    image = Image.fromarray(RGB)
    tags = [(274, "H", 1, 6, True), (272, "s", 0, "M", True), (700, "B", len(XMP), XMP, True)]
    yield jpeg_bytes(RGB)
    yield jpeg_bytes(RGB, progressive=True)
    yield jpeg_bytes(RGB, exif=EXIF, icc_profile=SRGB)
    yield png_bytes(image, exif=EXIF, icc_profile=SRGB, dpi=(300, 300))
    yield png_bytes(image.convert("P"))
    yield tiff(RGB, photometric="rgb", extratags=tags, iccprofile=SRGB, resolution=(300, 150))
    yield tiff(RGB, photometric="rgb", byteorder=">", rowsperstrip=5)
    yield tiff(noise((24, 33), "uint16"), bigtiff=True, rowsperstrip=7)
    yield tiff(np.moveaxis(RGB, 2, 0).copy(), photometric="rgb", planarconfig="separate")
    yield tiff(noise((24, 33), "float32"), compression="zlib", predictor=3)
    yield tiff(noise((24, 33)), imagej=True)
    for compression in ("zlib", "zstd", "jpeg", "png"):
        yield tiff(RGB, photometric="rgb", compression=compression, tile=(16, 16))
    for compression in ("lzw", "packbits", "lzma", "jpeg2000", "webp"):
        yield tiff(RGB, photometric="rgb", compression=compression, rowsperstrip=8)
    yield two_pages()
    yield from full_of_metadata()


def full_of_metadata():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield sources.full_jpeg(folder / "a.jpg").read_bytes()
        yield sources.full_png(folder / "a.png").read_bytes()
        yield sources.full_png(folder / "a.png", raw=True).read_bytes()
        yield sources.full_tiff(folder / "a.tif").read_bytes()
        yield sources.full_tiff(folder / "a.tif", description=OME).read_bytes()


def inherit(path):
    """Write outputs that inherit from a frame, in every format."""
    encoding = Encoding(metadata=read_metadata(path), software="{}")
    for row in FORMATS.values():
        target = path.with_name(f"output{row.suffix}")
        write_image(target, RGB, encoding, durable=False)
        read_metadata(target)


def damaged(data, random):
    """A few bytes changed, taken out or put in, mostly near the start where headers are."""
    data = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 3))):
        place = random.randrange(min(len(data), random.choice((400, 4000, len(data)))))
        way = random.random()
        if way < 0.6:
            data[place] = random.choice((data[place] ^ 1 << random.randrange(8), place % 256))
        elif way < 0.8:
            size = random.choice((2, 4))
            value = random.choice(VALUES) % (1 << 8 * size)
            data[place : place + size] = value.to_bytes(size, random.choice(("big", "little")))
        elif way < 0.9:
            del data[place : place + random.randrange(1, 9)]
        else:
            data[place:place] = random.randbytes(random.randrange(1, 9))
    if data[:4] == b"II*\0" and random.random() < 0.6:
        damage_tag(data, random)
    return bytes(data)


def damage_tag(data, random):
    """Another type, count or value of one tag."""
    try:
        (start,) = struct.unpack_from("<I", data, 4)
        (count,) = struct.unpack_from("<H", data, start)
        place = start + 2 + 12 * random.randrange(count)
        form, offset, value = random.choice(
            (
                ("<H", 2, random.randrange(20)),
                ("<I", 4, random.choice(VALUES)),
                ("<I", 8, random.choice(VALUES)),
            )
        )
        struct.pack_into(form, data, place + offset, value)
    except (struct.error, ValueError):
        pass


def main(folder, count, seed):
    resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
    random, originals, results = Random(seed), list(samples()), [0, 0]
    path = folder / "mutant"
    readers = (probe, read_image, inherit, lambda one: stage_image(one, folder / "a.npy"))
    for _ in range(count):
        path.write_bytes(damaged(random.choice(originals), random))
        for reader in readers:
            try:
                reader(path)
            except ImageError as error:
                assert not isinstance(error.__cause__, Warning), error.__cause__
                assert str(error).startswith(f"{path}: "), error
                results[1] += 1
            else:
                results[0] += 1
    print(*results)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
