"""The recipe ``cpcnn`` on a tiny network: it resumes to the last bit, and its model can be used."""

import dataclasses
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from cpcnn_core import load_model
from cpcnn_core.crop_store.store import open_crops
from cpcnn_core.errors import CancelledError, TrainingError, WeightsError
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.network_builder import random_weights
from cpcnn_core.models.weights import read_model, save_model
from cpcnn_core.training.checkpoint import checkpoint_file, read_checkpoint
from cpcnn_core.training.config_files import recipe_config, write_config
from cpcnn_core.training.fit import train_model
from cpcnn_core.training.starting_weights import make_network

from .conftest import CHANNELS, config_of
from .test_fit import (
    KILLED,
    ONE_THREAD,
    assert_same_bits,
    kept,
    log_of,
    stop_after,
    train_in_one_and_in_two_processes,
)

# 57 cells of 3 classes are learned from: 19 each, 8 steps of 8.
STEPS = 8


def small(crops, folder, **changes):
    """Keep all parts of the recipe, on a network that takes a moment."""
    recipe = recipe_config("cpcnn")
    sections = {
        "network": {"channels": "each", "input_px": 40},
        "sampling": {"plates": True, "cells_per_class": 2},
        "training": {
            "epochs": 3,
            "batch": 8,
            "averaging": 0.9,
            "taken_rate": 0.1,
            "schedule": recipe.training.schedule,
            "learning_rate": 0.01,
        },
        "contrast": {"weight": recipe.contrast.weight, "dimensions": 16},
    }
    for name, entries in changes.items():
        sections[name] = sections.get(name, {}) | entries
    return config_of(crops, folder, **sections)


@pytest.fixture
def make_small(store, tmp_path):
    return lambda crops=store, **changes: small(crops, tmp_path, **changes)


@pytest.fixture(scope="module")
def undisturbed(store, tmp_path_factory):
    config = small(store, tmp_path_factory.mktemp("undisturbed"))
    torch.set_num_threads(1)
    return config, train_model(config)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A model that sees each channel by itself, and says how and under what licence."""
    card = ModelCard(
        "gray",
        "An example.",
        ("DNA", "RNA"),
        192,
        architecture="timm/test_resnet",
        tap="pooled",
        channel_mode="rgb",
        crop_px=24,
        input_px=48,
        resize="bicubic",
        standardizer="mean-std",
        mean=(0.5, 0.4, 0.3),
        std=(0.5, 0.6, 0.7),
        licence="CC-BY-4.0",
        commercial=True,
        citation="Somebody 2020",
        hub="pypi:some-package",
        hub_file="weights.pth",
    )
    weights = random_weights(card, 3)
    path = tmp_path_factory.mktemp("start") / "gray.safetensors"
    save_model(path, card, weights)
    return path, weights


def test_killed_it_goes_on_to_the_last_bit(undisturbed, make_small, tmp_path):
    config = make_small(run={"checkpoint_steps": 4, "workers": 1})
    write_config(tmp_path / "train.toml", config)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "train.toml")]
    how = {"env": os.environ | ONE_THREAD, "capture_output": True, "text": True}
    done = subprocess.run(command, check=False, **how)
    assert done.returncode == -signal.SIGKILL, done.stderr
    path = train_model(config)
    assert_same_bits(config, undisturbed[0])
    assert read_model(path)[0].sha256 == read_model(undisturbed[1])[0].sha256


def test_cancelled_between_epochs_it_goes_on_to_the_last_bit(undisturbed, make_small):
    config = make_small()
    for count in (STEPS, STEPS + 3):
        with pytest.raises(CancelledError):
            train_model(config, cancel=stop_after(count))
    train_model(config)
    assert_same_bits(config, undisturbed[0])


def test_two_processes_do_what_one_does_with_two_parts(make_small, tmp_path):
    rate = {"learning_rate": 0.001, "epochs": 1}
    one = make_small(training=rate, run={"parts": 2, "out": str(tmp_path / "one")})
    two = make_small(training=rate, run={"parts": 2, "out": str(tmp_path / "two")})
    train_in_one_and_in_two_processes(one, two, tmp_path / "two.toml")
    mine, theirs = kept(one).tensors, kept(two).tensors
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        assert (value.double() - theirs[name].double()).abs().max().item() <= 1e-5, name


def test_the_model_is_the_average_and_gives_the_features_of_the_training(undisturbed, store):
    config, path = undisturbed
    card, weights = read_model(path)
    assert (card.channel_mode, card.input_px, card.channels) == ("rgb", 40, CHANNELS)
    assert card.embed_dim == 3 * 96
    tensors = kept(config).tensors
    prefix = "average.module.network.backbone.network.net."
    for name, value in weights.items():
        assert np.array_equal(value, tensors[prefix + name].numpy()), name
    # Written out: each channel as a grey picture, resized, through timm's network.
    network, _ = make_network(config.network, CHANNELS, 32, ("a", "b", "c"), 0)
    network.net.load_state_dict(
        {name: torch.from_numpy(value) for name, value in weights.items()}, strict=False
    )
    network.eval()
    crops = torch.from_numpy(open_crops(store).read(np.arange(4))).float() / 255
    expected = []
    for crop in crops:
        parts = []
        for channel in crop:
            gray = torch.nn.functional.interpolate(
                channel[None, None], (40, 40), mode="bilinear", antialias=True
            )
            with torch.no_grad():
                top = network.net.forward_features(gray.expand(1, 3, 40, 40))
                parts.append(network.net.forward_head(top, pre_logits=True)[0])
        expected.append(torch.cat(parts))
    found = load_model(path, device="cpu", engine="torch").embed(crops.numpy())
    assert np.abs(found - torch.stack(expected).numpy()).max() < 1e-5


def test_it_takes_other_channels(undisturbed):
    card, _ = read_model(undisturbed[1])
    assert card.with_channels(("GFP", "DNA")).embed_dim == 2 * 96


def test_it_starts_from_a_model_that_sees_each_channel(start, make_small):
    path, weights = start
    config = make_small(
        network={"initialization": str(path)}, training={"epochs": 1, "learning_rate": 1e-12}
    )
    made = train_model(config)
    card, found = read_model(made)
    assert card.provenance["started_from"].startswith("the model gray, sha256 ")
    for name in set(weights) - {n for n in weights if "running" in n}:
        assert np.abs(found[name] - weights[name]).max() < 1e-9, name
    given = (card.standardizer, card.mean, card.std, card.resize, card.input_px)
    assert given == ("mean-std", (0.5, 0.4, 0.3), (0.5, 0.6, 0.7), "bicubic", 40)
    # What was made of others' weights comes under their licence, and is not at their address.
    assert (card.licence, card.commercial, card.citation) == ("CC-BY-4.0", True, "Somebody 2020")
    assert (card.hub, card.hub_file, card.source) == ("", "", "cpcnn train")


def test_a_first_layer_is_inflated_where_channels_enter_together(start, make_small):
    """Of equal channels it answers as of one, standardized by its card, but for a constant."""
    path, weights = start
    config = dataclasses.replace(
        make_small().network, channels="together", fixed_statistics=False, initialization=str(path)
    )
    network, told = make_network(config, CHANNELS, 32, ("a", "b"), 0)
    assert told.startswith("the model gray, sha256 ")
    picture = torch.rand(2, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    found = network.net.conv1[0](picture.expand(-1, 3, -1, -1))
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ((0.5, 0.4, 0.3), (0.5, 0.6, 0.7)))
    kernel = torch.from_numpy(weights["conv1.0.weight"])
    expected = torch.nn.functional.conv2d((picture - mean) / std, kernel, stride=2, padding=1)
    shift = torch.nn.functional.conv2d((0 * picture - mean) / std, kernel, stride=2, padding=1)
    assert (found - (expected - shift)).abs().max().item() < 1e-5
    for name in set(weights) - {"conv1.0.weight"}:
        assert np.array_equal(network.net.state_dict()[name].numpy(), weights[name]), name


def test_models_that_take_channels_in_another_way_are_refused(start, make_small, tmp_path):
    card = ModelCard(
        "all", "", CHANNELS, 96, architecture="timm/test_resnet", tap="pooled", crop_px=32
    )
    save_model(tmp_path / "all.safetensors", card, random_weights(card, 0))
    with pytest.raises(TrainingError, match="all takes its channels together"):
        train_model(make_small(network={"initialization": str(tmp_path / "all.safetensors")}))
    with pytest.raises(WeightsError, match="gray is a timm/test_resnet, and the network to be"):
        train_model(make_small(network={"initialization": str(start[0]), "backbone": "resnet10t"}))


def test_the_best_epoch_is_the_model(make_store, make_small):
    # Two of the treatments do nothing: chance decides in which epoch wells find them best.
    names = {"A": "one", "B": "two", "C": "rings", "D": "stripes"}
    crops = make_store(plates=("P1", "P2", "P3"), columns=3, cells=2, treatments=names)
    config = make_small(
        crops,
        split={"kind": "plates", "values": ("P2",), "held_out": "Plate == 'P3'"},
        training={"epochs": 5, "learning_rate": 0.03},
        evaluation={"keep": "best", "patience": 2, "controls": ""},
        run={"seed": 14},
    )
    path = train_model(config)
    rows = log_of(config)
    values = [float(row["validation_rank"]) for row in rows]
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(len(rows))]
    best = int(np.argmax(values))
    assert 0 < best < len(rows) - 1, values
    assert len(rows) in (6, best + 3)
    saved = read_checkpoint(checkpoint_file(f"{config.run.out}/checkpoints", best)).tensors
    prefix = "average.module.network.backbone.network.net."
    for name, value in read_model(path)[1].items():
        assert np.array_equal(value, saved[prefix + name].numpy()), name
    # Started again, it is done, and makes the same model.
    before = read_model(path)[0].sha256
    assert read_model(train_model(config))[0].sha256 == before


def test_the_best_epoch_needs_wells_to_judge_by(make_store, make_small):
    crops = make_store(columns=2, plates=("P1",), cells=8, treatments={"A": "DMSO", "B": "rings"})
    config = make_small(
        crops,
        split={"kind": "column", "column": "Well", "values": ("A01",)},
        evaluation={"keep": "best"},
    )
    with pytest.raises(TrainingError, match="none of the wells that were not learned from"):
        train_model(config)


def test_views_teach_without_treatments(make_small):
    config = make_small(
        sampling={"plates": False, "cells_per_class": 1},
        training={"classification": 0.0, "epochs": 2},
        contrast={"positives": "views"},
    )
    train_model(config)
    losses = [float(row["loss"]) for row in log_of(config)]
    # 16 views of 8 cells: a random order would give log(15).
    assert losses[1] < losses[0] < 1.5 * np.log(15)
