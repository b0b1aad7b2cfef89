"""Whether weights are the published ones: what publishers say, and what this machine keeps."""

import dataclasses
import hashlib
import json
import re
import socket
import time

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from cpcnn_core.cli.main import main
from cpcnn_core.embedding.embedder import load_model
from cpcnn_core.errors import DownloadError, ModelWarning, WeightsError
from cpcnn_core.models import download
from cpcnn_core.models.download import ask_publisher
from cpcnn_core.models.registry import find_model, known_cards, model_file
from cpcnn_core.models.verification import verified_file, weights_statement
from cpcnn_core.models.weight_import import import_keras_model, import_model
from cpcnn_core.models.weights import read_model, save_model

from ..screen.conftest import make_screen
from .publishers import FILE, MODEL, hub_with, record_of

VERIFIED = "verified against Zenodo record 7114558"


def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def import_it(file, *more):
    return main(["models", "import", str(file), "--name", MODEL, *more])


def verify(*arguments):
    return main(["models", "verify", MODEL, *arguments])


def shown(capsys, model=MODEL):
    """Return the statement of ``models show`` about the weights."""
    capsys.readouterr()
    assert main(["models", "show", str(model)]) == 0
    return re.search(r"^weights +(.+)$", capsys.readouterr().out, re.MULTILINE)[1]


@pytest.fixture(scope="module")
def random_keras(tmp_path_factory, seeded_weights, write_keras):
    """Random numbers of the published network's shape."""
    random = np.random.default_rng(5)
    weights = {
        name: random.random(value.shape, np.float32) for name, value in seeded_weights.items()
    }
    return write_keras(tmp_path_factory.mktemp("random") / FILE, weights)


def test_the_published_file_is_verified_when_it_is_fetched(archive, keras_weights, capsys):
    archive |= record_of(keras_weights.read_bytes())
    assert main(["models", "fetch", MODEL]) == 0
    assert capsys.readouterr().out.splitlines()[1] == VERIFIED
    assert shown(capsys) == VERIFIED


def test_the_published_file_is_verified_when_it_is_imported(archive, keras_weights, capsys):
    archive |= record_of(keras_weights.read_bytes())
    assert import_it(keras_weights) == 0
    assert VERIFIED in capsys.readouterr().out.splitlines()
    assert shown(capsys) == VERIFIED


def test_random_numbers_do_not_become_the_published_network(
    archive, keras_weights, random_keras, mirror, home, capsys
):
    archive |= record_of(keras_weights.read_bytes())
    address = f"{mirror(random_keras.parent)}/{FILE}"
    wrong, right = (hashlib.md5(f.read_bytes()).hexdigest() for f in (random_keras, keras_weights))
    for run in (
        lambda: import_it(random_keras),
        lambda: main(["models", "fetch", MODEL, "--url", address, "--insecure"]),
    ):
        assert run() == 1
        error = capsys.readouterr().err
        assert f"its md5 is {wrong}, Zenodo record 7114558 says {right}" in error
        assert not model_file(MODEL).exists()
        assert not verified_file().exists()


def test_another_file_of_the_network_is_imported_when_asked_for_and_not_verified(
    archive, keras_weights, random_keras, capsys
):
    archive |= record_of(keras_weights.read_bytes())
    assert import_it(random_keras, "--unverified") == 0
    assert "not verified" in capsys.readouterr().out.splitlines()
    assert shown(capsys) == "not verified"
    assert verify() == 1
    assert "is not the published file" in capsys.readouterr().err
    assert shown(capsys) == "not verified"


def test_without_a_connection_a_file_is_imported_and_not_verified(keras_weights, capsys):
    assert import_it(keras_weights) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("not ver")]
    assert len(said) == 1
    assert said[0].startswith("not verified: Zenodo record 7114558 could not be asked: ")
    assert shown(capsys) == "not verified"


def test_who_gets_no_answer_does_not_wait(keras_weights, monkeypatch, capsys):
    monkeypatch.setattr(download, "SECONDS", 1)
    # Takes connections, says nothing.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{silent.getsockname()[1]}")
        for name in (MODEL, "morphem"):
            started = time.monotonic()
            with pytest.raises(DownloadError, match="could not be asked"):
                ask_publisher(known_cards()[name])
            assert time.monotonic() - started < 5
    assert download.SECONDS < 10


def test_a_verified_model_can_be_imported_again_without_a_connection(
    archive, keras_weights, monkeypatch, capsys
):
    archive |= record_of(keras_weights.read_bytes())
    assert import_it(keras_weights) == 0
    archive.clear()
    assert import_it(keras_weights) == 0
    assert shown(capsys) == VERIFIED


def test_a_hash_that_the_user_knows_is_compared_and_recorded(keras_weights, capsys):
    assert import_it(keras_weights) == 0
    wrong = "0" * 64
    assert verify("--sha256", wrong) == 1
    error = capsys.readouterr().err
    assert wrong in error
    assert sha256_of(keras_weights) in error
    assert shown(capsys) == "not verified"
    assert verify("--sha256", sha256_of(keras_weights).upper()) == 0
    assert "verified against a sha256 that its user knew" in capsys.readouterr().out
    assert shown(capsys) == "verified against a sha256 that its user knew"


@pytest.mark.parametrize("text", ["", "12", "g" * 64, "0" * 63])
def test_what_is_no_hash_is_said(keras_weights, capsys, text):
    assert import_it(keras_weights) == 0
    assert verify("--sha256", text) == 1
    assert "expected a sha256 of 64 hexadecimal digits" in capsys.readouterr().err


def test_a_publisher_is_asked_later(archive, keras_weights, capsys):
    assert import_it(keras_weights) == 0
    assert verify() == 1
    assert "could not be asked" in capsys.readouterr().err
    archive |= record_of(keras_weights.read_bytes())
    assert verify() == 0
    assert capsys.readouterr().out == f"{MODEL}: {VERIFIED}\n"
    assert shown(capsys) == VERIFIED


def test_a_models_own_file_cannot_claim_to_be_verified(
    archive, keras_weights, random_keras, tmp_path, capsys
):
    archive |= record_of(keras_weights.read_bytes())
    assert import_it(keras_weights) == 0
    genuine, _ = find_model(MODEL)
    _, noise = read_model(import_keras_model(random_keras, out=tmp_path / "n.safetensors")[1])
    # Its card says all that the genuine one says; its hash of the weights is false, or not.
    forged = save_model(tmp_path / "forged.safetensors", genuine, noise)
    assert shown(capsys, tmp_path / "forged.safetensors") == "not verified"
    lying = tmp_path / "lying.safetensors"
    forged_text = (tmp_path / "forged.safetensors").read_bytes()
    lying.write_bytes(forged_text.replace(forged.sha256.encode(), genuine.sha256.encode()))
    assert find_model(lying)[0] == genuine
    assert shown(capsys, lying) == "not verified"
    with pytest.raises(WeightsError, match="has been altered"):
        load_model(lying)
    known = sha256_of(keras_weights)
    for path, said in ((tmp_path / "forged.safetensors", "not imported on"), (lying, "altered")):
        for more in ([], ["--sha256", known]):
            assert main(["models", "verify", str(path), *more]) == 1
            assert said in capsys.readouterr().err


def test_published_weights_with_another_card_are_not_verified(archive, keras_weights, tmp_path):
    archive |= record_of(keras_weights.read_bytes())
    card, path = import_model(keras_weights, MODEL)
    _, weights = read_model(path)
    assert weights_statement(card, path) == VERIFIED
    for changes in (
        {"channels": ("DNA", "ER", "RNA", "AGP", "Mito")},
        {"name": "another"},
        {"crop_px": 64},
        {"standardizer": "per-channel"},
    ):
        other = dataclasses.replace(card, **changes)
        other = save_model(tmp_path / "other.safetensors", other, weights)
        assert weights_statement(other, tmp_path / "other.safetensors") == "not verified", changes
    same = dataclasses.replace(card, summary="In other words.")
    assert weights_statement(same) == VERIFIED


def test_a_file_that_is_changed_later_is_not_verified(archive, keras_weights, capsys):
    archive |= record_of(keras_weights.read_bytes())
    assert import_it(keras_weights) == 0
    path = model_file(MODEL)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert shown(capsys) == "not verified"


def test_a_model_of_an_earlier_version_works_and_is_not_verified(keras_weights, capsys):
    card, _ = import_keras_model(keras_weights, MODEL)
    assert not verified_file().exists()
    assert load_model(MODEL, device="cpu").card == card
    assert shown(capsys) == "not verified"
    assert verify("--sha256", sha256_of(keras_weights)) == 1
    assert "import that file again" in capsys.readouterr().err


def test_a_damaged_record_verifies_nothing_and_stops_nobody(archive, keras_weights, capsys):
    archive |= record_of(keras_weights.read_bytes())
    card, path = import_model(keras_weights, MODEL)
    for text in ("{", "[]", '{"x": {}}', json.dumps({"x": 3})):
        verified_file().write_text(text)
        with pytest.warns(ModelWarning, match="is damaged"):
            assert weights_statement(card, path) == "not verified"


def test_a_model_without_a_file_is_made_here(capsys):
    assert shown(capsys, "untrained-efficientnet-b0").startswith("made by cpcnn")
    assert main(["models", "verify", "untrained-efficientnet-b0"]) == 1
    assert "there is no file to verify" in capsys.readouterr().err


@pytest.fixture(scope="module")
def morphem_file(tmp_path_factory, small_weights):
    path = tmp_path_factory.mktemp("hub") / "model.safetensors"
    save_file(small_weights(known_cards()["morphem"]), path)
    return path


def test_the_hub_is_asked_for_the_hash_of_its_file(archive, morphem_file, capsys):
    archive |= hub_with(sha256_of(morphem_file))
    card, path = import_model(morphem_file, "morphem")
    verified = "verified against Hugging Face CaicedoLab/MorphEm"
    assert shown(capsys, "morphem") == verified
    # Whatever channels it is then used with.
    assert weights_statement(card.with_channels(("GFP",)), path) == verified


def test_another_file_than_the_hubs_is_refused(archive, morphem_file):
    archive |= hub_with("1" * 64)
    with pytest.raises(WeightsError, match=f"its sha256 is .*{'1' * 64}.*--unverified"):
        import_model(morphem_file, "morphem")


def test_a_mirror_of_the_hub_is_not_asked(archive, mirror, morphem_file, tmp_path, monkeypatch):
    """It would say what suits it."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", mirror(tmp_path))
    archive |= hub_with("1" * 64)
    assert ask_publisher(known_cards()["morphem"]).value == "1" * 64


@pytest.mark.parametrize("etag", ["", "abc", "f" * 40])
def test_a_hub_without_a_sha256_verifies_nothing(archive, etag):
    archive |= hub_with(etag)
    with pytest.raises(DownloadError, match=r"tells no checksum of model\.safetensors"):
        ask_publisher(known_cards()["morphem"])


def test_a_publisher_without_checksums_is_said(archive):
    with pytest.raises(DownloadError, match="tells no checksum"):
        ask_publisher(known_cards()["subcell-vit"])


def test_a_record_that_sends_on_to_plain_http_is_not_believed(archive, keras_weights):
    archive |= record_of(keras_weights.read_bytes())
    archive["zenodo.org/api/records/7114558"] = (302, "http://zenodo.org/api/records/7114558")
    with pytest.raises(DownloadError, match="has no TLS"):
        ask_publisher(known_cards()[MODEL])


def test_tables_say_whether_the_weights_are_verified(archive, keras_weights, tmp_path, capsys):
    command = [*make_screen(tmp_path, wells=1), "--model", MODEL, "--out", str(tmp_path / "out")]
    command += ["--tables", "parquet", "anndata"]
    said = []
    for answers in ({}, record_of(keras_weights.read_bytes())):
        archive |= answers
        assert import_it(keras_weights) == 0
        capsys.readouterr()
        assert main(command) == 0
        plate = tmp_path / "out" / "plates" / "P1"
        made = pq.read_metadata(plate.with_suffix(".parquet")).metadata[b"cpcnn"]
        with h5py.File(plate.with_suffix(".h5ad")) as file:
            in_anndata = file["uns/feature_extraction_provenance/weights"].asstr()[()]
        said.append((json.loads(made)["weights"], in_anndata))
    assert said == [("not verified",) * 2, (VERIFIED,) * 2]
    # Features depend on the weights, not on who has looked at them.
    assert "already done" in capsys.readouterr().out
