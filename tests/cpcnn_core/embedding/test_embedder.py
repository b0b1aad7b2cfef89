"""Embedding: the reference's features, bounded memory, and errors that name the cause."""

import csv
import dataclasses
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from cpcnn_core.embedding.cells import embed_cells, embed_field
from cpcnn_core.embedding.embedder import Embedder, load_model
from cpcnn_core.errors import (
    CancelledError,
    ChannelError,
    CPCNNError,
    CropError,
    CropWarning,
    DeviceError,
    ImageError,
    ModelNotFoundError,
    WeightsError,
)
from cpcnn_core.imaging.crops import crop_cells
from cpcnn_core.imaging.field import Field
from cpcnn_core.models.opening import untrained_efficientnet_b0
from cpcnn_core.models.weights import read_model

PROJECT = Path(__file__).parents[3].parent / "shared" / "fixtures" / "deepprofiler_project"
# A tenth of what may separate us from the reference: other batch sizes are other
# orders of float32 sums, nothing else.
NOISE = 1e-5


@pytest.fixture(scope="module")
def model():
    """A small batch, so that a dozen cells are several."""
    return Embedder(*untrained_efficientnet_b0(), device="cpu", batch_size=4)


@pytest.fixture(scope="module")
def cells():
    """An image of five channels, centres in and near it, and labels."""
    rng = np.random.default_rng(0)
    image = rng.random((5, 210, 230), np.float32)
    labels = np.kron(rng.permutation(42).reshape(6, 7), np.ones((35, 33), int))[:, :230]
    centers = rng.uniform(20, [190, 210], (11, 2))
    return image, centers, labels


@pytest.fixture
def site():
    if not PROJECT.is_dir():
        pytest.skip("the reference's project is not beside this repository")
    imread = pytest.importorskip("tifffile").imread
    channels = ("DNA", "RNA", "ER", "AGP", "Mito")
    with (PROJECT / "inputs" / "metadata" / "index.csv").open() as file:
        row = next(csv.DictReader(file))
    where = PROJECT / "inputs" / "locations" / row["Metadata_Plate"]
    name = f"{row['Metadata_Well']}-{row['Metadata_Site']}-Nuclei.csv"
    centers = np.loadtxt(where / name, delimiter=",", skiprows=1, usecols=(1, 0))
    planes = [imread(PROJECT / "inputs" / "images" / row[channel]) for channel in channels]
    return Field(np.stack(planes), channels, centers)


def test_the_reference_features_come_out_of_a_model_file(model_file, parity):
    features = load_model(model_file, device="cpu").embed(parity["crops"])
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, parity["block6a"], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("tap", "key", "tolerance"), [("pool5", "pool5", 5e-4), ("ClassProb", "classprob", 5e-5)]
)
def test_a_card_with_another_tap_gives_that_layer(model_file, parity, tap, key, tolerance):
    card, weights = read_model(model_file)
    card = dataclasses.replace(card, tap=tap, embed_dim=parity[key].shape[1])
    features = Embedder(card, weights, device="cpu").embed(parity["crops"])
    np.testing.assert_allclose(features, parity[key], rtol=0, atol=tolerance)


def test_a_site_of_a_deepprofiler_project_gives_deepprofilers_features(site, model_file):
    stored = PROJECT / "outputs" / "cell_painting" / "features" / "P1" / "A01" / "1.npz"
    with pytest.warns(CropWarning, match=r"^1 of 14 boxes"):
        features = embed_field(load_model(model_file), site).features
    assert len(features) == 14
    np.testing.assert_allclose(features, np.load(stored)["features"], rtol=0, atol=1e-4)


def test_a_row_belongs_to_its_centre(model, cells):
    image, centers, _ = cells
    order = np.random.default_rng(1).permutation(len(centers))
    features = embed_cells(model, image, centers)
    assert np.abs(features[1:] - features[:-1]).max(axis=1).min() > 100 * NOISE
    shuffled = embed_cells(model, image, centers[order])
    np.testing.assert_allclose(shuffled, features[order], rtol=0, atol=NOISE)


@pytest.mark.parametrize("batch_size", [1, 3, 11, 64])
def test_the_batch_size_changes_nothing(model, cells, batch_size):
    image, centers, labels = cells
    other = Embedder(*untrained_efficientnet_b0(), device="cpu", batch_size=batch_size)
    for options in ({}, {"labels": labels}):
        expected = embed_cells(model, image, centers, **options)
        found = embed_cells(other, image, centers, **options)
        np.testing.assert_allclose(found, expected, rtol=0, atol=NOISE)
        crops = crop_cells(image, centers, **options)
        np.testing.assert_allclose(other.embed(crops), expected, rtol=0, atol=NOISE)


def test_labels_mask_the_neighbours(model, cells):
    image, centers, labels = cells
    ids = labels[tuple(centers.astype(int).T)]
    assert len(set(ids)) > 5
    masked = embed_cells(model, image, centers, labels=labels, label_ids=ids)
    for center, label, features in zip(centers, ids, masked, strict=True):
        alone = embed_cells(model, image * (labels == label), center[None])[0]
        whole = embed_cells(model, image, center[None])[0]
        # At the label's edge a crop's pixels are mixed, and fall out of the mask.
        assert np.abs(features - alone).max() < np.abs(features - whole).max() / 4


@pytest.mark.parametrize("ids", [[1], list(range(10)), list(range(12))])
def test_label_ids_that_are_not_one_per_centre_are_an_error(model, cells, ids):
    image, centers, labels = cells
    with pytest.raises(ImageError, match="11 centres"):
        embed_cells(model, image, centers, labels=labels, label_ids=np.array(ids))


def test_memory_is_that_of_one_batch(model, cells):
    image, centers, _ = cells
    crop_bytes = 5 * 128 * 128 * 4

    def peak(count):
        many = np.resize(centers, (count, 2))
        tracemalloc.start()
        try:
            embed_cells(model, image, many)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(1) > crop_bytes
    # Forty more cells cost less than three more crops.
    assert peak(48) - peak(8) < 3 * crop_bytes


def test_progress_is_told_after_every_batch(model, cells):
    told = []
    embed_cells(model, cells[0], cells[1], progress=lambda *args: told.append(args))
    assert told == [(4, 11), (8, 11), (11, 11)]


def test_cancel_is_asked_before_every_batch(model, cells):
    told = []
    with pytest.raises(CancelledError):
        embed_cells(
            model,
            cells[0],
            cells[1],
            progress=lambda *args: told.append(args),
            cancel=lambda: len(told) == 2,
        )
    assert told == [(4, 11), (8, 11)]


def test_a_cancel_that_says_no_changes_nothing(model, cells):
    answers = []
    features = embed_cells(model, *cells[:2], cancel=lambda: answers.append(0))
    assert len(answers) == 3
    np.testing.assert_array_equal(features, embed_cells(model, *cells[:2]))


@pytest.mark.parametrize("centers", [[], np.zeros((0, 2))])
def test_no_cells_give_no_features(model, cells, centers):
    told = []
    features = embed_cells(model, cells[0], centers, progress=lambda *args: told.append(args))
    assert features.shape == (0, 672)
    assert features.dtype == np.float32
    assert told == []
    assert model.embed(np.zeros((0, 5, 128, 128))).shape == (0, 672)


def test_a_cell_outside_the_image_is_warned_of_once_and_gets_a_zero_crops_features(model, cells):
    with pytest.warns(CropWarning, match=r"^2 of 6 boxes") as caught:
        features = embed_cells(model, cells[0], [[900.0, 50.0]] + [[99.0, 99.0]] * 4 + [[0.0, -99]])
    assert len(caught) == 1
    empty = model.embed(np.zeros((1, 5, 128, 128)))
    np.testing.assert_allclose(features[[0, 5]], empty.repeat(2, axis=0), rtol=0, atol=NOISE)


@pytest.mark.parametrize("count", [1, 4, 6])
def test_another_number_of_channels_is_named(model, count):
    words = rf"takes 5 channels \(DNA, RNA, ER, AGP, Mito\), got {count}; give one image"
    with pytest.raises(ChannelError, match=words):
        embed_cells(model, np.ones((count, 50, 50)), [[20.0, 20.0]])


def test_an_image_that_is_none_is_named(model, cells):
    image = cells[0].copy()
    image[2, 3, 4] = np.nan
    with pytest.raises(ImageError, match="channel 2 at row 3, column 4"):
        embed_cells(model, image, cells[1])
    with pytest.raises(ImageError, match=r"labels of the image's size \(210, 230\)"):
        embed_cells(model, cells[0], cells[1], labels=np.ones((230, 210), int))


@pytest.mark.parametrize(
    "shape", [(5, 128, 128), (2, 4, 128, 128), (2, 5, 127, 128), (2, 128, 128, 5)]
)
def test_crops_of_another_shape_are_named(model, shape):
    with pytest.raises(CropError, match=r"shape \(n, 5, 128, 128\), got \(") as caught:
        model.embed(np.zeros(shape, np.float32))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("value", [-0.01, 1.01, 65535, np.nan, np.inf])
def test_crops_that_were_not_normalised_are_an_error(model, value):
    crops = np.zeros((6, 5, 128, 128), np.float32)
    crops[5, 4, 127, 127] = value
    with pytest.raises(CropError, match=r"values from 0 to 1 \(minmax-per-crop\)"):
        model.embed(crops)


def test_the_callers_arrays_stay_as_they_are(model, cells):
    before = [array.copy() for array in cells]
    embed_cells(model, cells[0], cells[1], labels=cells[2])
    for array, copy in zip(cells, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def field_of(cells, channels=("DNA", "RNA", "ER", "AGP", "Mito"), **options):
    image, centers, labels = cells
    planes = dict(zip(("DNA", "RNA", "ER", "AGP", "Mito"), image, strict=True))
    planes["Brightfield"] = np.ones_like(image[0])
    image = np.stack([planes[name] for name in channels])
    return Field(image, channels, centers, labels=labels, **options)


def test_a_field_becomes_profiles_with_its_metadata(model, cells):
    numbers = np.arange(11)[::-1] * 3 + 2
    metadata = {"Plate": "P1", "Well": "A01", "Site": 7}
    field = field_of(cells, object_numbers=numbers, metadata=metadata)
    profiles = embed_field(model, field)
    assert {name: profiles.metadata[name].tolist() for name in profiles.metadata} == {
        "Metadata_Plate": ["P1"] * 11,
        "Metadata_Well": ["A01"] * 11,
        "Metadata_Site": [7] * 11,
        "Metadata_ObjectNumber": numbers.tolist(),
        "Metadata_Location_Center_X": cells[1][:, 1].tolist(),
        "Metadata_Location_Center_Y": cells[1][:, 0].tolist(),
        "Metadata_CropTouchesBorder": [
            not (64 <= row <= 145.9 and 64 <= col <= 165.9) for row, col in cells[1]
        ],
        "Metadata_Model": ["untrained-efficientnet-b0"] * 11,
    }
    assert 0 < profiles.metadata["Metadata_CropTouchesBorder"].sum() < 11
    np.testing.assert_array_equal(profiles.features, embed_cells(model, *cells[:2]))


def test_feature_names_carry_the_compartment(model, cells):
    assert embed_field(model, field_of(cells)).feature_names[3] == "Cells_CPCNN_003"
    names = embed_field(model, field_of(cells), compartment="Nuclei").feature_names
    assert (names[0], names[-1], len(names)) == ("Nuclei_CPCNN_000", "Nuclei_CPCNN_671", 672)


def test_channels_are_chosen_by_name_whatever_their_order(model, cells):
    shuffled = field_of(cells, ("Mito", "Brightfield", "ER", "DNA", "AGP", "RNA"))
    expected = embed_field(model, field_of(cells)).features
    np.testing.assert_array_equal(embed_field(model, shuffled).features, expected)


def test_a_channel_that_a_field_lacks_is_named(model, cells):
    with pytest.raises(ChannelError, match="lacks RNA"):
        embed_field(model, field_of(cells, ("DNA", "Brightfield", "ER", "AGP", "Mito")))


def test_masked_neighbours_are_those_of_other_object_numbers(model, cells):
    # The objects' numbers are those of neighbours, which nobody could guess.
    numbers = (cells[2][tuple(cells[1].astype(int).T)] + 1) % 42
    field = field_of(cells, object_numbers=numbers)
    expected = embed_cells(model, *cells[:2], labels=cells[2], label_ids=numbers)
    found = embed_field(model, field, mask_neighbors=True).features
    np.testing.assert_array_equal(found, expected)
    guessed = embed_cells(model, *cells[:2], labels=cells[2])
    assert np.abs(found - guessed).max(axis=1).min() > 100 * NOISE


def test_masking_without_labels_is_an_error(model, cells):
    field = Field(cells[0], model.card.channels, cells[1])
    with pytest.raises(CropError, match="needs the field's label image; it has none"):
        embed_field(model, field, mask_neighbors=True)


def test_a_field_passes_progress_and_cancel_on(model, cells):
    told = []
    with pytest.raises(CancelledError):
        embed_field(
            model,
            field_of(cells),
            progress=lambda *args: told.append(args),
            cancel=lambda: bool(told),
        )
    assert told == [(4, 11)]


def test_an_empty_field_becomes_an_empty_table(model, cells):
    frame = embed_field(model, Field(cells[0], model.card.channels, [])).to_frame()
    assert frame.shape == (0, 5 + 672)


@pytest.mark.parametrize("device", ["nonsense", "", "cpu:x"])
def test_a_device_that_is_none_is_named(device):
    with pytest.raises(DeviceError, match=f"the device '{device}' cannot be used here") as caught:
        load_model("untrained-efficientnet-b0", device=device)
    assert str(caught.value).endswith("use 'auto' or 'cpu'")
    assert "\n" not in str(caught.value)


def test_a_gpu_that_is_not_there_is_named():
    with pytest.raises(DeviceError, match="the device 'cuda:99' cannot be used here"):
        load_model("untrained-efficientnet-b0", device="cuda:99")


def test_another_precision_is_named():
    with pytest.raises(DeviceError, match="auto, float32, mixed, got 'float16'"):
        load_model("untrained-efficientnet-b0", precision="float16")


def test_auto_is_a_device_of_this_machine():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert load_model("untrained-efficientnet-b0").device.type == expected


def test_a_gpu_gives_the_references_features(model_file, parity):
    if not torch.cuda.is_available():
        pytest.skip("this machine has no GPU that torch can use")
    features = load_model(model_file, device="cuda").embed(parity["crops"])
    np.testing.assert_allclose(features, parity["block6a"], rtol=0, atol=1e-4)


def test_an_unknown_model_is_named():
    with pytest.raises(ModelNotFoundError, match="no model 'nothing'"):
        load_model("nothing")


def test_weights_that_lack_what_the_card_promises_are_named(model):
    card, weights = untrained_efficientnet_b0()
    less = {name: value for name, value in weights.items() if name != "blocks.1.0.bn1.bias"}
    with pytest.raises(WeightsError, match=r"expected blocks\.1\.0\.bn1\.bias of shape \(96,\)"):
        Embedder(card, less)
    with pytest.raises(WeightsError, match=r"lacks what pool5 needs.*import the model again"):
        Embedder(dataclasses.replace(card, tap="pool5", embed_dim=1280), weights)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("architecture", "resnet50"),
        ("tap", "block9z"),
        ("normalizer", "zscore"),
        ("embed_dim", 1280),
        ("channels", ("DNA", "ER")),
    ],
)
def test_a_card_that_does_not_fit_its_network_is_refused(entry, value):
    card, weights = untrained_efficientnet_b0()
    with pytest.raises(CPCNNError, match=card.name):
        Embedder(dataclasses.replace(card, **{entry: value}), weights, device="cpu")


def test_an_unknown_tap_is_not_taken_for_another(model_file):
    card, weights = read_model(model_file)
    with pytest.raises(CPCNNError, match="block9z"):
        Embedder(dataclasses.replace(card, tap="block9z"), weights, device="cpu")
