"""Which treatments do anything: those whose replicates stand out from the controls."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cpcnn_core.atomic import temporary_folder
from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.similarity import cosine_similarity
from cpcnn_core.tables.columns import PLATE
from cpcnn_core.tables.profiles import Profiles

NULL_SIZE = 10_000
SIGNIFICANT = 0.05


def phenotypic_activity(
    wells: Profiles, controls: np.ndarray, by: str, *, null_size: int = NULL_SIZE
) -> pd.DataFrame:
    """Measure, with p-values, how well replicates are found among control wells.

    Every treated well ranks its replicates, those on other plates where there are some,
    together with all control wells; the mean of its average precisions is the treatment's
    score. copairs compares that with rankings drawn at random, and corrects the p-values for
    the number of treatments (Benjamini-Hochberg).

    Parameters
    ----------
    wells : Profiles
    controls : ndarray of shape (n,), bool
    by : str
        The column that names the treatment; wells with an empty name are left out.
    null_size : int
        How many rankings are drawn; the smallest p-value is 1 / (1 + null_size).

    Returns
    -------
    pandas.DataFrame
        A row for every treatment with replicates, the most active first: the column `by`,
        ``wells``, ``mean_average_precision``, ``p_value``, ``corrected_p_value``.

    Raises
    ------
    ProfileError
        No controls, no such column, no replicates, NaN.

    References
    ----------
    Kalinin et al., "A versatile information retrieval framework for evaluating profile
    strength and similarity", Nature Communications 2025.

    Examples
    --------
    >>> phenotypic_activity(wells, controls, "Metadata_Treatment")  # doctest: +SKIP
    """
    # Slow to load, and needed nowhere else.
    from copairs.map import mean_average_precision

    controls = np.asarray(controls, bool)
    if not controls.any():
        raise ProfileError("activity is measured against control wells; say which wells they are")
    treated = wells.select(wells.named(by) & ~controls)
    scores = _scores(treated, wells.features[controls], by)
    with temporary_folder() as folder:
        # copairs keeps what it has drawn, by default in the user's home.
        found = mean_average_precision(
            scores, [by], null_size, SIGNIFICANT, seed=0, progress_bar=False, cache_dir=folder
        )
    found["wells"] = found["indices"].map(len)
    found = found.sort_values(
        ["p_value", "mean_average_precision"], ascending=[True, False], kind="stable"
    )
    columns = [by, "wells", "mean_average_precision", "p_value", "corrected_p_value"]
    return found[columns].reset_index(drop=True)


def _scores(treated: Profiles, controls: np.ndarray, by: str) -> pd.DataFrame:
    """Make the table that copairs reads: a row for every well with replicates."""
    from copairs.map.normalization import normalize_ap

    names = treated.texts(by)
    plates = treated.texts(PLATE) if PLATE in treated.metadata.columns else np.full(len(names), "")
    rows = []
    for name in np.unique(names):
        mine = np.flatnonzero(names == name)
        to_each_other = cosine_similarity(treated.features[mine])
        to_controls = np.sort(cosine_similarity(treated.features[mine], controls), axis=1)
        elsewhere = plates[mine][:, None] != plates[mine]
        replicates = elsewhere if elsewhere.any() else ~np.eye(len(mine), dtype=bool)
        for one, others in enumerate(replicates):
            hits = np.sort(to_each_other[one][others])
            if not len(hits):
                continue
            among_hits = len(hits) - np.searchsorted(hits, hits, "left")
            ahead = len(controls) - np.searchsorted(to_controls[one], hits, "left")
            precision = float(np.mean(among_hits / (among_hits + ahead)))
            normalized = normalize_ap(precision, len(hits), len(controls))
            rows.append((name, precision, normalized, len(hits), len(hits) + len(controls)))
    if not rows:
        raise ProfileError(f"no treatment in the column {by} has replicates")
    names = ["average_precision", "normalized_average_precision", "n_pos_pairs", "n_total_pairs"]
    return pd.DataFrame(rows, columns=[by, *names])
