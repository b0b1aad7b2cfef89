"""Shared fixtures: the reference's numbers, and the network they were made with."""

import json
from collections import defaultdict
from pathlib import Path

import h5py
import numpy as np
import pytest

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def seeded_weights():
    """Every weight of the reference's random network by (layer, name in the file)."""
    layout = json.loads((DATA / "parity_a" / "layout.json").read_text())
    statistics = np.load(DATA / "parity_a" / "bn_stats.npz")
    random = np.random.RandomState(layout["seed"])
    return {
        (entry["layer"], entry["keras_name"]): _draw(random, entry, statistics)
        for entry in layout["layout"]
    }


@pytest.fixture(scope="session")
def write_keras():
    """Write an HDF5 file as Keras does: groups, attributes, data sets."""
    return _write_keras


@pytest.fixture(scope="session")
def keras_weights(tmp_path_factory, seeded_weights):
    """The reference's weights file: weights only, as training leaves it."""
    path = tmp_path_factory.mktemp("keras") / "Cell_Painting_CNN_v1.hdf5"
    return _write_keras(path, seeded_weights)


@pytest.fixture(scope="session")
def full_keras_weights(tmp_path_factory, seeded_weights):
    """The same network as a full model, with an optimiser and a layer of no interest."""
    path = tmp_path_factory.mktemp("keras") / "full_model.hdf5"
    augmentation = {("augmentation_layer_1", "augmentation_layer_1/seed:0"): np.ones(2)}
    _write_keras(path, augmentation | seeded_weights, group="model_weights")
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = '{"class_name": "Functional"}'
        optimizer = file.create_group("optimizer_weights")
        optimizer.attrs["weight_names"] = [b"training/SGD/iter:0"]
        optimizer["training/SGD/iter:0"] = np.int64(30)
    return path


def _draw(random, entry, statistics):
    shape, weight = entry["shape"], entry["weight"]
    if weight in ("gamma", "moving_variance"):
        value = random.uniform(0.5, 1.5, shape)
    else:
        value = random.standard_normal(shape)
    if weight.startswith("moving_"):
        return statistics[f"{entry['layer']}/{weight}"]
    scale = {"gamma": 1, "beta": 0.1, "bias": 0.1}.get(weight) or np.sqrt(
        16 / shape[0] if len(shape) == 2 else 2 / np.prod(shape[: 2 if "depth" in weight else 3])
    )
    return (value * scale).astype(np.float32)


def _write_keras(path, weights, *, group="/", as_bytes=True, chunk=None):
    """Write weights {(layer, "layer_1/kernel:0"): array}; attributes in chunks if asked for."""
    layers = defaultdict(dict, input_1={}, stem_activation={}, pool5={})
    for (layer, name), value in weights.items():
        layers[layer][name] = value
    with h5py.File(path, "w") as file:
        root = file.require_group(group)
        root.attrs["backend"], root.attrs["keras_version"] = "tensorflow", "2.10.0"
        _write_names(root, "layer_names", list(layers), as_bytes, chunk)
        for layer, values in layers.items():
            _write_names(root.create_group(layer), "weight_names", list(values), as_bytes, chunk)
            for name, value in values.items():
                root[layer][name] = value
    return path


def _write_names(group, attribute, names, as_bytes, chunk):
    if as_bytes:
        names = np.array([name.encode() for name in names])
    if chunk is None:
        group.attrs[attribute] = names
        return
    for number, start in enumerate(range(0, len(names), chunk)):
        group.attrs[f"{attribute}{number}"] = names[start : start + chunk]
