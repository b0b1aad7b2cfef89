"""Augmentation equals a slow loop over images, and its draws what docs/method.md says."""

import dataclasses

import numpy as np
import pytest
import torch

from cpcnn_core.errors import CropError
from cpcnn_core.training.augmentation import apply_augmentation, augment, draw_augmentation


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(n, c, p, **fixed):
    """Draws that change nothing but what is given."""
    neutral = {
        "side": torch.full((n,), p),
        "top": torch.zeros(n, dtype=torch.int64),
        "left": torch.zeros(n, dtype=torch.int64),
        "flip": torch.zeros(n, dtype=torch.bool),
        "quarter_turns": torch.zeros(n, dtype=torch.int64),
        "brightness": torch.zeros(n, c),
        "contrast": torch.ones(n, c),
    }
    return dataclasses.replace(draw_augmentation(n, c, p, seeded()), **(neutral | fixed))


def one_by_one(crops, draws):
    """Every image for itself, step after step, with other functions."""
    p, result = crops.shape[-1], []
    for i, crop in enumerate(crops):
        side, top, left = (int(v[i]) for v in (draws.side, draws.top, draws.left))
        cut = crop.double()[None, :, top : top + side, left : left + side]
        image = torch.nn.functional.interpolate(
            cut, size=(p, p), mode="bilinear", align_corners=False, antialias=False
        )[0]
        image = image.numpy()
        if draws.flip[i]:
            image = image[:, :, ::-1]
        image = np.rot90(image, int(draws.quarter_turns[i]), axes=(1, 2))
        channels = []
        for plane, add, gain in zip(image, draws.brightness[i], draws.contrast[i], strict=True):
            brighter = plane + float(add)
            mean = brighter.mean()
            channels.append((brighter - mean) * float(gain) + mean)
        result.append(channels)
    return np.array(result)


@pytest.mark.parametrize(("channels", "p"), [(5, 128), (1, 128), (3, 48), (2, 7), (4, 2)])
def test_it_equals_a_loop_over_images(channels, p):
    crops = torch.rand(24, channels, p, p, generator=seeded(p))
    draws = draw_augmentation(24, channels, p, seeded(channels))
    found = apply_augmentation(crops, draws)
    np.testing.assert_allclose(found, one_by_one(crops, draws), rtol=0, atol=1e-6)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flip", [False, True])
def test_every_square_flip_and_turn(turns, flip):
    sides = torch.arange(102, 129).repeat_interleave(2)
    n = len(sides)
    # The square in the corners, where a look outside of it is seen.
    offset = torch.where(torch.arange(n) % 2 == 0, 0, 128 - sides)
    draws = drawn(
        n,
        1,
        128,
        side=sides,
        top=offset,
        left=offset.flip(0).minimum(128 - sides),
        flip=torch.full((n,), flip),
        quarter_turns=torch.full((n,), turns),
    )
    crops = torch.rand(n, 1, 128, 128, generator=seeded())
    found = apply_augmentation(crops, draws)
    np.testing.assert_allclose(found, one_by_one(crops, draws), rtol=0, atol=1e-6)


def test_what_is_not_cut_is_not_resampled():
    crops = torch.rand(16, 2, 33, 33, generator=seeded())
    draws = drawn(16, 2, 33, quarter_turns=torch.arange(16) % 4, flip=torch.arange(16) > 7)
    found = apply_augmentation(crops, draws)
    # Contrast of 1 takes the mean off and adds it again.
    assert all(
        np.allclose(np.sort(a.ravel()), np.sort(b.ravel()), rtol=0, atol=1e-7)
        for a, b in zip(crops.numpy(), found.numpy(), strict=True)
    )


def test_a_turn_is_counter_clockwise_after_the_flip():
    crop = torch.tensor([[0.0, 1.0], [2.0, 3.0]])[None, None]
    turned = apply_augmentation(crop, drawn(1, 1, 2, quarter_turns=torch.tensor([1])))
    assert turned.round(decimals=6)[0, 0].tolist() == [[1, 3], [0, 2]]
    both = drawn(1, 1, 2, quarter_turns=torch.tensor([1]), flip=torch.tensor([True]))
    assert apply_augmentation(crop, both).round(decimals=6)[0, 0].tolist() == [[0, 2], [1, 3]]


def test_nothing_is_clipped_and_the_channel_keeps_its_mean():
    crops = torch.rand(3, 5, 32, 32, generator=seeded()).round()
    draws = drawn(3, 5, 32, brightness=torch.full((3, 5), 0.1), contrast=torch.full((3, 5), 1.2))
    found = apply_augmentation(crops, draws)
    assert found.max() > 1.05
    assert found.min() < 0.05
    means = crops.double().mean(dim=(2, 3)) + 0.1
    np.testing.assert_allclose(found.double().mean(dim=(2, 3)), means, rtol=0, atol=1e-6)


def test_a_part_of_a_batch_comes_out_as_in_the_whole():
    crops = torch.rand(12, 3, 40, 40, generator=seeded())
    draws = draw_augmentation(12, 3, 40, seeded())
    whole = apply_augmentation(crops, draws)
    parts = [apply_augmentation(crops[i : i + 5], draws[i : i + 5]) for i in (0, 5, 10)]
    assert torch.equal(whole, torch.cat(parts))


def test_equal_seeds_give_equal_crops_and_leave_the_input_and_torch_alone():
    crops = torch.rand(8, 2, 32, 32, generator=seeded())
    before, state = crops.clone(), torch.random.get_rng_state()
    assert torch.equal(augment(crops, seeded(1)), augment(crops, seeded(1)))
    assert not torch.equal(augment(crops, seeded(1)), augment(crops, seeded(2)))
    assert torch.equal(crops, before)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_memory_layout_does_not_matter():
    crops = torch.rand(6, 5, 32, 32, generator=seeded())
    last = crops.to(memory_format=torch.channels_last)
    assert torch.equal(augment(crops, seeded()), augment(last, seeded()))


def test_the_draws_are_spread_as_they_should():
    n = 40_000
    draws = draw_augmentation(n, 3, 128, seeded(5))
    is_cut = draws.side < 128
    assert abs(is_cut.float().mean() - 0.5) < 0.015
    sides, counts = draws.side[is_cut].unique(return_counts=True)
    assert sides.tolist() == list(range(102, 128))
    assert np.ptp(counts.numpy()) < 0.35 * counts.float().mean()
    for offset in (draws.top, draws.left):
        assert (offset[~is_cut] == 0).all()
        places, counts = offset[draws.side == 110].unique(return_counts=True)
        assert places.tolist() == list(range(19))
        assert counts.min() > 15
        assert (offset + draws.side <= 128).all()
    # Row and column are independent of each other.
    of_side = draws.side == 110
    assert abs(np.corrcoef(draws.top[of_side], draws.left[of_side])[0, 1]) < 0.1
    assert abs(draws.flip.float().mean() - 0.5) < 0.015
    turns = draws.quarter_turns.bincount() / n
    assert len(turns) == 4
    assert (turns - 0.25).abs().max() < 0.015
    for values, low, high in ((draws.brightness, -0.1, 0.1), (draws.contrast, 0.8, 1.2)):
        assert low <= values.min() < low + 1e-4
        assert high - 1e-4 < values.max() <= high + 1e-6
        expected = np.full(20, n * 3 / 20)
        histogram = np.histogram(values, bins=20, range=(low - 1e-6, high + 1e-6))[0]
        np.testing.assert_allclose(histogram, expected, rtol=0.06)
        assert np.abs(np.corrcoef(values.T.numpy()) - np.eye(3)).max() < 0.03


@pytest.mark.parametrize(("p", "least", "most"), [(64, 51, 63), (32, 25, 31), (2, 1, 1)])
def test_the_square_of_other_crops(p, least, most):
    side = draw_augmentation(5000, 1, p, seeded()).side
    assert sorted(set(side.tolist()) - {p}) == list(range(least, most + 1))


@pytest.mark.parametrize(
    ("crops", "message"),
    [
        (torch.zeros(2, 3, 8, 9), "expected float32 crops of shape (n, channels, p, p)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "got torch.uint8 of shape (2, 3, 8, 8)"),
        (torch.zeros(2, 4, 8, 8), "draws for (2, 4) crops and channels, got some for (2, 3)"),
        (torch.zeros(1, 3, 8, 8), "draws for (1, 3)"),
    ],
)
def test_crops_that_do_not_fit_are_one_line(crops, message):
    with pytest.raises(CropError) as error:
        apply_augmentation(crops, draw_augmentation(2, 3, 8, seeded()))
    assert message in str(error.value)


def test_crops_of_one_pixel_are_refused():
    with pytest.raises(CropError, match="at least 2 x 2 pixels, got 1 x 1"):
        draw_augmentation(2, 3, 1, seeded())
