"""The random network that the reference's numbers were made with, and its file."""

import json
from collections import defaultdict
from pathlib import Path

import h5py
import numpy as np

PARITY = Path(__file__).parent / "data" / "parity_a"


def seeded_weights():
    """Return every weight of the network by (layer, name in the file)."""
    layout = json.loads((PARITY / "layout.json").read_text())
    statistics = np.load(PARITY / "bn_stats.npz")
    random = np.random.RandomState(layout["seed"])
    return {
        (entry["layer"], entry["keras_name"]): _draw(random, entry, statistics)
        for entry in layout["layout"]
    }


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


def write_keras(path, weights, *, group="/", as_bytes=True, chunk=None):
    """Write {(layer, "layer_1/kernel:0"): array} as Keras does; attributes in chunks if asked."""
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
