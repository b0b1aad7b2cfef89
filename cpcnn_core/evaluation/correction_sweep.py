"""Several corrections tried on replicates, and one of them chosen without flattering it.

What finds the replicates of some treatments best does so partly by chance. So the choice is made
on some treatments and measured on others, in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.evaluation.annotations import label_of
from cpcnn_core.evaluation.confounders import confounder_retrieval
from cpcnn_core.evaluation.intervals import bootstrap_interval
from cpcnn_core.evaluation.replicates import ReplicateRetrieval, find_replicates
from cpcnn_core.evaluation.scores import retrieval_scores
from cpcnn_core.profiles.aggregate import aggregate
from cpcnn_core.profiles.correction import Correction, fit_correction
from cpcnn_core.profiles.correction_steps import Sphering
from cpcnn_core.profiles.cross_fitting import cross_fit
from cpcnn_core.profiles.retrieval import average_precision
from cpcnn_core.profiles.similarity import cosine_similarity, same_label
from cpcnn_core.schema.columns import WELL
from cpcnn_core.schema.profiles import Profiles

LAMBDAS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
FOLDS = 5


@dataclass(frozen=True)
class Tried:
    """Results of one correction.

    Attributes
    ----------
    method : str
        ``none``, ``sphering`` or ``centred-sphering``.
    strength : float or None
        Lambda, or its part of the mean eigenvalue; None: no sphering.
    replicates : ReplicateRetrieval
        Of all treated wells.
    label_precision : float or None
        Mean average precision of treatments that share a label.
    position_precision : float or None
        How well controls find those of their position, measured on such as it was not fitted on.
    """

    method: str
    strength: float | None
    replicates: ReplicateRetrieval
    label_precision: float | None = None
    position_precision: float | None = None


@dataclass(frozen=True)
class CorrectionSweep:
    """Corrections that were tried on the same wells; made by `sweep_corrections`.

    Attributes
    ----------
    tried : list of Tried
    queries : ndarray of shape (n,), bool
        Which treated wells count and have replicates to find.
    relative : bool
        Strengths are parts of the mean eigenvalue.
    """

    tried: list[Tried]
    queries: np.ndarray
    relative: bool

    @property
    def names(self) -> np.ndarray:
        """The treatment of every well that counts, (m,) str."""
        result: np.ndarray = self.tried[0].replicates.names[self.queries]
        return result

    @property
    def chance(self) -> float:
        """Return what a random order of the wells is expected to reach."""
        return float(self.tried[0].replicates.chance[self.queries].mean())

    def precision(self, one: Tried) -> np.ndarray:
        """Return how well every well that counts finds its replicates, (m,)."""
        result: np.ndarray = one.replicates.precision[self.queries]
        return result

    def best(self, among: np.ndarray | None = None) -> Tried:
        """Return what finds replicates best; of equals what changes least.

        Parameters
        ----------
        among : ndarray of shape (m,), bool, optional
            The wells that decide. Default: all that count.
        """
        rows = slice(None) if among is None else among
        by_change = sorted(self.tried, key=lambda one: -(one.strength or np.inf))
        return max(by_change, key=lambda one: self.precision(one)[rows].mean())

    def nested(self, seed: int = 0) -> tuple[np.ndarray, list[Tried]]:
        """Choose on four fifths of the treatments and measure on the last fifth, in turn.

        Returns
        -------
        precision : ndarray of shape (m,)
            Of every well, with what was chosen without its treatment.
        chosen : list of Tried

        Raises
        ------
        ProfileError
            One treatment alone.
        """
        names, place = np.unique(self.names, return_inverse=True)
        if len(names) < 2:
            raise ProfileError(
                "a correction cannot be chosen on some treatments and measured on others: only "
                f"{names[0]} is a query"
            )
        turn = np.random.default_rng(seed).permutation(len(names)) % FOLDS
        precision, chosen = np.empty(len(place)), []
        for fold in range(min(FOLDS, len(names))):
            out = turn[place] == fold
            chosen.append(self.best(~out))
            precision[out] = self.precision(chosen[-1])[out]
        return precision, chosen

    def rows(self) -> list[dict[str, object]]:
        """Return what every correction does, in JSON's types."""
        return [
            {
                **self._described(one),
                "replicate_map": float(self.precision(one).mean()),
                "label_map": one.label_precision,
                "controls_by_well": one.position_precision,
            }
            for one in self.tried
        ]

    def choice(self) -> dict[str, object] | None:
        """Return what is chosen, and how good that is on what it was not chosen on.

        Returns
        -------
        dict or None
            JSON's types: the chosen ``correction`` and its lambda; ``mean_average_precision`` on
            the treatments that it was chosen on; ``nested``, on others, see `nested`, with its
            ``interval`` and ``chance_average_precision``; ``over_none``, the difference of that
            and of no correction, with its interval. None where a single treatment is a query.
        """
        if len(np.unique(self.names)) < 2:
            return None
        best, (precision, chosen) = self.best(), self.nested()
        gain = precision - self.precision(self.tried[0])
        return {
            **self._described(best),
            "mean_average_precision": float(self.precision(best).mean()),
            "nested": retrieval_scores(precision, self.names, self.chance),
            "over_none": bootstrap_interval(gain, self.names),
            "chosen_in_folds": [self._described(one) for one in chosen],
        }

    def _described(self, one: Tried) -> dict[str, object]:
        name = "lambda_relative" if self.relative else "lambda"
        return {"correction": one.method, name: one.strength}


def sweep_corrections(
    wells: Profiles,
    controls: np.ndarray,
    by: str,
    methods: Sequence[str] = ("sphering",),
    lambdas: Sequence[float] = LAMBDAS,
    *,
    queries: np.ndarray | None = None,
    annotations: Mapping[str, str] | None = None,
    relative: bool = False,
) -> CorrectionSweep:
    """Try no correction, and sphering with several lambdas, on replicates.

    Parameters
    ----------
    wells : Profiles
        Uncorrected.
    controls : ndarray of shape (n,), bool
    by : str
        The column that names the treatment; wells with an empty name are left out.
    methods : sequence of str
        ``sphering``, ``centred-sphering``.
    lambdas : sequence of float
    queries : ndarray of shape (n,), bool, optional
        Only these wells count; they look for their replicates among all.
    annotations : mapping of str to str, optional
        Labels of treatments, several separated by ``|``.
    relative : bool
        See `cpcnn_core.profiles.correction_steps.fit_sphering`.

    Returns
    -------
    CorrectionSweep
        The first is ``none``.

    Raises
    ------
    ProfileError
        No controls, a plate without them, no replicates of query wells, NaN.

    Examples
    --------
    >>> sweep = sweep_corrections(wells, controls, "Metadata_Treatment", lambdas=[0.01, 1])
    >>> choice = sweep.choice()
    >>> choice["correction"], choice["lambda"], round(choice["mean_average_precision"], 2)
    ('sphering', 1.0, 0.97)
    """
    controls = np.asarray(controls, bool)
    rows = ~controls & wells.named(by)
    treated = wells.select(rows)
    counted = np.ones(rows.sum(), bool) if queries is None else np.asarray(queries, bool)[rows]

    def look(
        method: str,
        strength: float | None,
        correct: Callable[[Profiles], Profiles],
        held: list[Profiles],
    ) -> Tried:
        corrected = correct(treated)
        places = [one for one in map(_position_precision, held) if one is not None]
        return Tried(
            method,
            strength,
            find_replicates(corrected, by),
            None
            if annotations is None
            else _label_precision(corrected.select(counted), by, annotations),
            float(np.mean(places)) if places else None,
        )

    # Lambda comes after the eigenvectors, which are the slow part and the same for all.
    fitted = {
        method: fit_correction(wells, controls, method, regularization=1.0, tell=lambda _: None)
        for method in methods
    }
    parts = {method: _held_out(wells, controls, by, one) for method, one in fitted.items()}
    held = [table for _, table in parts[methods[0]]]
    tried = [look("none", None, lambda table: table, held)]
    for method, correction in fitted.items():
        for value in lambdas:
            held = [
                _with_lambda(one, value, relative=relative).transform(table)
                for one, table in parts[method]
            ]
            chosen = _with_lambda(correction, value, relative=relative)
            tried.append(look(method, float(value), chosen.transform, held))
    with_replicates = tried[0].replicates.queries(counted)
    if not with_replicates.any():
        raise ProfileError(f"none of the query wells has replicates in the column {by}")
    return CorrectionSweep(tried, with_replicates, relative)


def _with_lambda(correction: Correction, value: float, *, relative: bool) -> Correction:
    *before, last = correction.steps
    sphering = cast("Sphering", last)
    unit = float(sphering.eigenvalues.mean()) if relative else 1.0
    return replace(correction, steps=[*before, replace(sphering, regularization=value * unit)])


def _held_out(
    wells: Profiles, controls: np.ndarray, by: str, correction: Correction
) -> list[tuple[Correction, Profiles]]:
    """Return corrections that were fitted without some controls, and these, uncorrected."""
    if WELL not in wells.metadata.columns:
        return []
    try:
        fitted = cross_fit(wells, controls, by, correction)
    except ProfileError:
        # Too few controls: positions cannot be queried.
        return []
    return [(fold.correction, wells.select(fold.held)) for fold in fitted.folds]


def _position_precision(controls: Profiles) -> float | None:
    found = confounder_retrieval(controls, WELL)
    return None if found is None else found["mean_average_precision"]


def _label_precision(treated: Profiles, by: str, annotations: Mapping[str, str]) -> float | None:
    treatments = aggregate(treated, [by], "mean")
    labels = label_of(annotations, treatments.texts(by).tolist())
    precision = average_precision(cosine_similarity(treatments.features), same_label(labels))
    return None if np.isnan(precision).all() else float(np.nanmean(precision))
