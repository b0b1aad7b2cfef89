"""``cpcnn train`` as a user types it, and what it says when something is wrong."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from cpcnn_core import load_model
from cpcnn_core.cli.main import main
from cpcnn_core.crop_store.store import open_crops
from cpcnn_core.models.registry import find_model
from cpcnn_core.training.config_files import read_config, write_config

from ..crop_store.conftest import make_screen
from ..training.conftest import config_of, write_store


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("crops") / "screen")


@pytest.fixture
def train(tmp_path):
    """Write a recipe and train; returns the exit code."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def run(crops, **changes):
        write_config(tmp_path / "train.toml", config_of(crops, tmp_path, **changes))
        return main(["train", str(tmp_path / "train.toml")])

    yield run
    torch.set_num_threads(threads)


def one_line(capsys):
    said = capsys.readouterr()
    assert said.out == ""
    *before, last = said.err.splitlines()
    assert last.startswith("cpcnn: error: "), said
    assert not any("rror" in line for line in before), said
    return last


def test_a_recipe_is_written_and_nothing_overwritten(tmp_path, capsys):
    path = tmp_path / "train.toml"
    assert main(["train", "--write-config", str(path)]) == 0
    assert f"cpcnn train {path}" in capsys.readouterr().out
    read_config(path)
    assert main(["train", "--write-config", str(path)]) == 1
    assert "is there already" in one_line(capsys)


def test_it_says_how_it_goes_and_where_all_is(train, crops, tmp_path, capsys):
    assert train(crops, run={"workers": 1}) == 0
    said = capsys.readouterr()
    out = tmp_path / "out"
    lines = said.err.splitlines()
    assert lines[0] == "72 crops of 1 study, 32 px, DNA, ER, Mito"
    assert [line.split(":")[0] for line in lines if line.startswith("epoch")] == [
        "epoch 1/2",
        "epoch 2/2",
    ]
    assert [line.partition(":")[0] for line in said.out.splitlines()] == [
        *(f"wrote {out}/model.safetensors", "log", "use it as"),
    ]
    assert {path.name for path in out.iterdir()} == {
        *("config.toml", "log.csv", "tensorboard", "checkpoints", "model.safetensors"),
    }
    assert main(["models", "show", str(out / "model.safetensors"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["architecture"] == "timm/test_resnet"
    assert find_model(out / "model.safetensors")[0].embed_dim == 96


def damage(folder):
    path = folder / "crops" / "P1" / "B01" / "1.npy"
    path.write_bytes(path.read_bytes()[:-100])


def leave_one(folder):
    index = pd.read_parquet(folder / "index.parquet")
    is_ring = index["Metadata_Treatment"] == "rings"
    index.drop(index[is_ring].index[1:]).to_parquet(folder / "index.parquet", index=False)


@pytest.mark.parametrize(
    ("prepare", "changes", "said"),
    [
        (damage, {}, "1.npy ends before its crop"),
        (damage, {"run": {"workers": 2}}, "1.npy ends before its crop"),
        (leave_one, {}, "rings"),
        (
            None,
            {"split": {"kind": "column", "column": "Treatment", "values": ("DMSO", "rings")}},
            "at least 2 classes",
        ),
        (
            None,
            {"split": {"kind": "column", "column": "Well", "values": ("B01", "B02")}},
            "rings",
        ),
        (None, {"data": {"label": "Compound"}}, "no column Metadata_Compound"),
        (None, {"network": {"backbone": "test_resmet"}}, "did you mean test_resnet"),
        (None, {"network": {"initialization": "my-model"}}, "there is no model 'my-model'"),
        (None, {"network": {"tap": "pool5"}}, "test_resnet has the layers pooled"),
        (None, {"training": {"schedule": "step"}}, "needs pairs"),
        (None, {"training": {"learning_rate": 1e30}}, "lower training.learning_rate"),
        (None, {"run": {"precision": "float16"}}, "run.precision float16 needs a GPU"),
        (None, {"run": {"out": "/proc/nowhere"}}, "/proc/nowhere"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path, train, capsys, prepare, changes, said):
    folder = write_store(tmp_path / "screen")
    if prepare is not None:
        prepare(folder)
    assert train(folder, **changes) == 1
    assert said in one_line(capsys)


def test_a_typo_is_named(tmp_path, capsys):
    path = tmp_path / "train.toml"
    path.write_text("[training]\nlearningrate = 0.1\n")
    assert main(["train", str(path)]) == 1
    said = one_line(capsys)
    assert "no entry training.learningrate; did you mean training.learning_rate?" in said


def test_crops_of_another_size_are_named(tmp_path, train, capsys, crops):
    other = write_store(tmp_path / "other", plates=("P1",), crop_px=24)
    table = {"studies": read_config_of(tmp_path, crops, other)}
    assert train(crops, data=table) == 1
    assert "screen: 32, other: 24" in one_line(capsys)


def read_config_of(folder, *stores):
    return tuple(config_of(store, folder).data.studies[0] for store in stores)


def test_another_recipe_in_the_same_folder_is_named(train, crops, capsys):
    assert train(crops, training={"epochs": 1}) == 0
    capsys.readouterr()
    assert train(crops, training={"epochs": 1, "batch": 4}) == 1
    assert "holds another training: training.batch is 4 and 8 there" in one_line(capsys)


def test_a_damaged_checkpoint_is_named_and_kept(train, crops, tmp_path, capsys):
    assert train(crops) == 0
    capsys.readouterr()
    path = tmp_path / "out" / "checkpoints" / "checkpoint_0002.safetensors"
    damaged = path.read_bytes()[:-4]
    path.write_bytes(damaged)
    assert train(crops) == 0
    said = capsys.readouterr().err
    assert f"{path} was damaged: it is kept as {path.name}.damaged" in said
    assert "resuming after epoch 1" in said
    assert path.with_name(f"{path.name}.damaged").read_bytes() == damaged
    assert path.is_file()


def test_from_a_screen_to_features_of_a_model_of_its_own(tmp_path, train, capsys):
    """``cpcnn crops``, ``cpcnn train``, ``cpcnn embed``, by the model's name."""
    screen = tmp_path / "images"
    screen.mkdir()
    cut = make_screen(screen, wells=6)
    assert main([*cut, "--out", str(tmp_path / "crops")]) == 0
    assert train(tmp_path / "crops", training={"epochs": 1}, run={"name": "mine"}) == 0
    source = ["--load-data", str(screen / "load_data.csv"), "--labels", str(screen / "labels")]
    out = tmp_path / "embedded"
    assert main(["embed", *source, "--model", "mine", "--out", str(out)]) == 0
    capsys.readouterr()
    table = pd.concat(map(pd.read_parquet, (out / "plates").glob("*.parquet")))
    features = [name for name in table.columns if name.startswith("Cells_")]
    assert len(features) == 96
    assert set(table["Metadata_Model"]) == {"mine"}
    # A cell whose crop is in the store has the features of that crop, stored in 8 bits.
    store = open_crops(tmp_path / "crops")
    keys = [f"Metadata_{name}" for name in ("Plate", "Well", "Site", "ObjectNumber")]
    order = (
        table.astype(dict.fromkeys(keys, str))
        .set_index(keys)
        .loc[list(store.index[keys].astype(str).itertuples(index=False, name=None))]
    )
    crops = store.read(np.arange(len(store))).astype(np.float32) / 255
    expected = load_model("mine", device="cpu").embed(crops)
    found = order[features].to_numpy()
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
