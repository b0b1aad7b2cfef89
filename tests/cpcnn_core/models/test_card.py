"""Model cards: written and read whole, and refused where they are not whole."""

import dataclasses
import json

import pytest

from cpcnn_core.errors import ChannelError, CPCNNError, WeightsError
from cpcnn_core.models.card import ModelCard

CARD = ModelCard(
    name="mine",
    summary='Says "µm", quotes and\nlines.',
    channels=("DNA", "Actin, phalloidin"),
    embed_dim=1280,
    tap="pool5",
    crop_px=96,
    um_per_px=0.65,
    trained=False,
    licence="CC0-1.0",
    sha256="00ff",
    provenance={"imported_from": "mine.hdf5"},
)


def test_a_card_survives_json():
    assert ModelCard.from_json(CARD.to_json()) == CARD


def test_the_json_holds_every_entry_by_name():
    values = json.loads(CARD.to_json())
    assert values.keys() == {field.name for field in dataclasses.fields(ModelCard)}
    assert values["channels"] == ["DNA", "Actin, phalloidin"]
    assert values["um_per_px"] == 0.65
    assert values["provenance"] == {"imported_from": "mine.hdf5"}


def test_entries_that_need_not_be_there_have_the_reference_as_default():
    card = ModelCard.from_json('{"name": "a", "summary": "b", "channels": ["c"], "embed_dim": 672}')
    found = card.architecture, card.tap, card.crop_px, card.normalizer
    assert found == ("efficientnet_b0", "block6a_activation", 128, "minmax-per-crop")


def test_a_card_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        CARD.channels = ("DNA",)


@pytest.mark.parametrize("channels", [(), ("DNA", "ER", "DNA")])
def test_channels_are_there_and_different(channels):
    with pytest.raises(ChannelError, match="one or more different channel names"):
        ModelCard("mine", "Mine.", channels, 672)


@pytest.mark.parametrize("entry", ["name", "summary", "channels", "embed_dim"])
def test_a_missing_entry_is_named(entry):
    values = json.loads(CARD.to_json())
    del values[entry]
    with pytest.raises(WeightsError, match=f"incomplete: {entry} is missing"):
        ModelCard.from_json(json.dumps(values))


def test_an_entry_of_a_newer_version_is_named():
    values = json.loads(CARD.to_json()) | {"z_planes": 3, "stain": "x"}
    with pytest.raises(WeightsError, match=r"does not know \(stain, z_planes\); upgrade with"):
        ModelCard.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_what_is_no_card_is_an_error_of_ours(text):
    with pytest.raises(CPCNNError):
        ModelCard.from_json(text)
