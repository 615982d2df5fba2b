import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from PIL.ExifTags import IFD

from batchstack.images.orientation import (
    exif_orientation,
    orient,
    oriented_size,
    upright_exif,
    upright_xmp,
)
from tests.images.samples import XMP, exif_block

# EXIF 2.32, tag 0x0112, as NumPy says it.
EXPECTED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", EXPECTED)
@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 3)])
def test_orient_agrees_with_numpy_and_pillow(orientation, shape):
    stored = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    upright = orient(stored, orientation)
    np.testing.assert_array_equal(upright, EXPECTED[orientation](stored))
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(upright, np.asarray(ImageOps.exif_transpose(image)))
    assert upright.flags.c_contiguous
    assert upright.shape[:2] == oriented_size(*shape[:2], orientation)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_reset_keeps_everything_else(orientation):
    block = exif_block(orientation)
    assert exif_orientation(block) == orientation
    reset = upright_exif(block)
    assert exif_orientation(reset) == 1
    assert len(reset) == len(block)
    assert sum(a != b for a, b in zip(block, reset, strict=True)) == (orientation != 1)


@given(st.binary(max_size=80).map(lambda rest: b"MM\0*\0\0\0\x08" + rest) | st.binary(max_size=40))
def test_broken_exif_never_fails(block):
    assert 1 <= exif_orientation(block) <= 8
    assert exif_orientation(upright_exif(block)) == 1
    assert len(upright_exif(block)) == len(block)


def test_stated_nonsense_means_upright():
    assert exif_orientation(exif_block(9)) == 1
    assert exif_orientation(exif_block(0)) == 1
    assert exif_orientation(None) == 1


def test_stale_thumbnail_is_unlinked():
    entry = b"\x01\x12\0\3\0\0\0\1\0\6\0\0"
    thumbnail = b"\0\1" + b"\x01\x03\0\3\0\0\0\1\0\6\0\0" + bytes(4)
    block = b"MM\0*\0\0\0\x08\0\1" + entry + b"\0\0\0\x1a" + thumbnail
    before, after = Image.Exif(), Image.Exif()
    before.load(b"Exif\0\0" + block)
    after.load(b"Exif\0\0" + upright_exif(block))
    assert before.get_ifd(IFD.IFD1) == {0x0103: 6}
    assert after.get_ifd(IFD.IFD1) == {}


def test_xmp_orientation_is_reset_in_both_notations():
    assert upright_xmp(XMP) == XMP.replace(b'Orientation="6"', b'Orientation="1"')
    assert upright_xmp(b"<tiff:Orientation>8</tiff:Orientation>") == (
        b"<tiff:Orientation>1</tiff:Orientation>"
    )
    assert (
        upright_xmp(b"<dc:title>Orientation 6</dc:title>") == b"<dc:title>Orientation 6</dc:title>"
    )
