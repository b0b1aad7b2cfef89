"""A stranger's model file, opened in every way there is: no connection is made, no file written."""

import json
import subprocess
import sys
import textwrap

import pytest
from safetensors.numpy import save

from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.weights import weights_sha256

from ..screen.conftest import make_screen

# Before anything else: every name that is looked up, every connection, every program started.
WATCH = """
import sys
WATCHED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request")
def watch(event, given):
    if event in WATCHED:
        print("CALLED", event, given[1:], file=sys.stderr, flush=True)
sys.addaudithook(watch)
"""
OPENINGS = {
    "show": "main(['models', 'show', MODEL])",
    "list": "main(['models', 'list'])",
    "verify": "main(['models', 'verify', MODEL, '--sha256', '0' * 64])",
    "embed": "main([*COMMAND, '--model', MODEL, '--out', 'out'])",
    "check": "main([*COMMAND, '--model', MODEL, '--out', 'out', '--check'])",
    "name": "main([*COMMAND, '--model', 'stranger', '--out', 'out'])",
    "describe": "print(worker.answer({'type': 'describe', 'model': MODEL}, {}))",
    "accept": "print(worker.answer({'type': 'accept', 'model': MODEL}, {}))",
    "worker embed": "print(worker.answer({'type': 'embed', 'model': MODEL, 'channels': list(C)},"
    " {'image': np.zeros((5, 80, 80), 'f4'), 'centers': np.array([[40.0, 40.0]])}))",
    "load": "load_model(MODEL)",
    "train": "make_network(NetworkConfig(initialization=MODEL), C, 128, ('a', 'b'), 0)",
}
CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")


@pytest.fixture(scope="module")
def weights(small_weights):
    """Whole weights of a network, so that nothing but the card can stop its being built."""
    return small_weights(genuine())


def genuine(architecture="timm/resnet18"):
    return ModelCard(
        "stranger", "A model.", CHANNELS, 512, architecture=architecture, tap="pooled", crop_px=32
    )


def written(folder, card, weights):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "stranger.safetensors"
    path.write_bytes(save(weights, {"cpcnn_format": "1", "cpcnn_card": json.dumps(card)}))
    return path


def open_all(ways, screen, folder):
    """Open files (path, names of ways) in a child process; return what it says."""
    code = WATCH + textwrap.dedent(f"""
        import numpy as np
        from cpcnn_core import load_model
        from cpcnn_core.cli.main import main
        from cpcnn_core.errors import CPCNNError
        from cpcnn_core.training.config import NetworkConfig
        from cpcnn_core.training.starting_weights import make_network
        from cpcnn_core.worker.server import Worker
        COMMAND, C = {screen!r}, {CHANNELS!r}
        worker = Worker("cpu")
        def attempt(name, do):
            try:
                found = do()
            except CPCNNError as error:
                found = f"refused: {{error}}"
            print("DONE", name, found, flush=True)
    """)
    for path, names in ways:
        code += f"MODEL = {str(path)!r}\n"
        code += "".join(f"attempt({name!r}, lambda: {OPENINGS[name]})\n" for name in names)
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    return make_screen(tmp_path_factory.mktemp("screen"), wells=1, cells=1)


def attacks(address, folder):
    """Cards that reached timm's downloads, folders and loaders."""
    cfg = {"url": f"{address}/evil.pth", "architecture": "resnet18", "custom_load": False}
    options = {"pretrained": True, "pretrained_cfg": cfg, "cache_dir": str(folder / "planted")}
    yield {"architecture_options": options}
    # The publisher that a card names is not asked.
    yield {"hub": f"{address}/", "hub_file": "evil.pth", "name": "cell-painting-cnn-v1"}
    yield {"architecture_options": {"checkpoint_path": f"{address}/evil.pth"}}
    for name in ("hf-hub:someone/model", "hf_hub:x/resnet18", "local-dir:/tmp", "timm/resnet18"):
        yield {"architecture": f"timm/{name}"}


def test_a_model_file_opens_no_connection_and_writes_no_file(
    mirror, tmp_path, home, screen, weights, monkeypatch
):
    asked = []
    monkeypatch.setattr("http.server.SimpleHTTPRequestHandler.do_GET", asked.append)
    address = mirror(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", address)
    ways = []
    for number, attack in enumerate(attacks(address, tmp_path)):
        # All else is as it should be, so that nothing but the attack can be refused.
        values = json.loads(genuine().to_json()) | {"sha256": weights_sha256(weights)} | attack
        # The first two also by name, and in every way; of the others loading says enough.
        folder = tmp_path / str(number) if number else home / "models"
        names = OPENINGS if number in (0, 1) else ("load",)
        ways.append((written(folder, values, weights), names))
    done = open_all(ways, screen, tmp_path)
    assert done.stdout.count("DONE") == sum(len(names) for _, names in ways), done.stderr
    assert "CALLED" not in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "planted").exists()
    assert asked == []
    # All were refused, but the one that only tells of another publisher; that may be loaded.
    loads = [line for line in done.stdout.splitlines() if line.startswith("DONE load")]
    expected = [True, False, *[True] * (len(ways) - 2)]
    assert ["refused: " in line and "the card of" in line for line in loads] == expected


def test_the_watch_sees_what_timm_would_do(mirror, tmp_path):
    """The same card without our list: this is the attack, and the hook sees it."""
    address = mirror(tmp_path)
    code = WATCH + textwrap.dedent(f"""
        import timm
        options = {{"pretrained": True, "cache_dir": "planted", "pretrained_cfg":
            {{"url": "{address}/evil.pth", "architecture": "resnet18"}}}}
        try:
            timm.create_model("resnet18", **options)
        except Exception as error:
            print(type(error))
    """)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "CALLED socket.connect" in done.stderr
