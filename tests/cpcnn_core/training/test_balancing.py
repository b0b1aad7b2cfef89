"""Epochs are balanced as docs/method.md says, and the same for equal seeds."""

import statistics
from collections import Counter

import numpy as np
import pytest

from cpcnn_core.errors import TrainingError
from cpcnn_core.training.sampling import cells_per_class, draw_epoch, steps_per_epoch

SIZES = {0: 3, 1: 40, 2: 41, 5: 900, 7: 12}


@pytest.fixture
def classes():
    values = np.repeat(list(SIZES), list(SIZES.values()))
    return np.random.default_rng(0).permutation(values)


@pytest.mark.parametrize(
    "sizes", [[5], [1, 9], [3, 3, 3], [2, 7, 8, 100], [10, 1, 1000, 12, 13, 5]]
)
def test_each_class_gives_the_median(sizes):
    expected = int(statistics.median(sizes))
    classes = [number for number, size in enumerate(sizes) for _ in range(size)]
    assert cells_per_class(np.array(classes)) == expected
    rows = draw_epoch(np.array(classes), seed=3, epoch=1)
    assert rows.dtype == np.int64
    assert Counter(classes[row] for row in rows) == dict.fromkeys(range(len(sizes)), expected)


def test_a_class_with_enough_cells_gives_each_once(classes):
    for epoch in range(20):
        rows = draw_epoch(classes, seed=1, epoch=epoch)
        for number, size in SIZES.items():
            own = rows[classes[rows] == number]
            assert len(own) == 40
            if size >= 40:
                assert len(set(own)) == 40


def test_over_many_epochs_every_cell_of_a_class_is_seen_alike(classes):
    epochs = 1500
    seen = np.zeros(len(classes))
    for epoch in range(epochs):
        np.add.at(seen, draw_epoch(classes, seed=2, epoch=epoch), 1)
    for number, size in SIZES.items():
        own, mean = seen[classes == number], epochs * 40 / size
        assert own.sum() == epochs * 40
        # With replacement a count has the variance of its mean, without a smaller one.
        assert np.abs(own - mean).max() < 5 * np.sqrt(mean)
    assert (seen[classes == 1] == epochs).all()


def test_classes_come_in_no_order(classes):
    order = classes[draw_epoch(classes, seed=0, epoch=0)]
    # Of 200 cells in 5 classes, a neighbour is of the same class 39 times in 199.
    together = np.mean(order[1:] == order[:-1])
    assert 0.1 < together < 0.3


def test_an_epoch_is_its_seed_and_number(classes):
    first = draw_epoch(classes, seed=4, epoch=2)
    np.random.default_rng().random(3)
    assert np.array_equal(first, draw_epoch(classes.copy(), seed=4, epoch=2))
    others = [draw_epoch(classes, seed, epoch) for seed, epoch in ((4, 3), (5, 2), (2, 4))]
    assert not any(np.array_equal(first, other) for other in others)


def test_the_draw_stays_what_it_is():
    # A number that a later version must repeat, or trainings could not be gone on with.
    rows = draw_epoch(np.array([0, 0, 0, 1, 1, 1, 1, 2]), seed=11, epoch=3)
    assert rows.tolist() == [0, 6, 5, 2, 1, 7, 4, 7, 7]


@pytest.mark.parametrize(
    ("sizes", "batch", "steps"), [([10, 20, 30], 32, 2), ([32, 32], 32, 2), ([1, 1], 32, 1)]
)
def test_a_last_smaller_batch_counts(sizes, batch, steps):
    classes = np.repeat(np.arange(len(sizes)), sizes)
    assert steps_per_epoch(classes, batch) == steps
    assert -(-len(draw_epoch(classes, 0, 0)) // batch) == steps


@pytest.mark.parametrize(
    "call", [cells_per_class, lambda c: draw_epoch(c, 0, 0), lambda c: steps_per_epoch(c, 1)]
)
def test_no_cells_are_one_line(call):
    with pytest.raises(TrainingError, match="there are no cells to draw from"):
        call(np.zeros(0, int))
