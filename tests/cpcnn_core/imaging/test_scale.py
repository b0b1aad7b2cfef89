"""Fields at another scale, against loops written from the definition, and drawn cells."""

import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import erf

from cpcnn_core.errors import ImageError
from cpcnn_core.imaging.crops import crop_cells, touches_border
from cpcnn_core.imaging.scale import (
    check_um_per_px,
    scale_notice,
    touches_border_at,
    zoom_centers,
    zoom_field,
    zoom_of,
    zoomed_shape,
)

# Below, near and above 1; whole and crooked; both sides odd.
ZOOMS = (0.1, 0.31, 0.5, 0.97, 1.03, 1.5, 2, 3.7)


def slow_smooth(line, sigma):
    """A Gaussian, cut off at four sigma, over a line that goes on as it ends."""
    reach = int(4 * sigma + 0.5)
    weights = [
        math.exp(-0.5 * (k / sigma) ** 2) if sigma else 1.0 for k in range(-reach, reach + 1)
    ]
    found = []
    for i in range(len(line)):
        places = [min(max(i + k, 0), len(line) - 1) for k in range(-reach, reach + 1)]
        found.append(sum(w * line[p] for w, p in zip(weights, places, strict=True)) / sum(weights))
    return np.array(found)


def slow_line(line, new):
    """Smooth when it gets shorter, then interpolate at the middles of the new pixels."""
    old = len(line)
    if new < old:
        line = slow_smooth(line, (old / new - 1) / 2)
    found = []
    for i in range(new):
        place = min(max((i + 0.5) * old / new - 0.5, 0), old - 1)
        low = int(place)
        high = min(low + 1, old - 1)
        found.append(line[low] * (1 - (place - low)) + line[high] * (place - low))
    return np.array(found)


def slow_plane(plane, shape):
    """First the columns, then the rows: a Gaussian and a bilinear sample are separable."""
    plane = np.array([slow_line(column, shape[0]) for column in plane.T.astype(np.float64)]).T
    return np.array([slow_line(row, shape[1]) for row in plane])


@pytest.mark.parametrize("zoom", ZOOMS)
def test_the_image_is_smoothed_and_sampled_as_written_down(zoom):
    image = np.random.default_rng(0).random((3, 37, 51), np.float32)
    found, _, labels = zoom_field(image, np.zeros((0, 2)), None, zoom)
    assert found.dtype == np.float32
    assert labels is None
    shape = (max(1, round(37 * zoom)), max(1, round(51 * zoom)))
    expected = np.stack([slow_plane(plane, shape) for plane in image])
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("zoom", ZOOMS)
def test_values_stay_between_those_of_the_image_and_a_constant_stays(zoom):
    image = np.random.default_rng(1).integers(0, 2, (1, 40, 41)).astype(np.float32) * 60000
    found = zoom_field(image, np.zeros((0, 2)), None, zoom)[0]
    assert found.min() >= 0
    assert found.max() <= 60000
    flat = zoom_field(np.full((2, 20, 30), 7, np.float32), np.zeros((0, 2)), None, zoom)[0]
    np.testing.assert_allclose(flat, 7, rtol=1e-6)


@pytest.mark.parametrize("zoom", ZOOMS)
def test_centres_stay_on_what_they_marked(zoom):
    # In a picture of its own coordinates every place says where it came from.
    rows, cols = np.mgrid[:200, :230].astype(np.float32)
    centers = np.random.default_rng(2).uniform(50, 150, (40, 2))
    image, moved, _ = zoom_field(np.stack([rows, cols]), centers, None, zoom)
    for (row, col), (y, x) in zip(centers, moved, strict=True):
        assert abs(np.interp(y, np.arange(image.shape[1]), image[0, :, 0]) - row) < 1e-4
        assert abs(np.interp(x, np.arange(image.shape[2]), image[1, 0, :]) - col) < 1e-4


def test_the_edges_of_a_field_stay_its_edges_on_both_axes():
    # Halves of 103 and 203 pixels are not whole: each axis has a factor of its own.
    assert zoomed_shape((103, 203), 0.5) == (52, 102)
    moved = zoom_centers(np.array([[-0.5, -0.5], [102.5, 202.5]]), (103, 203), 0.5)
    np.testing.assert_allclose(moved, [[-0.5, -0.5], [51.5, 101.5]], rtol=1e-15)


def test_a_field_never_vanishes():
    image, _, labels = zoom_field(
        np.ones((1, 3, 40), np.float32), np.zeros((0, 2)), np.full((3, 40), 9), 0.1
    )
    assert image.shape == (1, 1, 4)
    assert labels.tolist() == [[9] * 4]


@pytest.mark.parametrize("zoom", ZOOMS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_labels_are_those_of_the_pixel_in_which_the_middle_lies(zoom, dtype):
    # Larger than float32 or float64 hold exactly, where the dtype allows.
    top = np.iinfo(dtype).max
    labels = top - np.random.default_rng(3).integers(0, 99, (23, 31)).astype(dtype)
    found = zoom_field(np.ones((1, 23, 31), np.float32), np.zeros((0, 2)), labels, zoom)[2]
    assert found.dtype == dtype
    height, width = found.shape
    assert (height, width) == zoomed_shape((23, 31), zoom)
    for i in range(height):
        row = math.floor((i + Fraction(1, 2)) * 23 / height)
        for j in range(width):
            assert found[i, j] == labels[row, math.floor((j + Fraction(1, 2)) * 31 / width)]


@pytest.mark.parametrize(
    ("card", "image", "zoom"),
    [
        (0.65, 0.325, 0.5),
        (0.325, 0.65, 2),
        (0.6, 0.2, 0.2 / 0.6),
        (1, 0.05, 0.05),
        (0.5, 10, 20),
        (1, 1.0101, 1.0101),
        (1, 0.9899, 0.9899),
    ],
)
def test_images_are_zoomed_by_the_ratio_of_the_scales(card, image, zoom):
    assert zoom_of(card, image) == zoom


@pytest.mark.parametrize(
    ("card", "image"),
    [(None, 0.65), (0.65, None), (None, None), (0.65, 0.65), (1, 1.0099), (1, 0.9901)],
)
def test_without_two_scales_or_within_a_percent_nothing_is_zoomed(card, image):
    assert zoom_of(card, image) == 1
    assert scale_notice(SimpleNamespace(name="m", um_per_px=card), image) == ""


@pytest.mark.parametrize("value", [0, -0.65, math.nan, math.inf, "0.65", True, None, [0.65]])
def test_what_is_no_scale_is_refused(value):
    with pytest.raises(ImageError, match=r"^expected micrometres per pixel as a positive number"):
        check_um_per_px(value)
    if value is not None:
        # Also where nothing would be zoomed.
        with pytest.raises(ImageError, match=r"leave it out if it is unknown"):
            zoom_of(None, value)


@pytest.mark.parametrize("value", [1, 0.65, np.float32(0.5), np.int64(2)])
def test_any_number_is_a_scale(value):
    found = check_um_per_px(value)
    assert type(found) is float
    assert found == value


@pytest.mark.parametrize("image", [325, 0.65e-6, 13.1, 0.03])
def test_nanometres_and_metres_are_noticed(image):
    with pytest.raises(ImageError, match=r"within a factor of 20 of the model's 0.65 µm per pixel"):
        zoom_of(0.65, image)


def test_the_notice_says_both_scales_and_the_factor():
    card = SimpleNamespace(name="net", um_per_px=0.65)
    assert scale_notice(card, 0.325) == (
        "net was trained at 0.65 µm per pixel, the images have 0.325: they are resampled by 0.5 "
        "before cells are cut"
    )
    assert "by 0.3077 before" in scale_notice(card, 0.2)


@pytest.mark.parametrize("zoom", [0.31, 0.5, 1, 2, 2.6])
def test_crops_that_reach_over_the_border_are_those_with_zero_fill(zoom):
    shape, box = (90, 105), 24
    centers = np.random.default_rng(4).uniform(0, shape, (300, 2))
    found = touches_border_at(centers, shape, box, zoom)
    image, moved, _ = zoom_field(np.ones((1, *shape), np.float32), centers, None, zoom)
    # A constant crop is stretched to 0 everywhere; one with fill has both 0 and 1.
    holds_fill = crop_cells(image, moved, crop_px=box).max(axis=(1, 2, 3)) > 0.5
    assert found.tolist() == holds_fill.tolist()
    assert 0 < found.sum() < 300
    if zoom == 1:
        assert found.tolist() == touches_border(centers, shape, box).tolist()


# ---- the same cells, drawn at two scales ---------------------------------------------------

FIELD_UM = 156.0


def draw(um_per_px):
    """Sums of Gaussians, as a camera sees them: integrated over every pixel's area.

    Returns the image (2, n, n) and the centres in its pixels.
    """
    random = np.random.default_rng(5)
    edges = np.arange(round(FIELD_UM / um_per_px) + 1) * um_per_px
    places = random.uniform(20, FIELD_UM - 20, (12, 2))
    image = np.full((2, len(edges) - 1, len(edges) - 1), 0.05)
    for place in places:
        for channel, size, count in ((0, 4.0, 1), (1, 2.0, 6)):
            for _ in range(count):
                spot, sigma = place + random.normal(0, 4, 2), size * random.uniform(0.8, 1.2)
                y, x = (
                    np.diff(erf((edges - at) / (sigma * math.sqrt(2)))) / um_per_px for at in spot
                )
                image[channel] += sigma**2 * np.outer(y, x)
    return image.astype(np.float32), places / um_per_px - 0.5


# The largest difference of crops that go from 0 to 1: measured 0.0044, 0.0077, 0.0209, 0.0047.
@pytest.mark.parametrize(
    ("model", "images", "most"),
    [(0.65, 0.325, 0.005), (0.65, 0.5, 0.009), (0.325, 0.65, 0.023), (0.65, 0.2, 0.005)],
)
def test_a_field_drawn_at_two_scales_gives_the_same_crops(model, images, most):
    (wanted, there), (image, centers) = draw(model), draw(images)
    expected = crop_cells(wanted, there, crop_px=48)
    zoomed, moved, _ = zoom_field(image, centers, None, zoom_of(model, images))
    assert zoomed.shape == wanted.shape
    np.testing.assert_allclose(moved, there, rtol=1e-12)
    found = crop_cells(zoomed, moved, crop_px=48)
    assert np.abs(found - expected).max() < most
    as_they_are = crop_cells(image, centers, crop_px=48)
    assert np.abs(as_they_are - expected).max() > 0.5
