"""Fields that share batches get the features they get alone."""

import numpy as np
import pytest

from cpcnn_core import embed_cells
from cpcnn_core.embedding.batches import Cells, OwnPasses, SharedBatches, batches_for
from cpcnn_core.embedding.embedder import Embedder
from cpcnn_core.errors import ChannelError, ImageError
from cpcnn_core.models.opening import untrained_efficientnet_b0

BATCH = 8
# Together more than two batches, one field larger than a batch, one empty, one alone.
COUNTS = (3, 0, 11, 1, 6)


@pytest.fixture(scope="module")
def model():
    card, weights = untrained_efficientnet_b0()
    return Embedder(card, weights, device="cpu", engine="torch", batch_size=BATCH)


@pytest.fixture(scope="module")
def fields():
    random = np.random.default_rng(0)
    return [
        Cells(
            random.integers(0, 4000, (5, 150 + n, 160)).astype(np.uint16),
            random.uniform(0, 150, (count, 2)),
            key=n,
        )
        for n, count in enumerate(COUNTS)
    ]


def through(batches, fields):
    """Return what comes out, and after which field it came."""
    out = [(n, done) for n, field in enumerate(fields) for done in batches.add(field)]
    return out + [(len(fields), done) for done in batches.flush()]


@pytest.mark.parametrize("kind", [OwnPasses, SharedBatches])
def test_every_field_gets_its_own_features_in_order(model, fields, kind):
    found = [done for _, done in through(kind(model), fields)]
    assert [done.key for done in found] == list(range(len(COUNTS)))
    for field, done in zip(fields, found, strict=True):
        expected = embed_cells(model, field.image, field.centers)
        assert done.features.shape == (len(field.centers), 672)
        np.testing.assert_allclose(done.features, expected, rtol=1e-5, atol=2e-5)


def test_fields_wait_for_a_full_batch_and_no_longer_than_the_next(model, fields):
    came_after = {done.key: n for n, done in through(SharedBatches(model), fields)}
    # The first batch (3 + 5 cells) is fetched when the second is launched; 21 cells
    # are two batches and a part, which flushing launches.
    assert came_after == {0: 4, 1: 4, 2: 5, 3: 5, 4: 5}


def test_neighbours_are_masked_by_label(model):
    random = np.random.default_rng(6)
    image, labels = random.random((5, 150, 160)), np.zeros((150, 160), int)
    labels[30:90, 20:100], labels[90:140, 20:100] = 7, 2
    cells = Cells(image, np.array([[60.0, 60.0], [115.0, 60.0]]), labels, np.array([7, 2]))
    (done,) = through(SharedBatches(model), [cells])
    expected = embed_cells(model, image, cells.centers, labels=labels, label_ids=[7, 2])
    plain = embed_cells(model, image, cells.centers)
    np.testing.assert_allclose(done[1].features, expected, rtol=1e-5, atol=2e-5)
    assert np.abs(plain - expected).max() > 0.1


@pytest.mark.parametrize("kind", [OwnPasses, SharedBatches])
def test_a_field_that_cannot_be_used_comes_back_with_its_error(model, fields, kind):
    spoilt = np.array(fields[0].image, np.float32)
    spoilt[2, 5, 6] = np.nan
    wrong = [
        Cells(spoilt, fields[0].centers, key="nan"),
        Cells(fields[0].image[:4], fields[0].centers, key="four channels"),
    ]
    found = {done.key: done for _, done in through(kind(model), [*wrong, *fields])}
    assert isinstance(found["nan"].error, ImageError)
    assert isinstance(found["four channels"].error, ChannelError)
    assert all(found[n].error is None for n in range(len(COUNTS)))
    alone = {done.key: done for _, done in through(kind(model), fields)}
    for n in range(len(COUNTS)):
        np.testing.assert_array_equal(found[n].features, alone[n].features)


@pytest.mark.parametrize("kind", [OwnPasses, SharedBatches])
def test_boxes_outside_are_noted(model, fields, kind):
    cells = Cells(fields[0].image, np.array([[900.0, 900.0], [60.0, 60.0]]))
    ((_, done),) = through(kind(model), [cells])
    assert len(done.notes) == 1
    assert "1 of 2 boxes lie completely outside the image" in done.notes[0]


def test_on_a_cpu_every_field_has_its_own_batches(model):
    assert isinstance(batches_for(model), OwnPasses)
