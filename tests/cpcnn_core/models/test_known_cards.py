"""The shelf: every card builds, other packages add theirs, and a broken one hides no other."""

import dataclasses
import importlib
import re
import sys
import textwrap
import tomllib
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from cpcnn_core.embedding.embedder import load_model
from cpcnn_core.errors import ModelWarning, WeightsError
from cpcnn_core.imaging.crops import crop_cells
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.conversion import convert_checkpoint
from cpcnn_core.models.licences import accept_licence
from cpcnn_core.models.network_builder import empty_network
from cpcnn_core.models.registry import known_cards, list_models, model_file
from cpcnn_core.models.weight_import import import_model
from cpcnn_core.models.weights import save_model
from cpcnn_core.simulation.design import ScreenDesign
from cpcnn_core.simulation.field import simulate_field

FOREIGN = [card for card in known_cards().values() if card.architecture != "efficientnet_b0"]
CELLPROFILERS_LONGEST = 12


@pytest.fixture
def other_package(tmp_path, monkeypatch):
    """Install a package that adds models; gives a function that takes its code."""

    def install(code):
        (tmp_path / "theirs.py").write_text(textwrap.dedent(code))
        info = tmp_path / "theirs-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
        (info / "entry_points.txt").write_text("[cpcnn.models]\ntheirs = theirs:cards\n")
        monkeypatch.syspath_prepend(tmp_path)
        importlib.invalidate_caches()
        known_cards.cache_clear()

    yield install
    known_cards.cache_clear()
    sys.modules.pop("theirs", None)


def test_trained_networks_come_first_then_the_baselines():
    first = ["cell-painting-cnn-v1", "imagenet-efficientnet-lite0"]
    baselines = ["untrained-efficientnet-b0", "untrained-resnet18"]
    assert list(known_cards())[:4] == [*first, *baselines]


def test_the_guide_has_a_row_of_every_model():
    guide = Path(__file__).parents[3] / "docs" / "models.md"
    shelf = guide.read_text(encoding="utf-8").partition("## On the shelf")[2].partition("\n## ")[0]
    rows = [row.split(" | ")[0] for row in shelf.splitlines() if row.startswith("| `")]
    assert sorted(re.findall("`(.+?)`", " ".join(rows))) == sorted(known_cards())


def test_what_the_issue_of_a_shelf_names_is_on_it():
    for start in (
        "dinov2",
        "dinov3",
        "morphem",
        "subcell",
        "openphenom",
        "cellpaintssl",
        "unidino",
    ):
        assert any(name.startswith(start) for name in known_cards()), start


def test_no_two_models_name_their_features_alike():
    prefixes = [card.prefix for card in FOREIGN]
    assert len(set(prefixes)) == len(prefixes)
    assert all(prefix.isalnum() and len(prefix) <= CELLPROFILERS_LONGEST for prefix in prefixes)
    assert "CPCNN" not in prefixes


@pytest.mark.parametrize("card", [card for card in FOREIGN if card.trained], ids=lambda c: c.name)
def test_every_card_says_whose_it_is_and_what_it_takes(card):
    assert card.licence != "unknown"
    assert card.source.startswith("https://")
    assert card.citation
    assert empty_network(card).embed_dim == card.embed_dim


@pytest.mark.parametrize("name", ["morphem", "openphenom", "subcell-vit", "cellpaintssl-dino"])
def test_seeded_weights_are_saved_loaded_and_embed_real_shapes(name, crops_of, small_weights):
    card = known_cards()[name]
    if name == "subcell-vit":
        # At its own 478 px a crop takes 8 seconds on a CPU.
        card = dataclasses.replace(card, input_px=112)
    save_model(model_file(name), card, small_weights(card))
    accept_licence(card)
    model = load_model(name, device="cpu")
    crops = crops_of(card)
    features = model.embed(crops)
    assert features.shape == (len(crops), card.embed_dim)
    assert np.ptp(features, axis=0).max() > 0
    np.testing.assert_allclose(model.embed(crops[1:])[0], features[1], rtol=0, atol=1e-4)


@pytest.fixture
def crops_of():
    """Two crops of a simulated field, as a card wants them."""
    field = simulate_field(
        ScreenDesign(plates=1, wells=6, treatments=1, size=400), "S1P1", "A01", 1
    )

    def cut(card):
        centers = np.array([[200.0, 210.0], [150.0, 180.0]])
        return crop_cells(field.image, centers, crop_px=card.crop_px, normalizer=card.normalizer)

    return cut


def test_another_package_adds_models(other_package):
    other_package("""
        from cpcnn_core.models.card import ModelCard

        def cards():
            return [ModelCard("theirs", "Another's.", ("DNA",), 96)]
    """)
    assert known_cards()["theirs"].embed_dim == 96
    assert "theirs" in list_models()


def test_the_example_for_contributors_fits_the_file_it_names(tmp_path):
    guide = (Path(__file__).parents[3] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    card = ModelCard.from_values(tomllib.loads(re.search("```toml\n(.+?)```", guide, re.S)[1]))
    theirs = timm.create_model(card.hub.removeprefix("timm/"))
    save_file(theirs.state_dict(), tmp_path / card.hub_file)
    network = empty_network(card)
    assert network.embed_dim == card.embed_dim == 5 * theirs.num_features
    convert_checkpoint(tmp_path / card.hub_file, card.architecture, network.weight_shapes())
    config = theirs.pretrained_cfg
    assert (card.mean, card.std, card.resize) == (
        config["mean"],
        config["std"],
        config["interpolation"],
    )
    assert card.input_px == config["input_size"][1]


def card_of_a_resnet(features):
    return f"""
        from cpcnn_core.models.card import ModelCard

        cards = [ModelCard("theirs", "Another's.", ("DNA", "ER"), {features},
                           architecture="timm/test_resnet", tap="pooled", channel_mode="rgb")]
    """


@pytest.fixture
def timms(tmp_path):
    """A network of timm with its classifier, and its file."""
    network = timm.create_model("test_resnet").eval()
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    return network, tmp_path / "model.safetensors"


def test_a_file_of_timm_becomes_the_model_of_a_card(other_package, timms):
    other_package(card_of_a_resnet(features=192))
    network, file = timms
    import_model(file, "theirs", unverified=True)
    crops = np.random.default_rng(1).random((3, 2, 128, 128), np.float32)
    found = load_model("theirs", device="cpu").embed(crops)
    grey = torch.from_numpy(crops)[:, :, None].expand(-1, -1, 3, -1, -1)
    with torch.inference_mode():
        expected = [
            network.forward_head(network.forward_features(grey[:, channel]), pre_logits=True)
            for channel in range(2)
        ]
    np.testing.assert_allclose(found, torch.cat(expected, 1), rtol=0, atol=1e-4)


def test_a_card_that_promises_other_features_is_refused_before_it_is_a_file(other_package, timms):
    other_package(card_of_a_resnet(features=96))
    with pytest.raises(
        WeightsError, match="theirs promises 96 features, pooled gives 192; correct"
    ):
        import_model(timms[1], "theirs", unverified=True)
    assert not model_file("theirs").exists()


def test_another_packages_untrained_model_is_the_network_that_its_card_says(other_package):
    other_package("""
        from cpcnn_core.models.card import ModelCard

        cards = [ModelCard("empty", "Another's.", ("DNA",), 96, architecture="timm/test_resnet",
                           tap="pooled", trained=False, crop_px=64)]
    """)
    model = load_model("empty", device="cpu")
    assert (model.card.name, model.card.embed_dim, model.card.trained) == ("empty", 96, False)
    assert model.card.sha256 == load_model("empty", device="cpu").card.sha256
    assert model.embed(np.ones((1, 1, 64, 64), np.float32)).shape == (1, 96)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('no such luck')", "no such luck"),
        ("cards = ['text']", "expected cards of models, got 'text'"),
        (
            "from cpcnn_core.models.registry import _our_cards as cards",
            "cell-painting-cnn-v1 is taken",
        ),
    ],
)
def test_models_that_cannot_be_used_are_named_and_hide_no_others(other_package, code, reason):
    other_package(code)
    with pytest.warns(ModelWarning, match="theirs:cards adds cannot be used") as caught:
        cards = known_cards()
    assert len(caught) == 1
    if "taken" not in reason:
        assert reason in str(caught[0].message)
    assert "is taken" in str(caught[0].message) or "taken" not in reason
    assert "cell-painting-cnn-v1" in cards
