"""Normalisers against arithmetic written out from REFERENCE b.6."""

import numpy as np
import pytest

from cpcnn_core.normalize import NORMALIZERS, minmax_per_crop


def slow_minmax(plane):
    low, high = min(plane.ravel()), max(plane.ravel())
    span = np.float32(np.float32(high - low) + np.float32(1e-7))
    values = [np.float32(np.float32(v - low) / span) for v in plane.ravel()]
    return np.array(values, np.float32).reshape(plane.shape)


@pytest.mark.parametrize("scale", [1e-7, 1e-3, 1.0, 65535.0])
def test_every_channel_of_every_crop_is_stretched_by_itself(scale):
    crops = (np.random.default_rng(0).random((3, 2, 7, 9)) * scale - scale / 3).astype(np.float32)
    stretched = minmax_per_crop(crops)
    assert stretched.dtype == np.float32
    for crop, result in zip(crops, stretched, strict=True):
        for plane, values in zip(crop, result, strict=True):
            np.testing.assert_array_equal(values, slow_minmax(plane))


def test_a_constant_channel_becomes_zero():
    crops = np.stack([np.full((4, 4), 0), np.full((4, 4), 300)]).astype(np.float32)[None]
    assert not minmax_per_crop(crops).any()


def test_the_epsilon_is_the_references():
    crops = np.array([[[[0, 1e-7]]]], np.float32)
    assert minmax_per_crop(crops).ravel().tolist() == [0.0, 0.5]


def test_the_callers_crops_stay_as_they_are():
    crops = np.random.default_rng(1).random((2, 3, 5, 5), np.float32)
    before = crops.copy()
    minmax_per_crop(crops)
    np.testing.assert_array_equal(crops, before)


def test_cards_find_the_normalizer_by_name():
    assert NORMALIZERS["minmax-per-crop"] is minmax_per_crop
