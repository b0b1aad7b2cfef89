"""The network's process: its answers, its errors, and its end."""

import numpy as np
import pytest

from cpcnn_core.errors import CancelledError, CPCNNError
from napari_cpcnn.embed.layer_embedding import NetworkProcess

UNTRAINED = "untrained-efficientnet-b0"
CHANNELS = ["DNA", "RNA", "ER", "AGP", "Mito"]


@pytest.fixture(scope="module")
def network():
    network = NetworkProcess()
    yield network
    network.stop()


@pytest.fixture(scope="module")
def arrays():
    random = np.random.default_rng(2)
    image = random.integers(0, 4000, (5, 160, 170)).astype(np.uint16)
    return {"image": image, "centers": random.uniform(20, 150, (9, 2))}


def result_of(steps):
    told = []
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            return told, end.value


def test_features_are_the_cores(network, arrays, core_features):
    request = {"model": UNTRAINED, "channels": CHANNELS}
    told, features = result_of(network.embed(request, arrays))
    np.testing.assert_allclose(features, core_features(**arrays), rtol=0, atol=1e-6)
    assert told[-1] == (9, 9)
    # The same process answers again.
    process = network._child._process
    np.testing.assert_array_equal(result_of(network.embed(request, arrays))[1], features)
    assert network._child._process is process


def test_an_error_is_told_and_the_process_goes_on(network, arrays):
    with pytest.raises(CPCNNError, match="nowhere"):
        result_of(network.embed({"model": "nowhere", "channels": CHANNELS}, arrays))
    request = {"model": UNTRAINED, "channels": CHANNELS}
    assert result_of(network.embed(request, arrays))[1].shape == (9, 672)


def test_stopping_ends_it_at_once(network, arrays):
    many = arrays | {"centers": np.resize(arrays["centers"], (2000, 2))}
    steps = network.embed({"model": UNTRAINED, "channels": CHANNELS}, many)
    next(steps)
    process = network._child._process
    network.stop()
    assert process.poll() is not None
    with pytest.raises(CancelledError):
        result_of(steps)


def test_a_process_that_dies_is_told_with_its_last_words(network, arrays):
    # Enough that it cannot have answered yet.
    many = arrays | {"centers": np.resize(arrays["centers"], (2000, 2))}
    steps = network.embed({"model": UNTRAINED, "channels": CHANNELS}, many)
    next(steps)
    network._child._process.kill()
    with pytest.raises(CPCNNError, match="the network's process ended with exit status -9"):
        result_of(steps)
    request = {"model": UNTRAINED, "channels": CHANNELS}
    assert result_of(network.embed(request, arrays))[1].shape == (9, 672)
