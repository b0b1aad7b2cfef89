"""The network against the reference's numbers, and nothing built beyond its tap."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from cpcnn_core.models.efficientnet import TappedEfficientNet
from cpcnn_core.models.keras_hdf5 import read_keras_weights


@pytest.fixture(scope="module", params=["weights only", "full model"])
def weights(request, keras_weights, full_keras_weights):
    path = keras_weights if request.param == "weights only" else full_keras_weights
    return read_keras_weights(path, 5)


def run(weights, crops, tap, channels=5, method="forward"):
    net = TappedEfficientNet(channels, tap, classes=490)
    net.load_weights(weights)
    with torch.inference_mode():
        return getattr(net.eval(), method)(torch.from_numpy(crops)).numpy()


def assert_within(found, expected, tolerance):
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_block6a_features_equal_the_references(weights, parity):
    found = run(weights, parity["crops"], "block6a_activation")
    assert_within(found, parity["block6a"], 1e-4)


def test_the_block6a_map_equals_the_references(weights, parity):
    found = run(weights, parity["crops"], "block6a_activation", method="feature_map")
    assert_within(found.transpose(0, 2, 3, 1), parity["block6a_map"], 5e-4)


def test_pool5_features_equal_the_references(weights, parity):
    assert_within(run(weights, parity["crops"], "pool5"), parity["pool5"], 5e-4)


def test_class_probabilities_equal_the_references(weights, parity):
    found = run(weights, parity["crops"], "ClassProb")
    assert_within(found, parity["classprob"], 5e-5)
    assert_within(found.sum(axis=1), np.ones(8), 1e-5)


def test_a_trunk_only_file_gives_the_same_block6a(tmp_path, seeded_weights, write_keras, parity):
    layers = [layer for layer, _ in seeded_weights]
    end = len(layers) - layers[::-1].index("block6a_bn")
    path = write_keras(tmp_path / "trunk.hdf5", dict(list(seeded_weights.items())[:end]))
    found = run(read_keras_weights(path, 5), parity["crops"], "block6a_activation")
    assert_within(found, parity["block6a"], 1e-4)


def test_a_stem_of_three_channels_is_one_of_five_that_ignores_two(keras_weights, parity):
    weights = read_keras_weights(keras_weights, 5)
    of_three = weights | {"conv_stem.weight": weights["conv_stem.weight"][:, :3]}
    of_five = weights | {"conv_stem.weight": weights["conv_stem.weight"].copy()}
    of_five["conv_stem.weight"][:, 3:] = 0
    three = run(of_three, parity["crops"][:, :3], "block6a_activation", channels=3)
    five = run(of_five, parity["crops"], "block6a_activation")
    assert np.abs(three - parity["block6a"]).max() > 0.1
    assert_within(three, five, 1e-4)


def test_nothing_beyond_block6a_is_built():
    net = TappedEfficientNet(5, "block6a_activation")
    names = set(net.weight_shapes())
    assert sum(value.numel() for value in net.parameters()) == 947_136
    assert sum(np.prod(shape) for shape in net.weight_shapes().values()) == 947_136 + 18_848
    assert {name for name in names if name.startswith("blocks.5.")} == {
        "blocks.5.0.conv_pw.weight",
        "blocks.5.0.conv_dw.weight",
        *(f"blocks.5.0.bn{i}.{part}" for i in (1, 2) for part in ("weight", "bias")),
        *(f"blocks.5.0.bn{i}.running_{part}" for i in (1, 2) for part in ("mean", "var")),
    }
    assert not [name for name in names if name.startswith(("blocks.6", "conv_head", "classifier"))]


def test_nothing_beyond_block6a_is_computed(keras_weights):
    net = TappedEfficientNet(5, "block6a_activation")
    net.load_weights(read_keras_weights(keras_weights, 5))
    ran = []
    for name, module in net.named_modules():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    with torch.inference_mode():
        net.eval()(torch.zeros(1, 5, 128, 128))
    of_stage_6 = [name for name in ran if name.startswith("net.blocks.5.0.")]
    direct = {name.split(".")[4] for name in of_stage_6}
    assert direct == {"conv_pw", "bn1", "conv_dw", "bn2"}


@pytest.mark.parametrize(("tap", "parameters"), [("ClassProb", 4_635_814), ("pool5", 4_008_124)])
def test_the_whole_network_has_the_references_size(tap, parameters):
    net = TappedEfficientNet(5, tap, classes=490)
    assert sum(value.numel() for value in net.parameters()) == parameters
    statistics = [shape for name, shape in net.weight_shapes().items() if "running" in name]
    assert sum(np.prod(shape) for shape in statistics) == 42_016


def test_it_is_ready_to_be_trained_as_the_reference_was():
    net = TappedEfficientNet(5, "ClassProb", classes=7)
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}
    rates = {
        f"{stage + 1}{'abcd'[repeat]}": getattr(block.drop_path, "drop_prob", 0)
        for stage, blocks in enumerate(net.net.blocks)
        for repeat, block in enumerate(blocks)
        if block.has_skip
    }
    assert rates == pytest.approx(
        {"2b": 0.025, "3b": 0.05, "4b": 0.075, "4c": 0.0875, "5b": 0.1125, "5c": 0.125}
        | {"6b": 0.15, "6c": 0.1625, "6d": 0.175}
    )


def test_making_one_leaves_the_callers_random_numbers_alone(keras_weights):
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    expected = torch.rand(4).tolist(), np.random.rand(4).tolist()  # noqa: NPY002
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    net = TappedEfficientNet(5, "block6a_activation")
    net.load_weights(read_keras_weights(keras_weights, 5))
    assert (torch.rand(4).tolist(), np.random.rand(4).tolist()) == expected  # noqa: NPY002


def test_loading_takes_copies_of_the_weights(keras_weights, parity):
    weights = read_keras_weights(keras_weights, 5)
    net = TappedEfficientNet(5, "block6a_activation")
    net.load_weights(weights)
    for value in weights.values():
        value[...] = 0
    with torch.inference_mode():
        found = net.eval()(torch.from_numpy(parity["crops"])).numpy()
    assert_within(found, parity["block6a"], 1e-4)


def import_with_a_timm_that_says(tmp_path, message):
    (tmp_path / "timm.py").write_text(f"raise RuntimeError({message!r})\n")
    code = (
        "from cpcnn_core.models.efficientnet import TappedEfficientNet\n"
        "from cpcnn_core.errors import DependencyError\n"
        "try:\n    TappedEfficientNet(5, 'pool5')\n"
        "except DependencyError as error:\n    print(error)\n"
        "except RuntimeError as error:\n    print('as it was:', error)\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environ, text=True, capture_output=True, check=True).stdout


def test_a_torchvision_of_another_torch_is_explained(tmp_path):
    said = import_with_a_timm_that_says(tmp_path, "operator torchvision::nms does not exist")
    assert said.startswith("torch and torchvision do not belong together")
    assert "pip install --force-reinstall torch torchvision" in said
    assert len(said.splitlines()) == 1


def test_another_failure_of_timm_is_not_disguised(tmp_path):
    assert import_with_a_timm_that_says(tmp_path, "no disk") == "as it was: no disk\n"
