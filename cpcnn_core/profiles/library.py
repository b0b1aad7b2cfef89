"""The treatments of a screen, searched for those that look alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.aggregate import aggregate
from cpcnn_core.profiles.checks import check_same_features
from cpcnn_core.profiles.corrected_wells import CorrectedWells, as_they_are
from cpcnn_core.profiles.cross_fitting import refuse_controls
from cpcnn_core.profiles.doses import compounds_of
from cpcnn_core.profiles.significance import Significance
from cpcnn_core.profiles.similarity import unit_length
from cpcnn_core.schema.columns import PLATE, SITE, TREATMENT, WELL
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.schema.values import texts_of

# What screens call the column that names the treatment, the likeliest first.
TREATMENT_NAMES = ("treatment", "pert_iname", "compound", "compound_name", "drug", "gene")
REPLICATES = "Metadata_Replicates"
# Where the table has a column of that name, it is found again under this one.
OWN_REPLICATES = "Metadata_Replicates_in_table"


@dataclass(frozen=True)
class TreatmentLibrary:
    """Profiles of treatments, and the wells they come from; made by `build_library`.

    Attributes
    ----------
    wells : Profiles
        Of all wells, corrected.
    treatments : Profiles
        Their means by treatment, without the controls.
    by : str
        The column that names the treatment.
    controls : ndarray of shape (wells,), bool
    directions : ndarray of shape (treatments, d), float32
        The treatments' profiles, each of length 1.
    corrected : CorrectedWells
        The wells, and what they were before correction.
    null : ndarray of shape (wells,), bool, or None
        Wells without effect that p-values compare with, in place of the controls.
    doses_of : str or None
        The column that names the compound, where treatments are doses of compounds.

    Examples
    --------
    >>> rows = pd.DataFrame({"Metadata_Treatment": ["a", "a", "b"]})
    >>> wells = Profiles(np.array([[1.0, 0], [1, 1], [0, 1]]), rows, ["x", "y"])
    >>> library = build_library(wells)
    >>> library.nearest(np.array([[0.0, 2.0]]))[["Metadata_Treatment", "similarity"]].round(3)
      Metadata_Treatment  similarity
    0                  b       1.000
    1                  a       0.447
    """

    wells: Profiles
    treatments: Profiles
    by: str
    controls: np.ndarray
    directions: np.ndarray
    corrected: CorrectedWells
    null: np.ndarray | None = None
    doses_of: str | None = None

    @cached_property
    def significance(self) -> Significance:
        """Basis of the p-values: the correction, fitted again without some controls.

        Raises
        ------
        ProfileError
            No controls, or too few; or the wells before the correction are not known.
        """
        return self.corrected.significance(
            self.controls, self.by, null=self.null, doses_of=self.doses_of
        )

    def nearest(
        self,
        query: np.ndarray,
        count: int = 10,
        *,
        exclude: np.ndarray | None = None,
        significance: bool = False,
        uncorrected: Profiles | None = None,
        rows: np.ndarray | None = None,
    ) -> pd.DataFrame:
        """Return the treatments that look most like the query.

        Parameters
        ----------
        query : ndarray of shape (n, d)
            Profiles of cells, wells or a treatment, corrected as the library; their mean
            is compared.
        count : int
            How many treatments, at most.
        exclude : ndarray of shape (treatments,), bool, optional
            Those that are not to be found, see `same_as`.
        significance : bool
            Add ``p_value``, ``q_value`` and ``support``.
        uncorrected : Profiles, optional
            The query before correction, for p-values. Where it is not given, and the library is
            corrected, the query is compared as it is, as one with a correction of its own.
        rows : ndarray of shape (m,), int, optional
            Which wells of the library the query is, if it is some of them; controls among them
            are not compared with.

        Returns
        -------
        pandas.DataFrame
            The nearest first: ``similarity`` (cosine) and the treatment's metadata, with
            ``Metadata_Replicates``, its number of wells (a column that the table calls so
            becomes ``Metadata_Replicates_in_table``). ``p_value``: how often control wells,
            drawn from the plates like the treatment's wells, look as much like the query, see
            `cpcnn_core.profiles.significance`. ``q_value``: corrected for the number of
            treatments that are searched, those not shown too, or for compounds and their doses
            (then ``compound_q_value`` tells of the compound). ``support``: the fraction of its
            wells that is more like the query than 95 % of the control wells.

        Raises
        ------
        ProfileError
            Another number of features, NaN, no direction, no controls.
        """
        if count < 1:
            raise ProfileError(f"expected at least 1 treatment to be found, got {count}")
        query = check_same_features(query, self.directions.shape[1])
        direction = unit_length(query.mean(axis=0, keepdims=True))[0]
        similarity = self.directions @ direction.astype(np.float32)
        if exclude is not None:
            similarity = np.where(exclude, -np.inf, similarity)
        count = min(count, int(np.isfinite(similarity).sum()))
        nearest = np.argpartition(-similarity, count - 1)[:count] if count else np.zeros(0, int)
        candidates = np.sort(nearest).astype(int)
        # Those found are compared once more, with all digits.
        exact = unit_length(self.treatments.features[candidates]) @ direction if count else []
        order = np.argsort(-np.asarray(exact), kind="stable")
        found = self.treatments.metadata.iloc[candidates[order]].reset_index(drop=True)
        found.insert(0, "similarity", np.asarray(exact, float)[order])
        if significance:
            query_before = self._uncorrected_query(query) if uncorrected is None else uncorrected
            self._add_significance(found, query_before, candidates[order], exclude, rows)
        return found

    def same_as(self, columns: Sequence[str], metadata: pd.DataFrame) -> np.ndarray:
        """Tell which treatments share a value with some rows, (treatments,) bool.

        A treatment shares a value, e.g. a plate, when one of its wells has it.

        Examples
        --------
        >>> rows = pd.DataFrame({"Metadata_Treatment": ["a", "b"], "Metadata_Plate": ["1", "2"]})
        >>> library = build_library(Profiles(np.eye(2), rows, ["x", "y"]))
        >>> library.same_as(["Metadata_Plate"], rows[1:])
        array([False,  True])
        """
        self.wells.require(list(columns))
        names, of_wells = self.treatments.texts(self.by), self.wells.texts(self.by)
        same = np.zeros(len(names), bool)
        for column in columns:
            values = set(texts_of(metadata[column])) - {""}
            shared = np.isin(self.wells.texts(column), np.array(sorted(values), str))
            same |= np.isin(names, of_wells[shared])
        return same

    def _uncorrected_query(self, query: np.ndarray) -> Profiles | np.ndarray:
        """Return a query that is not known before correction."""
        if self.corrected.correction is not None:
            return query
        return Profiles(query, pd.DataFrame(index=range(len(query))), self.wells.feature_names)

    def _add_significance(
        self,
        found: pd.DataFrame,
        query_before: Profiles | np.ndarray,
        places: np.ndarray,
        exclude: np.ndarray | None,
        rows: np.ndarray | None,
    ) -> None:
        tests = self.significance
        names = self.treatments.texts(self.by)
        told = tests.nearest(query_before, None if exclude is None else names[exclude], rows)
        told["support"] = tests.support(query_before)
        for number, column in enumerate(told.columns):
            found.insert(1 + number, column, told[column].reindex(names[places]).to_numpy())


def build_library(
    wells: Profiles | CorrectedWells,
    by: str = TREATMENT,
    controls: np.ndarray | None = None,
    *,
    null: np.ndarray | None = None,
    doses_of: str | None = None,
) -> TreatmentLibrary:
    """Make a library of the treatments of a screen.

    Parameters
    ----------
    wells : Profiles or CorrectedWells
        Of ``cpcnn profile``, or other profiles of wells; corrected, if wanted. Corrected
        ones have p-values where it is known what they were before, see
        `cpcnn_core.profiles.library_files.with_uncorrected`.
    by : str
        The column that names the treatment; wells with an empty name are left out.
    controls : ndarray of shape (n,), bool, optional
        Control wells, which are no treatment to be found.
    null : ndarray of shape (n,), bool, optional
        Wells of treatments that are known to do nothing: p-values compare with these instead of
        the controls. They are found like all others, but have no p-value.
    doses_of : str, optional
        The column that names the compound, where treatments are doses of compounds: q-values
        take that into account.

    Returns
    -------
    TreatmentLibrary

    Raises
    ------
    ProfileError
        No such column, no treatments, NaN.

    Examples
    --------
    >>> rows = pd.DataFrame({"Metadata_Treatment": ["DMSO", "b"]})
    >>> wells = Profiles(np.eye(2), rows, ["x", "y"])
    >>> build_library(wells, controls=np.array([True, False])).treatments.metadata.values.tolist()
    [['b', 1]]
    """
    corrected = as_they_are(wells)
    wells = corrected.wells
    named = wells.named(by)
    controls = np.zeros(len(named), bool) if controls is None else np.asarray(controls, bool)
    treated = named & ~controls
    if not treated.any():
        raise ProfileError(f"no well has a treatment in the column {by}")
    chosen = wells.select(treated)
    treatments = aggregate(chosen, [by], "mean")
    counts = Counter(chosen.texts(by).tolist())
    # The table's own column of that name stays, too.
    metadata = treatments.metadata.rename(columns={REPLICATES: OWN_REPLICATES})
    metadata.insert(0, by, _whole(metadata.pop(by)))
    metadata.insert(1, REPLICATES, [counts[name] for name in treatments.texts(by).tolist()])
    treatments = replace(treatments, metadata=metadata)
    directions = unit_length(treatments.features).astype(np.float32)
    if null is not None:
        refuse_controls(null, controls)
    if doses_of is not None:
        # Now, not with the first question.
        compounds_of(wells, by, doses_of)
    return TreatmentLibrary(wells, treatments, by, controls, directions, corrected, null, doses_of)


def treatment_columns(wells: Profiles) -> list[str]:
    """Name the metadata columns that may name the treatment, the likeliest first.

    Examples
    --------
    >>> rows = pd.DataFrame({"Metadata_Well": ["A1", "A2"], "Metadata_MoA": ["ALK", "mTOR"]})
    >>> rows["Metadata_Dose"] = ["1", "2"]
    >>> rows["Metadata_Compound"] = ["a", "b"]
    >>> treatment_columns(Profiles(np.eye(2), rows, ["x", "y"]))
    ['Metadata_Compound', 'Metadata_MoA']
    """
    ranks = {name: rank for rank, name in enumerate(TREATMENT_NAMES)}
    found = []
    for column in map(str, wells.metadata.columns):
        short = column.removeprefix("Metadata_").casefold()
        values = pd.Series(wells.texts(column))
        values = values[values.str.strip() != ""]
        words = pd.to_numeric(values, errors="coerce").isna().any()
        if column not in (PLATE, WELL, SITE) and (
            short in ranks or (words and len(values.unique()) > 1)
        ):
            found.append((ranks.get(short, len(ranks)), column))
    # Sorting is stable: columns of other names stay in the table's order.
    return [column for _, column in sorted(found, key=lambda pair: pair[0])]


def _whole(names: pd.Series) -> pd.Series:
    """Return names that are whole numbers as such; among wells some may have been missing."""
    whole = (
        names.dtype.kind == "f" and (names == np.floor(names)).all() and names.abs().max() < 2**53
    )
    return names.astype(np.int64) if whole else names
