"""A learned aggregation: the mean of a well's cells, and what is added to it.

Cells are compared with the controls of their plate, turned to few components, and given to a
small network whose outputs are averaged over the cells of a well (deep sets). What the well's
average has more than that of its plate's controls is added to the mean, through a matrix that is
zero before training: the mean is where training begins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cpcnn_core.errors import ProfileError


@dataclass(frozen=True)
class CellSpace:
    """Components of the cells of a screen, in units of the spread of control wells.

    Attributes
    ----------
    scale : ndarray of shape (d,), float32
        Spread of the control wells about the mean of their plate's; 0 for a feature that does
        not vary among them, which is not used.
    components : ndarray of shape (k, d), float32
        Rows of unit length.
    spread : ndarray of shape (k,), float32
        Standard deviation of the control cells along the components.
    """

    scale: np.ndarray
    components: np.ndarray
    spread: np.ndarray

    def scaled(self, features: np.ndarray, centers: np.ndarray) -> np.ndarray:
        """Return features minus the centres of their plates, in units of `scale`, (n, d)."""
        used = self.scale > 0
        result: np.ndarray = (features - centers) * (used / np.where(used, self.scale, 1))
        return result

    def scores(self, cells: np.ndarray, centers: np.ndarray) -> np.ndarray:
        """Return cells (n, d) in components, each with a spread of 1 among controls, (n, k)."""
        result: np.ndarray = self.scaled(cells, centers) @ self.components.T / self.spread
        return result


@dataclass(frozen=True)
class SetAggregation:
    """What is added to the mean of a well's cells.

    Attributes
    ----------
    space : CellSpace
        Of k components of d features.
    hidden : ndarray of shape (k, h), float32
    bias : ndarray of shape (h,), float32
        One layer of the network, which sees a cell at a time.
    output : ndarray of shape (h, k), float32
        From the average over cells to components; zero before training.
    strength : float
        Factor of what is added; 0 is the mean.

    Examples
    --------
    >>> one = np.ones(1, np.float32)
    >>> space = CellSpace(one, one[:, None], one)
    >>> untrained = SetAggregation(space, one[:, None], one, 0 * one[:, None])
    >>> pooled = pool(untrained.encode(np.array([[1.0], [3.0]])), np.array([0, 0]), 1)
    >>> untrained.residual(pooled)
    array([[0.]])
    """

    space: CellSpace
    hidden: np.ndarray
    bias: np.ndarray
    output: np.ndarray
    strength: float = 1.0

    def encode(self, scores: np.ndarray) -> np.ndarray:
        """Return what the network makes of cells in components (n, k), (n, h), from -1 to 1."""
        result: np.ndarray = np.tanh(scores @ self.hidden + self.bias)
        return result

    def residual(self, pooled: np.ndarray) -> np.ndarray:
        """Return what is added to the means of wells, (w, d), float64.

        Parameters
        ----------
        pooled : ndarray of shape (w, h)
            The averages over the cells of every well, minus those of its plate's controls.
        """
        space = self.space
        scores = pooled @ (self.strength * self.output) * space.spread
        result: np.ndarray = np.asarray(scores @ space.components * space.scale, np.float64)
        return result


def pool(encoded: np.ndarray, rows: np.ndarray, wells: int) -> np.ndarray:
    """Add up what the network made of the cells (n, h) of every well, (wells, h), float64.

    Examples
    --------
    >>> pool(np.array([[1.0], [2.0], [4.0]]), np.array([1, 0, 1]), 2).tolist()
    [[2.0], [5.0]]
    """
    sums = np.zeros((wells, encoded.shape[1]))
    order = np.argsort(rows, kind="stable")
    found, starts = np.unique(rows[order], return_index=True)
    if len(found):
        sums[found] = np.add.reduceat(encoded[order], starts, axis=0, dtype=np.float64)
    return sums


def centers_of_plates(features: np.ndarray, plates: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """Return the mean of the controls of every well's plate, (wells, d), float64.

    Parameters
    ----------
    features : ndarray of shape (wells, d)
    plates : ndarray of shape (wells,), str
    controls : ndarray of shape (wells,), bool

    Raises
    ------
    ProfileError
        A plate has no controls.

    Examples
    --------
    >>> features = np.array([[1.0], [3.0], [9.0]])
    >>> plates, controls = np.array(["P1"] * 3), np.array([True, True, False])
    >>> centers_of_plates(features, plates, controls).tolist()
    [[2.0], [2.0], [2.0]]
    """
    names, place = np.unique(plates, return_inverse=True)
    bare = sorted(set(names) - set(plates[controls]))
    if bare:
        raise ProfileError(
            f"plate {', '.join(bare)} has no control wells; a learned aggregation compares the "
            "cells of every plate with its controls: name more of them (--controls), or leave the "
            "plate out (--where)"
        )
    means = np.stack([features[(place == n) & controls].mean(axis=0) for n in range(len(names))])
    result: np.ndarray = means[place]
    return result


def add_residual(
    aggregation: SetAggregation,
    means: np.ndarray,
    sums: np.ndarray,
    counts: np.ndarray,
    plates: np.ndarray,
    controls: np.ndarray,
) -> np.ndarray:
    """Return the learned profiles of wells, (wells, d), float64.

    Parameters
    ----------
    aggregation : SetAggregation
    means : ndarray of shape (wells, d)
        Of their cells.
    sums : ndarray of shape (wells, h)
        What `pool` returned.
    counts : ndarray of shape (wells,)
        How many cells that are the sums of.
    plates : ndarray of shape (wells,), str
    controls : ndarray of shape (wells,), bool
        Some of every plate.
    """
    usual = np.empty_like(sums)
    for plate in np.unique(plates):
        mine = plates == plate
        usual[mine] = sums[mine & controls].sum(axis=0) / counts[mine & controls].sum()
    residual = aggregation.residual(sums / counts[:, None] - usual)
    # Adding 0 makes one zero of two: what is not moved keeps its bits.
    return np.where(residual == 0, means, means + residual)
