"""Crops: the reference's own, and a slow loop written from docs/method.md#crops."""

import math
import statistics
from pathlib import Path

import numpy as np
import pytest

from cpcnn_core.errors import CropWarning, ImageError
from cpcnn_core.imaging.crops import crop_cells, label_ids_at, touches_border

DATA = Path(__file__).parents[2] / "data" / "crops"
F = np.float32


@pytest.fixture(scope="module")
def reference():
    field = dict(np.load(DATA / "image.npz"))
    return {
        "image": field["image"].transpose(2, 0, 1),
        "labels": field["labels"],
        "centers": field["centres_xy"][:, ::-1],
        "crops": np.load(DATA / "expected.npz")["crops"].transpose(0, 3, 1, 2),
        "masked": np.load(DATA / "expected_masked.npz")["crops"].transpose(0, 3, 1, 2),
        "ids": np.load(DATA / "expected_masked.npz")["mask_ids"],
    }


def slow_positions(center, size, box):
    start = F(F(center - box / 2) / F(size))
    end = F(F(center + box / 2) / F(size))
    step = F(F(F(end - start) * F(size - 1)) / F(box - 1))
    return [F(F(start * F(size - 1)) + F(F(i) * step)) for i in range(box)]


def slow_sample(plane, y, x):
    if y < 0 or y > plane.shape[0] - 1 or x < 0 or x > plane.shape[1] - 1:
        return F(0)
    left, right = math.floor(x), math.ceil(x)
    upper, lower = (
        F(plane[row, left] + F(F(plane[row, right] - plane[row, left]) * F(x - F(left))))
        for row in (math.floor(y), math.ceil(y))
    )
    return F(upper + F(F(lower - upper) * F(y - F(math.floor(y)))))


def slow_resample(plane, center, box):
    plane = plane.astype(F)
    rows, cols = (slow_positions(float(center[k]), plane.shape[k], box) for k in (0, 1))
    return np.array([[slow_sample(plane, y, x) for x in cols] for y in rows], F)


def slow_crop(image, center, box, labels=None, label_id=None):
    planes = [slow_resample(plane, center, box) for plane in image]
    if labels is not None:
        mask = slow_resample(labels, center, box) == F(label_id)
        planes = [plane * mask for plane in planes]
    return np.stack([(p - p.min()) / F(F(p.max() - p.min()) + F(1e-7)) for p in planes])


def slow_touches_border(center, shape, box):
    return any(
        position < 0 or position > size - 1
        for along, size in zip(center, shape, strict=True)
        for position in slow_positions(float(along), size, box)
    )


def slow_label_id(labels, center):
    rows, cols = (list(range(n)) for n in labels.shape)
    row, col = int(center[0]), int(center[1])
    rows, cols = rows[max(0, row - 5) : row + 5], cols[max(0, col - 5) : col + 5]
    patch = [int(labels[r, c]) for r in rows for c in cols]
    return int(statistics.median(patch)) if patch else 0


def some_centers(rng, shape, reach, count=5):
    """Centres within the image, on its border and up to `reach` pixels beyond."""
    near = rng.uniform(-reach, np.array(shape) + reach, (count, 2))
    edges = [[0, 0], [shape[0] - 1, shape[1] - 1], [shape[0] / 2, shape[1] / 2]]
    return np.concatenate([near, edges, near[:2].round()])


def some_labels(rng, shape, block=11):
    """Square objects in a grid, with background between and gaps in the numbers."""
    row, col = np.indices(shape)
    numbers = rng.permutation(2 * (shape[0] // block + 1) * (shape[1] // block + 1))
    labels = numbers[row // block * (shape[1] // block + 1) + col // block]
    return np.where((row % block < 2) | (col % block < 1), 0, labels)


def test_crops_equal_the_references_to_the_bit(reference):
    with pytest.warns(CropWarning, match=r"^1 of 14 boxes"):
        crops = crop_cells(reference["image"], reference["centers"])
    assert crops.dtype == np.float32
    np.testing.assert_array_equal(crops, reference["crops"])


def test_masked_crops_equal_the_references_to_the_bit(reference):
    with pytest.warns(CropWarning):
        crops = crop_cells(reference["image"], reference["centers"], labels=reference["labels"])
    assert crops.dtype == np.float32
    np.testing.assert_array_equal(crops, reference["masked"])


def test_masks_of_given_ids_equal_the_references_to_the_bit(reference):
    with pytest.warns(CropWarning):
        crops = crop_cells(
            reference["image"],
            reference["centers"],
            labels=reference["labels"],
            label_ids=reference["ids"],
        )
    np.testing.assert_array_equal(crops, reference["masked"])


def test_label_ids_equal_the_references(reference):
    found = label_ids_at(reference["labels"], reference["centers"])
    assert found.tolist() == reference["ids"].tolist()


@pytest.mark.filterwarnings("ignore::cpcnn_core.errors.CropWarning")
@pytest.mark.parametrize(
    ("shape", "box"),
    [((97, 131), 32), ((301, 213), 15), ((41, 53), 64), ((1, 77), 24), ((77, 2), 24)],
)
def test_crops_equal_a_slow_loop(shape, box):
    rng = np.random.default_rng(box)
    image = rng.uniform(-100, 60000, (2, *shape)).astype(np.float32)
    centers = some_centers(rng, shape, reach=box / 2 + 3)
    crops = crop_cells(image, centers, crop_px=box)
    for center, crop in zip(centers, crops, strict=True):
        np.testing.assert_array_equal(crop, slow_crop(image, center, box), err_msg=str(center))


@pytest.mark.parametrize("shape", [(157, 201), (90, 60)])
def test_crops_of_128_pixels_equal_a_slow_loop(shape):
    rng = np.random.default_rng(128)
    image = rng.integers(0, 65536, (1, *shape)).astype(np.uint16)
    centers = [[shape[0] * 0.4, shape[1] * 0.61], [3.25, shape[1] - 1]]
    for center, crop in zip(centers, crop_cells(image, np.array(centers)), strict=True):
        np.testing.assert_array_equal(crop, slow_crop(image, center, 128))


@pytest.mark.filterwarnings("ignore::cpcnn_core.errors.CropWarning")
@pytest.mark.parametrize("given", [False, True])
def test_masked_crops_equal_a_slow_loop(given):
    rng = np.random.default_rng(5)
    shape, box = (83, 119), 32
    image, labels = rng.random((2, *shape)), some_labels(rng, (83, 119))
    centers = some_centers(rng, shape, reach=15, count=8)
    ids = [slow_label_id(labels, center) for center in centers]
    assert len({0, *ids}) > 4
    ids = rng.permutation(ids) if given else ids
    crops = crop_cells(image, centers, crop_px=box, labels=labels, label_ids=ids if given else None)
    for center, label_id, crop in zip(centers, ids, crops, strict=True):
        expected = slow_crop(image, center, box, labels, label_id)
        np.testing.assert_array_equal(crop, expected, err_msg=f"{center} {label_id}")


def test_label_ids_equal_a_slow_loop():
    rng = np.random.default_rng(6)
    labels = some_labels(rng, (40, 61), block=7)
    centers = rng.uniform(-14, [54, 75], (300, 2))
    expected = [slow_label_id(labels, center) for center in centers]
    assert label_ids_at(labels, centers).tolist() == expected


def test_a_constant_channel_is_zero_inside_and_one_against_the_fill():
    image = np.full((1, 200, 200), 7.0)
    inside, over_the_border = crop_cells(image, np.array([[100.0, 100], [0, 100]]))
    assert not inside.any()
    assert np.unique(over_the_border).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.uint16, np.int64, np.float64])
def test_any_real_pixel_type_is_taken(dtype):
    image = np.random.default_rng(7).integers(0, 2, (2, 60, 50)).astype(dtype)
    crop = crop_cells(image, np.array([[31.5, 20.25]]), crop_px=24)[0]
    assert crop.dtype == np.float32
    np.testing.assert_array_equal(crop, slow_crop(image.astype(F), (31.5, 20.25), 24))


def test_a_view_of_an_image_is_cut_like_its_copy():
    whole = np.random.default_rng(8).random((120, 150, 4)).astype(np.float32)
    view = whole[::2, 10:, ::-2].transpose(2, 0, 1)
    crop = crop_cells(view, np.array([[30.0, 70.5]]), crop_px=32)[0]
    np.testing.assert_array_equal(crop, slow_crop(view.copy(), (30.0, 70.5), 32))


def test_the_callers_arrays_stay_as_they_are():
    rng = np.random.default_rng(9)
    arrays = rng.random((2, 90, 90), np.float32), some_labels(rng, (90, 90)), np.full((1, 2), 40.0)
    before = [array.copy() for array in arrays]
    crop_cells(arrays[0], arrays[2], labels=arrays[1])
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_box_completely_outside_is_zero_and_warned_of():
    image = np.ones((2, 100, 120))
    centers = np.array([[50.0, 50.0], [50.0, 300.0], [-90.5, 60.0]])
    with pytest.warns(CropWarning) as caught:
        crops = crop_cells(image, centers)
    assert str(caught[0].message) == (
        "2 of 3 boxes lie completely outside the image of 100 x 120 pixels, the first around "
        "row 50.0, column 300.0; their crops are all zero"
    )
    assert crops.any(axis=(1, 2, 3)).tolist() == [True, False, False]


def test_the_warning_points_at_the_line_that_asked():
    with pytest.warns(CropWarning) as caught:
        crop_cells(np.ones((1, 50, 50)), np.array([[500.0, 0.0]]))
    assert Path(caught[0].filename).name == Path(__file__).name


@pytest.mark.parametrize("centers", [[], np.zeros((0, 2)), np.zeros((0,), int)])
def test_no_centres_give_no_crops(centers):
    crops = crop_cells(np.ones((3, 50, 50)), centers)
    assert crops.shape == (0, 3, 128, 128)
    assert crops.dtype == np.float32
    assert touches_border(centers, (50, 50)).shape == (0,)
    assert label_ids_at(np.ones((50, 50), int), np.zeros((0, 2))).shape == (0,)


def test_touches_border_equals_a_slow_loop():
    rng = np.random.default_rng(10)
    shape = (211, 163)
    rows = np.concatenate([[63, 64, 65, 146, 147, 148, 63.999, 147.001], rng.uniform(60, 150, 40)])
    cols = np.concatenate([[64, 99, 81, 81, 81, 81, 81, 98.5], rng.uniform(60, 103, 40)])
    centers = np.stack([rows, cols], axis=1)
    expected = [slow_touches_border(center, shape, 128) for center in centers]
    assert 5 < sum(expected) < 43
    assert touches_border(centers, shape).tolist() == expected


def test_touches_border_at_the_last_row_that_fits():
    for size in range(128, 400, 7):
        last = slow_positions(size - 64.0, size, 128)[-1]
        found = touches_border(np.array([[size - 64.0, 500.0]]), (size, 1000))
        assert found.tolist() == [bool(last > size - 1)], size


def test_touches_border_tells_where_crops_hold_fill():
    image = np.ones((1, 180, 190))
    centers = np.random.default_rng(11).uniform(50, 140, (60, 2))
    holds_fill = crop_cells(image, centers).any(axis=(1, 2, 3))
    assert 0 < holds_fill.sum() < 60
    assert touches_border(centers, (180, 190)).tolist() == holds_fill.tolist()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.ones((50, 50)), r"shape \(channels, height, width\), got \(50, 50\)"),
        (np.ones((1, 5, 50, 50)), r"got \(1, 5, 50, 50\)"),
        (np.ones((0, 50, 50)), r"got \(0, 50, 50\)"),
        (np.ones((2, 50, 0)), r"got \(2, 50, 0\)"),
        (np.ones((1, 50, 50), complex), "real pixel values, got dtype complex128"),
        (np.full((1, 50, 50), "7"), "real pixel values, got dtype <U1"),
        (np.ones((1, 50, 50), object), "real pixel values, got dtype object"),
    ],
)
def test_what_is_no_image_is_named(image, words):
    with pytest.raises(ImageError, match=words):
        crop_cells(image, np.array([[20.0, 20.0]]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_not_finite_is_named(value):
    image = np.ones((3, 50, 60), np.float32)
    image[1, 20, 30] = image[2, 1, 1] = value
    words = "got 2 that are NaN or infinite, the first in channel 1 at row 20, column 30"
    with pytest.raises(ImageError, match=words):
        crop_cells(image, np.array([[20.0, 20.0]]))


@pytest.mark.parametrize(
    ("centers", "words"),
    [
        (np.array([1.0, 2.0]), r"shape \(n, 2\) as \(row, col\), got \(2,\)"),
        (np.ones((4, 3)), r"got \(4, 3\)"),
        (np.array([[1, 2], [3, np.nan]]), r"finite centres, got \[3.0, nan\] in row 1"),
    ],
)
def test_what_are_no_centres_is_named(centers, words):
    for call in (
        lambda: crop_cells(np.ones((1, 50, 50)), centers),
        lambda: touches_border(centers, (50, 50)),
    ):
        with pytest.raises(ImageError, match=words):
            call()


@pytest.mark.parametrize("shape", [(60, 50), (50, 60, 1), (1, 50, 60)])
def test_labels_of_another_size_are_named(shape):
    with pytest.raises(ImageError, match=r"image's size \(50, 60\), got \("):
        crop_cells(np.ones((1, 50, 60)), np.array([[20.0, 20]]), labels=np.ones(shape, int))


@pytest.mark.parametrize("ids", [[1], [1, 2, 3], []])
def test_label_ids_that_are_not_one_per_centre_are_an_error(ids):
    labels = np.ones((50, 60), int)
    labels[:, 30:] = 2
    centers = np.array([[20.0, 10.0], [20.0, 50.0]])
    with pytest.raises(ImageError, match="2 centres"):
        crop_cells(np.ones((1, 50, 60)), centers, labels=labels, label_ids=np.array(ids, int))
