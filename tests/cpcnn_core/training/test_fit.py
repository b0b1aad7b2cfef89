"""Trainings from start to end: they learn, they resume, they say what they did."""

import csv
import dataclasses
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cpcnn_core import load_model
from cpcnn_core.crop_store.store import open_crops
from cpcnn_core.errors import CancelledError, TrainingError
from cpcnn_core.models.weights import read_model
from cpcnn_core.training.cells import gather_cells
from cpcnn_core.training.checkpoint import last_checkpoint, read_checkpoint
from cpcnn_core.training.config_files import read_config, write_config
from cpcnn_core.training.fit import train_model
from cpcnn_core.training.network import TrainableNetwork
from cpcnn_core.training.reports import EpochReport, StartReport, StepReport
from cpcnn_core.training.result import model_path

from .conftest import config_of

TIMES = ("seconds", "cells_per_second", "waiting", "cells")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "CUDA_VISIBLE_DEVICES": ""}
# 57 cells of 3 classes are learned from: 19 each, 8 steps of 8.
STEPS = 8
# Kills itself, as SIGKILL does it, in the middle of the second epoch.
KILLED = """
import os, signal, sys
from cpcnn_core.training.config_files import read_config
from cpcnn_core.training.fit import train_model
from cpcnn_core.training.reports import StepReport
def kill(report):
    if isinstance(report, StepReport) and (report.epoch, report.step) == (2, 6):
        os.kill(os.getpid(), signal.SIGKILL)
train_model(read_config(sys.argv[1]), kill)
"""


def log_of(config):
    with Path(config.run.out, "log.csv").open(newline="") as file:
        return [
            {name: value for name, value in row.items() if name not in TIMES}
            for row in csv.DictReader(file)
        ]


def kept(config):
    return read_checkpoint(last_checkpoint(f"{config.run.out}/checkpoints"))


def assert_same_bits(one, other):
    assert log_of(one) == log_of(other)
    mine, theirs = kept(one), kept(other)
    assert (mine.epoch, mine.step) == (theirs.epoch, theirs.step)
    assert mine.tensors.keys() == theirs.tensors.keys()
    for name, value in mine.tensors.items():
        assert value.numpy().tobytes() == theirs.tensors[name].numpy().tobytes(), name


@pytest.fixture(scope="module")
def undisturbed(store, tmp_path_factory):
    """Three epochs of a tiny network, without a break."""
    config = config_of(store, tmp_path_factory.mktemp("undisturbed"), training={"epochs": 3})
    torch.set_num_threads(1)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    reports = []
    path = train_model(config, reports.append)
    assert torch.equal(torch.random.get_rng_state(), before)
    return config, path, reports


def test_it_tells_how_it_goes(undisturbed):
    _, _, reports = undisturbed
    start, *rest = reports
    assert isinstance(start, StartReport)
    assert "72 crops of 1 study, 32 px, DNA, ER, Mito" in str(start)
    assert "57 cells to learn from, 15 for validation" in str(start)
    steps = [(r.epoch, r.step) for r in rest if isinstance(r, StepReport)]
    assert steps == [(epoch, step) for epoch in (1, 2, 3) for step in range(1, STEPS + 1)]
    lines = [str(r) for r in rest if isinstance(r, EpochReport)]
    assert [line.split(":")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert "waiting for data" in lines[0]


def test_the_log_has_a_row_for_every_epoch(undisturbed):
    config, _, reports = undisturbed
    rows = log_of(config)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    last = [r for r in reports if isinstance(r, StepReport)][-1]
    assert float(rows[-1]["loss"]) == pytest.approx(last.loss)
    for row in rows:
        assert 0 <= float(row["validation_accuracy"]) <= 1
        assert 0 <= float(row["nearest_treatment"]) <= 1
        assert row["correction"].startswith("sphering on ")


def test_tensorboard_finds_the_same_numbers(undisturbed):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config, _, _ = undisturbed
    events = EventAccumulator(f"{config.run.out}/tensorboard")
    events.Reload()
    for tag, name in (
        ("training/loss", "loss"),
        ("validation/accuracy", "validation_accuracy"),
        ("profiles/nearest_treatment", "nearest_treatment"),
    ):
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        expected = [(int(row["epoch"]), float(row[name])) for row in log_of(config)]
        assert found == [(epoch, pytest.approx(value)) for epoch, value in expected]


def test_every_entry_is_kept_beside_the_model(undisturbed):
    config, _, _ = undisturbed
    assert read_config(f"{config.run.out}/config.toml") == config


def test_a_finished_training_is_not_trained_again(undisturbed):
    config, path, _ = undisturbed
    before = read_model(path)[0]
    reports = []
    assert train_model(config, reports.append) == path
    assert [type(report) for report in reports] == [StartReport]
    assert read_model(path)[0].sha256 == before.sha256


def test_killed_in_mid_epoch_it_goes_on_to_the_last_bit(undisturbed, make_config, tmp_path):
    config = make_config(training={"epochs": 3}, run={"checkpoint_steps": 4, "workers": 1})
    write_config(tmp_path / "train.toml", config)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "train.toml")]
    how = {"env": os.environ | ONE_THREAD, "capture_output": True, "text": True}
    done = subprocess.run(command, check=False, **how)
    assert done.returncode == -signal.SIGKILL, done.stderr
    checkpoint = kept(config)
    assert (checkpoint.epoch, checkpoint.step) == (1, 4)
    reports = []
    path = train_model(config, reports.append)
    assert "resuming after epoch 1, step 4" in str(reports[0])
    assert (reports[1].epoch, reports[1].step) == (2, 5)
    assert_same_bits(config, undisturbed[0])
    assert read_model(path)[0].sha256 == read_model(undisturbed[1])[0].sha256


def stop_after(count):
    """Cancel after that many steps."""
    steps = iter(range(count - 1))
    return lambda: next(steps, None) is None


def test_cancelled_it_goes_on_to_the_last_bit(undisturbed, make_config):
    config = make_config(training={"epochs": 3})
    for count in (3, 5 + STEPS, 2):
        with pytest.raises(CancelledError, match="to resume it"):
            train_model(config, cancel=stop_after(count))
    assert (kept(config).epoch, kept(config).step) == (2, 2)
    train_model(config)
    assert_same_bits(config, undisturbed[0])


def spoil(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_goes_on(undisturbed, make_config):
    config = make_config(training={"epochs": 3}, evaluation={"every": 1})
    with pytest.raises(CancelledError):
        train_model(config, cancel=stop_after(STEPS + 3))
    last = last_checkpoint(f"{config.run.out}/checkpoints")
    assert last.name == "checkpoint_0001_000003.safetensors"
    spoil(last)
    reports = []
    train_model(config, reports.append)
    assert str(reports[0]) == f"{last} was damaged: it is kept as {last.name}.damaged"
    assert str(reports[1]).endswith("resuming after epoch 1")
    assert last.with_name(f"{last.name}.damaged").is_file()
    assert read_model(model_path(config))[0].sha256 == read_model(undisturbed[1])[0].sha256


def test_damaged_labels_take_their_checkpoint_with_them(make_config, tmp_path):
    changes = {"refinement": {"enabled": True}, "training": {"epochs": 2}}
    config = make_config(**changes, run={"out": str(tmp_path / "out")})
    train_model(config)
    before = kept(config)
    spoil(tmp_path / "out" / "checkpoints" / "soft_labels_0002.npz")
    reports = []
    train_model(config, reports.append)
    assert "checkpoint_0002.safetensors was damaged" in str(reports[0])
    assert "soft_labels_0002.npz was damaged" in str(reports[0])
    for name, value in before.tensors.items():
        assert torch.equal(kept(config).tensors[name], value)


def test_refined_labels_go_on_too(make_config, tmp_path):
    changes = {"refinement": {"enabled": True, "rate": 0.3}, "training": {"epochs": 2}}
    whole = make_config(**changes, run={"out": str(tmp_path / "whole")})
    parted = make_config(**changes, run={"out": str(tmp_path / "parted")})
    train_model(whole)
    with pytest.raises(CancelledError):
        train_model(parted, cancel=stop_after(STEPS + 3))
    train_model(parted)
    assert_same_bits(whole, parted)
    labels = np.load(tmp_path / "whole" / "checkpoints" / "soft_labels_0001.npz")["labels"]
    assert labels.shape == (57, 3)
    assert np.allclose(labels.sum(axis=1), 1, atol=1e-6)
    # The predictions of the first epoch's network, which the next checkpoint knows no more.
    without = make_config(training={"epochs": 2}, run={"out": str(tmp_path / "without")})
    train_model(without)
    assert log_of(without)[1]["loss"] != log_of(whole)[1]["loss"]


def test_refined_labels_are_those_of_a_slow_loop(make_config, store, tmp_path):
    changes = {"refinement": {"enabled": True, "rate": 0.3}, "training": {"epochs": 1}}
    config = make_config(**changes)
    path = train_model(config)
    _, weights = read_model(path)

    cells = gather_cells(config)
    network = TrainableNetwork("test_resnet", 3, 32, 3).eval()
    state = {name: torch.from_numpy(value) for name, value in weights.items()}
    network.net.load_state_dict(state, strict=False)
    found = np.load(tmp_path / "out" / "checkpoints" / "soft_labels_0001.npz")["labels"]
    crops = open_crops(store)
    for place, (row, label) in enumerate(zip(cells.training, cells.training_classes, strict=True)):
        with torch.no_grad():
            crop = torch.from_numpy(crops.read([row])).float() / 255
            answer = network(crop).softmax(dim=1)[0].numpy()
        start = np.full(3, 0.1 / 3) + 0.9 * (np.arange(3) == label)
        assert np.allclose(found[place], 0.7 * start + 0.3 * answer, atol=1e-5)


def test_another_recipe_is_refused_and_named(undisturbed):
    config, _, _ = undisturbed
    other = dataclasses.replace(
        config, training=dataclasses.replace(config.training, batch=4, epochs=3)
    )
    with pytest.raises(TrainingError, match=r"another training: training.batch is 4 and 8 there"):
        train_model(other)
    moved = dataclasses.replace(config, run=dataclasses.replace(config.run, workers=1))
    train_model(moved)


def test_other_crops_are_refused(make_store, make_config):
    config = make_config(make_store(seed=1), training={"epochs": 1})
    train_model(config)
    other = make_config(make_store(seed=2), training={"epochs": 1})
    with pytest.raises(TrainingError, match="a training on other crops"):
        train_model(other)


def test_a_full_disk_leaves_the_checkpoint_before(undisturbed, make_config):
    config = make_config(training={"epochs": 3})
    with pytest.raises(CancelledError):
        train_model(config, cancel=stop_after(STEPS + 2))
    before = kept(config)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = last_checkpoint(f"{config.run.out}/checkpoints").stat().st_size
    # Files cannot become as long as a checkpoint.
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, limits[1]))
    try:
        with pytest.raises(TrainingError) as error:
            train_model(config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "checkpoint_0002.safetensors cannot be written (File too large)" in str(error.value)
    assert "make room and start the same training again" in str(error.value)
    assert "\n" not in str(error.value)
    assert (kept(config).epoch, kept(config).step) == (before.epoch, before.step) == (1, 2)
    train_model(config)
    assert_same_bits(config, undisturbed[0])


def train_in_one_and_in_two_processes(one, two, file):
    """Train both; return what the two processes said."""
    write_config(file, two)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    # What torchrun and accelerate launch set.
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "cpcnn_core.cli", "train", str(file)]
    processes = [
        subprocess.Popen(
            command,
            env=os.environ | ONE_THREAD | shared | {"RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    train_model(one)
    said = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    return said


def test_two_processes_do_what_one_does_with_two_parts(make_config, tmp_path):
    rate = {"learning_rate": 0.001}
    one = make_config(training=rate, run={"parts": 2, "out": str(tmp_path / "one")})
    two = make_config(training=rate, run={"parts": 2, "out": str(tmp_path / "two")})
    said = train_in_one_and_in_two_processes(one, two, tmp_path / "two.toml")
    assert "2 processes" in said[0][1]
    assert said[1][0] == ""
    for mine, theirs in zip(log_of(one), log_of(two), strict=True):
        for name in mine:
            if name in ("correction", "note") or not mine[name]:
                assert mine[name] == theirs[name]
            else:
                assert float(theirs[name]) == pytest.approx(float(mine[name]), abs=1e-5), name
    mine, theirs = kept(one).tensors, kept(two).tensors
    for name, value in mine.items():
        assert (value - theirs[name]).abs().max().item() <= 1e-5, name
    # And it is not what one part does.
    whole = make_config(training=rate, run={"out": str(tmp_path / "whole")})
    train_model(whole)
    assert log_of(whole)[0]["loss"] != log_of(one)[0]["loss"]


def test_it_learns_what_can_be_seen(make_store, make_config):
    """Another plate than those learned from; test_resnet is a real, tiny ResNet."""
    folder = make_store(cells=30, treatments={"A": "blobs", "B": "rings"})
    config = make_config(
        folder,
        split={"kind": "plates", "values": ("P2",)},
        training={"epochs": 6, "learning_rate": 0.02},
        evaluation={"controls": "", "every": 6},
    )
    path = train_model(config)
    rows = log_of(config)
    assert [row["validation_accuracy"] != "" for row in rows] == [False] * 5 + [True]
    assert float(rows[-1]["validation_accuracy"]) > 0.9
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"]) / 2
    model = load_model(path, device="cpu")
    crops = open_crops(folder)
    features = model.embed(crops.read(np.arange(len(crops))).astype(np.float32) / 255)
    names = crops.index["Metadata_Treatment"].to_numpy()
    blobs, rings = (features[names == name].mean(axis=0) for name in ("blobs", "rings"))
    nearer = np.linalg.norm(features - blobs, axis=1) < np.linalg.norm(features - rings, axis=1)
    assert np.mean(nearer == (names == "blobs")) > 0.9
