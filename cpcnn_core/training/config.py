"""Configuration of a training: every entry, its default and its allowed values.

The defaults are the reference's recipe (docs/method.md#training).
`cpcnn_core.training.config_file` reads and writes them as TOML.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from cpcnn_core.training.schedules import SCHEDULES
from cpcnn_core.training.splits import KINDS

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PRECISIONS = ("float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu")


def _entry(
    default: object,
    about: str,
    *,
    choices: tuple[str, ...] = (),
    least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    free: bool = False,
) -> Any:  # noqa: ANN401  (as of `dataclasses.field`)
    """Describe an entry; a free one may be changed when a training resumes."""
    rules = {"about": about, "choices": choices, "least": least, "above": above, "below": below}
    return field(default=default, metadata={**rules, "free": free})


@dataclass(frozen=True)
class StudyConfig:
    """One study: a folder of crops, and what of it is used."""

    crops: str = _entry("crops", "Folder that cpcnn crops wrote.", free=True)
    name: str = _entry("", "Becomes Metadata_Study. Empty: the folder's name.")
    where: str = _entry("", "Which crops are used, e.g. \"Plate != 'P7'\". Empty: all.")
    channels: dict[str, str] = field(
        default_factory=dict,
        metadata={
            "about": "The model's channels, in order, and which of the study's each is, e.g. "
            '{DNA = "Hoechst"}. Empty: the study\'s own.'
        },
    )


@dataclass(frozen=True)
class DataConfig:
    """The crops, and what is to be learned of them."""

    label: str = _entry("Metadata_Treatment", "Column of the classes; crops without one are left.")
    studies: tuple[StudyConfig, ...] = _entry((StudyConfig(),), "One table for each study.")


@dataclass(frozen=True)
class SplitConfig:
    """Which crops are kept from training, to see how it goes."""

    kind: str = _entry(
        "cells",
        "cells: some of every class. plates, studies: whole ones. column: by a column's values.",
        choices=KINDS,
    )
    column: str = _entry("", "For column, e.g. Metadata_Replicate.")
    values: tuple[str, ...] = _entry(
        (), "Which plates, studies or values are kept for validation. Empty: drawn."
    )
    fraction: float = _entry(0.2, "Which part is drawn.", least=0, below=1)
    seed: int = _entry(0, "Of the draw.", least=0)
    held_out: str = _entry(
        "",
        "Which crops are used for neither, but make the profiles that are judged on the way, e.g. "
        "\"Plate == 'P7'\". Empty: the validation crops make them.",
    )


@dataclass(frozen=True)
class NetworkConfig:
    """The network that learns."""

    backbone: str = _entry("efficientnet_b0", "efficientnet_b0, or timm's name of a network.")
    initialization: str = _entry(
        "random", "random, imagenet, or the name or file of a model to start from."
    )
    imagenet_file: str = _entry(
        "", "timm's model.safetensors, where it cannot be downloaded. Empty: it is.", free=True
    )
    tap: str = _entry(
        "auto",
        "Layer of the features: block6a_activation, pool5 or ClassProb of efficientnet_b0, pooled "
        "of others. auto: the first.",
    )


@dataclass(frozen=True)
class OptimizationConfig:
    """How it learns."""

    epochs: int = _entry(30, "The last one is the model.", least=1)
    batch: int = _entry(32, "Crops of one step, of all processes together.", least=1)
    learning_rate: float = _entry(0.005, "Of SGD.", above=0)
    schedule: str = _entry("constant", "Of the learning rate.", choices=SCHEDULES)
    steps: tuple[tuple[int, float], ...] = _entry(
        (), "For step: [[10, 0.001], [20, 0.0001]], the rates from these epochs (from 0) on."
    )
    momentum: float = _entry(0.9, "Nesterov's.", least=0, below=1)
    weight_decay: float = _entry(
        2e-5, "On kernels of dense convolutions and linear layers: twice Keras's L2.", least=0
    )
    label_smoothing: float = _entry(0.0, "0: none.", least=0, below=1)
    augmentation: bool = _entry(True, "Cut, flip, turn, brighten and flatten crops.")


@dataclass(frozen=True)
class RefinementConfig:
    """Online label refinement: labels learn from the network. Needs label_smoothing = 0."""

    enabled: bool = _entry(False, "The paper's networks were trained without.")
    smoothing: float = _entry(0.1, "Of the labels at the start.", least=0, below=1)
    rate: float = _entry(0.01, "Part of the prediction in them, after every epoch.", least=0)


@dataclass(frozen=True)
class EvaluationConfig:
    """Evaluation during training; it changes nothing in what is learned."""

    every: int = _entry(1, "Epochs; the last one is looked at in any case.", least=1)
    controls: str = _entry(
        "", "Which wells are negative controls, e.g. \"Treatment == 'DMSO'\". Empty: none."
    )
    regularization: float = _entry(0.1, "Lambda of the sphering on control wells.", above=0)
    relative: bool = _entry(True, "Lambda is a fraction of the mean eigenvalue.")


@dataclass(frozen=True)
class RunConfig:
    """Where and how it runs."""

    out: str = _entry("training", "Folder of checkpoints, log and model.", free=True)
    name: str = _entry(
        "", "Of the model. Given, the model is also put among yours, to be used by name.", free=True
    )
    seed: int = _entry(0, "Of all that is random but the split.", least=0)
    device: str = _entry("auto", "auto: a GPU where there is one.", choices=DEVICES, free=True)
    precision: str = _entry(
        "float32", "bfloat16 and float16: mixed, faster on GPUs.", choices=PRECISIONS
    )
    parts: int = _entry(
        1, "A batch is cut into this many; processes share them. Needs less memory.", least=1
    )
    workers: int = _entry(2, "Processes that read crops. 0: none.", least=0, free=True)
    checkpoint_steps: int = _entry(
        1000, "Steps between checkpoints within an epoch. 0: none.", least=0, free=True
    )


@dataclass(frozen=True)
class TrainingConfig:
    """All of a training.

    Examples
    --------
    >>> config = TrainingConfig()
    >>> config.training.batch, config.training.learning_rate, config.network.backbone
    (32, 0.005, 'efficientnet_b0')
    """

    data: DataConfig = field(default_factory=DataConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: OptimizationConfig = field(default_factory=OptimizationConfig)
    refinement: RefinementConfig = field(default_factory=RefinementConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    run: RunConfig = field(default_factory=RunConfig)


def differences(mine: TrainingConfig, theirs: TrainingConfig) -> list[str]:
    """Name the entries that differ but must not when a training resumes, with both values.

    Examples
    --------
    >>> faster = OptimizationConfig(batch=64)
    >>> differences(TrainingConfig(), TrainingConfig(training=faster))
    ['training.batch is 32 and 64']
    """
    one, other = dict(_entries(mine)), dict(_entries(theirs))
    names = dict.fromkeys([*one, *other])
    return [
        f"{name} is {one.get(name, 'not there')} and {other.get(name, 'not there')}"
        for name in names
        if one.get(name) != other.get(name)
    ]


def _entries(config: DataclassInstance, before: str = "") -> Iterator[tuple[str, object]]:
    """Name all entries that are not free, however deep."""
    for entry in dataclasses.fields(config):
        value, name = getattr(config, entry.name), f"{before}{entry.name}"
        if dataclasses.is_dataclass(value):
            yield from _entries(cast("DataclassInstance", value), f"{name}.")
        elif entry.name == "studies":
            for number, study in enumerate(value, 1):
                yield from _entries(study, f"{name}[{number}].")
        elif not entry.metadata.get("free"):
            yield name, value
