"""What honesty compares with: profiles that know nothing but how many cells there are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.aggregate import CELL_COUNT
from cpcnn_core.tables.profiles import Profiles


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
