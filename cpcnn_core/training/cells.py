"""The cells of a training: where their crops are, what class they are, what they are for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.crop_store.store import CropStore, combine_stores, open_crops
from cpcnn_core.errors import TrainingError
from cpcnn_core.expressions import choose_rows
from cpcnn_core.schema.columns import PLATE, WELL, metadata_column
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.training.config import SplitConfig, StudyConfig, TrainingConfig
from cpcnn_core.training.splits import (
    TRAINING,
    Split,
    assign_split,
    describe,
    joined_texts,
    numbered,
    with_study,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

# Of a class that the network has no output for.
UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells, and what each is for.

    Attributes
    ----------
    store : CropStore
        Of all studies.
    label : str
        The column of the classes.
    classes : tuple of str
        In the order of the network's outputs: sorted.
    training, validation, held_out : ndarray of shape (n,), int64
        Rows of the store: those learned from; those that show how well classes are told
        apart; those that make the wells' profiles.
    training_classes, validation_classes : ndarray of shape (n,), int64
        Places in `classes`; `UNKNOWN` for validation cells of other classes.
    training_plates, training_wells : ndarray of shape (n,), int64
        Of the cells learned from: numbers of their plates, and of their wells among those of all
        plates and studies.
    split : dict
        What the model's card tells of it.
    left_out : int
        Crops that are not used, because of ``where`` or without a class.
    notice : str
        Why the model will not know at which scale it was trained though studies do; else
        empty.
    """

    store: CropStore
    label: str
    classes: tuple[str, ...]
    training: np.ndarray
    training_classes: np.ndarray
    validation: np.ndarray
    validation_classes: np.ndarray
    held_out: np.ndarray
    training_plates: np.ndarray
    training_wells: np.ndarray
    split: dict[str, object]
    left_out: int
    notice: str = ""


def gather_cells(config: TrainingConfig) -> Cells:
    """Open the studies, choose their cells, and say what each is for.

    Parameters
    ----------
    config : TrainingConfig

    Returns
    -------
    Cells

    Raises
    ------
    CropStoreError, ChannelError
        A store that cannot be opened, or stores that do not fit together.
    ProfileError
        ``where``, ``held_out`` or ``controls`` cannot be understood, or choose nothing.
    TrainingError
        No such label, a split that makes no sense, a class of one cell.

    Examples
    --------
    >>> from cpcnn_core.training.config import DataConfig
    >>> config = TrainingConfig(data=DataConfig(label="Site"))
    >>> len(store), config.data.studies[0].crops
    (17, 'crops')
    >>> cells = gather_cells(config)
    >>> cells.classes, len(cells.training), len(cells.validation)
    (('1', '2'), 13, 4)
    """
    names = _names(config.data.studies)
    stores = {name: open_crops(s.crops) for name, s in zip(names, config.data.studies, strict=True)}
    maps = {name: s.channels for name, s in zip(names, config.data.studies, strict=True)}
    store = combine_stores(stores, {name: given for name, given in maps.items() if given})
    label = metadata_column(config.data.label)
    if config.data.shuffled:
        store = _shuffle(store, label, config)
    texts = np.char.strip(store.column(label).astype(str))
    used = texts != ""
    start = 0
    for name, study in zip(names, config.data.studies, strict=True):
        stop = start + len(stores[name])
        if study.where:
            used[start:stop] &= _chosen(store.index[start:stop], study.where)
        start = stop
    held_out = np.zeros(len(store), bool)
    if config.split.held_out:
        held_out = _chosen(store.index, config.split.held_out) & used
        if not held_out.any():
            raise TrainingError(
                f"split.held_out {config.split.held_out} chooses crops that are not used; look at "
                f"{label} and where"
            )
    if config.split.held_out_fraction:
        held_out = _draw_held_out(store.index, used, config.split, label)
    if config.evaluation.controls:
        _chosen(store.index, config.evaluation.controls)
    rows = np.flatnonzero(used & ~held_out)
    if not len(rows):
        raise TrainingError(
            f"none of the {len(store)} crops is left to learn from; look at {label}, where and "
            "held_out"
        )
    index, split = store.index.iloc[rows], _split(config.split)
    sides = assign_split(index, split, label)
    _refuse_single_cells(texts[rows])
    training, validation = rows[sides == TRAINING], rows[sides != TRAINING]
    classes = np.unique(texts[training])
    told = describe(index, split, sides, label)
    if held_out.any():
        told |= {"held_out": config.split.held_out, "held_out_cells": int(held_out.sum())}
    return Cells(
        store,
        label,
        tuple(classes.tolist()),
        training,
        _places(classes, texts[training]),
        validation,
        _places(classes, texts[validation]),
        np.flatnonzero(held_out) if held_out.any() else validation,
        _numbers(store.index.iloc[training], [PLATE]),
        _numbers(store.index.iloc[training], [PLATE, WELL]),
        told,
        int((~used).sum()),
        _scale_notice(stores) if store.um_per_px is None else "",
    )


def _shuffle(store: CropStore, label: str, config: TrainingConfig) -> CropStore:
    """Let the labels of whole wells change places, plate by plate."""
    index = store.index
    labels = store.column(label).copy()
    stays = np.zeros(len(index), bool)
    if config.evaluation.controls:
        stays = _chosen(index, config.evaluation.controls)
    plates, wells = _numbers(index, [PLATE]), _numbers(index, [PLATE, WELL])
    random = np.random.RandomState([config.split.seed, 7])
    for plate in np.unique(plates):
        own, first = np.unique(wells[(plates == plate) & ~stays], return_index=True)
        names = labels[np.flatnonzero((plates == plate) & ~stays)[first]]
        for well, name in zip(own, random.permutation(names), strict=True):
            labels[wells == well] = name
    return replace(store, index=index.assign(**{label: labels}))


def _draw_held_out(
    index: pd.DataFrame, used: np.ndarray, config: SplitConfig, label: str
) -> np.ndarray:
    """Draw wells, plates or studies that neither teach nor validate, (n,) bool."""
    rule = Split(config.kind, "", (), config.held_out_fraction, config.seed)
    held_out = np.zeros(len(index), bool)
    rows = np.flatnonzero(used)
    held_out[rows] = assign_split(index.iloc[rows], rule, label) != TRAINING
    return held_out


def _scale_notice(stores: Mapping[str, CropStore]) -> str:
    scales = {name: store.um_per_px for name, store in stores.items()}
    if not any(scales.values()):
        return ""
    texts = (f"{name}: {scale or 'not recorded'}" for name, scale in scales.items())
    return (
        f"the studies differ in micrometres per pixel ({', '.join(texts)}), so the model's card "
        "says none, and images will not be resampled for it"
    )


def _names(studies: tuple[StudyConfig, ...]) -> list[str]:
    names = [study.name or Path(study.crops).resolve().name for study in studies]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TrainingError(
            f"two studies have the name {twice[0]}; give each another with data.studies.name"
        )
    return names


def _chosen(index: pd.DataFrame, expression: str) -> np.ndarray:
    """Tell which crops an expression chooses, as of profiles."""
    named = index[[name for name in index.columns if str(name).startswith("Metadata_")]]
    return choose_rows(Profiles(np.zeros((len(index), 0)), named, []), expression)


def _split(config: SplitConfig) -> Split:
    column = metadata_column(config.column) if config.column else ""
    return Split(config.kind, column, config.values, config.fraction, config.seed)


def _refuse_single_cells(labels: np.ndarray) -> None:
    names, counts = np.unique(labels, return_counts=True)
    single = names[counts < 2]
    if len(single):
        raise TrainingError(
            f"{len(single)} of {len(names)} classes have one cell, e.g. {single[0]}; nothing can "
            "be learned of one: leave them out with data.studies.where"
        )


def _numbers(index: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """Return the number of each cell's plate or well, (n,), int64."""
    return numbered(joined_texts(index, with_study(index, columns)))[1].astype(np.int64)


def _places(classes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    places = np.searchsorted(classes, labels)
    places = np.minimum(places, len(classes) - 1)
    return np.where(classes[places] == labels, places, UNKNOWN)
