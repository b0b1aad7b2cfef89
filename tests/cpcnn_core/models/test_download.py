"""Downloads: from a mirror on this machine, and what is said when nothing answers."""

import hashlib
import shutil
import socket
import threading

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from cpcnn_core.cli.main import main
from cpcnn_core.embedding.embedder import load_model
from cpcnn_core.errors import DownloadError, ModelNotFoundError
from cpcnn_core.models.download import download_weights
from cpcnn_core.models.registry import known_cards, model_file
from cpcnn_core.models.weights import read_model

from .publishers import FILE, MODEL, record_of


def file_sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetch(*arguments):
    return main(["models", "fetch", MODEL, *arguments])


def fetch_from(address):
    """From a server of these tests, which has no certificate."""
    return fetch("--url", address, "--insecure")


def download(folder, url, progress=None):
    return download_weights(MODEL, folder, url, progress, insecure=True)


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def assert_helps(message):
    """One line that says where to get the file by hand and what to run then."""
    assert len(message.splitlines()) == 1
    assert "could not be downloaded (" in message
    assert f"get {FILE} from https://zenodo.org/records/7114558" in message
    assert f"cpcnn models import {FILE} --name {MODEL}" in message


@pytest.fixture
def broken_mirror():
    """A server that promises more than it sends; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n\x89HDF\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/{FILE}"
        thread.join()


def test_fetch_from_the_archive_makes_the_model_usable_by_its_name(archive, keras_weights, home):
    archive |= record_of(keras_weights.read_bytes())
    assert fetch() == 0
    assert files_in(home) == [f"models/{MODEL}.safetensors", "verified.json"]
    sha256 = hashlib.sha256(keras_weights.read_bytes()).hexdigest()
    assert load_model(MODEL).card.provenance["imported_sha256"] == sha256


def test_a_file_with_another_checksum_than_the_archives_is_refused(
    archive, keras_weights, home, capsys
):
    archive |= record_of(keras_weights.read_bytes(), checksum=f"md5:{'0' * 32}")
    assert fetch() == 1
    error = capsys.readouterr().err
    found = hashlib.md5(keras_weights.read_bytes()).hexdigest()
    assert f"its md5 is {found}, Zenodo record 7114558 says {'0' * 32}" in error
    assert files_in(home) == []


def test_an_archive_without_the_file_is_an_error_of_ours(archive, tmp_path):
    archive |= record_of(b"", key="Cell_Painting_CNN_v2.hdf5")
    with pytest.raises(DownloadError) as caught:
        download_weights(MODEL, tmp_path / "weights")
    assert_helps(str(caught.value))


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("body", [b'{"status": 429, "message": "Too many requests"}', b"<html>"])
def test_an_archive_that_is_busy_is_an_error_of_ours(archive, tmp_path, status, body):
    archive |= record_of(b"") | {"zenodo.org/api/records/7114558": (status, body)}
    with pytest.raises(DownloadError) as caught:
        download_weights(MODEL, tmp_path / "weights")
    assert_helps(str(caught.value))


def test_fetch_from_a_mirror_makes_the_model_usable_by_its_name(
    mirror, keras_weights, home, parity, capsys
):
    assert fetch_from(f"{mirror(keras_weights.parent)}/{FILE}") == 0
    path = home / "models" / f"{MODEL}.safetensors"
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{MODEL} is ready: {path}"
    assert said[1].startswith("not verified: Zenodo record 7114558 could not be asked: ")
    assert files_in(home) == [f"models/{MODEL}.safetensors", "verified.json"]
    features = load_model(MODEL, device="cpu").embed(parity["crops"])
    np.testing.assert_allclose(features, parity["block6a"], rtol=0, atol=1e-4)


def test_a_model_that_is_here_is_not_fetched_again(
    mirror, keras_weights, home, capsys, closed_port
):
    assert main(["models", "import", str(keras_weights), "--name", MODEL]) == 0
    assert fetch_from(f"http://127.0.0.1:{closed_port}/{FILE}") == 0
    assert "is here already" in capsys.readouterr().out


def test_fetch_replaces_a_damaged_model(mirror, keras_weights, home):
    path = home / "models" / f"{MODEL}.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a model")
    assert fetch_from(f"{mirror(keras_weights.parent)}/{FILE}") == 0
    assert load_model(MODEL).card.name == MODEL


def test_a_page_in_place_of_the_file_is_named_and_leaves_no_model(mirror, tmp_path, home, capsys):
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / FILE).write_text("<!DOCTYPE html>\n<html>Please log in</html>\n")
    assert fetch_from(f"{mirror(tmp_path / 'www')}/{FILE}") == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "is not an HDF5 file (it begins with b'<!DOCTYP')" in error
    assert files_in(home) == []


def test_a_file_that_the_mirror_lacks_is_named(mirror, tmp_path, home, capsys):
    assert fetch_from(f"{mirror(tmp_path)}/{FILE}") == 1
    error = capsys.readouterr().err
    assert_helps(error)
    assert "404" in error
    assert files_in(home) == []


def test_fetch_without_a_connection_is_one_line_of_help(closed_port, mirror, home, capsys):
    assert fetch_from(f"http://127.0.0.1:{closed_port}/{FILE}") == 1
    assert_helps(capsys.readouterr().err)
    assert files_in(home) == []


def test_a_connection_that_ends_early_leaves_nothing(broken_mirror, mirror, tmp_path):
    with pytest.raises(DownloadError) as caught:
        download(tmp_path / "weights", broken_mirror)
    assert_helps(str(caught.value))
    assert not (tmp_path / "weights" / FILE).exists()


def test_a_mirror_that_refuses_the_connection_is_an_error_of_ours(closed_port, mirror, tmp_path):
    with pytest.raises(DownloadError) as caught:
        download(tmp_path, f"http://127.0.0.1:{closed_port}/{FILE}")
    assert_helps(str(caught.value))
    assert isinstance(caught.value, ConnectionError)


@pytest.mark.parametrize("url", ["Cell_Painting_CNN_v1.hdf5", "gopher://127.0.0.1/x", ""])
def test_what_is_no_address_is_an_error_of_ours(tmp_path, url):
    with pytest.raises(DownloadError) as caught:
        download_weights(MODEL, tmp_path, url)
    assert_helps(str(caught.value))


def test_the_archive_without_a_connection_is_an_error_of_ours(
    mirror, closed_port, tmp_path, monkeypatch
):
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{closed_port}")
    with pytest.raises(DownloadError) as caught:
        download_weights(MODEL, tmp_path)
    assert_helps(str(caught.value))
    assert files_in(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(mirror, keras_weights, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DownloadError) as caught:
        download(tmp_path / "taken", f"{mirror(keras_weights.parent)}/{FILE}")
    assert_helps(str(caught.value))


def test_the_downloaded_file_is_the_mirrors_to_the_bit(mirror, keras_weights, tmp_path):
    path = download(tmp_path, f"{mirror(keras_weights.parent)}/{FILE}")
    assert path == tmp_path / FILE
    assert path.read_bytes() == keras_weights.read_bytes()


def test_a_file_that_is_there_is_not_fetched_again(tmp_path, closed_port):
    (tmp_path / FILE).write_bytes(b"here")
    path = download(tmp_path, f"http://127.0.0.1:{closed_port}/{FILE}")
    assert path.read_bytes() == b"here"


def test_progress_is_told_to_whoever_asks(mirror, keras_weights, tmp_path):
    from tqdm import tqdm

    with (tmp_path / "bar.txt").open("w") as out:
        bar = tqdm(total=1, file=out, mininterval=0)
        address = f"{mirror(keras_weights.parent)}/{FILE}"
        download(tmp_path / "weights", address, bar)
    assert bar.total == keras_weights.stat().st_size
    assert "100%" in (tmp_path / "bar.txt").read_text()


@pytest.fixture(scope="module")
def morphem_file(tmp_path_factory, small_weights):
    """Weights of MorphEm's network, not its own, under the name that it is published by."""
    weights = small_weights(known_cards()["morphem"])
    path = tmp_path_factory.mktemp("hub") / "model.safetensors"
    save_file(weights, path)
    return path


def test_an_institutes_mirror_serves_models_of_the_hub(mirror, morphem_file, monkeypatch, capsys):
    monkeypatch.setenv("CPCNN_MIRROR", mirror(morphem_file.parent) + "/")
    assert main(["models", "fetch", "morphem", "--insecure"]) == 0
    assert capsys.readouterr().out.startswith("morphem is ready: ")
    card, weights = read_model(model_file("morphem"))
    assert card.provenance["imported_sha256"] == file_sha256(morphem_file)
    original = load_file(morphem_file)
    assert all(np.array_equal(weights[name], original[name]) for name in original)


def test_what_lies_in_the_hubs_cache_needs_no_connection(morphem_file, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model, commit = tmp_path / "models--CaicedoLab--MorphEm", "0" * 40
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(commit)
    (model / "snapshots" / commit).mkdir(parents=True)
    shutil.copy(morphem_file, model / "snapshots" / commit / "model.safetensors")
    found = download_weights("morphem", tmp_path / "elsewhere")
    assert file_sha256(found) == file_sha256(morphem_file)


def test_a_file_of_the_hub_that_ends_early_is_named(mirror, morphem_file, tmp_path, capsys):
    (tmp_path / "model.safetensors").write_bytes(morphem_file.read_bytes()[:100_000])
    address = f"{mirror(tmp_path)}/model.safetensors"
    assert main(["models", "fetch", "morphem", "--url", address, "--insecure"]) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "is not a complete safetensors file" in error
    assert not model_file("morphem").exists()


def test_a_model_that_is_made_here_needs_no_download(tmp_path):
    with pytest.raises(ModelNotFoundError, match="there is nothing to download"):
        download_weights("untrained-efficientnet-b0", tmp_path)


def test_an_unknown_model_leads_to_those_with_a_download(tmp_path):
    with pytest.raises(
        ModelNotFoundError, match=f"no download for 'x'; there is one for: {MODEL},"
    ):
        download_weights("x", tmp_path)


def redirect_from(archive, target):
    """A mirror with TLS that sends one on; gives its address."""
    archive["mirror.institute/weights"] = (302, target)
    return "https://mirror.institute/weights"


@pytest.mark.parametrize("scheme", ["http", "HTTP"])
def test_a_mirror_without_tls_is_refused_before_anything_is_sent(
    mirror, keras_weights, tmp_path, home, monkeypatch, capsys, scheme
):
    asked = []
    monkeypatch.setattr("http.server.SimpleHTTPRequestHandler.do_GET", asked.append)
    address = mirror(keras_weights.parent).replace("http", scheme)
    for variable in ("CPCNN_MIRROR", None):
        if variable:
            monkeypatch.setenv(variable, address)
        assert fetch(*(() if variable else ("--url", f"{address}/{FILE}"))) == 1
        error = capsys.readouterr().err
        assert f"{address}/{FILE} has no TLS" in error
        assert "--insecure" in error
    assert asked == []
    assert files_in(home) == []


def test_a_mirror_of_the_hub_without_tls_is_refused(mirror, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", mirror(tmp_path))
    for command in (["fetch", "morphem"], ["timm", "test_resnet.r160_in1k"]):
        assert main(["models", *command]) == 1
        assert "has no TLS" in capsys.readouterr().err


def test_a_mirror_of_the_hub_serves_its_models(archive, morphem_file, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://mirror.institute")
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        "https://mirror.institute/{repo_id}/resolve/{revision}/{filename}",
    )
    place = "mirror.institute/CaicedoLab/MorphEm/resolve/main/model.safetensors"
    archive[place] = (200, morphem_file.read_bytes())
    assert main(["models", "fetch", "morphem"]) == 0
    assert read_model(model_file("morphem"))[0].name == "morphem"


def test_a_mirror_with_tls_that_sends_on_to_one_without_is_refused(
    archive, mirror, keras_weights, home, capsys, monkeypatch
):
    asked = []
    monkeypatch.setattr("http.server.SimpleHTTPRequestHandler.do_GET", asked.append)
    plain = f"{mirror(keras_weights.parent)}/{FILE}"
    address = redirect_from(archive, plain)
    assert fetch("--url", address) == 1
    assert f"{plain} has no TLS" in capsys.readouterr().err
    # Also after several steps, and where an archive sends us there.
    archive["mirror.institute/first"] = (302, "/weights")
    assert fetch("--url", "https://mirror.institute/first") == 1
    assert f"{plain} has no TLS" in capsys.readouterr().err
    archive |= record_of(keras_weights.read_bytes())
    archive[f"zenodo.org/api/records/7114558/files/{FILE}/content"] = (302, plain)
    assert fetch() == 1
    assert f"{plain} has no TLS" in capsys.readouterr().err
    assert asked == []
    assert files_in(home) == []


def test_who_trusts_the_network_is_sent_on(archive, mirror, keras_weights):
    address = redirect_from(archive, f"{mirror(keras_weights.parent)}/{FILE}")
    assert fetch("--url", address, "--insecure") == 0


def test_a_mirror_with_tls_needs_no_word(archive, keras_weights):
    archive["mirror.institute/weights"] = (200, keras_weights.read_bytes())
    assert fetch("--url", "https://mirror.institute/weights") == 0
