"""Model files: whole or refused, and never half-written."""

import hashlib
import json
import re
import struct

import numpy as np
import pytest
from safetensors.numpy import save_file

from cpcnn_core.errors import CPCNNError, ModelNotFoundError, WeightsError
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.weights import read_card, read_model, save_model, weights_sha256

CARD = ModelCard("tiny", "An example.", ("DNA",), 3)


@pytest.fixture
def weights():
    rng = np.random.default_rng(0)
    return {"b": rng.random(7, np.float32), "a": rng.random((2, 3), np.float32)}


@pytest.fixture
def path(tmp_path, weights):
    save_model(tmp_path / "tiny.safetensors", CARD, weights)
    return tmp_path / "tiny.safetensors"


def error_of(path, read=read_model):
    with pytest.raises(CPCNNError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return type(caught.value), message


def test_a_model_that_is_written_again_is_the_same_bytes(tmp_path, weights):
    written = set()
    for _ in range(20):
        save_model(tmp_path / "tiny.safetensors", CARD, weights)
        written.add((tmp_path / "tiny.safetensors").read_bytes())
    assert len(written) == 1


def test_weights_and_card_are_read_as_they_were_written(tmp_path, weights):
    path = tmp_path / "tiny.safetensors"
    written = save_model(path, CARD, weights)
    card, found = read_model(path)
    assert card == written == read_card(path)
    assert found.keys() == weights.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == np.float32


def test_equal_models_are_equal_bytes(tmp_path, weights):
    path, seen = tmp_path / "tiny.safetensors", set()
    # safetensors orders the header's entries by chance.
    for _ in range(12):
        save_model(path, CARD, weights)
        seen.add(path.read_bytes())
    assert len(seen) == 1


def test_weights_that_lie_across_memory_are_read_as_they_were_written(tmp_path):
    turned = np.random.default_rng(1).random((4, 5, 6), np.float32).transpose(2, 0, 1)
    save_model(tmp_path / "t.safetensors", CARD, {"w": turned, "v": turned[::2, :, 1]})
    found = read_model(tmp_path / "t.safetensors")[1]
    np.testing.assert_array_equal(found["w"], turned)
    np.testing.assert_array_equal(found["v"], turned[::2, :, 1])


def test_the_hash_is_of_names_shapes_and_values(weights):
    digest = hashlib.sha256(b"a(2, 3)" + weights["a"].astype("<f4").tobytes())
    digest.update(b"b(7,)" + weights["b"].astype("<f4").tobytes())
    assert weights_sha256(weights) == digest.hexdigest()
    assert weights_sha256(dict(reversed(weights.items()))) == digest.hexdigest()


def test_the_hash_of_other_names_shapes_or_values_is_another(weights):
    others = [
        weights | {"a": weights["a"].reshape(3, 2)},
        weights | {"a": np.nextafter(weights["a"], np.float32(2))},
        {"a": weights["a"], "c": weights["b"]},
        {"a": weights["a"]},
    ]
    assert len({weights_sha256(w) for w in [weights, *others]}) == 5


def test_the_layout_is_safetensors_with_our_two_entries(path, weights):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    assert header["__metadata__"]["cpcnn_format"] == "1"
    assert json.loads(header["__metadata__"]["cpcnn_card"])["sha256"] == weights_sha256(weights)
    start, end = header["a"]["data_offsets"]
    stored = np.frombuffer(data[8 + length + start : 8 + length + end], "<f4").reshape(2, 3)
    np.testing.assert_array_equal(stored, weights["a"])


def test_altered_weights_are_noticed_and_both_hashes_named(path, weights):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    kind, message = error_of(path)
    assert kind is WeightsError
    assert "altered" in message
    hashes = re.findall(r"\b[0-9a-f]{64}\b", message)
    assert len(set(hashes)) == 2
    assert weights_sha256(weights) in hashes


def test_a_missing_file_is_named(tmp_path):
    for read in (read_card, read_model):
        kind, message = error_of(tmp_path / "nowhere.safetensors", read)
        assert kind is ModelNotFoundError
        assert message.startswith("there is no model file")


def test_a_folder_is_no_model(tmp_path):
    assert error_of(tmp_path)[0] is ModelNotFoundError


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_file_is_named(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    for read in (read_card, read_model):
        kind, message = error_of(path, read)
        assert kind is WeightsError
        assert "is not a complete safetensors file" in message


def test_another_kind_of_file_is_named(tmp_path):
    path = tmp_path / "page.safetensors"
    path.write_text("<!DOCTYPE html><html></html>")
    kind, message = error_of(path)
    assert kind is WeightsError
    assert "cpcnn models import" in message


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_a_file_without_a_card_is_named(tmp_path, weights, metadata):
    path = tmp_path / "other.safetensors"
    save_file(weights, path, metadata)
    kind, message = error_of(path, read_card)
    assert kind is WeightsError
    assert "has no model card" in message
    assert "cpcnn models import" in message


@pytest.mark.parametrize("version", ["2", None])
def test_a_file_of_another_format_is_named(tmp_path, weights, version):
    path = tmp_path / "newer.safetensors"
    entries = {"cpcnn_card": CARD.to_json()} | ({"cpcnn_format": version} if version else {})
    save_file(weights, path, entries)
    kind, message = error_of(path, read_card)
    assert kind is WeightsError
    assert f"has format {version!r}, this cpcnn reads '1'" in message
    assert "pip install --upgrade cpcnn" in message


@pytest.mark.parametrize("card", ["{", "[1]", '{"name": "tiny"}', '{"surprise": 1}'])
def test_a_card_that_cannot_be_read_is_named_with_its_file(tmp_path, weights, card):
    path = tmp_path / "broken.safetensors"
    save_file(weights, path, {"cpcnn_format": "1", "cpcnn_card": card})
    assert error_of(path, read_card)[0] is WeightsError


def test_writing_leaves_nothing_beside_the_file(path):
    assert [entry.name for entry in path.parent.iterdir() if entry.name != "home"] == [path.name]


def test_writing_makes_the_folder(tmp_path, weights):
    save_model(tmp_path / "a" / "b" / "tiny.safetensors", CARD, weights)
    assert read_model(tmp_path / "a" / "b" / "tiny.safetensors")[0].name == "tiny"


def test_writing_replaces_a_model_that_is_read_at_that_moment(path, weights):
    with path.open("rb") as reader:
        save_model(path, CARD, {"c": np.zeros(2, np.float32)})
        old = reader.read()
    assert weights["a"].tobytes() in old
    assert read_model(path)[1].keys() == {"c"}
