"""Keras checkpoints: every flavour of file that is one, and what is said of others."""

import json
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

from cpcnn_core.errors import ChannelError, CPCNNError, WeightsError
from cpcnn_core.models.keras_hdf5 import keras_name, read_keras_weights

REPOSITORY = Path(__file__).parents[3]
SHARED_PARITY = REPOSITORY.parent / "shared" / "fixtures" / "parity_a"
CONV, DEPTHWISE, DENSE = (3, 2, 0, 1), (2, 3, 0, 1), (1, 0)


@pytest.fixture(scope="module")
def expected(keras_weights):
    return read_keras_weights(keras_weights, 5)


@pytest.fixture(scope="module")
def trunk(seeded_weights):
    """The weights up to block6a_bn, the last layer that the features need."""
    layers = [layer for layer, _ in seeded_weights]
    end = len(layers) - layers[::-1].index("block6a_bn")
    return dict(list(seeded_weights.items())[:end])


@pytest.fixture
def file(tmp_path, write_keras):
    def write(weights, **options):
        return write_keras(tmp_path / "weights.hdf5", weights, **options)

    return write


def assert_same_weights(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def error_of(path, channels=5):
    with pytest.raises(CPCNNError) as caught:
        read_keras_weights(path, channels)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return type(caught.value), message


def test_the_rebuilt_file_is_the_references_to_the_bit(keras_weights, seeded_weights):
    if not (SHARED_PARITY / "weights.hdf5").is_file():
        pytest.skip("the reference's weights file is not beside this repository")
    with h5py.File(SHARED_PARITY / "weights.hdf5") as theirs, h5py.File(keras_weights) as ours:
        for layer, name in seeded_weights:
            np.testing.assert_array_equal(ours[layer][name], theirs[layer][name], err_msg=name)
            assert ours[layer][name].dtype == theirs[layer][name].dtype
        assert sum(len(group.attrs["weight_names"]) for group in theirs.values()) == 311


def test_the_references_own_files_are_read(expected):
    if not (SHARED_PARITY / "weights_trunk.hdf5").is_file():
        pytest.skip("the reference's weights file is not beside this repository")
    assert_same_weights(read_keras_weights(SHARED_PARITY / "weights.hdf5", 5), expected)
    trunk = read_keras_weights(SHARED_PARITY / "weights_trunk.hdf5", 5)
    assert_same_weights(trunk, {name: expected[name] for name in trunk})


@pytest.mark.parametrize(
    ("layer", "weight", "timm", "axes"),
    [
        ("stem_conv", "kernel", "conv_stem.weight", CONV),
        ("stem_bn", "moving_variance", "bn1.running_var", (0,)),
        ("block1a_dwconv", "depthwise_kernel", "blocks.0.0.conv_dw.weight", DEPTHWISE),
        ("block1a_bn", "gamma", "blocks.0.0.bn1.weight", (0,)),
        ("block1a_project_conv", "kernel", "blocks.0.0.conv_pw.weight", CONV),
        ("block1a_project_bn", "beta", "blocks.0.0.bn2.bias", (0,)),
        ("block3b_expand_conv", "kernel", "blocks.2.1.conv_pw.weight", CONV),
        ("block3b_expand_bn", "moving_mean", "blocks.2.1.bn1.running_mean", (0,)),
        ("block4c_dwconv", "depthwise_kernel", "blocks.3.2.conv_dw.weight", DEPTHWISE),
        ("block5a_bn", "beta", "blocks.4.0.bn2.bias", (0,)),
        ("block6d_se_reduce", "kernel", "blocks.5.3.se.conv_reduce.weight", CONV),
        ("block6d_se_expand", "bias", "blocks.5.3.se.conv_expand.bias", (0,)),
        ("block7a_project_conv", "kernel", "blocks.6.0.conv_pwl.weight", CONV),
        ("block7a_project_bn", "gamma", "blocks.6.0.bn3.weight", (0,)),
        ("top_conv", "kernel", "conv_head.weight", CONV),
        ("top_bn", "moving_mean", "bn2.running_mean", (0,)),
        ("ClassProb", "kernel", "classifier.weight", DENSE),
        ("ClassProb", "bias", "classifier.bias", (0,)),
    ],
)
def test_a_weight_gets_timms_name_and_axis_order(
    seeded_weights, expected, layer, weight, timm, axes
):
    value = seeded_weights[layer, f"{layer}_1/{weight}:0"]
    np.testing.assert_array_equal(expected[timm], value.transpose(axes))
    assert expected[timm].flags.c_contiguous
    assert keras_name(timm) == f"{layer}/{weight}"


def test_every_weight_is_read_once(seeded_weights, expected):
    assert len(expected) == len(seeded_weights) == 311
    assert sum(value.size for value in expected.values()) == 4_677_830


def test_a_full_model_is_read_like_its_weights(full_keras_weights, expected):
    assert_same_weights(read_keras_weights(full_keras_weights, 5), expected)


@pytest.mark.parametrize(
    "options",
    [
        {"as_bytes": False},
        {"as_bytes": True},
        {"as_bytes": False, "chunk": 50},
        {"as_bytes": True, "chunk": 50},
        {"as_bytes": True, "chunk": 1},
        {"group": "model_weights", "chunk": 40},
    ],
    ids=str,
)
def test_names_may_be_bytes_or_text_whole_or_in_chunks(file, seeded_weights, expected, options):
    assert_same_weights(read_keras_weights(file(seeded_weights, **options), 5), expected)


@pytest.mark.parametrize("suffix", ["", "_1", "_7"])
def test_the_layers_suffix_in_a_weights_name_does_not_matter(
    file, seeded_weights, expected, suffix
):
    renamed = {
        (layer, f"{layer}{suffix}/{name.split('/')[1]}"): value
        for (layer, name), value in seeded_weights.items()
    }
    assert_same_weights(read_keras_weights(file(renamed), 5), expected)


def test_groups_of_other_names_are_left_alone(file, seeded_weights, expected):
    more = {
        ("augmentation_layer_1", "augmentation_layer_1/kernel:0"): np.ones((3, 3, 5, 32)),
        ("sgd", "sgd/momentum/stem_conv/kernel:0"): np.ones((3, 3, 5, 32)),
    }
    path = file(more | seeded_weights | {("zeta", "zeta/iter:0"): np.int64(3)})
    with h5py.File(path, "a") as opened:
        opened["a_dataset"] = np.arange(4)
        opened.create_group("a_group_that_no_attribute_names/stem_conv")
    assert_same_weights(read_keras_weights(path, 5), expected)


def test_the_order_of_the_layers_does_not_matter(file, seeded_weights, expected):
    backwards = dict(reversed(seeded_weights.items()))
    assert_same_weights(read_keras_weights(file(backwards), 5), expected)


def test_a_file_without_layer_names_is_read_by_its_groups(file, seeded_weights, expected):
    path = file(seeded_weights)
    with h5py.File(path, "a") as opened:
        del opened.attrs["layer_names"]
    assert_same_weights(read_keras_weights(path, 5), expected)


@pytest.mark.parametrize("classes", [1, 2, 3001])
def test_any_number_of_classes_is_read(file, seeded_weights, expected, classes):
    rng = np.random.default_rng(classes)
    head = {
        ("ClassProb", "ClassProb_1/kernel:0"): rng.random((1280, classes), np.float32),
        ("ClassProb", "ClassProb_1/bias:0"): rng.random(classes, np.float32),
    }
    found = read_keras_weights(file(seeded_weights | head), 5)
    kernel, bias = found.pop("classifier.weight"), found.pop("classifier.bias")
    np.testing.assert_array_equal(kernel, head["ClassProb", "ClassProb_1/kernel:0"].T)
    np.testing.assert_array_equal(bias, head["ClassProb", "ClassProb_1/bias:0"])
    assert_same_weights(found, {name: expected[name] for name in found})


@pytest.mark.parametrize("channels", [1, 3, 8])
def test_any_number_of_channels_is_read(file, seeded_weights, channels):
    kernel = np.random.default_rng(channels).random((3, 3, channels, 32), np.float32)
    path = file(seeded_weights | {("stem_conv", "stem_conv_1/kernel:0"): kernel})
    found = read_keras_weights(path, channels)["conv_stem.weight"]
    np.testing.assert_array_equal(found, kernel.transpose(CONV))


def test_a_file_that_ends_at_block6a_gives_the_trunk(file, trunk, expected):
    found = read_keras_weights(file(trunk), 5)
    assert_same_weights(found, {name: expected[name] for name in found})
    assert sum(value.size for value in found.values()) == 947_136 + 18_848


def test_a_file_without_a_head_gives_everything_else(file, seeded_weights, expected):
    headless = {key: value for key, value in seeded_weights.items() if key[0] != "ClassProb"}
    found = read_keras_weights(file(headless), 5)
    assert expected.keys() - found.keys() == {"classifier.weight", "classifier.bias"}


def test_double_precision_is_read_as_float32(file, seeded_weights, expected):
    doubles = {key: value.astype(np.float64) for key, value in seeded_weights.items()}
    found = read_keras_weights(file(doubles), 5)
    assert {value.dtype for value in found.values()} == {np.dtype(np.float32)}
    assert_same_weights(found, expected)


def test_a_missing_file_is_named(tmp_path):
    kind, message = error_of(tmp_path / "nowhere.hdf5")
    assert kind is WeightsError
    assert "does not exist" in message


def test_a_folder_is_named(tmp_path):
    kind, message = error_of(tmp_path)
    assert kind is WeightsError
    assert "is not a file" in message


@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html>\n<html>", b"PK\x03\x04\n\r\0", b"\x89HDF"]
)
def test_what_is_no_hdf5_is_named_by_how_it_begins(tmp_path, content):
    path = tmp_path / "page.hdf5"
    path.write_bytes(content)
    kind, message = error_of(path)
    assert kind is WeightsError
    assert f"is not an HDF5 file (it begins with {content[:8]!r})" in message


@pytest.mark.parametrize("share", [0.001, 0.3, 0.999999])
def test_a_truncated_file_is_named(tmp_path, keras_weights, share):
    whole = keras_weights.read_bytes()
    path = tmp_path / "half.hdf5"
    path.write_bytes(whole[: int(share * len(whole))])
    kind, message = error_of(path)
    assert kind is WeightsError
    assert "truncated or damaged" in message
    assert "download or copy it again" in message


def test_a_damaged_group_is_named(file, trunk):
    path = file(trunk)
    path.write_bytes(path.read_bytes().replace(b"SNOD", b"DONS"))
    kind, message = error_of(path)
    assert kind is WeightsError
    assert "it is truncated or damaged" in message


def test_a_damaged_attribute_is_named(tmp_path):
    path = tmp_path / "attribute.hdf5"
    with h5py.File(path, "w") as file:
        file.attrs.create("layer_names", np.array([b"stem_conv"]), shape=(1,))
    data = bytearray(path.read_bytes())
    # The attribute's dataspace (version 1, one dimension) claims more than its maximum.
    space = data.index(struct.pack("<QQ", 1, 1), data.index(b"layer_names"))
    data[space : space + 8] = struct.pack("<Q", 1 << 40)
    path.write_bytes(data)
    assert "truncated or damaged" in error_of(path)[1]


@pytest.mark.parametrize(
    ("layer", "count"),
    [("stem_conv", 1), ("block5b_se_reduce", 2), ("block7a_bn", 4), ("ClassProb", 2)],
)
def test_a_missing_layer_is_named(file, seeded_weights, layer, count):
    rest = {key: value for key, value in seeded_weights.items() if key[0] != layer}
    if layer == "ClassProb":
        rest[layer, "ClassProb_1/bias:0"] = seeded_weights[layer, "ClassProb_1/bias:0"]
        count = 1
    kind, message = error_of(file(rest))
    weight = "gamma" if layer.endswith("bn") else "kernel"
    assert kind is WeightsError
    assert "not a complete EfficientNet-B0 checkpoint" in message
    assert f"{layer}/{weight} is missing" in message
    more = f", and {count - 1} more of its 311 weights"
    assert message.endswith(more) if count > 1 else message.endswith("is missing")


def test_a_listed_layer_without_a_group_is_named(file, seeded_weights):
    path = file(seeded_weights)
    with h5py.File(path, "a") as opened:
        del opened["block2b_bn"]
    assert "block2b_bn/gamma is missing" in error_of(path)[1]


def test_a_listed_weight_without_data_is_named(file, seeded_weights):
    path = file(seeded_weights)
    with h5py.File(path, "a") as opened:
        del opened["block2b_bn/block2b_bn_1/beta:0"]
    kind, message = error_of(path)
    assert kind is WeightsError
    assert "beta:0" in message


def test_another_network_is_named(tmp_path, write_keras):
    kernels = {(f"conv{i}", f"conv{i}/kernel:0"): np.ones((3, 3, 5, 8)) for i in range(9)}
    kind, message = error_of(write_keras(tmp_path / "resnet.h5", kernels))
    assert kind is WeightsError
    assert message.endswith("stem_conv/kernel is missing, and 218 more of its 219 weights")


def test_a_keras_3_file_is_named(tmp_path):
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/conv2d/vars/0"] = np.ones((3, 3, 5, 32))
    assert "stem_conv/kernel is missing" in error_of(path)[1]


def test_an_hdf5_file_of_something_else_is_named(tmp_path):
    path = tmp_path / "measurements.h5"
    with h5py.File(path, "w") as file:
        file.attrs["note"] = json.dumps({"plate": "P1"})
        file["Cells/AreaShape"] = np.ones(3)
    assert "stem_conv/kernel is missing" in error_of(path)[1]


def test_a_deeper_efficientnet_is_refused(file, seeded_weights):
    # EfficientNet-B1 has all of B0's layers with B0's shapes, and more blocks between.
    block = {
        ("block2c" + layer[7:], name.replace("block2b", "block2c")): value
        for (layer, name), value in seeded_weights.items()
        if layer.startswith("block2b")
    }
    assert block
    kind, message = error_of(file(seeded_weights | block))
    assert kind is WeightsError
    assert "block2c" in message


@pytest.mark.parametrize(("channels", "given"), [(5, 3), (5, 6), (3, 5)])
def test_another_number_of_channels_is_named(file, seeded_weights, channels, given):
    kernel = np.ones((3, 3, channels, 32), np.float32)
    path = file(seeded_weights | {("stem_conv", "stem_conv_1/kernel:0"): kernel})
    kind, message = error_of(path, given)
    assert kind is ChannelError
    assert f"takes {channels} channels, expected {given}" in message


def test_text_in_place_of_numbers_is_named(file, seeded_weights):
    wrong = {("stem_bn", "stem_bn_1/gamma:0"): np.array([b"one"] * 32)}
    kind, message = error_of(file(seeded_weights | wrong))
    assert kind is WeightsError
    assert "truncated or damaged" in message
