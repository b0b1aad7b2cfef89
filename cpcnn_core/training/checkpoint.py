"""All that a training needs to resume as if it had never been stopped.

Layout of the folder::

    checkpoint_0003.safetensors          after 3 epochs
    checkpoint_0003_000120.safetensors   after 120 steps of the fourth
    soft_labels_0003.npz                 refined labels after 3 epochs, where they are refined

A checkpoint is a safetensors file, version 1 of ours: tensors ``network.*`` and
``momentum.*``; the header's entry ``cpcnn_checkpoint`` holds everything else as JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from cpcnn_core.errors import DamageError, TrainingError
from cpcnn_core.io.atomic import remove_leftovers, write_atomically
from cpcnn_core.io.json_files import parse_json
from cpcnn_core.training.reports import writing

FORMAT_VERSION = 1
_NAME = re.compile(r"checkpoint_(\d+)(?:_(\d+))?\.safetensors")
_ENTRY = "cpcnn_checkpoint"
_DELETE = "delete it, and the training resumes from the one before"


@dataclass(frozen=True)
class Checkpoint:
    """A training at a moment.

    Attributes
    ----------
    epoch : int
        Epochs that are done.
    step : int
        Steps that are done of the next one.
    tensors : dict of str to Tensor
    facts : dict
        JSON's types only.
    """

    epoch: int
    step: int
    tensors: dict[str, torch.Tensor]
    facts: dict[str, Any]


def save_checkpoint(folder: str | Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint, whole or not at all.

    Raises
    ------
    DiskFullError, TrainingError
        It cannot be written; those that are there stay as they are.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_checkpoint(folder, Checkpoint(3, 120, {"a": torch.ones(2)}, {"loss": 0.5}))
    ...     read_checkpoint(path).facts
    {'loss': 0.5}
    """
    path = checkpoint_file(folder, checkpoint.epoch, checkpoint.step)
    tensors = {name: value.cpu().contiguous() for name, value in checkpoint.tensors.items()}
    content = {
        "format": FORMAT_VERSION,
        "sha256": _sha256(tensors),
        "facts": checkpoint.facts,
        "facts_sha256": _facts_sha256(checkpoint.facts),
    }
    data = save(tensors, {_ENTRY: json.dumps(content)})
    with writing(path):
        write_atomically(path, lambda place: place.write_bytes(data))
    return path


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    DamageError
        It is damaged.
    TrainingError
        It is of another format.

    Examples
    --------
    >>> read_checkpoint("checkpoint_0001.safetensors")
    Traceback (most recent call last):
    cpcnn_core.errors.DamageError: the checkpoint checkpoint_0001.safetensors cannot be read ...
    """
    path = Path(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            content = parse_json(file.metadata()[_ENTRY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        version, facts, sha256 = (content[name] for name in ("format", "facts", "sha256"))
    except (OSError, SafetensorError, LookupError, TypeError, ValueError) as error:
        raise DamageError(
            f"the checkpoint {path} cannot be read ({' '.join(str(error).split())}); {_DELETE}"
        ) from error
    if version != FORMAT_VERSION:
        raise TrainingError(
            f"the checkpoint {path} has format {version}, this cpcnn reads "
            f"{FORMAT_VERSION}; continue with the cpcnn that wrote it"
        )
    # Those of earlier versions have none of their facts.
    told = content.get("facts_sha256", _facts_sha256(facts))
    if _sha256(tensors) != sha256 or told != _facts_sha256(facts):
        raise DamageError(f"the checkpoint {path} is damaged (its sha256 is another); {_DELETE}")
    epoch, step = moment_of(path)
    return Checkpoint(epoch, step, tensors, facts)


def last_checkpoint(folder: str | Path) -> Path | None:
    """Return the checkpoint of the latest moment, if there is any.

    Examples
    --------
    >>> last_checkpoint("nowhere") is None
    True
    """
    return max(_all_in(folder), key=moment_of, default=None)


def remove_old(folder: str | Path, keep_every: int) -> None:
    """Remove all checkpoints but the last and those after every ``keep_every`` whole epochs.

    Refined labels go with their checkpoints, and so do leftovers of killed processes.

    Examples
    --------
    >>> remove_old("nowhere", 1)
    """
    last = last_checkpoint(folder)
    kept = set()
    for path in _all_in(folder):
        epoch, step = moment_of(path)
        if path == last or (step == 0 and epoch % keep_every == 0):
            kept.add(epoch)
        else:
            path.unlink(missing_ok=True)
        remove_leftovers(path)
    for path in Path(folder).glob("soft_labels_*.npz"):
        if int(path.stem.rsplit("_", 1)[1]) not in kept:
            path.unlink(missing_ok=True)


def checkpoint_file(folder: str | Path, epoch: int, step: int = 0) -> Path:
    """Name a checkpoint.

    Examples
    --------
    >>> checkpoint_file("out", 3).name, checkpoint_file("out", 3, 120).name
    ('checkpoint_0003.safetensors', 'checkpoint_0003_000120.safetensors')
    """
    within = f"_{step:06d}" if step else ""
    return Path(folder) / f"checkpoint_{epoch:04d}{within}.safetensors"


def moment_of(path: Path) -> tuple[int, int]:
    """Return the epoch and the step of a checkpoint, by its name.

    Examples
    --------
    >>> moment_of(checkpoint_file("out", 3, 120))
    (3, 120)
    """
    match = cast("re.Match[str]", _NAME.fullmatch(path.name))
    return int(match[1]), int(match[2] or 0)


def soft_labels_file(folder: str | Path, epoch: int) -> Path:
    """Name the file of the refined labels after that many epochs.

    Examples
    --------
    >>> soft_labels_file("out", 3).name
    'soft_labels_0003.npz'
    """
    return Path(folder) / f"soft_labels_{epoch:04d}.npz"


def _all_in(folder: str | Path) -> list[Path]:
    found = Path(folder).glob("checkpoint_*.safetensors")
    return [path for path in found if _NAME.fullmatch(path.name)]


def _facts_sha256(facts: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _sha256(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
