"""Entries of a training from and to TOML: read strictly, written with every default."""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cpcnn_core.errors import TrainingError
from cpcnn_core.io.atomic import write_atomically
from cpcnn_core.training.config import BEST, RECIPES, VIEWS, WELLS, TrainingConfig

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def differences(mine: TrainingConfig, theirs: TrainingConfig) -> list[str]:
    """Name the entries that differ but must not when a training resumes, with both values.

    Examples
    --------
    >>> from cpcnn_core.training.config import OptimizationConfig
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
    >>> config_text(TrainingConfig()).splitlines()[1]
    'recipe = "paper"'
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
    config = _read(TrainingConfig, _with_defaults(config.recipe, table), "")
    training, run = config.training, config.run
    if training.batch % run.parts:
        raise TrainingError(
            f"a batch of {training.batch} cannot be cut into {run.parts} equal parts; change "
            "training.batch or run.parts"
        )
    if config.network.fixed_statistics and config.network.initialization == "random":
        raise TrainingError(
            "network.fixed_statistics keeps those of a model, and there is none to start from; set "
            "network.initialization, or fixed_statistics = false"
        )
    if config.refinement.enabled and training.label_smoothing:
        raise TrainingError(
            "refinement smooths the labels itself; set training.label_smoothing = 0, or "
            "refinement.enabled = false"
        )
    if not config.data.studies:
        raise TrainingError("expected one [[data.studies]] or more, got none")
    _check_contrast(config)
    return config


def recipe_config(recipe: str) -> TrainingConfig:
    """Return the entries of a recipe.

    Raises
    ------
    TrainingError
        There is no such recipe.

    Examples
    --------
    >>> recipe_config("cpcnn").network.initialization
    'imagenet-efficientnet-lite0'
    """
    return config_from({"recipe": recipe})


def _with_defaults(recipe: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the entries that were given by those of a recipe."""
    return {
        **table,
        **{name: {**part, **table.get(name, {})} for name, part in RECIPES[recipe].items()},
    }


def _check_contrast(config: TrainingConfig) -> None:
    """Refuse entries that are allowed one by one, and not together."""
    sampling, contrast, training = config.sampling, config.contrast, config.training
    together = sampling.cells_per_class
    if together > 1 and not sampling.plates:
        raise TrainingError(
            f"sampling.cells_per_class = {together} needs sampling.plates = true, got false"
        )
    if (training.batch // config.run.parts) % together:
        raise TrainingError(
            f"{training.batch // config.run.parts} crops (training.batch / run.parts) cannot be "
            f"made of {together} cells of each class; change sampling.cells_per_class or "
            "training.batch"
        )
    if contrast.weight and contrast.positives == WELLS and together < 2:
        raise TrainingError(
            "contrast between wells needs two cells of a class in a batch; set "
            "sampling.cells_per_class = 2 or more and sampling.plates = true, or contrast.weight = "
            "0"
        )
    if not contrast.weight and not training.classification:
        raise TrainingError(
            "nothing is to be learned: set training.classification or contrast.weight above 0"
        )
    if contrast.weight and contrast.positives == VIEWS and not training.augmentation:
        raise TrainingError("contrast of views needs training.augmentation = true")
    if config.evaluation.keep == BEST and config.split.kind == "cells":
        raise TrainingError(
            'evaluation.keep = "best" needs validation wells that are not learned from; set '
            'split.kind to "wells", "plates", "studies" or "column"'
        )
    if config.split.held_out_fraction and (config.split.kind == "cells" or config.split.held_out):
        raise TrainingError(
            "split.held_out_fraction draws whole wells, plates or studies; set another split.kind, "
            "and leave split.held_out empty"
        )
    if config.evaluation.patience and config.evaluation.keep != BEST:
        raise TrainingError(
            f'evaluation.patience needs evaluation.keep = "best", got "{config.evaluation.keep}"'
        )


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
