"""Cells to a map: principal components at once, UMAP and clusters when asked.

These are made in processes of their own, which the window does not wait for. In a thread of the
window's own process UMAP of 50,000 cells stops the window for 0.4 s again and again, for what numba
compiled holds Python's lock while it runs; loading scikit-learn does the same once. A process stays
for the next time, because compiling takes numba up to half a minute; one that is not wanted any
more can be ended.
"""

from __future__ import annotations

import os
import sys

import numpy as np

from cpcnn_core.profiles.correction_steps import fit_principal_components
from cpcnn_core.worker.protocol import read_message, write_message
from napari_cpcnn.child_process import ChildProcess

# How many cells the components are learned from, and computed of at a time.
SAMPLE, CHUNK, COMPONENTS = 20_000, 20_000, 50
NEIGHBORS = 15


def components_of(features: np.ndarray) -> np.ndarray:
    """Return the first principal components of cells.

    Parameters
    ----------
    features : ndarray of shape (n, d)
        The components are learned from a random sample of 20,000 cells at most.

    Returns
    -------
    ndarray of shape (n, k), float32
        k is at most 50 and at least 2; NaN for a cell with a feature that is not finite.

    Examples
    --------
    >>> line = np.arange(5, dtype=np.float32)
    >>> components_of(np.stack([line, 2 * line], axis=1))[:, 0].round(2).tolist()
    [-2.0, -1.0, 0.0, 1.0, 2.0]
    """
    with np.errstate(invalid="ignore"):
        known = np.flatnonzero(np.isfinite(features.sum(axis=1)))
    sample = known
    if len(known) > SAMPLE:
        sample = np.random.default_rng(0).choice(known, SAMPLE, replace=False)
    learned = fit_principal_components(features[sample], COMPONENTS, solver="covariance_eigh")
    count = len(learned.components)
    result = np.full((len(features), max(count, 2)), np.nan, np.float32)
    result[known] = 0
    for start in range(0, len(known), CHUNK):
        rows = known[start : start + CHUNK]
        result[rows, :count] = learned.transform(features[rows])
    return result


def umap_of(components: np.ndarray) -> np.ndarray:
    """Return the UMAP (n, 2), float32, of principal components (n, k); the same every time."""
    import umap

    known = np.isfinite(components).all(axis=1)
    begin = components[known, :2]
    mapper = umap.UMAP(
        n_neighbors=min(NEIGHBORS, len(begin) - 1), init=begin, random_state=0, n_jobs=1
    )
    result = np.full((len(components), 2), np.nan, np.float32)
    result[known] = mapper.fit_transform(components[known])
    return result


def clusters_of(components: np.ndarray, count: int) -> np.ndarray:
    """Part cells into clusters by k-means; the same every time.

    Parameters
    ----------
    components : ndarray of shape (n, k)
        Principal components.
    count : int
        How many clusters; fewer where there are fewer cells.

    Returns
    -------
    ndarray of shape (n,), int
        1 for the largest cluster, and so on; 0 for a cell with NaN.

    Examples
    --------
    >>> clusters_of(np.array([[0.0], [9.0], [9.1], [9.2]]), 2).tolist()
    [2, 1, 1, 1]
    """
    from sklearn.cluster import MiniBatchKMeans

    known = np.isfinite(components).all(axis=1)
    count = min(count, int(known.sum()))
    result = np.zeros(len(components), int)
    found = MiniBatchKMeans(count, random_state=0, n_init=3).fit_predict(components[known])
    sizes = np.bincount(found, minlength=count)
    ranks = np.empty(count, int)
    ranks[np.argsort(-sizes, kind="stable")] = np.arange(1, count + 1)
    result[known] = ranks[found]
    return result


def cosines(vectors: np.ndarray, row: int) -> np.ndarray:
    """Return the cosine (n,) of the angle between one of the vectors (n, k) and every one.

    Examples
    --------
    >>> cosines(np.array([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]]), 0).tolist()
    [1.0, 0.0, -1.0]
    """
    lengths = np.linalg.norm(vectors, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: np.ndarray = vectors @ vectors[row] / (lengths * lengths[row])
        return result


class MapProcess:
    """Makes UMAPs or clusters, one at a time; once stopped it makes no more.

    Parameters
    ----------
    name : str
        What it makes, for error messages.
    """

    def __init__(self, name: str) -> None:
        self._child = ChildProcess("napari_cpcnn.cell_map.maps", name)

    @property
    def usable(self) -> bool:
        """Whether it was neither stopped nor has died."""
        return self._child.usable

    def umap(self, components: np.ndarray) -> np.ndarray:
        """Return the UMAP (n, 2) of principal components; see `umap_of`.

        Raises
        ------
        CancelledError
            `stop` was called.
        CPCNNError
            The process ended; the last lines it printed are in the message.
        """
        return self._ask({"type": "umap"}, components)

    def clusters(self, components: np.ndarray, count: int) -> np.ndarray:
        """Return clusters (n,) of components; see `clusters_of`.

        Raises
        ------
        CancelledError, CPCNNError
            As `umap`.
        """
        return self._ask({"type": "clusters", "count": count}, components)

    def stop(self) -> None:
        """End the process at once, or before it begins."""
        self._child.stop()

    def _ask(self, request: dict[str, object], components: np.ndarray) -> np.ndarray:
        self._child.send(request, {"components": components})
        return self._child.receive()[1]["made"]


def _serve() -> None:
    """Serve as the process: read components, write what is asked for, until the pipe is closed."""
    out = os.fdopen(os.dup(1), "wb")
    # What libraries print must not get into the answers.
    os.dup2(2, 1)
    write_message(out, {"type": "hello"})
    while message := read_message(sys.stdin.buffer):
        request, arrays = message
        if request["type"] == "umap":
            made = umap_of(arrays["components"])
        else:
            made = clusters_of(arrays["components"], request["count"])
        write_message(out, {"type": "made"}, {"made": made})


if __name__ == "__main__":
    _serve()
