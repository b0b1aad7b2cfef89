"""Each technical value does to the pixels what it says, and nothing else."""

import numpy as np
import pytest
from scipy import ndimage

from cpcnn_core.simulation.seeds import stream
from cpcnn_core.simulation.technique import BLEED, CHANNELS, FACTORS, OFFSET, READ_NOISE, photograph

TYPICAL = {name: factor.typical for name, factor in FACTORS.items()}
PIXEL_SIZE = 0.6
EVEN = {"vignetting": 0.0}
DARK = {f"background_{channel}": 1e-9 for channel in CHANNELS}


def take(light, **technique):
    return photograph(light, None, TYPICAL | technique, PIXEL_SIZE, stream("camera"))


@pytest.fixture
def light():
    """Even light in all channels, different in each."""
    planes = np.ones((5, 96, 96), np.float32)
    return planes * np.float32([4000, 3000, 2000, 1000, 500])[:, None, None]


@pytest.fixture
def spot():
    """One bright square in DNA."""
    planes = np.zeros((5, 96, 96), np.float32)
    planes[0, 40:56, 40:56] = 20000
    return planes


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_gain_scales_its_channel_and_leaves_the_others_alone_to_the_last_bit(channel, light):
    place = CHANNELS.index(channel)
    plain, moved = (take(light, **EVEN, **DARK, **{f"gain_{channel}": gain}) for gain in (1.0, 1.5))
    others = [index for index in range(5) if index != place]
    assert np.array_equal(plain[others], moved[others])
    # 100 counts are the camera's own, whatever comes in.
    ratio = (moved[place].mean() - 100) / (plain[place].mean() - 100)
    assert ratio == pytest.approx(1.5, abs=2e-3)


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_background_is_added_to_its_channel(channel, light):
    place = CHANNELS.index(channel)
    plain, moved = (take(light, **EVEN, **{f"background_{channel}": b}) for b in (300.0, 900.0))
    others = [index for index in range(5) if index != place]
    assert np.array_equal(plain[others], moved[others])
    assert moved[place].mean() - plain[place].mean() == pytest.approx(600, abs=1.5)


def test_vignetting_takes_so_much_light_from_the_corners(light):
    image = take(light, **DARK, vignetting=0.4, vignetting_row=0.0, vignetting_column=0.0)
    middle = image[0, 44:52, 44:52].mean() - OFFSET
    corners = [image[0, rows, cols] for rows in (0, -1) for cols in (0, -1)]
    assert (np.mean(corners) - OFFSET) / middle == pytest.approx(0.6, abs=0.02)


def test_the_place_of_vignetting_is_where_it_is_brightest(light):
    image = take(light, **DARK, vignetting=0.8, vignetting_row=0.2, vignetting_column=-0.3)
    smooth = ndimage.gaussian_filter(image[0].astype(float), 10, mode="nearest")
    row, col = np.unravel_index(smooth.argmax(), smooth.shape)
    assert (row / 95 - 0.5, col / 95 - 0.5) == pytest.approx((0.2, -0.3), abs=0.08)


def test_noise_is_shot_noise_of_that_size_and_read_noise(light):
    for noise in (0.25, 1.0):
        image = take(light, **EVEN, **DARK, noise=noise)
        for plane in image:
            expected = noise * (plane.mean() - OFFSET) + READ_NOISE**2 + 1 / 12
            assert plane.var() == pytest.approx(expected, rel=0.06)


def test_focus_widens_what_is_small_and_keeps_its_light(spot):
    rows = np.indices(spot.shape[1:])[0]
    widths, sums = [], []
    for focus in (0.25, 3.0):
        plane = take(spot, **EVEN, **DARK, focus_um=focus)[0].astype(float) - OFFSET
        near = plane[28:68, 28:68]
        weights = near / near.sum()
        widths.append((weights * (rows[28:68, 28:68] - 47.5) ** 2).sum())
        sums.append(plane.sum())
    # Variances of blurs add: 3 um are 5 px, of which the window and the haze take a part.
    assert 15 < widths[1] - widths[0] < 25
    assert sums[1] == pytest.approx(sums[0], rel=0.01)


def test_bleed_through_reaches_the_named_channel_alone():
    for source, target, part in BLEED:
        light = np.zeros((5, 96, 96), np.float32)
        light[CHANNELS.index(source)] = 10000
        image = take(light, **EVEN, **DARK, bleed_through=1.5).astype(float) - OFFSET
        assert image[CHANNELS.index(target)].mean() == pytest.approx(15000 * part, rel=0.01)
        dark = set(CHANNELS) - {source} - {to for of, to, _ in BLEED if of == source}
        for channel in dark:
            assert image[CHANNELS.index(channel)].mean() == pytest.approx(0, abs=0.2)


def test_more_light_than_the_camera_can_hold_is_its_largest_value(light):
    image = take(light * 100)
    assert image.max() == 65535
    assert (image[0] == 65535).mean() > 0.9


def test_density_is_a_factor_on_the_number_of_cells():
    from cpcnn_core.simulation.population import grow_cells

    counts = {}
    for expected in (10.0, 20.0):
        inside = []
        for index in range(60):
            cells = grow_cells((index,), (300, 300), 0.6, expected, {})
            inside.append(sum(0 <= c.row < 300 and 0 <= c.col < 300 for c in cells))
        counts[expected] = np.mean(inside)
    # The sum of 60 Poisson numbers, within 4 standard deviations, and some for the clumps.
    for expected, found in counts.items():
        assert found == pytest.approx(expected, abs=6 * np.sqrt(expected / 60))
