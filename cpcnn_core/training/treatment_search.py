"""How well wells that a network has not learned from find their treatment among all.

A treatment is the mean of its wells that were learned from. Wells themselves would not do: those
of one treatment lie together once a network has learned them, so that they come first or last as
one, and average precision gains by that alone, also for a network that has learned nothing else.
Of means there is one that is right, whose rank by chance is the same for every network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.errors import TrainingError
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.profiles.similarity import cosine_similarity
from cpcnn_core.schema.columns import PLATE, WELL
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.training.monitoring import (
    cell_profiles,
    control_wells,
    embed_rows,
    wells_of_cells,
)
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
class TreatmentSearch:
    """What each of n query wells found.

    Attributes
    ----------
    treatments : ndarray of shape (n,), str
    found : mapping of str to ndarray of shape (n,), float64
        1 / rank of the well's own treatment among all by similarity: `RAW`, and `SPHERED` where
        there are enough controls.
    chance : ndarray of shape (n,), float64
        What a random order is expected to reach.
    """

    treatments: np.ndarray
    found: Mapping[str, np.ndarray]
    chance: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """What each well found, over the corrections, (n,)."""
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


def search_treatments(
    network: Network,
    accelerator: Accelerator,
    reader: CropReader,
    cells: Cells,
    queries: np.ndarray,
    config: EvaluationConfig,
) -> TreatmentSearch:
    """Search the treatments of wells that were not learned from.

    A well looks among the means of the treatments on other plates, where its own is on others;
    else among all.

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
    TreatmentSearch

    Raises
    ------
    TrainingError
        No query has a treatment to find, or features are NaN or infinite.
    """
    rows, is_query = choose_cells(cells, queries)
    features, _ = embed_rows(network, accelerator, reader, rows)
    found = cell_profiles(cells, rows, features)
    metadata = found.metadata.assign(**{_QUERY: np.where(is_query, "yes", "no")})
    return _search(replace(found, metadata=metadata), cells.label, config)


def _search(cells: Profiles, by: str, config: EvaluationConfig) -> TreatmentSearch:
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
    names, plates = wells.texts(by), wells.texts(PLATE)
    library = ~controls & ~is_query
    queries = np.flatnonzero(~controls & is_query)
    found, chance = {}, np.full(len(queries), np.nan)
    for name, table in tables.items():
        ranks = np.full(len(queries), np.nan)
        for place, query in enumerate(queries):
            own = names[query]
            elsewhere = library & (plates != plates[query])
            among = elsewhere if (names[elsewhere] == own).any() else library
            known = np.unique(names[among])
            if own in known and len(known) > 1:
                means = np.stack([table.features[among & (names == n)].mean(axis=0) for n in known])
                similarity = cosine_similarity(table.features[[query]], means)[0]
                ranks[place] = 1 / (similarity >= similarity[known == own]).sum()
                chance[place] = (1 / np.arange(1, len(known) + 1)).mean()
        found[name] = ranks
    asked = ~np.isnan(chance)
    if not asked.any():
        raise TrainingError(
            "none of the wells that were not learned from has a treatment to search among others; "
            "choose another split"
        )
    return TreatmentSearch(
        names[queries][asked], {name: one[asked] for name, one in found.items()}, chance[asked]
    )
