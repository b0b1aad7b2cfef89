"""Configuration of a training: every entry, its default and its allowed values.

The defaults are the reference's recipe (docs/method.md#training). Another recipe is a set of
other defaults: `RECIPES`. Files are read and written by `cpcnn_core.training.config_files`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cpcnn_core.schema.columns import TREATMENT
from cpcnn_core.training.schedules import SCHEDULES
from cpcnn_core.training.splits import KINDS

PRECISIONS = ("float32", "bfloat16", "float16")
TOGETHER, EACH = "together", "each"
CHANNELS = (TOGETHER, EACH)
WELLS, VIEWS = "wells", "views"
POSITIVES = (WELLS, VIEWS)
LAST, BEST = "last", "best"
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

    label: str = _entry(TREATMENT, "Column of the classes; crops without one are left.")
    studies: tuple[StudyConfig, ...] = _entry((StudyConfig(),), "One table for each study.")
    shuffled: bool = _entry(
        False,
        "A placebo: treatments of a plate's wells, not those of evaluation.controls, change places "
        "before all else, so that there is nothing to learn.",
    )


@dataclass(frozen=True)
class SplitConfig:
    """Which crops are kept from training, to see how it goes."""

    kind: str = _entry(
        "cells",
        "cells, wells: some of every class. plates, studies: whole ones. column: by its values.",
        choices=KINDS,
    )
    column: str = _entry("", "For column, e.g. Metadata_Replicate.")
    values: tuple[str, ...] = _entry(
        (), "Which plates, studies or values are kept for validation. Empty: drawn."
    )
    fraction: float = _entry(0.2, "Which part is drawn.", least=0, below=1)
    held_out_fraction: float = _entry(
        0.0,
        "Another part, drawn before, that is held out like held_out; not of cells. 0: none.",
        least=0,
        below=1,
    )
    seed: int = _entry(0, "Of the draw.", least=0)
    held_out: str = _entry(
        "",
        "Which crops are used for neither, but make the profiles evaluated on the way, e.g. "
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
    channels: str = _entry(
        TOGETHER,
        "together: they enter the network together. each: one after the other as a grey picture, "
        "and their features are side by side; such a model takes any channels.",
        choices=CHANNELS,
    )
    input_px: int = _entry(
        0, "For each: crops are resized to this side for the network. 0: as they are cut.", least=0
    )
    fixed_statistics: bool = _entry(
        False,
        "Batch norm keeps the mean and variance of the model it starts from, so that what is "
        "learned begins at that model's features. false: those of each batch, as in the paper.",
    )
    tap: str = _entry(
        "auto",
        "Layer of the features: block6a_activation, pool5 or ClassProb of efficientnet_b0, pooled "
        "of others. auto: the first.",
    )


@dataclass(frozen=True)
class SamplingConfig:
    """Which cells make a batch; every class is seen equally often in any case."""

    plates: bool = _entry(
        False, "The cells of a class come equally from its plates, and from the wells of each."
    )
    cells_per_class: int = _entry(
        1,
        "Cells of a class that a batch has together, each of another well where there are enough. "
        "1: as they come. More needs plates = true.",
        least=1,
    )


@dataclass(frozen=True)
class OptimizationConfig:
    """How it learns."""

    epochs: int = _entry(30, "The last one is the model.", least=1)
    batch: int = _entry(32, "Crops of one step, of all processes together.", least=1)
    learning_rate: float = _entry(0.005, "Of SGD.", above=0)
    taken_rate: float = _entry(
        1.0, "Learning rate of weights taken from another model, as a fraction.", above=0
    )
    schedule: str = _entry("constant", "Of the learning rate.", choices=SCHEDULES)
    warm_up: float = _entry(
        0.1, "For one-cycle: the fraction of all steps in which the rate rises.", least=0, below=1
    )
    steps: tuple[tuple[int, float], ...] = _entry(
        (), "For step: [[10, 0.001], [20, 0.0001]], the rates from these epochs (from 0) on."
    )
    momentum: float = _entry(0.9, "Nesterov's.", least=0, below=1)
    weight_decay: float = _entry(
        2e-5, "On kernels of dense convolutions and linear layers: twice Keras's L2.", least=0
    )
    label_smoothing: float = _entry(0.0, "0: none.", least=0, below=1)
    augmentation: bool = _entry(True, "Cut, flip, turn, brighten and flatten crops.")
    classification: float = _entry(1.0, "Weight of telling classes apart in the loss.", least=0)
    averaging: float = _entry(
        0.0,
        "The model is the moving average of the weights; this much of it stays in a step, e.g. "
        "0.999. 0: it is the last weights.",
        least=0,
        below=1,
    )


@dataclass(frozen=True)
class ContrastConfig:
    """Contrast: cells that belong together come near each other, all others move away."""

    weight: float = _entry(0.0, "Of contrast in the loss. 0: none.", least=0)
    positives: str = _entry(
        WELLS,
        "Which belong together. wells: cells of a class from different wells. views: two "
        "augmentations of one cell, whatever its class.",
        choices=POSITIVES,
    )
    temperature: float = _entry(0.1, "Smaller: near neighbours count more.", above=0)
    dimensions: int = _entry(128, "Of the space in which they are compared.", least=1)


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
    keep: str = _entry(
        LAST,
        "Which epoch is the model, or none: best is the one whose validation wells find their "
        "treatment best. Hold other wells out to measure it on.",
        choices=(LAST, BEST),
    )
    patience: int = _entry(
        0, "For best: stop after this many evaluations without a better one. 0: never.", least=0
    )


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


PAPER, CPCNN = "paper", "cpcnn"
# What each recipe has instead of the defaults above; docs/experiments.md has what each part gives.
RECIPES: dict[str, dict[str, dict[str, object]]] = {
    PAPER: {},
    CPCNN: {
        "network": {
            "backbone": "tf_efficientnet_lite0",
            "initialization": "imagenet-efficientnet-lite0",
            "channels": EACH,
            "input_px": 128,
            "fixed_statistics": True,
        },
        "sampling": {"plates": True, "cells_per_class": 4},
        "training": {
            "epochs": 10,
            "batch": 64,
            "learning_rate": 0.02,
            "taken_rate": 0.1,
            "schedule": "one-cycle",
            "averaging": 0.99,
        },
        "contrast": {"weight": 1.0},
        "evaluation": {"regularization": 1.0},
    },
}


@dataclass(frozen=True)
class TrainingConfig:
    """All of a training.

    Examples
    --------
    >>> config = TrainingConfig()
    >>> config.training.batch, config.training.learning_rate, config.network.backbone
    (32, 0.005, 'efficientnet_b0')
    """

    recipe: str = _entry(
        PAPER,
        "Defaults of all other entries: paper, as published; cpcnn, from an ImageNet network, with "
        "contrast between wells.",
        choices=(PAPER, CPCNN),
    )
    data: DataConfig = field(default_factory=DataConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    training: OptimizationConfig = field(default_factory=OptimizationConfig)
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    refinement: RefinementConfig = field(default_factory=RefinementConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    run: RunConfig = field(default_factory=RunConfig)
