import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from batchstack.images.orientation import (
    exif_orientation,
    orient,
    oriented_size,
)
from tests.images.samples import exif_block

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
def test_a_block_states_its_orientation(orientation):
    assert exif_orientation(exif_block(orientation)) == orientation


@given(st.binary(max_size=80).map(lambda rest: b"MM\0*\0\0\0\x08" + rest) | st.binary(max_size=40))
def test_broken_exif_never_fails(block):
    assert 1 <= exif_orientation(block) <= 8


def test_stated_nonsense_means_upright():
    assert exif_orientation(exif_block(9)) == 1
    assert exif_orientation(exif_block(0)) == 1
    assert exif_orientation(None) == 1
