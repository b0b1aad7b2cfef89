"""The cells of every well in few components, where networks are trained and compared."""

from __future__ import annotations

import numpy as np

from cpcnn_core.aggregation.cell_sets import CellSets
from cpcnn_core.aggregation.set_aggregation import (
    CellSpace,
    SetAggregation,
    add_residual,
    centers_of_plates,
    pool,
)
from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.correction_steps import fit_plate_centering
from cpcnn_core.profiles.cross_fitting import plates_of

# Of more control cells the components are learned from so many, drawn at random.
_CELLS_FOR_COMPONENTS = 5000


def fit_space(sets: CellSets, controls: np.ndarray, components: int, seed: int = 0) -> CellSpace:
    """Learn scale and components from the controls; no treated cell is looked at.

    Parameters
    ----------
    sets : CellSets
    controls : ndarray of shape (wells,), bool
        Those to learn from; not every plate needs some.
    components : int
        At most.
    seed : int

    Raises
    ------
    ProfileError
        No controls, or no feature varies among them.
    """
    from sklearn.decomposition import PCA

    if controls.sum() < 2:
        raise ProfileError(
            f"{controls.sum()} of {len(controls)} wells are controls; expected two at least: name "
            "them with --controls"
        )
    means, plates = sets.wells.features, plates_of(sets.wells)
    scaling = fit_plate_centering(means[controls], plates[controls].tolist())
    scale = np.where(scaling.used, scaling.scales[0], 0).astype(np.float32)
    centers = np.zeros_like(means)
    centers[controls] = centers_of_plates(means[controls], plates[controls], controls[controls])
    cells = np.flatnonzero(controls[sets.well_of_cell])
    random = np.random.default_rng(seed)
    cells = np.sort(random.permutation(cells)[:_CELLS_FOR_COMPONENTS])
    bare = CellSpace(scale, np.empty((0, len(scale))), np.empty(0))
    scaled = bare.scaled(sets.cells[cells], centers[sets.well_of_cell[cells]])
    count = min(components, len(cells) - 1, int((scale > 0).sum()))
    found = PCA(count, svd_solver="randomized", random_state=seed).fit(scaled)
    varies = found.explained_variance_ > 1e-9 * found.explained_variance_.max()
    spread = np.sqrt(found.explained_variance_[varies])
    return CellSpace(scale, found.components_[varies].astype(np.float32), spread.astype(np.float32))


class ScoredSets:
    """The cells of wells in components of a space, each minus the controls of its plate.

    Parameters
    ----------
    sets : CellSets
    controls : ndarray of shape (wells,), bool
        Some of every plate.
    space : CellSpace

    Attributes
    ----------
    plates : ndarray of shape (wells,), str
    controls : ndarray of shape (wells,), bool
    space : CellSpace

    Raises
    ------
    ProfileError
        A plate without controls.
    """

    def __init__(self, sets: CellSets, controls: np.ndarray, space: CellSpace) -> None:
        self.plates, self.controls, self.space = plates_of(sets.wells), controls, space
        self._sets = sets
        of_cell = sets.well_of_cell
        self._controls_of = {
            plate: np.flatnonzero((controls & (self.plates == plate))[of_cell])
            for plate in np.unique(self.plates).tolist()
        }
        means = sets.wells.features
        centers = centers_of_plates(means, self.plates, controls)
        self._scores = np.empty((len(sets.cells), len(space.components)), np.float32)
        for well, (start, end) in enumerate(zip(sets.starts, sets.starts[1:], strict=False)):
            self._scores[start:end] = space.scores(sets.cells[start:end], centers[well])
        scaled = space.scaled(means, centers)
        self._rest = scaled - scaled @ space.components.T @ space.components

    def outside(self, wells: np.ndarray) -> np.ndarray:
        """Return products of what the means of wells (n,) are outside of the space, (n, n)."""
        rest = self._rest[wells]
        result: np.ndarray = (rest @ rest.T).astype(np.float32)
        return result

    def draw(self, wells: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
        """Return so many cells of wells (n,), with replacement, (n, count, k), float32."""
        places = random.random((len(wells), count)) * self._sets.counts[wells, None]
        result: np.ndarray = self._scores[self._sets.starts[wells, None] + places.astype(int)]
        return result

    def draw_controls(
        self, wells: np.ndarray, count: int, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw control cells of the plates that wells (n,) are on.

        Returns
        -------
        cells : ndarray of shape (plates, 4 count, k), float32
        plate : ndarray of shape (n,), int
            Which of these plates each well is on.
        """
        names, place = np.unique(self.plates[wells], return_inverse=True)
        cells = [random.choice(self._controls_of[name], 4 * count) for name in names.tolist()]
        found: np.ndarray = self._scores[np.stack(cells)]
        return found, place

    def aggregate(self, aggregation: SetAggregation) -> np.ndarray:
        """Return the learned profiles of all wells, (wells, d), float64."""
        sets = self._sets
        encoded = aggregation.encode(self._scores)
        sums = pool(encoded, sets.well_of_cell, len(sets.counts))
        return add_residual(
            aggregation, sets.wells.features, sums, sets.counts, self.plates, self.controls
        )


def score_sets(
    sets: CellSets, controls: np.ndarray, known: np.ndarray, components: int, seed: int
) -> ScoredSets:
    """Return the sets in the space of some of the controls, (wells,) bool: the `known` ones."""
    return ScoredSets(sets, controls, fit_space(sets, known, components, seed))
