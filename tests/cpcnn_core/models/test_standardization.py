"""Range, size and standardizing against slow formulas in double precision."""

import numpy as np
import pytest
import torch

from cpcnn_core.errors import WeightsError
from cpcnn_core.models.standardization import (
    STANDARDIZERS,
    mean_std,
    resize,
    resize_weights,
    saturation_noise,
    stretch,
)


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).random((3, 2, 20, 20)).astype(np.float32)


def standardized(name, values, mean=(), std=()):
    return STANDARDIZERS[name].apply(torch.from_numpy(values), mean, std).numpy()


def kernel(how, x):
    """The weight of a pixel at distance x, in output pixels."""
    x = abs(x)
    if how == "bilinear":
        return max(0.0, 1 - x)
    # Keys' cubic with a = -1/2, as where images are antialiased.
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def slow_resize(image, px, how):
    """Rows, then columns; every output pixel a weighted mean of the input's."""
    for _ in range(2):
        size = len(image)
        step = size / px
        blur = max(step, 1.0)
        rows = []
        for i in range(px):
            weights = [kernel(how, (j + 0.5 - (i + 0.5) * step) / blur) for j in range(size)]
            rows.append(np.average(image, axis=0, weights=weights))
        image = np.array(rows).T
    return image


@pytest.mark.parametrize("how", ["bilinear", "bicubic"])
@pytest.mark.parametrize("px", [8, 13, 20, 33])
def test_resizing_is_the_slow_loop(crops, px, how):
    expected = [[slow_resize(c.astype(float), px, how) for c in crop] for crop in crops]
    found = resize(torch.from_numpy(crops), px, how).numpy()
    assert found.shape == (3, 2, px, px)
    assert np.abs(found - expected).max() <= 1e-6


@pytest.mark.parametrize("how", ["bilinear", "bicubic"])
@pytest.mark.parametrize("px", [224, 100])
def test_resizing_is_torchvisions_but_for_its_rounding(how, px):
    transforms = pytest.importorskip("torchvision.transforms.v2")
    crops = torch.rand((2, 3, 128, 128), generator=torch.Generator().manual_seed(1))
    theirs = transforms.Resize((px, px), transforms.InterpolationMode(how), antialias=True)(crops)
    # Single precision places their pixels to 1e-5 of a pixel.
    assert (resize(crops, px, how) - theirs).abs().max() <= 3e-5


def test_no_size_leaves_crops_alone(crops):
    given = torch.from_numpy(crops)
    assert resize(given, None, "bicubic") is given
    assert resize(given, 20, "bicubic") is given


def test_what_inference_resized_first_can_be_trained_through():
    resize_weights.cache_clear()
    with torch.inference_mode():
        resize(torch.ones(1, 1, 6, 6), 9, "bilinear")
    crops = torch.ones(1, 1, 6, 6, requires_grad=True)
    resize(crops, 9, "bilinear").sum().backward()
    assert crops.grad.sum().item() == pytest.approx(81)


def test_the_range_is_stretched(crops):
    expected = -1 + crops.astype(float) * 3
    assert np.abs(stretch(torch.from_numpy(crops), -1, 2).numpy() - expected).max() <= 1e-6
    given = torch.from_numpy(crops)
    assert stretch(given, 0, 1) is given


def test_mean_and_deviation_per_channel_or_for_all(crops):
    double = crops.astype(float)
    each = (double - np.reshape([0.1, 0.4], (2, 1, 1))) / np.reshape([0.5, 2.0], (2, 1, 1))
    assert np.abs(standardized("mean-std", crops, (0.1, 0.4), (0.5, 2)) - each).max() <= 1e-6
    both = (double - 0.3) / 0.25
    assert np.abs(standardized("mean-std", crops, (0.3,), (0.25,)) - both).max() <= 1e-6


@pytest.mark.parametrize(("mean", "std"), [((1, 2, 3), (1, 2, 3)), ((1, 2), (1,)), ((), ())])
def test_a_wrong_number_of_means_is_refused(crops, mean, std):
    with pytest.raises(WeightsError, match=r"expected 1 or 2 means .* correct the model's card"):
        mean_std(torch.from_numpy(crops), mean, std)


def test_each_channel_of_each_crop_by_itself(crops):
    found = standardized("per-channel", crops)
    for crop, new in zip(crops.astype(float), found, strict=True):
        for channel, standard in zip(crop, new, strict=True):
            variance = ((channel - channel.mean()) ** 2).mean()
            expected = (channel - channel.mean()) / np.sqrt(variance + 1e-5)
            assert np.abs(standard - expected).max() <= 1e-6


def test_minimum_to_0_and_maximum_to_1(crops):
    found = standardized("minmax-per-channel", crops * 0.3 + 0.2)
    for crop, new in zip((crops * 0.3 + 0.2).astype(float), found, strict=True):
        for channel, stretched in zip(crop, new, strict=True):
            expected = (channel - channel.min()) / (channel.max() - channel.min() + 1e-6)
            assert np.abs(stretched - expected).max() <= 1e-6


@pytest.mark.parametrize("name", ["per-channel", "minmax-per-channel", "saturation-noise"])
def test_a_constant_channel_becomes_zero(name):
    assert not standardized(name, np.full((1, 1, 6, 6), 3.0, np.float32)).any()


def test_without_saturated_pixels_it_is_the_z_score(crops):
    values = crops * 254
    assert values.max() < 255
    double = values.astype(float)
    mean = double.mean((2, 3), keepdims=True)
    deviation = np.sqrt(((double - mean) ** 2).mean((2, 3), keepdims=True) + 1e-7)
    found = standardized("saturation-noise", values)
    assert np.abs(found - (double - mean) / deviation).max() <= 1e-6


def test_saturated_pixels_become_noise_from_200_to_255(crops):
    values = np.round(crops * 180).astype(np.float32)
    values[:, :, 5:15, 5:15] = 255
    saturated = values == 255
    found = standardized("saturation-noise", values).astype(float)
    for crop, new, mask in zip(values, found, saturated, strict=True):
        for channel, standard, bright in zip(crop, new, mask, strict=True):
            # What was standardized is found again from the pixels that were not touched.
            slope, offset = np.polyfit(standard[~bright], channel[~bright], 1)
            before = standard * slope + offset
            assert before[bright].min() >= 199.99
            assert before[bright].max() <= 255.01
            assert len(np.unique(before[bright].round(2))) > 90
            assert before.mean() == pytest.approx(offset, abs=1e-3)
            assert before.std() == pytest.approx(slope, rel=1e-5)


def test_the_noise_depends_on_the_place_alone(crops):
    values = torch.from_numpy(np.where(crops > 0.7, 255, crops).astype(np.float32))
    torch.manual_seed(5)
    first = torch.rand(3)
    torch.manual_seed(5)
    together = saturation_noise(values, (), ())
    assert torch.equal(torch.rand(3), first)
    alone = torch.cat([saturation_noise(crop[None], (), ()) for crop in values])
    assert torch.equal(together, alone)
    swapped = saturation_noise(values.flip(1), (), ()).flip(1)
    assert torch.equal(together, swapped)


def test_none_leaves_crops_alone(crops):
    assert np.array_equal(standardized("none", crops), crops)
