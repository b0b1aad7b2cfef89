"""Networks of timm: pretrained weights of pictures in networks of other channels."""

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from cpcnn_core.cli.main import main
from cpcnn_core.embedding.embedder import load_model
from cpcnn_core.errors import ChannelError, ModelNotFoundError, WeightsError
from cpcnn_core.models.from_timm import save_timm_model

BACKBONE, PX = "test_resnet", 160


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return timm.create_model(BACKBONE).eval()


@pytest.fixture(params=["safetensors", "pth"])
def weights(request, network, tmp_path):
    path = tmp_path / f"model.{request.param}"
    save = save_file if request.param == "safetensors" else torch.save
    save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).random((2, 3, PX, PX), dtype=np.float32)


def pooled(network, pictures):
    with torch.inference_mode():
        return network.forward_head(network.forward_features(pictures), pre_logits=True).numpy()


@pytest.mark.parametrize(
    ("mode", "tolerance"),
    [
        ("rgb", 1e-5),
        # The first layer is summed over red, green and blue: the same for grey pictures.
        ("bag", 1e-4),
    ],
)
def test_the_network_sees_every_channel_as_a_grey_picture(network, weights, crops, mode, tolerance):
    card, _ = save_timm_model(BACKBONE, mode, channels=("A", "B", "C"), crop_px=PX, weights=weights)
    found = load_model(card.name, device="cpu").embed(crops)
    # timm's own numbers for this network: mean and standard deviation of one half.
    grey = (torch.from_numpy(crops)[:, :, None].repeat(1, 1, 3, 1, 1) - 0.5) / 0.5
    expected = np.concatenate([pooled(network, grey[:, c]) for c in range(3)], axis=1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_inflated_repeats_and_scales_the_first_layer(network, weights, crops):
    names = ("A", "B", "C", "D", "E")
    card, path = save_timm_model(BACKBONE, "inflated", channels=names, crop_px=PX, weights=weights)
    assert card.channel_mode == "fixed"
    five = np.concatenate([crops, crops[:, :2]], axis=1)
    found = load_model(path, device="cpu").embed(five)
    first = network.state_dict()["conv1.0.weight"]
    wide = timm.create_model(BACKBONE, in_chans=5).eval()
    state = network.state_dict() | {"conv1.0.weight": first.repeat(1, 2, 1, 1)[:, :5] * 3 / 5}
    wide.load_state_dict(state)
    expected = pooled(wide, (torch.from_numpy(five) - 0.5) / 0.5)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_random_weights_are_those_of_the_seed():
    made = [
        save_timm_model(BACKBONE, "bag", seed=seed, name=f"m{n}")[0]
        for n, seed in enumerate((1, 1, 2))
    ]
    assert made[0].sha256 == made[1].sha256 != made[2].sha256
    assert not made[0].trained
    assert "random weights" in made[0].summary


def test_a_bag_takes_any_channels_and_a_fixed_model_only_its_own():
    bag, _ = save_timm_model(BACKBONE, "bag", seed=1)
    wide, _ = save_timm_model(BACKBONE, "inflated", seed=1)
    assert load_model(bag.name, channels=("GFP", "DNA")).card.embed_dim == 2 * 96
    with pytest.raises(ChannelError, match="takes the channels DNA, RNA, ER, AGP, Mito and no"):
        load_model(wide.name, channels=("GFP", "DNA"))


def test_weights_of_another_network_are_refused_in_one_line(weights):
    with pytest.raises(WeightsError, match="does not hold the weights of resnet18") as caught:
        save_timm_model("resnet18", weights=weights)
    assert len(str(caught.value)) < 500
    with pytest.raises(ModelNotFoundError, match="there is no file nowhere"):
        save_timm_model(BACKBONE, weights="nowhere.pth")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["test_resmet"], "no network 'test_resmet'; did you mean test_resnet"),
        ([BACKBONE, "--untrained", "1", "--name", "openphenom"], "the name openphenom cannot be"),
    ],
)
def test_what_cannot_be_made_is_said_in_one_line(arguments, said, capsys):
    assert main(["models", "timm", *arguments]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_the_command_line_makes_a_model_that_is_listed(capsys):
    assert main(["models", "timm", BACKBONE, "--channel-mode", "bag", "--untrained", "7"]) == 0
    assert "test_resnet-bag-untrained is ready" in capsys.readouterr().out
    assert main(["models", "list", "--ready"]) == 0
    line = next(t for t in capsys.readouterr().out.splitlines() if t.startswith("test_resnet"))
    assert "96 a channel" in line
    assert line.endswith("ready")
