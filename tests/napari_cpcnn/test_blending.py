import numpy as np
import pytest

from cpcnn_core.errors import ImageError
from napari_cpcnn.gallery import COLOURS, GREY, blend, own_channels


def slow_blend(crop, channels):
    _, height, width = crop.shape
    picture = np.zeros((height, width, 3), np.uint8)
    for row in range(height):
        for column in range(width):
            for part in range(3):
                total = 0.0
                for values, (colour, (low, high)) in zip(crop, channels, strict=True):
                    bright = (float(values[row, column]) - low) / (high - low)
                    total += min(max(bright, 0.0), 1.0) * colour[part]
                picture[row, column, part] = int(min(total, 1.0) * 255 + 0.5)
    return picture


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_equals_a_slow_loop(dtype):
    random = np.random.default_rng(0)
    crop = random.integers(0, 255, (5, 9, 7)).astype(dtype)
    channels = [(tuple(random.random(3)), (10.0 * n, 120.0 + 20 * n)) for n in range(len(crop))]
    fast, slow = blend(crop, channels), slow_blend(crop, channels)
    assert fast.dtype == np.uint8
    # float32 here, float64 there: a value may fall on the other side of a half.
    assert np.abs(fast.astype(int) - slow).max() <= 1
    assert (fast == slow).mean() > 0.99


def test_nan_is_black_and_equal_limits_do_not_divide_by_zero():
    crop = np.array([[[np.nan, 5.0, 5.0]]])
    assert blend(crop, [(GREY, (0, 5))])[0, :, 0].tolist() == [0, 255, 255]
    assert blend(crop, [(GREY, (5, 5))])[0, :, 0].tolist() == [0, 0, 0]


def test_another_number_of_channels_is_refused():
    with pytest.raises(ImageError, match="2 channels"):
        blend(np.ones((3, 2, 2)), [(GREY, (0, 1))] * 2)


def test_own_channels_stretch_every_channel_by_itself():
    crop = np.array([[[1, 3]], [[10, 20]]], np.uint16)
    red, green = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
    own = own_channels(crop, [(red, (0, 99)), (green, (0, 99))])
    assert own == [(red, (1.0, 3.0)), (green, (10.0, 20.0))]
    assert blend(crop, own).tolist() == [[[0, 0, 0], [255, 255, 0]]]


def test_own_channels_have_colours_where_there_are_none():
    assert [colour for colour, _ in own_channels(np.zeros((2, 1, 1)))] == list(COLOURS[:2])
    assert own_channels(np.full((1, 1, 1), np.nan)) == [(GREY, (0.0, 1.0))]
