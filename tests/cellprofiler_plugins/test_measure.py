"""Where crops are cut, compared with plain loops."""

import numpy as np
import pytest

from cellprofiler_plugins._cpcnn import display, measure


class Labels:
    """What is used of CellProfiler's objects, from planes of labels."""

    def __init__(self, *planes):
        self.planes = [np.asarray(plane) for plane in planes]
        self.count = int(max(plane.max() for plane in self.planes))

    @property
    def ijv(self):
        rows = [(r, c, p[r, c]) for p in self.planes for r, c in np.argwhere(p).tolist()]
        return np.array(rows, int).reshape(-1, 3)

    def get_labels(self):
        return [(plane, np.unique(plane[plane > 0])) for plane in self.planes]


@pytest.fixture(params=range(4))
def scattered(request):
    random = np.random.default_rng(request.param)
    made = [random.integers(0, 7, (12, 15)) * (random.random((12, 15)) < 0.5) for _ in range(2)]
    for labels in made:
        labels[labels == 3] = 0  # numbers have gaps
    return [Labels(labels) for labels in made]


def test_centers_are_means_of_pixels(scattered):
    numbers, centers = measure.centers_of(scattered[0])
    (labels,) = scattered[0].planes
    assert numbers.tolist() == sorted(set(labels[labels > 0].tolist()))
    for number, center in zip(numbers, centers, strict=True):
        np.testing.assert_allclose(center, np.argwhere(labels == number).mean(axis=0))


def test_partners_by_overlap_are_those_of_a_loop(scattered):
    objects, others = scattered
    found = measure.partners_by_overlap(objects, others, objects.count)
    for number in range(1, objects.count + 1):
        inside = others.planes[0][objects.planes[0] == number]
        covered = [(np.sum(inside == other), -other) for other in range(1, others.count + 1)]
        most, other = max(covered)
        assert found[number - 1] == (-other if most else 0)


def test_the_largest_child_is_the_partner(scattered):
    parents = np.array([1, 1, 2, 2, np.nan, 9.0])
    children = scattered[1]
    found = measure.partners_by_child(parents, children, 4)
    areas = [int(np.sum(children.planes[0] == child)) for child in range(1, 7)]
    for number in range(1, 5):
        mine = [(areas[i], -i) for i in range(6) if parents[i] == number and areas[i]]
        assert found[number - 1] == (1 - max(mine)[1] if mine else 0)


def test_partners_without_pixels_are_none(scattered):
    others = scattered[1]
    numbers = np.array([1, 2, 4])
    # Number 3 has no pixels.
    found, centers = measure.centers_of_partners(numbers, np.array([2, 3, 0, 5]), others)
    assert found.tolist() == [True, False, True]
    expected = [np.argwhere(others.planes[0] == number).mean(axis=0) for number in (2, 5)]
    np.testing.assert_allclose(centers, expected)


@pytest.mark.parametrize("shape", [(300, 400), (100, 128), (1080, 1080), (64, 500)])
def test_tiles_are_inside_and_side_by_side(shape):
    centers = measure.tile_centers(shape, 128)
    rows, cols = sorted(set(centers[:, 0])), sorted(set(centers[:, 1]))
    assert len(centers) == len(rows) * len(cols)
    for along, length in ((rows, shape[0]), (cols, shape[1])):
        assert len(along) == max(1, length // 128)
        assert np.all(np.diff(along) == 128)
        assert (along[0] + along[-1]) / 2 == length / 2


def test_crops_that_are_shown_are_zero_beyond_the_border():
    image = np.arange(1.0, 26).reshape(1, 5, 5)
    found = display.crop(image, np.array([0.0, 4.0]), 4)
    assert found[0].tolist() == [[0] * 4, [0] * 4, [3, 4, 5, 0], [8, 9, 10, 0]]
