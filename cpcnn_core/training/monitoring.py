"""How a training goes: what the classifier tells apart, what the features know, and of what.

A network may learn to tell plates apart instead of treatments. So, besides the classifier
(docs/method.md#metrics), profiles of wells that it did not learn from are evaluated: how often a
well looks like its treatment on other plates, and how well plates are read from controls.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cpcnn_core.errors import ProfileError, TrainingError
from cpcnn_core.evaluation.confounders import confounders, linear_probe
from cpcnn_core.evaluation.replicates import find_replicates
from cpcnn_core.expressions import choose_rows
from cpcnn_core.profiles.aggregate import aggregate
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.profiles.similarity import cosine_similarity
from cpcnn_core.schema.columns import PLATE, SITE, STUDY, WELL, feature_names
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.training.metrics import classifier_metrics
from cpcnn_core.training.network import predict
from cpcnn_core.training.sampling import draw_epoch

if TYPE_CHECKING:
    from accelerate import Accelerator

    from cpcnn_core.training.batches import CropReader
    from cpcnn_core.training.cells import Cells
    from cpcnn_core.training.config import EvaluationConfig
    from cpcnn_core.training.network import Network

Row = dict[str, float | str | None]


def watch(
    network: Network,
    accelerator: Accelerator,
    reader: CropReader,
    cells: Cells,
    config: EvaluationConfig,
    seed: int,
) -> Row:
    """Measure a network on cells that it did not learn from.

    Parameters
    ----------
    network : TrainableNetwork or ChannelwiseNetwork
    accelerator : Accelerator
        Of all processes: each calls this.
    reader : CropReader
    cells : Cells
    config : EvaluationConfig
    seed : int
        Of the balanced draw of validation cells, which is the same after every epoch.

    Returns
    -------
    dict
        `classifier_row` and `profile_row`.

    Raises
    ------
    TrainingError
        Features that are NaN or infinite.
    """
    rows = np.union1d(cells.validation, cells.held_out)
    features, logits = embed_rows(network, accelerator, reader, rows)
    of_validation = logits[np.searchsorted(rows, cells.validation)]
    of_held_out = features[np.searchsorted(rows, cells.held_out)]
    held_out = cell_profiles(cells, cells.held_out, of_held_out)
    return classifier_row(of_validation, cells.validation_classes, seed) | profile_row(
        held_out, cells.label, config
    )


def classifier_row(logits: np.ndarray, classes: np.ndarray, seed: int) -> Row:
    """Measure the classifier on a draw of validation cells, balanced over the classes.

    Parameters
    ----------
    logits : ndarray of shape (n, k)
    classes : ndarray of shape (n,), integer
        Negative for cells of classes that the network was not taught.
    seed : int
        Of the draw, which is drawn once, as in the reference (docs/method.md#balanced-sampling).

    Returns
    -------
    dict
        ``validation_loss``, ``_accuracy``, ``_top_5`` and ``_precision``; None where no cell
        has a class that was taught.

    Examples
    --------
    >>> logits = np.array([[3.0, 0.0], [0.0, 3.0]], np.float32)
    >>> classifier_row(logits, np.array([0, 1]), 0)["validation_accuracy"]
    1.0
    """
    taught = classes >= 0
    if not taught.any():
        return dict.fromkeys(f"validation_{n}" for n in ("loss", "accuracy", "top_5", "precision"))
    logits, classes = logits[taught], classes[taught]
    found = classifier_metrics(logits, classes, draw_epoch(classes, seed, 0))
    return {f"validation_{name}": value for name, value in found.items()}


def profile_row(cells: Profiles, by: str, config: EvaluationConfig) -> Row:
    """Measure what the profiles of wells know of treatments, and of plates.

    Parameters
    ----------
    cells : Profiles
        Of cells, with study, plate, well and site.
    by : str
        The column that names the treatment.
    config : EvaluationConfig

    Returns
    -------
    dict
        ``correction``: what was done to the wells before they were compared, or why not.
        ``replicates``: the mean average precision of finding replicates. ``nearest_treatment``:
        see `nearest_treatment_accuracy`. The others are measures of
        `cpcnn_core.evaluation.confounders.confounders`, read from wells that are not corrected:
        sphering on few controls hides in them what the network has learned of plates.
        None where there is nothing to measure.

    Examples
    --------
    >>> wells.metadata["Metadata_Site"] = "1"
    >>> from cpcnn_core.training.config import EvaluationConfig
    >>> config = EvaluationConfig(controls="Treatment == 'DMSO'")
    >>> row = profile_row(wells, "Metadata_Treatment", config)
    >>> row["correction"], round(row["replicates"], 2)
    ('sphering on 24 control wells', 0.97)
    """
    wells = wells_of_cells(cells, by)
    controls = control_wells(wells, config)
    corrected, correction = sphered(wells, controls, config)
    row: Row = {"wells": len(controls), "control_wells": int(controls.sum())}
    row |= {"correction": correction} | _retrieval(corrected, controls, by)
    return row | _confounders(wells, controls, by)


def embed_rows(
    network: Network, accelerator: Accelerator, reader: CropReader, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the features (n, d) and logits (n, k) of rows of the reader's store, (n,).

    Raises
    ------
    TrainingError
        Features that are NaN or infinite.
    """
    parts = [(f, x) for _, f, x in predict(network, accelerator, reader, rows)]
    features = np.concatenate([f for f, _ in parts])
    if not np.isfinite(features).all():
        raise TrainingError(
            "the network's features are NaN or infinite; lower training.learning_rate"
        )
    return features, np.concatenate([x for _, x in parts])


def cell_profiles(cells: Cells, rows: np.ndarray, features: np.ndarray) -> Profiles:
    """Return features (n, d) of rows of the store, (n,), with what is known of these cells."""
    index = cells.store.index.iloc[rows].reset_index(drop=True)
    metadata = index[[name for name in index.columns if str(name).startswith("Metadata_")]]
    return Profiles(features, metadata, feature_names(features.shape[1], compartment="Cells"))


def wells_of_cells(cells: Profiles, by: str) -> Profiles:
    """Make profiles of wells as the paper does: cells' medians by site, sites' means.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame(
    ...     [["P", "A01", "1", "x"]] * 3,
    ...     columns=[f"Metadata_{name}" for name in ("Plate", "Well", "Site", "Treatment")],
    ... )
    >>> cells = Profiles(np.array([[1.0], [2.0], [9.0]]), rows, ["a"])
    >>> wells_of_cells(cells, "Metadata_Treatment").features.tolist()
    [[2.0]]
    """
    metadata = cells.metadata
    if STUDY in metadata.columns and metadata[STUDY].nunique() > 1:
        # Two studies may have a plate of the same name.
        plates = metadata[STUDY].astype(str) + "/" + metadata[PLATE].astype(str)
        cells = replace(cells, metadata=metadata.assign(**{PLATE: plates}))
    sites = aggregate(cells, [PLATE, WELL, SITE, by], "median")
    return aggregate(sites, [PLATE, WELL, by], "mean")


def control_wells(wells: Profiles, config: EvaluationConfig) -> np.ndarray:
    """Tell which wells are the controls that the entries name, (n,) bool.

    Examples
    --------
    >>> from cpcnn_core.training.config import EvaluationConfig
    >>> int(control_wells(wells, EvaluationConfig(controls="Treatment == 'DMSO'")).sum())
    24
    """
    none = np.zeros(len(wells.metadata), bool)
    if not config.controls:
        return none
    # That the expression can be understood, and chooses some of all crops, is known by now.
    try:
        return choose_rows(wells, config.controls)
    except ProfileError:
        return none


def sphered(
    wells: Profiles, controls: np.ndarray, config: EvaluationConfig
) -> tuple[Profiles, str]:
    """Sphere wells on their controls, where there are two or more; say what was done.

    Examples
    --------
    >>> from cpcnn_core.training.config import EvaluationConfig
    >>> config = EvaluationConfig(controls="Treatment == 'DMSO'")
    >>> sphered(wells, control_wells(wells, config), config)[1]
    'sphering on 24 control wells'
    """
    if not config.controls:
        return wells, "none: no controls are named"
    if controls.sum() < 2:
        return wells, f"none: {controls.sum()} of {len(controls)} wells are controls"
    try:
        correction = fit_correction(
            wells,
            controls,
            "sphering",
            regularization=config.regularization,
            relative=config.relative,
            # The row says how many there are.
            tell=lambda _: None,
        )
        return correction.transform(wells), f"sphering on {controls.sum()} control wells"
    except ProfileError as error:
        return wells, f"none: {error}"


def _retrieval(wells: Profiles, controls: np.ndarray, by: str) -> Row:
    row: Row = dict.fromkeys(
        ("replicates", "replicates_chance", "nearest_treatment", "nearest_treatment_chance")
    )
    if controls.all():
        return row | {"note": "no treated wells"}
    treated = wells.select(~controls)
    try:
        found = find_replicates(treated, by)
        row["replicates"] = float(np.nanmean(found.precision))
        row["replicates_chance"] = float(np.nanmean(found.chance))
        nearest = nearest_treatment_accuracy(treated, by)
    except ProfileError as error:
        return row | {"note": str(error)}
    row["nearest_treatment"] = nearest["accuracy"]
    row["nearest_treatment_chance"] = nearest["chance"]
    return row | {"note": ""}


def _confounders(wells: Profiles, controls: np.ndarray, by: str) -> Row:
    """Flatten the measures: a column for the value, one for its chance level."""
    found: dict[str, Any] = dict.fromkeys(
        (
            *("controls_by_plate", "controls_by_well", "plate_from_controls"),
            *("treatment_leave_wells_out", "treatment_leave_plates_out"),
        )
    )
    if controls.any() and not controls.all():
        found |= confounders(wells, controls, by)
    elif not controls.any():
        found["treatment_leave_wells_out"] = linear_probe(wells, by)
        found["treatment_leave_plates_out"] = linear_probe(wells, by, apart=PLATE)
    row: Row = {}
    for name, measured in found.items():
        row[name], row[f"{name}_chance"] = list(measured.values()) if measured else (None, None)
    return row


def nearest_treatment_accuracy(wells: Profiles, by: str) -> dict[str, float]:
    """Return the fraction of the wells whose nearest treatment is their own.

    Parameters
    ----------
    wells : Profiles
        Treated wells, without controls.
    by : str
        The column that names the treatment.

    Returns
    -------
    dict
        ``accuracy``; ``chance``: the mean of 1 / number of treatments to choose from;
        ``wells``: how many were asked about.

    Raises
    ------
    ProfileError
        No such column, NaN, or no treatment has replicates.

    Notes
    -----
    A treatment is the mean of its wells on other plates than the well that is asked about,
    or, where no treatment is on several plates, of its other wells. Wells whose treatment is
    not there are not asked about. Cosine similarity.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"Metadata_Treatment": ["a", "b", "a", "b"]})
    >>> wells = Profiles(np.array([[1.0, 0], [0, 1], [1, 0.1], [0.1, 1]]), rows, ["x", "y"])
    >>> nearest_treatment_accuracy(wells, "Metadata_Treatment")
    {'accuracy': 1.0, 'chance': 0.5, 'wells': 4}
    """
    names = wells.texts(by)
    groups = _apart(wells, names)
    hits, chances = [], []
    for group in np.unique(groups):
        inside = groups == group
        if inside.all():
            continue
        treatments = aggregate(wells.select(~inside), [by], "mean")
        known = treatments.texts(by)
        known_here = inside & np.isin(names, known)
        if known_here.any():
            similarity = cosine_similarity(wells.features[known_here], treatments.features)
            hits += (known[similarity.argmax(axis=1)] == names[known_here]).tolist()
            chances += [1 / len(known)] * int(known_here.sum())
    if not hits:
        raise ProfileError(f"no treatment in the column {by} has replicates")
    return {"accuracy": float(np.mean(hits)), "chance": float(np.mean(chances)), "wells": len(hits)}


def _apart(wells: Profiles, names: np.ndarray) -> np.ndarray:
    """Tell which wells are not compared with each other: those of a plate, or each with itself."""
    if PLATE in wells.metadata.columns:
        _, plates = np.unique(wells.texts(PLATE), return_inverse=True)
        pairs = np.unique(np.stack([np.unique(names, return_inverse=True)[1], plates]), axis=1)
        if pairs.shape[1] > len(np.unique(names)):
            return plates
    return np.arange(len(names))
