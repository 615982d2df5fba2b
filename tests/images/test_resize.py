import numpy as np
import pytest

from batchstack.images import resized
from tests.images.samples import noise


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_type_and_channels_are_kept(dtype, channels):
    frame = noise((20, 30, *channels), dtype)
    again = resized(frame, (13, 41))
    assert again.shape == (13, 41, *channels)
    assert again.dtype == frame.dtype
    assert again.flags.c_contiguous


def test_the_same_size_changes_nothing():
    np.testing.assert_array_equal(resized(noise((20, 30, 3)), (20, 30)), noise((20, 30, 3)))


def test_a_ramp_stays_a_ramp():
    ramp = np.tile(np.arange(32, dtype=np.float32), (8, 1))
    doubled = resized(ramp, (16, 64))
    expected = np.clip((np.arange(64) + 0.5) / 2 - 0.5, 0, 31)
    np.testing.assert_allclose(doubled, np.tile(expected, (16, 1)), atol=1e-5)
