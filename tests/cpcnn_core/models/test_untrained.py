"""The untrained network: the same everywhere, and alive."""

import subprocess
import sys

import numpy as np
import pytest

from cpcnn_core.embedding.embedder import Embedder, load_model
from cpcnn_core.models.opening import untrained_efficientnet_b0

# What this version and every later one must give, on every machine.
SHA256 = "7078d953e885141f3293733be66f94873a6b7e22bfa3b2bba31c72ccbf007ef3"
SHA256_OF_TWO_CHANNELS = "915689927833ee7b1c56690e26c8ef1d74aff9fe678bcd187a8de2e67d18e457"


def test_the_weights_are_the_same_everywhere():
    assert untrained_efficientnet_b0()[0].sha256 == SHA256
    assert untrained_efficientnet_b0(("DNA", "ER"))[0].sha256 == SHA256_OF_TWO_CHANNELS


def test_the_weights_are_the_same_in_another_process():
    code = (
        "import numpy, torch; numpy.random.seed(1); torch.manual_seed(1)\n"
        "from cpcnn_core.models.opening import untrained_efficientnet_b0 as make\n"
        "print(make()[0].sha256)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == SHA256


def test_another_seed_gives_other_weights():
    card, weights = untrained_efficientnet_b0(seed=1)
    assert card.sha256 != SHA256
    first = untrained_efficientnet_b0()[1]["conv_stem.weight"]
    assert np.abs(weights["conv_stem.weight"] - first).min() > 0


def test_the_card_says_that_it_has_learned_nothing():
    card, _ = untrained_efficientnet_b0()
    assert not card.trained
    assert card.name == "untrained-efficientnet-b0"
    assert "learned nothing" in card.summary


def test_channels_are_named_in_the_card_and_counted_in_the_stem():
    card, weights = untrained_efficientnet_b0(("A", "B", "C"))
    assert card.channels == ("A", "B", "C")
    assert card.name == "untrained-efficientnet-b0-A-B-C"
    assert weights["conv_stem.weight"].shape == (32, 3, 3, 3)
    assert {value.dtype for value in weights.values()} == {np.dtype(np.float32)}


@pytest.fixture
def spots():
    """Return a function that draws crops of a number of channels: spots of many sizes."""

    def draw(channels):
        rng = np.random.default_rng(0)
        size = rng.uniform(0.02, 1, (12, channels, 1, 1))
        row, col = np.indices((128, 128)) / 128
        crops = np.exp(-((row - 0.5) ** 2 + (col - 0.5) ** 2) / size).astype(np.float32)
        return crops * rng.uniform(0.5, 1, crops.shape).astype(np.float32)

    return draw


@pytest.mark.parametrize("channels", [("DNA",), None])
def test_features_are_finite_and_differ_between_cells(channels, spots):
    card, weights = untrained_efficientnet_b0(channels)
    features = Embedder(card, weights, "cpu").embed(spots(len(card.channels)))
    assert np.isfinite(features).all()
    assert (features.std(axis=0) > 0).all()
    assert (features.std(axis=1) > 0.01).all()
    # The signal neither dies out nor explodes on its way.
    assert 0.03 < np.sqrt((features**2).mean()) < 30


def test_the_baseline_of_any_channels_sees_each_alone(spots):
    crops = spots(3)
    features = load_model("untrained-resnet18", "cpu", channels=("DNA", "Actin", "ER")).embed(crops)
    assert features.shape == (12, 3 * 512)
    assert np.isfinite(features).all()
    alive = (features.std(axis=0) > 0).mean()
    assert alive > 0.9
    one = load_model("untrained-resnet18", "cpu", channels=("Actin",)).embed(crops[:, 1:2])
    np.testing.assert_allclose(one, features[:, 512:1024], rtol=0, atol=1e-5)
