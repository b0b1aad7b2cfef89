"""The treatments that are worth learning from: those whose wells are far from the controls.

As in the paper's notebooks (docs/method.md#strong-treatments). They took the features
of a network trained on ImageNet, 6400 a well.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.errors import DependencyError, ProfileError
from cpcnn_core.profiles.checks import check_features
from cpcnn_core.profiles.correction_steps import fit_sphering
from cpcnn_core.schema.columns import TREATMENT
from cpcnn_core.schema.profiles import Profiles

if TYPE_CHECKING:
    import pandas as pd

# Lambda of the sphering, the notebooks'.
REGULARIZATION = 1e-2
EXPLAINED = 0.95
# Components that explain less are left out.
LEAST_EXPLAINED = 0.005
FAR_PERCENTILE = 95
NEIGHBORS = 15


@dataclass(frozen=True)
class StrongTreatments:
    """The chosen treatments, and the wells by which they were chosen.

    Attributes
    ----------
    treatments : tuple of str
        Sorted.
    wells : ndarray of shape (n,), bool
        Wells that are far from the controls, one way or the other; no controls.
    by_components : ndarray of shape (n,), bool
        Far along a principal component, controls among them.
    by_map : ndarray of shape (n,), bool, or None
        Far on the map, controls among them; None where no map was made.
    """

    treatments: tuple[str, ...]
    wells: np.ndarray
    by_components: np.ndarray
    by_map: np.ndarray | None


def choose_strong_treatments(
    features: np.ndarray,
    metadata: pd.DataFrame,
    controls: np.ndarray,
    *,
    by: str = TREATMENT,
    fewest_wells: int = 3,
    regularization: float | None = REGULARIZATION,
    use_map: bool = True,
    seed: int = 0,
) -> StrongTreatments:
    """Choose the treatments of which several wells are far from the controls.

    Parameters
    ----------
    features : ndarray of shape (n, d)
        Of wells, those of controls among them.
    metadata : pandas.DataFrame with n rows
    controls : ndarray of shape (n,), bool
        Which wells are negative controls.
    by : str
        The column of the treatments. Wells without one are never chosen.
    fewest_wells : int
        This many wells of a treatment must be far. The paper's notebooks: 3 where there are 4
        or 5 replicates (BBBC022, TA-ORF), 5 where there are about 8 (CDRP).
    regularization : float, optional
        Lambda of the sphering on the controls that comes first; the notebooks' by default.
        None: the features were sphered already.
    use_map : bool
        Take wells that are far on a UMAP too, as the paper did; needs umap-learn.
    seed : int
        Of the UMAP.

    Returns
    -------
    StrongTreatments

    Raises
    ------
    ProfileError
        NaN, no such column, too few controls, or nothing that is far often enough.
    DependencyError
        umap-learn is missing.

    Notes
    -----
    Sphering; wells of `far_along_components` and of `far_in_map` together; without controls;
    treatments with `fewest_wells` of them.

    Examples
    --------
    >>> import pandas as pd
    >>> random = np.random.default_rng(0)
    >>> treatment = np.repeat(["DMSO", "weak", "strong"], [44, 4, 12])
    >>> features = random.normal(size=(60, 12)) * np.where(treatment == "strong", 9, 1)[:, None]
    >>> wells = pd.DataFrame({"Metadata_Treatment": treatment})
    >>> choose_strong_treatments(features, wells, treatment == "DMSO", use_map=False).treatments
    ('strong',)
    """
    features, controls = _checked(features, metadata, controls, by)
    if regularization is not None:
        features = fit_sphering(features[controls], regularization).transform(features)
    by_components = far_along_components(features, controls)
    by_map = far_in_map(map_wells(features, seed), controls) if use_map else None
    wells = by_components if by_map is None else by_components | by_map
    names = metadata[by].astype(str).where(metadata[by].notna(), "").str.strip().to_numpy(str)
    wells = wells & ~controls & (names != "")
    treatments, counts = np.unique(names[wells], return_counts=True)
    chosen = tuple(treatments[counts >= fewest_wells].tolist())
    if not chosen:
        raise ProfileError(
            f"no treatment has {fewest_wells} wells that are far from the controls: "
            f"{wells.sum()} wells of {len(treatments)} treatments are far, {counts.max(initial=0)} "
            "of one at most; ask for fewer"
        )
    return StrongTreatments(chosen, wells, by_components, by_map)


def strong_in_profiles(
    wells: Profiles, by: str, controls: np.ndarray | None, fewest_wells: int
) -> dict[str, object]:
    """Choose the strong treatments of profiles, and say which wells are theirs.

    Parameters
    ----------
    wells : Profiles
        Features that were corrected are taken as they are, others are sphered on the controls.
    by : str
    controls : ndarray of shape (n,), bool, or None
    fewest_wells : int
        As of `choose_strong_treatments`.

    Returns
    -------
    dict
        ``fewest_wells``; ``far_wells``, how many wells are far from the controls; ``treatments``;
        and ``where``, the expression by which `cpcnn_core.expressions.choose_rows` and
        ``cpcnn train`` choose their wells. JSON's types only.

    Raises
    ------
    ProfileError, DependencyError
        As of `choose_strong_treatments`.
    """
    found = choose_strong_treatments(
        wells.features,
        wells.metadata,
        np.zeros(len(wells.metadata), bool) if controls is None else controls,
        by=by,
        fewest_wells=fewest_wells,
        regularization=None if wells.provenance.get("correction") else REGULARIZATION,
    )
    name = by if by.isidentifier() else f"`{by}`"
    return {
        "fewest_wells": fewest_wells,
        "far_wells": int(found.wells.sum()),
        "treatments": list(found.treatments),
        "where": f"{name} in {list(found.treatments)}",
    }


def far_along_components(features: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """Tell which wells are far from the controls along a principal component.

    Parameters
    ----------
    features : ndarray of shape (n, d)
    controls : ndarray of shape (n,), bool

    Returns
    -------
    ndarray of shape (n,), bool

    Notes
    -----
    Principal components of all wells that explain more than 95 % of the variance together;
    of these, each that explains more than 0.5 %. The round(n * part that it explains) wells
    are far whose absolute distance from the controls' median is the largest.

    Examples
    --------
    >>> features = np.array([[0, 0], [0, 0.1], [0.1, 0], [0, 0], [9, 8], [9, -8.0]])
    >>> far_along_components(features, np.array([True, True, True, False, False, False]))
    array([False,  True,  True, False,  True,  True])
    """
    from sklearn.decomposition import PCA

    components = PCA(EXPLAINED, svd_solver="full")
    scores = components.fit_transform(features)
    far = np.zeros(len(features), bool)
    for score, part in zip(scores.T, components.explained_variance_ratio_, strict=True):
        if part > LEAST_EXPLAINED:
            distance = np.abs(score - np.median(score[controls]))
            far[np.argsort(-distance, kind="stable")[: round(len(score) * part)]] = True
    return far


def far_in_map(coordinates: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """Tell which wells are farther from the middle of the controls than 95 % of these are.

    Parameters
    ----------
    coordinates : ndarray of shape (n, 2)
    controls : ndarray of shape (n,), bool

    Returns
    -------
    ndarray of shape (n,), bool

    Examples
    --------
    >>> coordinates = np.array([[0.0, 1.0], [0.0, -1.0], [3.0, 4.0], [0.5, 0.0]])
    >>> far_in_map(coordinates, np.array([True, True, False, False])).tolist()
    [False, False, True, False]
    """
    distance = np.linalg.norm(coordinates - coordinates[controls].mean(axis=0), axis=1)
    result: np.ndarray = distance > np.percentile(distance[controls], FAR_PERCENTILE)
    return result


def map_wells(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the UMAP (n, 2), float32, of wells (n, d), with umap-learn's own settings.

    Raises
    ------
    DependencyError
        umap-learn is missing.
    """
    if find_spec("umap") is None:
        raise DependencyError(
            "the paper's choice of strong treatments needs umap-learn; install it with: "
            "pip install 'cpcnn[napari]', or leave the map out (use_map=False)"
        )
    import umap

    neighbors = min(NEIGHBORS, len(features) - 1)
    mapper = umap.UMAP(n_neighbors=neighbors, random_state=seed, n_jobs=1)
    result: np.ndarray = mapper.fit_transform(features)
    return result


def _checked(
    features: np.ndarray, metadata: pd.DataFrame, controls: np.ndarray, by: str
) -> tuple[np.ndarray, np.ndarray]:
    features, controls = check_features(features), np.asarray(controls)
    if not len(features) == len(metadata) == len(controls) or controls.dtype != bool:
        raise ProfileError(
            f"expected features, metadata and yes or no for controls of the same wells, got "
            f"{len(features)}, {len(metadata)} and {len(controls)} ({controls.dtype})"
        )
    if by not in metadata.columns:
        raise ProfileError(
            f"there is no column {by}; there are {', '.join(map(str, metadata.columns))}"
        )
    if not controls.any():
        raise ProfileError("strong is what is far from controls; say which wells they are")
    return features, controls
