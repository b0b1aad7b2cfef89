"""Features stay with their objects, whatever the objects are like."""

import logging

import numpy as np
import pytest
from conftest import SMALL_MODEL, Bench, squares

SHAPE = (200, 220)
CENTERS = {2: (40, 50), 5: (100, 120), 9: (150, 60)}


def measure(labels, **settings):
    bench = Bench().use_file(SMALL_MODEL).add_images(SHAPE).add_objects(labels)
    for name, value in settings.items():
        getattr(bench.module, name).value = value
    return bench.run()


@pytest.fixture(scope="module")
def consecutive():
    features = measure(squares(SHAPE, dict(enumerate(CENTERS.values(), start=1))))
    # A hundred times what is tolerated below.
    assert np.ptp(features, axis=0).max() > 1e-3
    return features


def test_every_object_has_672_finite_and_different_features():
    labels = squares(SHAPE, dict(enumerate(CENTERS.values(), start=1)))
    values = Bench().add_images(SHAPE).add_objects(labels).run()
    assert values.shape == (3, 672)
    assert np.isfinite(values).all()
    assert len(np.unique(values, axis=0)) == 3


def test_numbers_with_gaps_keep_their_features(consecutive):
    values = measure(squares(SHAPE, CENTERS))
    assert values.shape == (9, 6)
    np.testing.assert_array_equal(values[[1, 4, 8]], consecutive)
    assert np.isnan(values[[0, 2, 3, 5, 6, 7]]).all()


def test_small_label_types_are_no_trouble(consecutive):
    values = measure(squares(SHAPE, dict(enumerate(CENTERS.values(), start=1))).astype(np.int8))
    np.testing.assert_array_equal(values, consecutive)


def test_no_object_gives_empty_measurements():
    assert measure(np.zeros(SHAPE, np.int32)).shape == (0, 6)


def test_one_object(consecutive):
    values = measure(squares(SHAPE, {1: CENTERS[5]}))
    np.testing.assert_allclose(values, consecutive[[1]], atol=1e-5)


def test_overlapping_objects_have_a_row_each(consecutive):
    from cellprofiler_core.object import Objects

    bench = Bench().use_file(SMALL_MODEL).add_images(SHAPE)
    rows, cols = np.mgrid[-6:7, -6:7].reshape(2, -1)
    centers = [(100, 120), (104, 124)]
    ijv = [
        np.column_stack([rows + row, cols + col, np.full(rows.size, number)])
        for number, (row, col) in enumerate(centers, start=1)
    ]
    objects = Objects()
    objects.set_ijv(np.vstack(ijv).astype(np.int32), shape=SHAPE)
    bench.object_set.add_objects(objects, "Cells")
    bench.module.mask_neighbors.value = True
    masked = bench.run()
    assert np.isfinite(masked).all()
    bench.module.mask_neighbors.value = False
    np.testing.assert_allclose(bench.run()[0], consecutive[1], atol=1e-5)
    alone = measure(squares(SHAPE, {1: centers[1]}), mask_neighbors=True)
    np.testing.assert_allclose(masked[1], alone[0], atol=1e-5)


def test_masking_neighbours_changes_the_features(consecutive):
    labels = squares(SHAPE, dict(enumerate(CENTERS.values(), start=1)))
    assert np.abs(measure(labels, mask_neighbors=True) - consecutive).max() > 1e-3


def around_nuclei(parent=None, child=None):
    """Measure two cells around nuclei that are elsewhere; nucleus 3 belongs to cell 1."""
    cells = squares(SHAPE, {1: (60, 60), 2: (140, 150)}, half=30)
    nuclei = squares(SHAPE, {1: (150, 160), 3: (50, 55)}, half=5)
    bench = (
        Bench()
        .use_file(SMALL_MODEL)
        .add_images(SHAPE)
        .add_objects(cells)
        .add_objects(nuclei, "Nuclei")
    )
    bench.module.center_objects.value = "Nuclei"
    if parent is not None:
        bench.measurements.add_measurement("Cells", "Parent_Nuclei", np.array(parent))
    if child is not None:
        bench.measurements.add_measurement("Nuclei", "Parent_Cells", np.array(child))
    return bench.run()


@pytest.fixture(scope="module")
def at_nuclei():
    features = measure(squares(SHAPE, {1: (50, 55), 2: (150, 160)}, half=5))
    assert np.abs(features[0] - features[1]).max() > 1e-3
    return features


def test_centres_come_from_the_parent(at_nuclei):
    np.testing.assert_allclose(around_nuclei(parent=[3, 1]), at_nuclei, atol=1e-5)


def test_parents_win_over_overlap(at_nuclei):
    np.testing.assert_allclose(around_nuclei(parent=[1, 3]), at_nuclei[::-1], atol=1e-5)


def test_centres_come_from_the_child(at_nuclei):
    np.testing.assert_allclose(around_nuclei(child=[2, 0, 1]), at_nuclei, atol=1e-5)


def test_centres_come_from_overlap(at_nuclei):
    np.testing.assert_allclose(around_nuclei(), at_nuclei, atol=1e-5)


def test_an_object_without_a_centre_has_no_value_and_is_named(at_nuclei, caplog):
    with caplog.at_level(logging.WARNING):
        values = around_nuclei(parent=[0, 1])
    assert np.isnan(values[0]).all()
    np.testing.assert_allclose(values[1], at_nuclei[1], atol=1e-5)
    assert "1 of 2 Cells have no Nuclei" in caplog.text
    assert "their numbers: 1" in caplog.text


def test_of_several_children_the_largest_counts():
    cells = squares(SHAPE, {1: (100, 110)}, half=60)
    small, large = squares(SHAPE, {1: (60, 70)}, half=3), squares(SHAPE, {2: (130, 140)}, half=9)
    bench = (
        Bench()
        .use_file(SMALL_MODEL)
        .add_images(SHAPE)
        .add_objects(cells)
        .add_objects(small + large, "Nuclei")
    )
    bench.module.center_objects.value = "Nuclei"
    bench.measurements.add_measurement("Nuclei", "Parent_Cells", np.array([1, 1]))
    alone = measure(squares(SHAPE, {1: (130, 140)}, half=9))
    np.testing.assert_allclose(bench.run(), alone, atol=1e-5)


def test_centres_are_cellprofilers_own():
    from centrosome.cpmorphology import centers_of_labels

    labels = np.random.RandomState(0).randint(0, 9, (40, 50)).astype(np.int32)
    labels[labels == 4] = 0
    bench = Bench().add_objects(labels)
    centers = __import__("_cpcnn.measure", fromlist=["x"])
    numbers, found = centers.centers_of(bench.object_set.get_objects("Cells"))
    assert numbers.tolist() == [1, 2, 3, 5, 6, 7, 8]
    np.testing.assert_allclose(found, centers_of_labels(labels).T[numbers - 1], rtol=1e-14)
