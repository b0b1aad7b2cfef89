"""Contents of checkpoints, which of them are kept, and how a damaged one is handled."""

import numpy as np
import pytest
import torch

from cpcnn_core.errors import DamageError, TrainingError
from cpcnn_core.training.checkpoint import (
    Checkpoint,
    checkpoint_file,
    last_checkpoint,
    read_checkpoint,
    remove_old,
    save_checkpoint,
    soft_labels_file,
)

TENSORS = {
    "network.a": torch.from_numpy(np.random.default_rng(0).normal(size=(3, 4))).float(),
    "momentum.a": torch.tensor([1e-45, float("inf"), -0.0]),
}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_every_bit_comes_back(tmp_path):
    facts = {"sums": [0.1 + 0.2, 1e-310], "rows": [{"epoch": 1, "note": "ä", "x": None}]}
    path = save_checkpoint(tmp_path, Checkpoint(3, 120, TENSORS, facts))
    found = read_checkpoint(path)
    assert (found.epoch, found.step, found.facts) == (3, 120, facts)
    assert found.tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert found.tensors[name].numpy().tobytes() == value.numpy().tobytes()
    assert names(tmp_path) == ["checkpoint_0003_000120.safetensors"]


def test_the_last_is_that_of_the_latest_moment(tmp_path):
    for epoch, step in [(9, 0), (10, 0), (9, 1000000), (10, 5)]:
        save_checkpoint(tmp_path, Checkpoint(epoch, step, TENSORS, {}))
    (tmp_path / "checkpoint_0099.txt").touch()
    assert last_checkpoint(tmp_path) == checkpoint_file(tmp_path, 10, 5)


def test_the_last_and_those_that_were_looked_at_are_kept(tmp_path):
    for epoch, step in [(1, 0), (1, 4), (2, 0), (2, 4), (3, 0), (3, 4), (3, 8)]:
        save_checkpoint(tmp_path, Checkpoint(epoch, step, TENSORS, {}))
        soft_labels_file(tmp_path, epoch).touch()
    remove_old(tmp_path, 2)
    assert names(tmp_path) == [
        "checkpoint_0002.safetensors",
        "checkpoint_0003_000008.safetensors",
        "soft_labels_0002.npz",
        "soft_labels_0003.npz",
    ]


def test_a_leftover_of_a_killed_process_is_removed(tmp_path):
    save_checkpoint(tmp_path, Checkpoint(1, 0, TENSORS, {}))
    (tmp_path / ".node-1.part.checkpoint_0001.safetensors").touch()
    remove_old(tmp_path, 1)
    assert names(tmp_path) == ["checkpoint_0001.safetensors"]


@pytest.mark.parametrize("damage", ["cut", "bit", "empty"])
def test_a_damaged_one_is_named_and_says_what_to_do(tmp_path, damage):
    path = save_checkpoint(tmp_path, Checkpoint(1, 0, TENSORS, {}))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes({"cut": content[:-8], "bit": content, "empty": b""}[damage])
    with pytest.raises(TrainingError) as error:
        read_checkpoint(path)
    assert str(path) in str(error.value)
    assert "resumes from the one before" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_changed_fact_is_damage(tmp_path):
    path = save_checkpoint(tmp_path, Checkpoint(1, 0, TENSORS, {"rows": [{"loss": 0.51}]}))
    path.write_bytes(path.read_bytes().replace(b"0.51", b"0.53"))
    with pytest.raises(DamageError, match="its sha256 is another"):
        read_checkpoint(path)


def test_a_file_of_something_else_is_refused(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "checkpoint_0001.safetensors"
    save_file(TENSORS, path)
    with pytest.raises(TrainingError, match="cannot be read"):
        read_checkpoint(path)
