"""Configuration of a training: every entry, its default and its allowed values.

The defaults are the reference's recipe (docs/method.md#training). As a TOML file the
configuration is read strictly, and written with every default.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cpcnn_core.errors import TrainingError
from cpcnn_core.io.atomic import write_atomically
from cpcnn_core.schema.columns import TREATMENT
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

    label: str = _entry(TREATMENT, "Column of the classes; crops without one are left.")
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


_KINDS = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}


def read_config(path: str | Path) -> TrainingConfig:
    """Read a training's entries; what is not in the file has its default.

    Parameters
    ----------
    path : str or Path
        TOML. Folders in it are relative to the folder in which the training is started.

    Returns
    -------
    TrainingConfig

    Raises
    ------
    TrainingError
        No such file, no TOML, an entry that there is not (a close one is named), or a value
        that it cannot have.

    Examples
    --------
    >>> read_config("nowhere.toml")
    Traceback (most recent call last):
    cpcnn_core.errors.TrainingError: there is no file nowhere.toml; cpcnn train --write-config ...
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TrainingError(
            f"there is no file {path}; cpcnn train --write-config {path} writes one"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise TrainingError(f"{path} cannot be read as TOML: {error}") from error
    try:
        return config_from(table)
    except TrainingError as error:
        raise TrainingError(f"{path}: {error}") from error


def write_config(path: str | Path, config: TrainingConfig) -> None:
    """Write every entry, with what it means, whole or not at all.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_config(f"{folder}/train.toml", TrainingConfig())
    ...     read_config(f"{folder}/train.toml") == TrainingConfig()
    True
    """
    text = config_text(config)
    write_atomically(path, lambda place: place.write_text(text, encoding="utf-8"))


def config_text(config: TrainingConfig) -> str:
    """Return the TOML of a training's entries, each below what it means.

    Examples
    --------
    >>> print(config_text(TrainingConfig()).splitlines()[0])
    # The crops, and what is to be learned of them.
    """
    return "\n".join(_table(config, "")).lstrip("\n") + "\n"


def config_from(table: Mapping[str, object]) -> TrainingConfig:
    """Make a training's entries of nested dicts and lists, checking every one.

    Raises
    ------
    TrainingError

    Examples
    --------
    >>> config_from({"training": {"bacth": 64}})
    Traceback (most recent call last):
    cpcnn_core.errors.TrainingError: there is no entry training.bacth; did you mean training.batch?
    """
    config: TrainingConfig = _read(TrainingConfig, table, "")
    training, run = config.training, config.run
    if training.batch % run.parts:
        raise TrainingError(
            f"a batch of {training.batch} cannot be cut into {run.parts} equal parts; change "
            "training.batch or run.parts"
        )
    if config.refinement.enabled and training.label_smoothing:
        raise TrainingError(
            "refinement smooths the labels itself; set training.label_smoothing = 0, or "
            "refinement.enabled = false"
        )
    if not config.data.studies:
        raise TrainingError("expected one [[data.studies]] or more, got none")
    return config


def checked(config: TrainingConfig) -> TrainingConfig:
    """Return entries that were set in Python, checked as those of a file are.

    Raises
    ------
    TrainingError

    Examples
    --------
    >>> checked(TrainingConfig()) == TrainingConfig()
    True
    """
    return config_from(dataclasses.asdict(config))


def _read(kind: type, table: object, name: str) -> Any:  # noqa: ANN401  (one of that kind)
    if not isinstance(table, Mapping):
        raise TrainingError(f"expected the table [{name}], got {table!r}")
    entries = {entry.name: entry for entry in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    values = {}
    for key, value in table.items():
        full = f"{name}.{key}" if name else key
        if key not in entries:
            near = difflib.get_close_matches(key, entries, 1, 0.5)
            raise TrainingError(
                f"there is no entry {full}; "
                + (
                    f"did you mean {full.removesuffix(key)}{near[0]}?"
                    if near
                    else f"there are {', '.join(entries)}"
                )
            )
        values[key] = _value(hints[key], value, full)
        _check(values[key], entries[key].metadata, full)
    return kind(**values)


def _value(hint: type, value: object, name: str) -> object:
    if dataclasses.is_dataclass(hint):
        return _read(hint, value, name)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and isinstance(value, list | tuple):
        hints = inner if inner[-1] is not Ellipsis else inner[:1] * len(value)
        if len(hints) != len(value):
            raise TrainingError(f"expected {len(hints)} values for {name}, got {len(value)}")
        numbered = enumerate(zip(hints, value, strict=True), 1)
        return tuple(_value(one, part, f"{name}[{number}]") for number, (one, part) in numbered)
    if origin is dict and isinstance(value, Mapping):
        return {str(key): _value(str, part, f"{name}.{key}") for key, part in value.items()}
    if origin is not None:
        raise TrainingError(f"expected a {'list' if origin is tuple else 'table'} for {name}")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise TrainingError(f"expected {_KINDS[hint]} for {name}, got {value!r}")
    return value


def _check(given: object, rules: Mapping[str, Any], name: str) -> None:
    value: Any = given
    choices, least, above, below = map(rules.get, ("choices", "least", "above", "below"))
    if choices and value not in choices:
        raise TrainingError(f"expected one of {', '.join(choices)} for {name}, got {value!r}")
    # Written so that NaN fails too.
    if least is not None and not value >= least:
        raise TrainingError(f"expected {least} or more for {name}, got {value}")
    if above is not None and not value > above:
        raise TrainingError(f"expected more than {above} for {name}, got {value}")
    if below is not None and not value < below:
        raise TrainingError(f"expected less than {below} for {name}, got {value}")


def _table(config: DataclassInstance, name: str) -> Iterator[str]:
    """Write a table's own entries, then the tables in it, as TOML wants it."""
    inner: list[tuple[str, str, Any]] = []
    for entry in dataclasses.fields(config):
        value, full = getattr(config, entry.name), f"{name}.{entry.name}" if name else entry.name
        if dataclasses.is_dataclass(value):
            inner.append((f"[{full}]", full, value))
        elif entry.name == "studies":
            inner += [(f"[[{full}]]", full, study) for study in value]
        else:
            yield f"# {entry.metadata['about']}"
            yield f"{entry.name} = {_toml(value)}"
    for head, full, part in inner:
        yield from ("", f"# {type(part).__doc__}", head)
        yield from _table(part, full)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        pairs = [f"{json.dumps(key)} = {_toml(part)}" for key, part in value.items()]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    # Texts, numbers, true and false are written as in JSON.
    return json.dumps(value, ensure_ascii=False)
