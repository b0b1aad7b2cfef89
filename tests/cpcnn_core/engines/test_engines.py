"""Every engine gives the reference's numbers, or is not used."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from cpcnn_core import Embedder, load_model
from cpcnn_core.engines.engine import MIXED_COSINE, MIXED_TOLERANCE
from cpcnn_core.errors import DependencyError, DeviceError, EngineWarning
from cpcnn_core.models.weight_import import read_keras_model

LAYERS = [("block6a_activation", 672, 1e-4), ("pool5", 1280, 5e-4), ("ClassProb", 490, 5e-5)]


@pytest.fixture(params=["torch", "litert"])
def engine(request):
    if request.param == "litert":
        pytest.importorskip("ai_edge_litert")
    return request.param


@pytest.fixture(scope="module")
def network(keras_weights):
    return read_keras_model(keras_weights)


@pytest.mark.parametrize(("layer", "dim", "tolerance"), LAYERS, ids=[row[0] for row in LAYERS])
def test_every_layer_equals_the_reference(network, parity, engine, layer, dim, tolerance):
    card, weights = network
    card = dataclasses.replace(card, tap=layer, embed_dim=dim)
    model = Embedder(card, weights, "cpu", engine=engine)
    assert model.engine == engine
    expected = parity["block6a" if dim == 672 else "pool5" if dim == 1280 else "classprob"]
    np.testing.assert_allclose(model.embed(parity["crops"]), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("batch", [1, 3, 32])
def test_the_size_of_the_batch_does_not_matter(network, parity, engine, batch):
    model = Embedder(*network, "cpu", batch_size=batch, engine=engine)
    np.testing.assert_allclose(model.embed(parity["crops"]), parity["block6a"], rtol=0, atol=1e-4)


def test_the_number_of_threads_changes_no_bit(network, engine):
    crops = np.random.default_rng(0).random((35, 5, 128, 128), np.float32)
    features, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            features.append(Embedder(*network, "cpu", engine=engine).embed(crops))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    one, two, five = (array.tobytes() for array in features)
    assert one == two == five


def test_the_fast_engine_is_used_by_itself_where_it_is_installed():
    pytest.importorskip("ai_edge_litert")
    assert load_model("untrained-efficientnet-b0", device="cpu").engine == "litert"


def test_it_says_nothing():
    pytest.importorskip("ai_edge_litert")
    code = (
        "from cpcnn_core import load_model\n"
        "print(load_model('untrained-efficientnet-b0', 'cpu').engine)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (said.stdout, said.stderr) == ("litert\n", "")


def test_what_fills_up_a_pass_changes_no_bit(network):
    pytest.importorskip("ai_edge_litert")
    model = Embedder(*network, "cpu", engine="litert")
    crops = np.random.default_rng(1).random((model.batch_size + 1, 5, 128, 128), np.float32)
    together = model.embed(crops)
    assert together.tobytes() == b"".join(model.embed(crop[None]).tobytes() for crop in crops)


BROKEN = {
    "raises": "raise ImportError('libLiteRt.so is missing')",
    "another version": "Interpreter = None",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_fast_engine_is_replaced_with_a_notice(tmp_path, text):
    (tmp_path / "ai_edge_litert").mkdir()
    (tmp_path / "ai_edge_litert" / "__init__.py").write_text(text)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from cpcnn_core import load_model\n"
        "print(load_model('untrained-efficientnet-b0', 'cpu').engine)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "torch"
    assert "EngineWarning: LiteRT cannot be used (" in done.stderr
    assert "PyTorch is, more slowly" in done.stderr


def test_numbers_that_differ_are_not_used(monkeypatch):
    pytest.importorskip("ai_edge_litert")
    from cpcnn_core.engines import engine as engine_module

    # A sound engine gives other numbers only if too much is asked of it.
    monkeypatch.setattr(engine_module, "TOLERANCES", {"block6a_activation": 0.0})
    monkeypatch.setattr(engine_module, "TIMES_ROUNDING", 0)
    with pytest.warns(EngineWarning, match="its features are off by"):
        assert load_model("untrained-efficientnet-b0", "cpu").engine == "torch"
    with pytest.raises(DependencyError, match="the engine litert cannot be used: its features"):
        load_model("untrained-efficientnet-b0", "cpu", engine="litert")


def test_an_engine_nobody_knows():
    with pytest.raises(DeviceError, match="expected an engine of auto, torch, litert, got 'tpu'"):
        load_model("untrained-efficientnet-b0", "cpu", engine="tpu")


def test_mixed_precision_stays_within_what_is_said(network, parity):
    model = Embedder(*network, "cpu", precision="mixed")
    assert (model.precision, model.engine) == ("mixed", "torch")
    found, expected = model.embed(parity["crops"]), parity["block6a"]
    assert found.dtype == np.float32
    difference = np.abs(found - expected)
    # Not float32 in disguise either.
    assert difference.max() > 1e-3
    assert (difference <= MIXED_TOLERANCE * (1 + np.abs(expected))).all()
    cosines = (found * expected).sum(axis=1)
    cosines /= np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert cosines.min() >= MIXED_COSINE


def test_mixed_precision_is_not_used_where_it_does_harm(network):
    card, weights = network
    name = "blocks.5.0.bn2.weight"
    huge = {**weights, name: weights[name] * np.float32(1e6)}
    with pytest.warns(EngineWarning, match="mixed precision changes this network's features"):
        model = Embedder(card, huge, "cpu", precision="mixed")
    assert model.precision == "float32"


def test_litert_and_mixed_precision_exclude_each_other(network):
    with pytest.raises(DeviceError, match="mixed precision needs the engine torch"):
        Embedder(*network, "cpu", precision="mixed", engine="litert")
