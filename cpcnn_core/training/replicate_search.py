"""How well wells that a network has not learned from find the wells of their treatment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.errors import ProfileError, TrainingError
from cpcnn_core.evaluation.replicates import find_replicates
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.schema.columns import PLATE, WELL, feature_names
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.training.monitoring import control_wells, wells_of_cells
from cpcnn_core.training.network import predict
from cpcnn_core.training.splits import joined_texts, numbered, with_study

if TYPE_CHECKING:
    from collections.abc import Mapping

    from accelerate import Accelerator

    from cpcnn_core.training.batches import CropReader
    from cpcnn_core.training.cells import Cells
    from cpcnn_core.training.config import EvaluationConfig
    from cpcnn_core.training.network import Network

# Of a well; more change its median little.
MAX_CELLS = 50
RAW, SPHERED = "not corrected", "sphered"
# Of the library: fewer say too little of what is the same in all wells.
MIN_CONTROLS = 4
_QUERY = "Metadata_IsQuery"


@dataclass(frozen=True)
class ReplicateSearch:
    """What each of n query wells found.

    Attributes
    ----------
    treatments : ndarray of shape (n,), str
    found : mapping of str to ndarray of shape (n,), float64
        Average precision: `RAW`, and `SPHERED` where there are enough controls.
    placebo : mapping of str to ndarray of shape (n,), float64
        The same after the names of the treated wells were shuffled, plate by plate.
    chance : ndarray of shape (n,), float64
        What a random order is expected to reach.
    """

    treatments: np.ndarray
    found: Mapping[str, np.ndarray]
    placebo: Mapping[str, np.ndarray]
    chance: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Average precision of each well, over the corrections, (n,)."""
        result: np.ndarray = np.mean(list(self.found.values()), axis=0)
        return result


def choose_cells(cells: Cells, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choose the cells of a search: of each well the first `MAX_CELLS`.

    Parameters
    ----------
    cells : Cells
    queries : ndarray of shape (q,), integer
        Rows of the store, of the wells that are queries.

    Returns
    -------
    rows : ndarray of shape (n,), integer
        Of the queries' wells, and of all other wells that were learned from.
    is_query : ndarray of shape (n,), bool
    """
    index = cells.store.index
    places = joined_texts(index, with_study(index, [PLATE, WELL]))
    is_query = np.zeros(len(index), bool)
    is_query[queries] = True
    # A well of which some cells were learned from, and others are queries, is a query.
    learned = cells.training[~np.isin(places[cells.training], places[queries])]
    rows = np.sort(np.concatenate([queries, learned]))
    _, wells, counts = numbered(places[rows])
    order = np.argsort(wells, kind="stable")
    rank = np.empty(len(rows), int)
    rank[order] = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = rows[rank < MAX_CELLS]
    return chosen, is_query[chosen]


def search_replicates(
    network: Network,
    accelerator: Accelerator,
    reader: CropReader,
    cells: Cells,
    queries: np.ndarray,
    config: EvaluationConfig,
) -> ReplicateSearch:
    """Search the replicates of wells that were not learned from, among all wells.

    Parameters
    ----------
    network : TrainableNetwork or ChannelwiseNetwork
    accelerator : Accelerator
        Of all processes: each calls this.
    reader : CropReader
    cells : Cells
    queries : ndarray of shape (q,), integer
        Rows of the store: `Cells.validation` or `Cells.held_out`.
    config : EvaluationConfig

    Returns
    -------
    ReplicateSearch

    Raises
    ------
    TrainingError
        No query has a replicate, or features are NaN or infinite.
    """
    rows, is_query = choose_cells(cells, queries)
    features = np.concatenate([part for _, part, _ in predict(network, accelerator, reader, rows)])
    if not np.isfinite(features).all():
        raise TrainingError(
            "the network's features are NaN or infinite; lower training.learning_rate"
        )
    index = cells.store.index.iloc[rows].reset_index(drop=True)
    metadata = index[[name for name in index.columns if str(name).startswith("Metadata_")]]
    metadata = metadata.assign(**{_QUERY: np.where(is_query, "yes", "no")})
    names = feature_names(features.shape[1], compartment="Cells")
    return _search(Profiles(features, metadata, names), cells.label, config)


def _search(cells: Profiles, by: str, config: EvaluationConfig) -> ReplicateSearch:
    wells = wells_of_cells(cells, by)
    is_query = wells.texts(_QUERY) == "yes"
    controls = control_wells(wells, config)
    tables = {RAW: wells}
    # Learned from wells that were learned from: a query's own plate may be among them.
    fit = controls & ~is_query
    if fit.sum() >= MIN_CONTROLS:
        correction = fit_correction(
            wells,
            fit,
            "sphering",
            regularization=config.regularization,
            relative=config.relative,
            tell=lambda _: None,
        )
        tables[SPHERED] = correction.transform(wells)
    treated = ~controls
    try:
        found = {name: find_replicates(table.select(treated), by) for name, table in tables.items()}
    except ProfileError as error:
        raise TrainingError(
            f"wells that were not learned from cannot search their replicates ({error}); choose "
            "another split"
        ) from error
    raw = found[RAW]
    asked = raw.queries(is_query[treated])
    if not asked.any():
        raise TrainingError(
            "none of the wells that were not learned from has a replicate to search; choose "
            "another split"
        )
    return ReplicateSearch(
        raw.names[asked],
        {name: one.precision[asked] for name, one in found.items()},
        {name: _shuffled(table.select(treated), by)[asked] for name, table in tables.items()},
        raw.chance[asked],
    )


def _shuffled(wells: Profiles, by: str) -> np.ndarray:
    """Search again after the treatments' names changed places, plate by plate, (n,)."""
    random = np.random.default_rng(0)
    names = wells.texts(by).copy()
    plates = wells.texts(PLATE)
    for plate in np.unique(plates):
        rows = np.flatnonzero(plates == plate)
        names[rows] = names[random.permutation(rows)]
    shuffled = replace(wells, metadata=wells.metadata.assign(**{by: names}))
    return find_replicates(shuffled, by).precision
