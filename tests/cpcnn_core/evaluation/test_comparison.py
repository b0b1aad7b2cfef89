"""Models by name or file, each under a name of its own."""

import dataclasses
import shutil

import pytest

from cpcnn_core.errors import ModelNotFoundError, ProfileError
from cpcnn_core.evaluation.comparison import find_compared_models
from cpcnn_core.models.opening import untrained_efficientnet_b0
from cpcnn_core.models.weights import save_model


@pytest.fixture
def files(tmp_path):
    card, weights = untrained_efficientnet_b0(("DNA", "ER"))
    first, second = (tmp_path / name / "model.safetensors" for name in ("a", "b"))
    first.parent.mkdir()
    second.parent.mkdir()
    save_model(first, dataclasses.replace(card, crop_px=32), weights)
    shutil.copy(first, second)
    return str(first), str(second)


def test_files_and_names_take_part(files):
    found = find_compared_models([files[0], f"other={files[1]}", "untrained-efficientnet-b0"])
    assert [one.name for one in found] == ["model", "other", "untrained-efficientnet-b0"]
    assert [one.model for one in found] == [files[0], files[1], "untrained-efficientnet-b0"]
    assert [one.card.crop_px for one in found] == [32, 32, 128]


def test_two_of_one_name_are_told_apart_by_the_user(files):
    with pytest.raises(ProfileError, match="would both be called model; name them: NAME="):
        find_compared_models(files)


def test_nobody_takes_part_twice(files):
    with pytest.raises(ProfileError, match="is there twice; name every model once"):
        find_compared_models([files[0], f"again={files[0]}"])


@pytest.mark.parametrize("text", ["=x", "a/b=untrained-efficientnet-b0", ".x=y", "x="])
def test_a_name_must_name_a_folder(text):
    with pytest.raises(ProfileError, match="expected MODEL or NAME=MODEL with a name of letters"):
        find_compared_models([text])


def test_unknown_and_taken_names():
    with pytest.raises(ModelNotFoundError, match="did you mean untrained-efficientnet-b0"):
        find_compared_models(["untrained-eficientnet-b0"])
    with pytest.raises(ProfileError, match="classical is what the classical measurements are"):
        find_compared_models(["classical=untrained-efficientnet-b0"])
