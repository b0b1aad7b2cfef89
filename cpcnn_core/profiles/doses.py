"""q-values of compounds that were given in several doses.

Each dose is a treatment of its own, but doses of one compound are tested together: first
it is asked which compounds do anything, and then, of those, at which doses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.stats

from cpcnn_core.errors import ProfileError
from cpcnn_core.schema.profiles import Profiles


def compounds_of(wells: Profiles, by: str, compound: str) -> dict[str, str]:
    """Return the compound of every treatment.

    Parameters
    ----------
    wells : Profiles
    by : str
        The column that names the treatment, a compound at a dose.
    compound : str
        The column that names the compound. A treatment without one is alone.

    Returns
    -------
    dict
        By treatment.

    Raises
    ------
    ProfileError
        No such column; a treatment with several compounds.

    Examples
    --------
    >>> rows = pd.DataFrame({"Metadata_Treatment": ["a@1", "a@2"], "Metadata_Compound": ["a", "a"]})
    >>> wells = Profiles(np.eye(2), rows, ["x", "y"])
    >>> compounds_of(wells, "Metadata_Treatment", "Metadata_Compound")
    {'a@1': 'a', 'a@2': 'a'}
    """
    wells.require([by, compound])
    found: dict[str, str] = {}
    for name, own in zip(wells.texts(by).tolist(), wells.texts(compound).tolist(), strict=True):
        if name and found.setdefault(name, own) != own:
            raise ProfileError(
                f"the treatment {name} has the {compound} {found[name] or 'none'} in some wells "
                f"and {own or 'none'} in others; expected one for all its wells, as it is a dose "
                "of it"
            )
    return {name: own or name for name, own in found.items()}


def dose_aware_q_values(p_values: np.ndarray, compounds: Sequence[str]) -> pd.DataFrame:
    """Correct p-values of doses for the number of compounds, and of doses of those found.

    Parameters
    ----------
    p_values : ndarray of shape (n,), float64
        Of doses, without NaN.
    compounds : sequence of n str
        Which compound each is a dose of.

    Returns
    -------
    pandas.DataFrame
        ``compound_q_value``: of the compound, Benjamini-Hochberg over all compounds of the p-value
        of its doses together (Simes 1986). ``q_value``: the smallest level at which the compound
        is found, and this dose among its doses (Benjamini-Hochberg, at the part of the level that
        the compounds found are of all: Benjamini and Bogomolov 2014). Of compounds with one dose
        it is that of Benjamini and Hochberg.

    Notes
    -----
    copairs takes the smallest p-value of a compound instead of Simes', which is smaller the more
    doses there are: of compounds with four doses that do nothing it finds some in more than one of
    twenty screens (see docs/statistics.md).

    Examples
    --------
    >>> dose_aware_q_values(np.array([0.01, 0.8, 0.5, 0.6]), ["a", "a", "b", "b"]).round(3)
       compound_q_value  q_value
    0              0.04     0.04
    1              0.04     0.80
    2              0.60     0.60
    3              0.60     0.60
    """
    p_values = np.asarray(p_values, float)
    names, place = np.unique(np.asarray(compounds, str), return_inverse=True)
    together, within = np.empty(len(names)), np.empty(len(p_values))
    for number in range(len(names)):
        mine = np.flatnonzero(place == number)
        within[mine] = scipy.stats.false_discovery_control(p_values[mine])
        # Simes' p-value is the smallest of Benjamini and Hochberg's.
        together[number] = within[mine].min()
    of_compounds = scipy.stats.false_discovery_control(together)
    levels, count = np.unique(of_compounds, return_counts=True)
    found, q_values = np.cumsum(count), np.ones(len(p_values))
    until = np.append(levels[1:], np.inf)
    for level, end, so_far in zip(levels, until, found, strict=True):
        # With a level from this one to the next the same compounds are found.
        needed = np.maximum(level, within * len(names) / so_far)
        fits = (of_compounds[place] <= level) & (needed < end)
        q_values = np.where(fits, np.minimum(q_values, needed), q_values)
    return pd.DataFrame({"compound_q_value": of_compounds[place], "q_value": q_values})
