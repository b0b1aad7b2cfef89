"""Folding batch norms changes nothing but rounding."""

import numpy as np
import pytest
import torch

from cpcnn_core.engines.torch_engine import fold_batch_norms
from cpcnn_core.models.efficientnet import TappedEfficientNet
from cpcnn_core.models.opening import untrained_efficientnet_b0
from cpcnn_core.models.weight_import import read_keras_model


def both(tap, weights, crops, classes=0):
    """Run the network before and after folding, and count the batch norms left."""
    network = TappedEfficientNet(crops.shape[1], tap, classes)
    network.load_weights(weights)
    network.eval()
    with torch.inference_mode():
        before = network(torch.from_numpy(crops)).numpy()
        after = fold_batch_norms(network)(torch.from_numpy(crops)).numpy()
    left = sum(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    return before, after, left


def test_features_as_large_as_25_differ_by_less_than_5e_5():
    crops = np.random.default_rng(0).random((32, 5, 128, 128), dtype=np.float32)
    before, after, left = both("block6a_activation", untrained_efficientnet_b0()[1], crops)
    assert before.max() > 25
    np.testing.assert_allclose(after, before, rtol=0, atol=5e-5)
    assert left == 0


@pytest.mark.parametrize(("tap", "tolerance"), [("pool5", 5e-4), ("ClassProb", 5e-5)])
def test_the_whole_network_is_folded(keras_weights, parity, tap, tolerance):
    weights = read_keras_model(keras_weights)[1]
    before, after, left = both(tap, weights, parity["crops"], classes=490)
    np.testing.assert_allclose(after, before, rtol=0, atol=tolerance)
    assert left == 0
