"""Soft labels start and move as in docs/method.md, and survive a file."""

import numpy as np
import pytest

from cpcnn_core.errors import TrainingError
from cpcnn_core.training.label_refinement import SoftLabels

CLASSES = np.array([2, 0, 1, 2, 2])


def slow_start(classes, count, smoothing):
    return [
        [smoothing / count + (1 - smoothing if k == own else 0.0) for k in range(count)]
        for own in classes
    ]


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_they_start_smoothed(smoothing):
    labels = SoftLabels.start(CLASSES, 4, smoothing)
    assert labels.table.dtype == np.float32
    np.testing.assert_allclose(labels.table, slow_start(CLASSES, 4, smoothing), atol=1e-7)
    np.testing.assert_allclose(labels.table.sum(axis=1), 1, atol=1e-6)


def test_they_follow_the_predictions_over_epochs():
    random = np.random.default_rng(0)
    labels, rate = SoftLabels.start(CLASSES, 3, 0.1), 0.01
    expected = slow_start(CLASSES, 3, 0.1)
    for _ in range(30):
        predictions = random.dirichlet(np.ones(3), size=len(CLASSES)).astype(np.float32)
        # In two parts, in any order.
        for rows in ([4, 0], [1, 3, 2]):
            labels.update(rows, predictions[rows], rate)
        for i, row in enumerate(expected):
            for k, value in enumerate(row):
                row[k] = (1 - rate) * value + rate * float(predictions[i, k])
    np.testing.assert_allclose(labels.table, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(labels.table.sum(axis=1), 1, atol=1e-5)


def test_a_step_changes_its_cells_only():
    labels = SoftLabels.start(CLASSES, 3)
    before = labels.table.copy()
    labels.update([1], np.array([[0.0, 0.0, 1.0]]), rate=1.0)
    assert labels.of([1]).tolist() == [[0, 0, 1]]
    assert np.array_equal(labels.of([0, 2, 3, 4]), before[[0, 2, 3, 4]])


def test_a_file_gives_them_back_to_the_bit(tmp_path):
    labels = SoftLabels.start(CLASSES, 3)
    labels.update([0, 1], np.array([[0.2, 0.3, 0.5], [1, 0, 0]], np.float32))
    path = tmp_path / "soft_labels" / "0001.npz"
    labels.save(path)
    assert [file.name for file in path.parent.iterdir()] == ["0001.npz"]
    found = SoftLabels.load(path, (5, 3))
    assert found.table.dtype == np.float32
    assert np.array_equal(found.table, labels.table)
    found.update([0], np.array([[1.0, 0, 0]]))


@pytest.mark.parametrize(
    ("rows", "predictions", "rate", "message"),
    [
        ([0], np.ones((1, 2)), 0.1, "expected predictions of shape (1, 3), got (1, 2)"),
        ([0, 1], np.ones((1, 3)), 0.1, "expected predictions of shape (2, 3), got (1, 3)"),
        ([0], np.array([[0, np.nan, 1]]), 0.1, "predictions are NaN or infinite"),
        ([3, 3], np.ones((2, 3)), 0.1, "refined twice in one step"),
        ([0], np.ones((1, 3)), 1.5, "a rate of label refinement from 0 to 1, got 1.5"),
        ([0], np.ones((1, 3)), np.nan, "from 0 to 1, got nan"),
    ],
)
def test_what_cannot_be_learned_from_changes_nothing(rows, predictions, rate, message):
    labels = SoftLabels.start(CLASSES, 3)
    before = labels.table.copy()
    with pytest.raises(TrainingError) as error:
        labels.update(rows, predictions, rate)
    assert message in str(error.value)
    assert np.array_equal(labels.table, before)


@pytest.mark.parametrize(
    ("classes", "smoothing", "message"),
    [
        ([0, 3], 0.1, "expected classes from 0 to 2, got 0 to 3"),
        ([-1, 2], 0.1, "expected classes from 0 to 2, got -1 to 2"),
        ([0], -0.1, "a smoothing of labels from 0 to 1, got -0.1"),
    ],
)
def test_a_start_that_makes_no_sense_is_one_line(classes, smoothing, message):
    with pytest.raises(TrainingError) as error:
        SoftLabels.start(np.array(classes), 3, smoothing)
    assert message in str(error.value)


def test_files_that_are_none_are_named(tmp_path):
    path = tmp_path / "0001.npz"
    with pytest.raises(TrainingError, match="there are no soft labels"):
        SoftLabels.load(path)
    SoftLabels.start(CLASSES, 3).save(path)
    with pytest.raises(TrainingError, match=r"of 5 cells and 4 classes .* got \(5, 3\)"):
        SoftLabels.load(path, (5, 4))
    whole = path.read_bytes()
    for damaged in (whole[:-30], whole[:40], b"", b"text", whole.replace(b"labels", b"lebals")):
        path.write_bytes(damaged)
        with pytest.raises(TrainingError, match="does not hold soft labels, or is damaged"):
            SoftLabels.load(path)
    with path.open("wb") as file:
        np.save(file, np.zeros((5, 3)))
    with pytest.raises(TrainingError, match="does not hold soft labels"):
        SoftLabels.load(path)
    np.savez(path, labels=np.zeros((5, 3)), format=2)
    with pytest.raises(TrainingError, match="has format 2, this cpcnn reads 1"):
        SoftLabels.load(path)
    np.savez(path, labels=np.array([{}]), format=1)
    with pytest.raises(TrainingError, match="does not hold soft labels"):
        SoftLabels.load(path)
