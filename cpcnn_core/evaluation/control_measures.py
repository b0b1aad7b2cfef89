"""Which treatments differ from the controls, what misleads, and what the p-values are worth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from cpcnn_core.errors import ProfileError
from cpcnn_core.evaluation.confounders import confounders
from cpcnn_core.evaluation.placebo import run_placebo
from cpcnn_core.evaluation.replicates import SIGNIFICANT, phenotypic_activity
from cpcnn_core.profiles.corrected_wells import CorrectedWells
from cpcnn_core.profiles.doses import compounds_of
from cpcnn_core.profiles.significance import Significance
from cpcnn_core.schema.columns import BATCH
from cpcnn_core.schema.profiles import Profiles


def measure_against_controls(
    corrected: CorrectedWells,
    controls: np.ndarray,
    by: str,
    columns: Sequence[str] = (),
    *,
    null: np.ndarray | None = None,
    doses_of: str | None = None,
) -> dict[str, object]:
    """Measure which treatments do anything, what misleads, and what the p-values are worth.

    Parameters
    ----------
    corrected : CorrectedWells
    controls : ndarray of shape (n,), bool
    by : str
        The column that names the treatment.
    columns : sequence of str
        As of `cpcnn_core.evaluation.confounders.confounders`; beside the batch, where it is known.
    null, doses_of
        As of `cpcnn_core.evaluation.evaluation.evaluate_profiles`.

    Returns
    -------
    dict
        ``activity``, see `phenotypic_activity`, with the number that is ``active`` (q-value at
        most .05; None where no p-value can be as small) or why there are no p-values
        (``refused``); ``placebo``, see
        `cpcnn_core.evaluation.placebo.Placebo.summary`, where there are p-values; and
        ``confounders``. JSON's types only.

    Raises
    ------
    ProfileError
        No controls, no such column, no replicates, NaN.
    """
    tests, refused = None, None
    try:
        tests = corrected.significance(controls, by, null=null, doses_of=doses_of)
    except ProfileError as error:
        refused = str(error)
    table = phenotypic_activity(corrected.wells, controls, by, tests)
    tested = table.loc[table["p_value"].notna(), by].tolist()
    finest = 1 if tests is None else min(map(tests.finest, tested), default=1)
    told = int((table["q_value"] <= SIGNIFICANT).sum())
    activity: dict[str, object] = {
        "treatments": len(table),
        "tested": len(tested),
        # Where no p-value can be small, none is active whatever it does.
        "active": told if finest <= SIGNIFICANT else None,
        "compared_with": None if tests is None else _compared_with(tests, tested, finest),
        "refused": refused,
        "mean_average_precision": float(table["mean_average_precision"].mean()),
        "chance_average_precision": float(table["chance_average_precision"].mean()),
        "by_treatment": _records(table.rename(columns={by: "treatment"})),
    }
    if doses_of is not None and tests is not None:
        activity["compounds"] = _compounds(table, tests, by, doses_of, finest)
    placebo = {} if tests is None else {"placebo": run_placebo(tests).summary()}
    if BATCH in corrected.wells.metadata.columns:
        columns = (BATCH, *columns)
    found = confounders(
        corrected.wells,
        controls,
        by,
        held_out=_held_out(corrected, tests, controls, by),
        columns=columns,
    )
    return {"activity": activity, **placebo, "confounders": found}


def _compared_with(tests: Significance, tested: list[str], finest: float) -> str:
    told = tests.describe(tested)
    # Where p-values are counted in coarse steps, many must be as small as can be.
    wanted = math.ceil(finest * len(tested) / SIGNIFICANT - 1e-9)
    if not 1 < wanted <= len(tested):
        return told
    return (
        f"{told}; q can be {SIGNIFICANT:g} or less where {wanted} of the {len(tested)} treatments "
        "have the smallest p-value"
    )


def _compounds(
    table: pd.DataFrame, tests: Significance, by: str, doses_of: str, finest: float
) -> dict[str, int | None]:
    """Count the compounds that do something at some dose."""
    compounds = compounds_of(tests.fitted.wells, by, doses_of)
    known = table.dropna(subset="compound_q_value")
    groups = known["compound_q_value"].groupby(known[by].map(compounds)).first()
    active = int((groups <= SIGNIFICANT).sum())
    return {"tested": len(groups), "active": active if finest <= SIGNIFICANT else None}


def _held_out(
    corrected: CorrectedWells, tests: Significance | None, controls: np.ndarray, by: str
) -> list[Profiles] | None:
    """Return controls that the correction was not fitted on; None where all are measured at once.

    Uncorrected ones are measured in the same parts: of fewer wells less is read, and what is read
    less often after a correction must not be so for this reason.
    """
    if tests is not None and tests.fitted.null is not tests.fitted.controls:
        # These p-values compare with other wells.
        try:
            tests = corrected.significance(controls, by)
        except ProfileError:
            tests = None
    if tests is not None:
        return [fold.wells for fold in tests.fitted.folds]
    return None if corrected.uncorrected is corrected.wells else []


def _records(table: pd.DataFrame) -> list[dict[str, object]]:
    """Return the rows of a table, with None for what is not known."""
    rows = table.to_dict("records")
    # NaN alone is not itself.
    return [{k: v if v == v else None for k, v in row.items()} for row in rows]
