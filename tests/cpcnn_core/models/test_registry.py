"""The registry: names and files to models, and what is said where there is none."""

from pathlib import Path

import pytest

from cpcnn_core.errors import ModelNotFoundError, WeightsError
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.folders import cpcnn_home
from cpcnn_core.models.opening import untrained_efficientnet_b0
from cpcnn_core.models.registry import (
    card_of,
    find_model,
    is_model_path,
    known_cards,
    list_models,
    model_file,
    ready_models,
)
from cpcnn_core.models.weights import save_model


def put_model(path, name="mine", channels=("DNA", "Actin")):
    card, weights = untrained_efficientnet_b0(channels)
    card = ModelCard(name, "A model of mine.", card.channels, card.embed_dim)
    return save_model(path, card, weights)


def test_the_published_network_is_described_as_the_reference_has_it():
    card = known_cards()["cell-painting-cnn-v1"]
    assert card.channels == ("DNA", "RNA", "ER", "AGP", "Mito")
    assert (card.tap, card.embed_dim, card.crop_px) == ("block6a_activation", 672, 128)
    assert card.normalizer == "minmax-per-crop"
    assert "7114558" in card.source


def test_the_home_is_where_the_variable_says(home):
    assert cpcnn_home() == home
    assert model_file("mine") == home / "models" / "mine.safetensors"


def test_the_home_may_begin_with_a_tilde(monkeypatch):
    monkeypatch.setenv("CPCNN_HOME", "~/of-cpcnn")
    assert cpcnn_home() == Path.home() / "of-cpcnn"


def test_an_empty_variable_means_the_users_own_folder(monkeypatch):
    monkeypatch.setenv("CPCNN_HOME", "")
    assert cpcnn_home().is_absolute()
    assert cpcnn_home() != Path.cwd()


def test_models_are_listed_built_in_first_then_imported():
    known = list_models()
    first = [
        "cell-painting-cnn-v1",
        "imagenet-efficientnet-lite0",
        "untrained-efficientnet-b0",
        "untrained-resnet18",
    ]
    assert known[:4] == first
    for name in ("zebra", "ant", "cell-painting-cnn-v1"):
        put_model(model_file(name), name)
    assert list_models() == [*known, "ant", "zebra"]
    assert ready_models() == [*first, "ant", "zebra"]


def test_an_imported_model_is_found_by_name(home):
    card = put_model(model_file("mine"))
    assert find_model("mine") == (card, home / "models" / "mine.safetensors")


def test_an_imported_model_comes_before_the_built_in_card():
    card = put_model(model_file("cell-painting-cnn-v1"), "cell-painting-cnn-v1", ("A", "B"))
    assert find_model("cell-painting-cnn-v1")[0] == card


@pytest.mark.parametrize("as_type", [str, Path])
def test_a_file_is_found_by_its_path(tmp_path, as_type):
    path = tmp_path / "anything.safetensors"
    card = put_model(path)
    assert find_model(as_type(path)) == (card, path)


def test_a_file_in_the_current_folder_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    card = put_model(tmp_path / "mine.safetensors")
    assert find_model("mine.safetensors")[0] == card


def test_the_untrained_network_needs_no_file():
    card, path = find_model("untrained-efficientnet-b0")
    assert path is None
    assert not card.trained


def test_a_published_model_that_is_not_here_says_how_to_get_it():
    words = "not on this machine yet; get it with: cpcnn models fetch cell-painting-cnn-v1"
    with pytest.raises(ModelNotFoundError, match=words):
        find_model("cell-painting-cnn-v1")


@pytest.mark.parametrize("name", ["cell-painting-cnn-v2", "cell_painting_cnn_v1"])
def test_a_name_that_is_nearly_right_is_corrected(name):
    with pytest.raises(ModelNotFoundError, match=r"did you mean cell-painting-cnn-v1\?"):
        find_model(name)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("nope", "openphenom"),
        ("Dino", "dinov2-vit"),
        ("subcell", "subcell-vit or subcell-mae"),
        ("resnet", "untrained-resnet18"),
        ("", "untrained-"),
    ],
)
def test_a_name_that_is_wrong_leads_to_the_nearest_and_to_the_list(name, near):
    words = rf"no model '{name}'; did you mean .*{near}.*\? List all names with: cpcnn models list"
    with pytest.raises(ModelNotFoundError, match=words):
        find_model(name)
    with pytest.raises(ModelNotFoundError, match=words):
        card_of(name)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"no model file .*mine\.safetensors"):
        find_model(tmp_path / "mine.safetensors")


@pytest.mark.parametrize("name", ["w.hdf5", "W.H5", "folder/w.hdf5"])
def test_a_keras_checkpoint_leads_to_import(name):
    stem = Path(name).stem
    words = f"cpcnn models import {name} --out {stem}.safetensors"
    with pytest.raises(ModelNotFoundError, match=words):
        find_model(name)


def test_a_damaged_model_of_a_name_is_an_error_and_not_the_built_in():
    path = model_file("cell-painting-cnn-v1")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half")
    with pytest.raises(WeightsError, match=r"cell-painting-cnn-v1\.safetensors"):
        find_model("cell-painting-cnn-v1")


@pytest.mark.parametrize(
    ("name", "is_path"),
    [
        ("cell-painting-cnn-v1", False),
        ("model.v2", False),
        ("MINE.SAFETENSORS", True),
        ("mine.h5", True),
        ("folder/mine", True),
        (Path("folder") / "mine", True),
    ],
)
def test_a_path_is_told_from_a_name(name, is_path):
    assert is_model_path(name) is is_path
