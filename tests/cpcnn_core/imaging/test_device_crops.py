"""Crops cut by PyTorch are those cut by numpy, to the bit."""

import numpy as np
import pytest
import torch

from cpcnn_core.imaging.crops import cut_crops
from cpcnn_core.imaging.device_crops import DEVICE_NORMALIZERS, cut_crops_on_device
from cpcnn_core.imaging.normalization import NORMALIZERS

HEIGHT, WIDTH = 210, 260


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(1).integers(0, 60000, (5, HEIGHT, WIDTH)).astype(np.float32)


@pytest.fixture(scope="module")
def centers():
    """Inside, over every border, and outside."""
    return np.random.default_rng(2).uniform(-120, 380, (60, 2))


@pytest.mark.parametrize("crop_px", [128, 96, 31])
def test_no_bit_differs(image, centers, crop_px):
    expected = cut_crops(image, centers, crop_px, None, None, "minmax-per-crop")
    tensor = torch.from_numpy(image)
    found = cut_crops_on_device(tensor, centers, crop_px, None, None, "minmax-per-crop")
    assert found.dtype == torch.float32
    assert expected.max() == 1
    np.testing.assert_array_equal(found.numpy(), expected)


def test_no_bit_differs_with_neighbours_masked(image, centers):
    labels = np.random.default_rng(3).integers(0, 4, (HEIGHT, WIDTH))
    labels[40:120, 60:200] = 3
    ids = np.random.default_rng(4).integers(1, 4, len(centers))
    expected = cut_crops(image, centers, 64, labels, ids, "minmax-per-crop")
    on_device = torch.from_numpy(labels.astype(np.float32))
    tensor = torch.from_numpy(image)
    found = cut_crops_on_device(tensor, centers, 64, on_device, ids, "minmax-per-crop")
    assert 0 < np.count_nonzero(expected) < expected.size
    np.testing.assert_array_equal(found.numpy(), expected)


def test_every_normaliser_is_there():
    assert set(DEVICE_NORMALIZERS) == set(NORMALIZERS)
