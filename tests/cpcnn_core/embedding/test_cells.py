"""Cells at the scale that a model was trained at: resampled, said so, and in their place."""

import contextlib
import dataclasses

import numpy as np
import pytest

from cpcnn_core.embedding.batches import Cells, OwnPasses, SharedBatches
from cpcnn_core.embedding.cells import check_cells, embed_cells, embed_field
from cpcnn_core.embedding.embedder import Embedder
from cpcnn_core.errors import CropWarning, ImageError, ScaleWarning
from cpcnn_core.imaging.crops import crop_cells, cut_crops
from cpcnn_core.imaging.field import Field
from cpcnn_core.imaging.scale import zoom_centers, zoom_field
from cpcnn_core.models.opening import untrained_efficientnet_b0

NOTICE = (
    "untrained-efficientnet-b0 was trained at 0.65 µm per pixel, the images have 0.325: they are "
    "resampled by 0.5 before cells are cut"
)


def embedder(um_per_px):
    card, weights = untrained_efficientnet_b0()
    card = dataclasses.replace(card, um_per_px=um_per_px)
    return Embedder(card, weights, device="cpu", engine="torch", batch_size=4)


@pytest.fixture(scope="module")
def model():
    """Trained, as its card says, at 0.65 µm per pixel."""
    return embedder(0.65)


@pytest.fixture(scope="module")
def plain():
    """The same network; nobody recorded its scale."""
    return embedder(None)


@pytest.fixture(scope="module")
def cells():
    """An image of five channels, centres in it, and labels."""
    random = np.random.default_rng(0)
    labels = np.kron(random.permutation(42).reshape(6, 7), np.ones((60, 60), int))
    image = random.integers(0, 4000, (5, 360, 420)).astype(np.uint16)
    return image, random.uniform(10, [350, 410], (7, 2)), labels


def test_without_a_scale_every_bit_is_as_before(model, plain, cells):
    image, centers, labels = cells
    for options in ({}, {"labels": labels}):
        expected = embed_cells(plain, image, centers, **options)
        found = embed_cells(model, image, centers, **options)
        np.testing.assert_array_equal(found, expected)
        # A model without a scale, and one whose scale is the images' within a percent.
        found = embed_cells(plain, image, centers, um_per_px=0.325, **options)
        np.testing.assert_array_equal(found, expected)
        found = embed_cells(model, image, centers, um_per_px=0.6535, **options)
        np.testing.assert_array_equal(found, expected)


def test_cells_are_those_of_the_field_at_the_models_scale(model, plain, cells):
    image, centers, labels = cells
    small, moved, marks = zoom_field(image.astype(np.float32), centers, labels, 0.5)
    ids = labels[tuple(centers.astype(int).T)]
    with pytest.warns(ScaleWarning) as told:
        found = embed_cells(model, image, centers, um_per_px=0.325)
    assert [str(one.message) for one in told] == [NOTICE]
    np.testing.assert_array_equal(found, embed_cells(plain, small, moved))
    assert np.abs(found - embed_cells(plain, image, centers)).max() > 0.1
    with pytest.warns(ScaleWarning):
        masked = embed_cells(model, image, centers, labels=labels, label_ids=ids, um_per_px=0.325)
    expected = embed_cells(plain, small, moved, labels=marks, label_ids=ids)
    np.testing.assert_array_equal(masked, expected)
    assert np.abs(masked - found).max() > 0.1


def test_a_field_is_normalised_at_the_models_scale(cells):
    card = dataclasses.replace(embedder(0.65).card, normalizer="percentile-per-field")
    image, centers, _ = cells
    with pytest.warns(ScaleWarning):
        found = check_cells(card, image, centers, None, None, 0.325)
    small, moved, _ = zoom_field(image.astype(np.float32), centers, None, 0.5)
    expected = crop_cells(small, moved, normalizer=card.normalizer)
    crops = cut_crops(*found[:2], card.crop_px, None, None, card.normalizer)
    np.testing.assert_array_equal(crops, expected)
    assert (found[0].min(), found[0].max()) == (0, 1)


def test_which_cell_lies_at_a_centre_does_not_depend_on_the_scale(model):
    # Of the 10 x 10 pixels around the centre most are of cell 7; at a tenth of the size
    # they are not, and a patch of 10 x 10 holds the whole neighbourhood.
    labels = np.full((200, 200), 3)
    labels[94:106, 94:106] = 7
    given = (np.ones((5, 200, 200)), np.array([[100.0, 100.0]]), labels, None, 0.065)
    with pytest.warns(ScaleWarning):
        image, _, marks, ids = check_cells(model.card, *given)
    assert ids.tolist() == [7]
    assert image.shape == (5, 20, 20)
    # The middles of four of the new pixels lie at rows and columns 95 and 105 of the old.
    assert (marks == 7).sum() == 4
    assert marks.dtype == np.float32


def test_a_box_outside_is_noticed_at_the_models_scale(model):
    # 64 pixels of the model are 128 of the image: the second box begins just inside.
    centers = np.array([[-140.0, 50.0], [-100.0, 50.0]])
    image = np.ones((5, 200, 200))
    with pytest.warns(ScaleWarning), pytest.warns(CropWarning, match=r"^1 of 2 boxes"):
        embed_cells(model, image, centers, um_per_px=0.325)
    with pytest.warns(CropWarning, match=r"^2 of 2 boxes"):
        embed_cells(model, image, centers)


def test_a_table_keeps_the_places_of_the_image(model, plain, cells):
    image, centers, labels = cells
    centers = np.append(centers, [[180.0, 210.0], [170.5, 200.25]], axis=0)
    field = Field(image, model.card.channels, centers, labels=labels, um_per_px=0.325)
    with pytest.warns(ScaleWarning, match="0.65"):
        found = embed_field(model, field).to_frame()
    np.testing.assert_array_equal(found["Metadata_Location_Center_X"], centers[:, 1])
    np.testing.assert_array_equal(found["Metadata_Location_Center_Y"], centers[:, 0])
    # A crop is 256 pixels of the image wide, of 360 x 420.
    middle = np.abs(zoom_centers(centers, (360, 420), 0.5) - [89.5, 104.5])
    touches = (middle > [26, 41]).any(axis=1)
    assert found["Metadata_CropTouchesBorder"].tolist() == touches.tolist()
    assert 0 < touches.sum() < len(centers)
    as_it_is = embed_field(plain, field).to_frame()
    assert as_it_is["Metadata_CropTouchesBorder"].sum() < touches.sum()


@pytest.mark.parametrize("kind", [OwnPasses, SharedBatches])
def test_fields_of_any_scale_share_batches(model, cells, kind):
    image, centers, labels = cells
    ids = labels[tuple(centers.astype(int).T)]
    scales = (0.325, None, 0.65, 1.3)
    batches = kind(model)
    fields = [Cells(image, centers, labels, ids, scale, scale) for scale in scales]
    fields.append(Cells(image, centers, key="wrong", um_per_px=-1))
    done = [one for field in fields for one in batches.add(field)] + batches.flush()
    assert [one.key for one in done] == [*scales, "wrong"]
    assert isinstance(done.pop().error, ImageError)
    for one in done:
        with pytest.warns(ScaleWarning) if one.key in (0.325, 1.3) else contextlib.nullcontext():
            expected = embed_cells(
                model, image, centers, labels=labels, label_ids=ids, um_per_px=one.key
            )
        np.testing.assert_allclose(one.features, expected, rtol=1e-5, atol=2e-5)
        # Who made the fields says it once for all.
        assert one.notes == ()
    assert np.abs(done[0].features - done[1].features).max() > 0.1


@pytest.mark.parametrize("scale", [0, float("nan"), 650])
def test_a_scale_that_cannot_be_is_an_error(model, cells, scale):
    with pytest.raises(ImageError, match="micromet"):
        embed_cells(model, *cells[:2], um_per_px=scale)
