"""Batches that pair cells of different wells are balanced over classes, plates and wells."""

from collections import Counter

import numpy as np
import pytest

from cpcnn_core.errors import TrainingError
from cpcnn_core.training.sampling import paired_batches, steps_per_epoch


@pytest.fixture
def cells():
    """Four classes on one to four plates, wells of very different size, in any order."""
    random = np.random.default_rng(0)
    rows = []
    well = 0
    for label, plates in enumerate([(0, 1, 2, 3), (0, 1), (2,), (0, 1, 2)]):
        for plate in plates:
            for _ in range(1 + label):
                rows += [(label, plate, well)] * int(random.integers(3, 60))
                well += 1
    table = random.permutation(np.array(rows))
    return table[:, 0], table[:, 1], table[:, 2]


def batches(cells, epoch=0, seed=5, batch=24, together=4):
    return paired_batches(*cells, seed, epoch, batch, together)


def test_it_has_as_many_steps_as_the_references(cells):
    assert batches(cells).shape == (steps_per_epoch(cells[0], 24), 24)


def test_cells_of_a_class_are_together_and_from_different_wells(cells):
    classes, plates, wells = cells
    for group in batches(cells).reshape(-1, 4):
        assert len(set(classes[group])) == 1
        there = classes == classes[group][0]
        assert len(set(wells[group])) == min(4, len(set(wells[there])))
        assert len(set(plates[group])) == min(4, len(set(plates[there])))


def test_classes_plates_and_wells_come_equally_often(cells):
    classes, plates, wells = cells
    drawn = batches(cells).ravel()
    counts = Counter(classes[drawn])
    # A round of all classes may be cut off at the end.
    assert max(counts.values()) - min(counts.values()) <= 4
    for label in range(4):
        own = drawn[classes[drawn] == label]
        of_plates = Counter(plates[own])
        assert set(of_plates) == set(plates[classes == label])
        assert max(of_plates.values()) - min(of_plates.values()) <= 1
        for plate in of_plates:
            of_wells = Counter(wells[own[plates[own] == plate]])
            assert max(of_wells.values()) - min(of_wells.values()) <= 1


def test_a_cell_comes_again_after_all_others_of_its_well(cells):
    drawn = np.concatenate([batches(cells, epoch).ravel() for epoch in range(1)])
    for well in set(cells[2]):
        own = drawn[cells[2][drawn] == well]
        size = (cells[2] == well).sum()
        for start in range(0, len(own), size):
            part = own[start : start + size]
            assert len(set(part)) == len(part)


def test_seeds_and_epochs_draw_others_and_the_same_again(cells):
    found = [batches(cells, epoch, seed) for epoch, seed in ((0, 5), (1, 5), (0, 6))]
    assert not np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    assert np.array_equal(found[0], batches(cells, 0, 5))


def test_over_epochs_every_cell_is_seen(cells):
    seen = set()
    for epoch in range(40):
        seen |= set(batches(cells, epoch).ravel().tolist())
    assert len(seen) == len(cells[0])


def test_one_well_of_a_class_gives_its_cells_in_turn():
    classes = np.array([0] * 5 + [1] * 5)
    zeros = np.zeros(10, int)
    drawn = paired_batches(classes, zeros, classes, 0, 0, 4, 2)
    assert all(len(set(pair)) == 2 for pair in drawn.reshape(-1, 2))


def test_no_cells_are_an_error():
    none = np.zeros(0, int)
    with pytest.raises(TrainingError, match="there are no cells to draw from"):
        paired_batches(none, none, none, 0, 0, 4, 2)
