"""The file of an aggregation: whole, or refused with what is wrong."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from cpcnn_core.aggregation.files import (
    AggregationCard,
    fit_features,
    read_aggregation,
    save_aggregation,
    told_if_learned_from,
)
from cpcnn_core.aggregation.fit import AggregationSettings
from cpcnn_core.aggregation.judge import Judgement
from cpcnn_core.aggregation.set_aggregation import CellSpace, SetAggregation
from cpcnn_core.errors import ModelNotFoundError, ProfileError, WeightsError
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.weights import save_model
from cpcnn_core.schema.profiles import Profiles

NAMES = ("Cells_CPCNN_000", "Cells_CPCNN_001", "Cells_CPCNN_002")
JUDGED = Judgement("plates", 12, 4, 0.1, 0.25, 0.5, 0.25, None, None)
CARD = AggregationCard(
    feature_names=NAMES,
    origin={"model": "m", "model_sha256": "1", "channels": ("DNA", "ER"), "crop_px": 64},
    inputs=("ab", "cd"),
    by="Metadata_Treatment",
    controls="Treatment == 'DMSO'",
    where="",
    treatments=("a", "b"),
    plates=("P1",),
    wells=4,
    cells=100,
    settings=AggregationSettings(hidden=4, strength=0.5),
    judgements=(JUDGED,),
    placebo=(replace(JUDGED, low=-0.5, high=0.5),),
    versions={"cpcnn": "1"},
)


def some(*shape):
    return np.random.default_rng(len(shape)).random(shape).astype(np.float32)


def aggregation():
    space = CellSpace(some(3), some(2, 3), some(2))
    return SetAggregation(space, some(2, 4), some(4), some(4, 2), 0.5)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.safetensors"
    save_aggregation(path, CARD, aggregation())
    return path


def header_of(path):
    with safe_open(path, framework="np") as file:
        return file.metadata()


def rewrite(path, *, tensors=None, **header):
    save_file(tensors or load_file(path), path, {**header_of(path), **header})


def test_what_was_written_is_read(path):
    card, found = read_aggregation(path)
    assert replace(card, sha256="") == CARD
    assert len(card.sha256) == 64
    expected = aggregation()
    assert found.strength == 0.5
    for name in ("hidden", "bias", "output"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for name in ("scale", "components", "spread"):
        np.testing.assert_array_equal(getattr(found.space, name), getattr(expected.space, name))


def test_equal_ones_are_equal_bytes(path, tmp_path):
    save_aggregation(tmp_path / "b.safetensors", CARD, aggregation())
    assert (tmp_path / "b.safetensors").read_bytes() == path.read_bytes()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def test_no_file(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"no aggregation.*cpcnn aggregation train"):
        read_aggregation(tmp_path / "a.safetensors")


@pytest.mark.parametrize("length", [0, 5, 200, -1])
def test_a_file_that_is_cut_off_is_refused(path, length):
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(WeightsError, match=r"not a complete safetensors file.*train it again"):
        read_aggregation(path)


def test_a_network_is_no_aggregation(path):
    save_model(path, ModelCard("tiny", "An example.", ("DNA",), 3), {"w": np.ones(3, "f4")})
    with pytest.raises(WeightsError, match=r"expected a learned aggregation.*there is a network"):
        read_aggregation(path)
    save_file({"w": np.ones(3, "f4")}, path)
    with pytest.raises(WeightsError, match="there is no card of one"):
        read_aggregation(path)


def test_a_later_version_is_refused(path):
    rewrite(path, cpcnn_aggregation_format="2")
    with pytest.raises(WeightsError, match="has format '2', this cpcnn reads '1'; upgrade"):
        read_aggregation(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda card: card.pop("wells"), "missing: wells"),
        (lambda card: card.update(colour="red"), "unknown: colour"),
        (lambda card: card.update(wells="4"), 'expected a whole number, got "4"'),
        (lambda card: card["settings"].update(steps=-1), "a number above 0 as steps, got -1"),
        (lambda card: card["settings"].update(strength=float("nan")), "as strength, got nan"),
        (lambda card: card["judgements"][0].pop("low"), "missing: low"),
    ],
)
def test_a_card_that_is_not_one_is_refused(path, change, words):
    card = json.loads(header_of(path)["cpcnn_aggregation"])
    change(card)
    rewrite(path, cpcnn_aggregation=json.dumps(card))
    with pytest.raises(WeightsError, match=words):
        read_aggregation(path)
    rewrite(path, cpcnn_aggregation="{")
    with pytest.raises(WeightsError, match="train it again, or get the file again"):
        read_aggregation(path)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("bias", some(4) + 1, "has been altered: its weights have the sha256"),
        ("bias", some(5), "expected tensors"),
        ("more", some(4), "expected tensors"),
        ("bias", np.full(4, np.nan, np.float32), "expected finite float32 numbers"),
        ("bias", np.zeros(4), "expected finite float32 numbers"),
    ],
)
def test_other_weights_are_refused(path, name, value, words):
    rewrite(path, tensors={**load_file(path), name: value})
    with pytest.raises(WeightsError, match=words):
        read_aggregation(path)


def wells(names=NAMES, **made):
    rows = {"Metadata_Plate": ["P1", "P1", "P2"], "Metadata_Treatment": ["a", "c", "a"]}
    values = np.arange(3.0 * len(names)).reshape(3, -1)
    return Profiles(values, pd.DataFrame(rows), list(names), made)


def test_features_are_put_in_order():
    found = fit_features(CARD, wells(NAMES[::-1], model="m", channels=["DNA", "ER"]))
    assert found.feature_names == list(NAMES)
    assert found.features[0].tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("names", "made", "words"),
    [
        (NAMES, {"model": "other"}, "model is m and other"),
        (NAMES, {"model": "m", "model_sha256": "2"}, "model_sha256 is 1 and 2"),
        (NAMES, {"channels": ["ER", "DNA"]}, "channels is DNA,ER and ER,DNA"),
        (NAMES, {"crop_px": 48}, "crop_px is 64 and 48"),
        (NAMES, {"correction": "sphering"}, "correction is None and sphering"),
        (NAMES, {"aggregation": "1f"}, "aggregation is None and 1f"),
        (NAMES[:2], {}, "features is 3 features from .* and 2 features"),
    ],
)
def test_other_embeddings_are_refused(names, made, words):
    with pytest.raises(ProfileError, match=f"{words}.*embed the cells as it expects, or train"):
        fit_features(CARD, wells(names, **made))


def test_wells_that_may_have_been_learned_from_are_counted():
    assert "1 of 3 wells may be among those" in told_if_learned_from(CARD, wells())[0]
    assert told_if_learned_from(replace(CARD, plates=("P3",)), wells()) == []
