"""Shared fixtures: the reference's numbers, and the network they were made with."""

import h5py
import numpy as np
import pytest

from . import reference_network


@pytest.fixture(scope="session")
def seeded_weights():
    """Every weight of the reference's random network by (layer, name in the file)."""
    return reference_network.seeded_weights()


@pytest.fixture(scope="session")
def write_keras():
    """Write an HDF5 file as Keras does: groups, attributes, data sets."""
    return reference_network.write_keras


@pytest.fixture(scope="session")
def keras_weights(tmp_path_factory, seeded_weights):
    """The reference's weights file: weights only, as training leaves it."""
    path = tmp_path_factory.mktemp("keras") / "Cell_Painting_CNN_v1.hdf5"
    return reference_network.write_keras(path, seeded_weights)


@pytest.fixture(scope="session")
def full_keras_weights(tmp_path_factory, seeded_weights):
    """The same network as a full model, with an optimiser and a layer of no interest."""
    path = tmp_path_factory.mktemp("keras") / "full_model.hdf5"
    augmentation = {("augmentation_layer_1", "augmentation_layer_1/seed:0"): np.ones(2)}
    reference_network.write_keras(path, augmentation | seeded_weights, group="model_weights")
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = '{"class_name": "Functional"}'
        optimizer = file.create_group("optimizer_weights")
        optimizer.attrs["weight_names"] = [b"training/SGD/iter:0"]
        optimizer["training/SGD/iter:0"] = np.int64(30)
    return path
