"""Normalisers against arithmetic written out from docs/method.md#normalisation."""

import numpy as np
import pytest

from cpcnn_core.imaging.crops import crop_cells
from cpcnn_core.imaging.normalization import NORMALIZERS, minmax_per_crop, normalize_field
from cpcnn_core.imaging.sampling import sample_axis


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


def test_fields_are_stretched_between_percentiles_as_skimage_stretches_them():
    from skimage.exposure import rescale_intensity

    image = np.random.default_rng(2).gamma(2, 300, (3, 60, 70)).astype(np.float32)
    found = normalize_field(image, "percentile-per-field")
    for channel, original in zip(found, image, strict=True):
        low, high = np.percentile(original, 0.1), np.percentile(original, 99.9)
        expected = rescale_intensity(original, in_range=(low, high), out_range=(0.0, 1.0))
        np.testing.assert_allclose(channel, expected, rtol=0, atol=1e-6)
    assert found.dtype == np.float32


def test_a_constant_channel_of_a_field_becomes_zero():
    image = np.stack([np.full((5, 5), 7), np.eye(5)]).astype(np.float32)
    found = normalize_field(image, "percentile-per-field")
    assert not found[0].any()
    assert found[1].max() == pytest.approx(1, abs=1e-6)


def test_crops_of_a_stretched_field_are_left_as_they_are():
    image = np.random.default_rng(3).random((2, 100, 100)).astype(np.float32) * 900
    centers = np.array([[50.0, 40.0], [5.0, 90.0]])
    found = crop_cells(image, centers, crop_px=32, normalizer="percentile-per-field")
    stretched = normalize_field(image, "percentile-per-field")
    rows = sample_axis(centers[:, 0], 100, 32)
    assert found.min() >= 0
    assert found.max() <= 1
    # The middle of the first crop lies between its field's neighbouring pixels.
    middle = stretched[:, 49:52, 39:42]
    assert (found[0, :, 16, 16] >= middle.min(axis=(1, 2))).all()
    assert (found[0, :, 16, 16] <= middle.max(axis=(1, 2))).all()
    assert (found[1][:, ~rows.inside[1]] == 0).all()
