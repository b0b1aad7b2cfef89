"""Libraries of treatments: opened with their correction, and asked about cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.correction import Correction, describe_correction
from cpcnn_core.profiles.library import TreatmentLibrary, build_library
from cpcnn_core.profiles.library_files import read_wells, with_uncorrected
from cpcnn_core.profiles.wells import choose_rows
from cpcnn_core.schema.columns import PLATE, SITE, WELL
from cpcnn_core.schema.origin import (
    CORRECTION,
    CORRECTION_SHA256,
    FEATURES,
    Origin,
    aligned,
    find_differences,
    say,
)
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.schema.values import texts_of
from napari_cpcnn.messages import counted

if TYPE_CHECKING:
    import pandas as pd

# What screens call the column that names the treatment, the likeliest first.
TREATMENT_NAMES = ("treatment", "pert_iname", "compound", "compound_name", "drug", "gene")
ROWS_AT_A_TIME = 2048


@dataclass(frozen=True)
class OpenLibrary:
    """A library of treatments and what cells need before they are compared with it.

    Attributes
    ----------
    library : TreatmentLibrary
    correction : Correction or None
        Applied to cells; None where the library is not corrected.
    name : str
    provenance : dict
        Of the table: model, correction, controls.
    feature_names : list of d str
        The features that cells must have, before they are corrected.
    description : str
        A sentence: how large the library is, and which correction is applied.
    columns : list of str
        Those that may name the treatment.
    controls : str
        The expression that chose the controls.
    """

    library: TreatmentLibrary
    correction: Correction | None
    name: str
    provenance: dict[str, object]
    feature_names: list[str]
    description: str
    columns: list[str]
    controls: str = ""


def open_library(
    path: str | Path, controls: str | None = None, by: str | None = None
) -> OpenLibrary:
    """Open a table of wells, with the correction file beside it.

    Parameters
    ----------
    path : str or Path
        Made by ``cpcnn profile``, or another table that `read_profiles` reads.
    controls : str, optional
        An expression that chooses the control wells. Default: the one that
        ``cpcnn profile`` was given; an empty one chooses none.
    by : str, optional
        The column that names the treatment. Default: the first of `treatment_columns`.

    Raises
    ------
    ProfileError
        No such table, no column of treatments, an expression that chooses nothing, or a
        corrected table without its correction.

    Examples
    --------
    >>> open_library("nowhere.parquet")
    Traceback (most recent call last):
    cpcnn_core.errors.TableError: there is no table nowhere.parquet
    """
    path = Path(path)
    wells, correction = read_wells(path)
    if by is None:
        by = next(iter(treatment_columns(wells)), None)
    if by is None:
        raise ProfileError(
            f"{path.name} has no column that names treatments; it has "
            f"{', '.join(wells.metadata.columns)}. Add one with: cpcnn profile ... --platemap FILE"
        )
    if controls is None:
        controls = str(wells.provenance.get("controls") or "")
    chosen = choose_rows(wells, controls) if controls.strip() else None
    library = build_library(with_uncorrected(path, wells), by, chosen)
    opened = as_open(library, correction, path.name)
    return replace(opened, controls=controls)


def as_open(library: TreatmentLibrary, correction: Correction | None, name: str) -> OpenLibrary:
    """Describe a library that is built already; `name` is what it is called."""
    wells = library.wells
    names = wells.feature_names if correction is None else correction.feature_names
    sizes = [counted(len(library.directions), "treatment")]
    if PLATE in wells.metadata.columns:
        sizes.insert(0, counted(wells.metadata[PLATE].nunique(), "plate"))
    text = f"{', '.join(sizes)}; {_correction_text(correction, wells.provenance)}"
    columns = treatment_columns(wells)
    return OpenLibrary(library, correction, name, wells.provenance, list(names), text, columns)


def treatment_columns(wells: Profiles) -> list[str]:
    """Name the metadata columns that may tell the treatment, the likeliest first.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"Metadata_Well": ["A1", "A2"], "Metadata_MoA": ["ALK", "mTOR"]})
    >>> rows["Metadata_Dose"] = ["1", "2"]
    >>> rows["Metadata_Compound"] = ["a", "b"]
    >>> treatment_columns(Profiles(np.eye(2), rows, ["x", "y"]))
    ['Metadata_Compound', 'Metadata_MoA']
    """
    import pandas as pd

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


class Query(NamedTuple):
    """Cells that are ready to be compared with a library; made by `query_of`.

    Attributes
    ----------
    features : ndarray of shape (m, d), float64
        Corrected as the library is; cells with NaN are left out.
    uncorrected : Profiles or None
        The same cells before; None where they are not known.
    note : str
        What a reader has to know about them, or nothing.
    """

    features: np.ndarray
    uncorrected: Profiles | None
    note: str


def query_of(cells: Profiles, rows: np.ndarray, opened: OpenLibrary) -> Query:
    """Return the features of some cells, ready to be compared with a library.

    Parameters
    ----------
    cells : Profiles
    rows : ndarray of shape (m,), int, or of shape (n,), bool
        The cells that are asked about.
    opened : OpenLibrary

    Returns
    -------
    Query

    Raises
    ------
    ProfileError
        No rows, another model or other features, an unknown plate.

    Examples
    --------
    >>> query_of(cells, np.array([3, 5]), open_library("profiles.parquet"))  # doctest: +SKIP
    """
    chosen = cells.select(np.asarray(rows))
    if not len(chosen.metadata):
        raise ProfileError("no cells are asked about; click a cell or draw a lasso on the map")
    correction = opened.correction
    if chosen.provenance.get("correction"):
        # Cells can be made like the library's only with its correction, and only once.
        correction = None
    names = opened.library.wells.feature_names if correction is None else opened.feature_names
    wanted = Origin(names, opened.provenance)
    _require_same_origin(chosen, wanted, opened.name, corrections=correction is None)
    chosen, note = aligned(chosen, wanted)
    notes = [note]
    usable = np.isfinite(chosen.features).all(axis=1)
    if not usable.any():
        raise ProfileError("the cells asked about have NaN among their features; ask about others")
    if not usable.all():
        notes.append(f"{(~usable).sum():,} of {len(usable):,} cells are left out: NaN features")
    chosen = chosen.select(usable)
    features = [chosen.features]
    if correction is not None:
        # In parts: while BLAS multiplies for one thread, all others wait for it.
        places = np.arange(len(chosen.metadata))
        parts = [places[n : n + ROWS_AT_A_TIME] for n in places[::ROWS_AT_A_TIME]]
        features = [correction.transform(chosen.select(part)).features for part in parts]
    before = None if correction is None else chosen
    corrected = np.concatenate(features, dtype=np.float64)
    return Query(corrected, before, "; ".join(filter(None, notes)))


class Matches(NamedTuple):
    """Result of `find_matches`.

    Attributes
    ----------
    table : pandas.DataFrame
        As of `TreatmentLibrary.nearest`.
    note : str
    pending : bool
        Whether p-values are still to come.
    """

    table: pd.DataFrame
    note: str
    pending: bool = False


def find_matches(
    opened: OpenLibrary, cells: Profiles, rows: np.ndarray, count: int, *, leave_out: bool = False
) -> Iterator[Matches]:
    """Find the nearest treatments, at once; then again with p-values, if there are controls.

    Parameters are those of `query_of` and `TreatmentLibrary.nearest`; `leave_out` leaves
    out the treatments of the cells themselves.
    """
    library = opened.library
    features, uncorrected, note = query_of(cells, rows, opened)
    exclude = None
    if leave_out:
        asked = cells.select(rows)
        asked.require([library.by])
        exclude = library.same_as([library.by], asked.metadata)
    found = library.nearest(features, count, exclude=exclude)
    notes = [note] if note else []
    if not library.controls.any():
        yield Matches(found, "; ".join([*notes, "say which wells are controls for p-values"]))
        return
    yield Matches(found, "; ".join([*notes, "p-values follow …"]), pending=True)
    try:
        tests = library.significance
    except ProfileError as error:
        yield Matches(found, "; ".join([*notes, f"no p-values: {error}"]))
        return
    found = library.nearest(
        features, count, exclude=exclude, significance=True, uncorrected=uncorrected
    )
    notes.append(tests.describe(texts_of(found[library.by])))
    yield Matches(found, "; ".join(notes))


def rows_like(cells: Profiles, row: int, columns: Sequence[str]) -> np.ndarray:
    """Return the rows of the cells that share some metadata with a cell, (m,) int.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"Metadata_Well": ["A1", "A2", "A1"]})
    >>> rows_like(Profiles(np.eye(3), rows, ["x", "y", "z"]), 0, ["Metadata_Well"])
    array([0, 2])
    """
    cells.require(columns)
    values = [cells.metadata[column].to_numpy() for column in columns]
    return np.flatnonzero(np.logical_and.reduce([own == own[row] for own in values]))


def _require_same_origin(cells: Profiles, wanted: Origin, name: str, *, corrections: bool) -> None:
    differences = find_differences(cells, wanted, corrections=corrections)
    if not differences:
        return
    first = differences[0]
    if first.fact == FEATURES:
        raise ProfileError(
            f"these cells have {first.mine}, the library has {first.theirs}; open a library that "
            "was made with the same model"
        )
    advice = "embed the cells with the library's model"
    if first.fact in (*CORRECTION, CORRECTION_SHA256):
        advice = "open the cells uncorrected"
    raise ProfileError(
        f"these cells and {name} cannot be compared: {say(first)}; {advice}, or open another "
        "library"
    )


def _correction_text(correction: Correction | None, provenance: dict[str, object]) -> str:
    if correction is None or not correction.steps:
        made = provenance.get("correction")
        return f"corrected ({made})" if made else "compared as they are, without a correction"
    text = describe_correction({"correction": correction.method, **correction.settings})
    return f"{text}{',' if ',' in text else ''} is applied to your cells"
