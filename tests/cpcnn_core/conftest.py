"""Fixtures of the core's tests: a home of its own, models, a mirror on this machine."""

import functools
import http.server
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from cpcnn_core.models.network_builder import empty_network
from cpcnn_core.models.weight_import import import_keras_model

DATA = Path(__file__).parents[1] / "data"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
# Nobody listens on this port: it is that of a protocol without answers.
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Keep this user's own models out of the tests."""
    monkeypatch.setenv("CPCNN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def no_publishers(monkeypatch):
    """Ask nobody out there for checksums, whatever connection this machine has."""
    for name in (*PROXIES, *map(str.lower, PROXIES)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", NOBODY)


@pytest.fixture(scope="session")
def parity():
    """The reference's input crops (n, c, h, w) and what it made of them."""
    numbers = dict(np.load(DATA / "parity_a" / "expected.npz"))
    inputs = np.ascontiguousarray(numbers.pop("inputs").transpose(0, 3, 1, 2))
    return numbers | {"crops": inputs}


@pytest.fixture(scope="session")
def model_file(keras_weights, tmp_path_factory):
    """The reference's network as a model file."""
    out = tmp_path_factory.mktemp("model") / "reference.safetensors"
    return import_keras_model(keras_weights, out=out)[1]


@pytest.fixture
def mirror(monkeypatch):
    """Serve a folder on this machine; gives its address."""
    quiet = "http.server.SimpleHTTPRequestHandler.log_message"
    monkeypatch.setattr(quiet, lambda *_: None)
    servers = []

    def serve(folder):
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def closed_port():
    """A port of this machine on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture(scope="session")
def small_weights():
    """Return a function that draws small weights for the network of a card, always the same."""

    def draw(card):
        random = np.random.default_rng(0)
        return {
            name: (random.standard_normal(shape) * 0.02).astype(np.float32)
            for name, shape in empty_network(card).weight_shapes().items()
        }

    return draw
