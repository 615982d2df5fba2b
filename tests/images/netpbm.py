"""A format that the package does not know: its row, and its codec of four functions.

PGM and PPM of 8 bits, whose headers are three lines (netpbm.sourceforge.net/doc/ppm.html).
"""

import math

import numpy as np

from batchstack.errors import ImageError
from batchstack.formats import FORMATS, Format
from batchstack.images.info import ImageInfo, Metadata

ROW = Format(
    name="netpbm",
    suffixes=(".pnm", ".pgm", ".ppm"),
    magic=(b"P5\n", b"P6\n"),
    rewrite="pnmtopnm in.pnm > out.pnm",
    dtypes=("uint8",),
    largest_side=9_999,
    rows_read=7,
    rows_written=10,
)


def read_header(path, file):
    kind, size, depth = (file.readline(20).strip() for _ in range(3))
    width, height = map(int, size.split())
    if depth != b"255":
        raise ImageError(f"{path}: has more than 8 bits; convert it, e.g. pamdepth 255")
    channels = {b"P5": 1, b"P6": 3}[kind]
    info = ImageInfo(path, ROW.name, height, width, channels, "uint8")
    if len(file.read()) < info.nbytes:
        raise ValueError("too short")
    return info


def read_metadata(path, file):
    return Metadata(), 1


def read_pieces(info, file, empty):
    file.seek(-info.nbytes, 2)
    for top in range(0, info.height, step(info)):
        shape = (min(step(info), info.height - top), *info.shape[1:])
        yield np.frombuffer(file.read(math.prod(shape)), np.uint8).reshape(shape)


def step(info):
    return min(FORMATS[ROW.name].rows_read, info.height)


def write_rows(file, info, blocks, encoding):
    file.write(b"P%d\n%d %d\n255\n" % (5 if info.channels == 1 else 6, info.width, info.height))
    for block in blocks:
        file.write(block.data)
