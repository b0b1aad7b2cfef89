"""The result is a model like any other: found, loaded, and telling how it came about."""

import dataclasses
import json

import numpy as np
import pytest
import timm
import torch

from cpcnn_core import list_models, load_model
from cpcnn_core.crop_store.store import open_crops
from cpcnn_core.errors import TrainingError
from cpcnn_core.models.registry import find_model, model_file
from cpcnn_core.models.weights import read_model, save_model
from cpcnn_core.training.cells import gather_cells
from cpcnn_core.training.checkpoint import last_checkpoint, read_checkpoint
from cpcnn_core.training.config import StudyConfig
from cpcnn_core.training.config_files import config_from
from cpcnn_core.training.fit import train_model
from cpcnn_core.training.network import TrainableNetwork

from .conftest import config_of


def network_of(config, classes=3):
    """The network that was trained, from its last checkpoint."""
    network = TrainableNetwork(config.network.backbone, 3, 32, classes, config.network.tap)
    tensors = read_checkpoint(last_checkpoint(f"{config.run.out}/checkpoints")).tensors
    state = {k.removeprefix("network."): v for k, v in tensors.items() if k[:8] == "network."}
    missing = network.load_state_dict(state, strict=False).missing_keys
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return network.eval()


@pytest.fixture(scope="module")
def efficientnet(store, tmp_path_factory):
    """An epoch of the reference's network, which is what it takes to move its statistics."""
    folder = tmp_path_factory.mktemp("efficientnet")
    config = config_of(
        store,
        folder,
        network={"backbone": "efficientnet_b0"},
        training={"epochs": 1, "learning_rate": 0.001},
        run={"checkpoint_steps": 0},
    )
    torch.set_num_threads(1)
    return config, train_model(config)


def crops_of(store):
    return open_crops(store).read(np.arange(12)).astype(np.float32) / 255


def assert_features(model, network, crops):
    with torch.inference_mode():
        expected = network.embed(torch.from_numpy(crops))[0].numpy()
    assert np.abs(model.embed(crops) - expected).max() <= 1e-5


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_features_are_those_of_the_trained_network(efficientnet, store, engine):
    config, path = efficientnet
    model = load_model(path, device="cpu", engine=engine)
    card = model.card
    assert (card.architecture, card.tap, card.embed_dim) == (
        "efficientnet_b0",
        "block6a_activation",
        672,
    )
    assert (card.crop_px, card.channels, card.trained) == (32, ("DNA", "ER", "Mito"), True)
    assert_features(model, network_of(config), crops_of(store))


@pytest.mark.parametrize(("tap", "dim"), [("pool5", 1280), ("ClassProb", 3)])
def test_the_whole_network_is_in_the_file(efficientnet, store, tmp_path, tap, dim):
    config, path = efficientnet
    card, weights = read_model(path)
    save_model(
        tmp_path / "other.safetensors", dataclasses.replace(card, tap=tap, embed_dim=dim), weights
    )
    model = load_model(tmp_path / "other.safetensors", device="cpu", engine="torch")
    other = dataclasses.replace(config, network=dataclasses.replace(config.network, tap=tap))
    assert_features(model, network_of(other), crops_of(store))


def test_a_network_of_timm_too(make_config, store):
    config = make_config()
    model = load_model(train_model(config), device="cpu")
    assert (model.card.architecture, model.engine) == ("timm/test_resnet", "torch")
    assert_features(model, network_of(config), crops_of(store))


def test_it_tells_how_it_came_about(efficientnet):
    config, path = efficientnet
    made = find_model(path)[0].provenance
    assert config_from(json.loads(made["recipe"])) == config
    assert json.loads(made["classes"]) == ["DMSO", "rings", "stripes"]
    assert made["crops_sha256"] == gather_cells(config).store.sha256
    assert json.loads(made["split"])["training"]["cells"] == 57
    assert 0 <= json.loads(made["evaluation"])["validation_accuracy"] <= 1
    assert made["started_from"] == "random, seed 0"
    assert made["made_by"].startswith("cpcnn ")
    assert f"timm {timm.__version__}" in made["made_by"]


def test_with_a_name_it_is_used_by_name(make_config, store):
    config = make_config(run={"name": "my-cells"}, training={"epochs": 1})
    path = train_model(config)
    assert path.name == "my-cells.safetensors"
    assert "my-cells" in list_models()
    one, other = load_model("my-cells", device="cpu"), load_model(path, device="cpu")
    assert one.card == other.card
    assert one.card.name == "my-cells"
    # The same training may make it again, another not.
    train_model(config)
    again = make_config(run={"name": "my-cells", "seed": 1, "out": str(path.parent / "again")})
    with pytest.raises(TrainingError, match=r"my-cells belongs to another model; change run"):
        train_model(again)
    assert not (path.parent / "again").exists()


def test_without_a_name_it_stays_where_it_is(efficientnet):
    assert efficientnet[1].name == "model.safetensors"
    assert not model_file("model").exists()


@pytest.mark.parametrize("name", ["untrained-efficientnet-b0", "folder/mine", "mine.h5"])
def test_a_name_that_cannot_be_is_refused_at_the_start(make_config, name):
    with pytest.raises(TrainingError, match=r"change run\.name"):
        train_model(make_config(run={"name": name}))


def test_a_trained_model_is_gone_on_from(make_config, tmp_path):
    first = train_model(make_config(training={"epochs": 1}))
    config = make_config(
        network={"initialization": str(first)},
        training={"epochs": 1},
        run={"out": str(tmp_path / "second")},
    )
    card, weights = read_model(train_model(config))
    assert card.provenance["started_from"].startswith("the model model, sha256 ")
    before = read_model(first)[1]
    moved = np.abs(weights["fc.weight"] - before["fc.weight"]).max()
    assert 0 < moved < 0.1


def test_the_card_has_the_scale_of_the_crops_and_the_start_says_it(make_store, make_config):
    folder = make_store(um_per_px=0.65)
    told = []
    path = train_model(make_config(folder, training={"epochs": 1}), progress=told.append)
    assert find_model(path)[0].um_per_px == 0.65
    assert "72 crops of 1 study, 32 px of 0.65 µm, DNA" in str(told[0])


def test_the_card_of_crops_without_a_scale_has_none_and_the_start_says_why(
    efficientnet, make_store, make_config
):
    assert find_model(efficientnet[1])[0].um_per_px is None
    folders = [
        make_store(name=name, plates=(name,), um_per_px=scale)
        for name, scale in (("P1", 0.65), ("P2", 0.325))
    ]
    studies = tuple(StudyConfig(str(folder)) for folder in folders)
    told = []
    config = make_config(data={"studies": studies}, training={"epochs": 1})
    assert find_model(train_model(config, progress=told.append))[0].um_per_px is None
    said = str(told[0])
    assert "72 crops of 2 studies, 32 px, DNA" in said
    assert "the studies differ in micrometres per pixel (P1: 0.65, P2: 0.325), so" in said
