"""A learned aggregation applied to the tables of a screen, of any size."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cpcnn_core.aggregation.cell_sets import iterate_cells, refuse_empty
from cpcnn_core.aggregation.set_aggregation import (
    SetAggregation,
    add_residual,
    centers_of_plates,
    pool,
)
from cpcnn_core.profiles.cross_fitting import plates_of
from cpcnn_core.schema.profiles import Profiles


def aggregate_learned(
    wells: Profiles,
    controls: np.ndarray,
    aggregation: SetAggregation,
    tables: Iterable[Path],
    *,
    drop_features: Sequence[str] = (),
    keep_labels: Collection[str] = (),
) -> Profiles:
    """Add what was learned to the means of wells; their cells are read a part at a time.

    Parameters
    ----------
    wells : Profiles
        Means, of the features of the aggregation in its order; see
        `cpcnn_core.profiles.wells.well_profiles`.
    controls : ndarray of shape (wells,), bool
        Some of every plate.
    aggregation : SetAggregation
    tables : iterable of Path
        The cells of these wells.
    drop_features, keep_labels
        As in `well_profiles`.

    Returns
    -------
    Profiles
        With strength 0 the means, to the bit.

    Raises
    ------
    ProfileError
        A plate without controls, tables without cells, a well without cells.
    """
    means, plates = wells.features, plates_of(wells)
    centers = centers_of_plates(means, plates, controls)
    sums, counts = np.zeros((len(means), len(aggregation.bias))), np.zeros(len(means))
    cells_of = iterate_cells(wells, tables, drop_features=drop_features, keep_labels=keep_labels)
    for cells, rows in cells_of:
        encoded = aggregation.encode(aggregation.space.scores(cells, centers[rows]))
        sums += pool(encoded, rows, len(means))
        counts += np.bincount(rows, minlength=len(means))
    refuse_empty(wells, counts)
    learned = add_residual(aggregation, means, sums, counts, plates, controls)
    return replace(wells, features=learned)
