"""Baselines for an honest comparison: the number of cells alone, and classical measurements."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.checks import check_features
from cpcnn_core.schema.columns import CELL_COUNT
from cpcnn_core.schema.profiles import Profiles


def count_profiles(wells: Profiles) -> Profiles:
    """Make profiles of nothing but the number of cells in every well.

    A treatment that kills looks like every other that kills, whatever the features: what
    a network finds beyond that is what it has learned. The logarithms of the counts become
    directions from 0 to 90 degrees, so that the cosine compares them: the closer two
    counts, the larger.

    Parameters
    ----------
    wells : Profiles
        With ``Metadata_CellCount``.

    Returns
    -------
    Profiles
        The same rows; two features.

    Raises
    ------
    ProfileError
        No counts, some missing, or the same in every well.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"Metadata_CellCount": [10, 100, 1000]})
    >>> count_profiles(Profiles(np.zeros((3, 1)), rows, ["x"])).features.round(3).tolist()
    [[1.0, 0.0], [0.707, 0.707], [0.0, 1.0]]
    """
    wells.require([CELL_COUNT])
    counts = np.log(np.maximum(wells.metadata[CELL_COUNT].to_numpy(np.float64), 1))
    if not np.isfinite(counts).all():
        raise ProfileError(f"the column {CELL_COUNT} lacks the number of some wells")
    low, high = counts.min(), counts.max()
    if not high > low:
        raise ProfileError(f"the column {CELL_COUNT} has the same number in every well")
    angle = (counts - low) / (high - low) * np.pi / 2
    features = np.column_stack([np.cos(angle), np.sin(angle)])
    names = ["CellCount_x", "CellCount_y"]
    return replace(wells, features=features, feature_names=names, provenance={})


def standard_profiles(wells: Profiles) -> Profiles:
    """Give measurements of different units one scale: mean 0 and standard deviation 1.

    Without it areas in pixels would hide everything that is measured from 0 to 1, from the
    cosine as from sphering.

    Parameters
    ----------
    wells : Profiles

    Returns
    -------
    Profiles
        The same rows; features that are the same in every well are left out.

    Raises
    ------
    ProfileError
        No feature differs between wells, NaN.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"Metadata_Well": ["A01", "A02"]})
    >>> wells = Profiles(np.array([[1.0, 100, 7], [3, 500, 7]]), rows, ["x", "area", "same"])
    >>> standard_profiles(wells).to_frame().values.tolist()
    [['A01', -1.0, -1.0], ['A02', 1.0, 1.0]]
    """
    features = check_features(wells.features)
    used = np.ptp(features, axis=0) > 0
    if not used.any():
        raise ProfileError(f"none of the {len(used)} features differs between the wells")
    features = features[:, used]
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    names = [name for name, kept in zip(wells.feature_names, used, strict=True) if kept]
    return replace(wells, features=standard, feature_names=names)
