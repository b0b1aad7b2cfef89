"""From a table of wells on disk to a library, with the correction that lies beside it."""

from __future__ import annotations

from pathlib import Path

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.correction import Correction, correction_file
from cpcnn_core.profiles.files import read_profiles
from cpcnn_core.profiles.library import TreatmentLibrary, build_library
from cpcnn_core.profiles.wells import choose_rows
from cpcnn_core.tables.columns import metadata_column
from cpcnn_core.tables.profiles import Profiles


def read_library(path: str | Path, by: str) -> tuple[TreatmentLibrary, Correction | None]:
    """Read a library of ``cpcnn profile``, with its controls and the correction beside it.

    Parameters
    ----------
    path : str or Path
    by : str
        The column that names the treatment, with or without ``Metadata_``.

    Returns
    -------
    library : TreatmentLibrary
    correction : Correction or None
        See `correction_beside`.

    Raises
    ------
    ProfileError
        No such table or column, or a corrected table without its correction.

    Examples
    --------
    >>> read_library("nowhere.parquet", "Treatment")
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: there is no table nowhere.parquet
    """
    wells = read_profiles(path)
    correction = correction_beside(path, wells)
    expression = wells.provenance.get("controls")
    controls = choose_rows(wells, str(expression)) if expression else None
    return build_library(wells, metadata_column(by), controls), correction


def correction_beside(path: str | Path, wells: Profiles) -> Correction | None:
    """Load the correction that a table of wells was made with, to correct cells alike.

    Parameters
    ----------
    path : str or Path
        Of the table.
    wells : Profiles
        What was read from it.

    Returns
    -------
    Correction or None
        None where the wells are as they were measured.

    Raises
    ------
    ProfileError
        The wells are corrected, and the correction is not beside them, or another is.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> wells = Profiles(np.eye(2), pd.DataFrame({"Metadata_Well": ["A1", "A2"]}), ["x", "y"])
    >>> correction_beside("wells.parquet", wells) is None
    True
    """
    path = Path(path)
    made, beside = wells.provenance.get("correction"), correction_file(path)
    # A table of text cannot tell whether it is corrected; the file beside it does.
    if not made and (wells.provenance or not beside.is_file()):
        return None
    if not beside.is_file():
        raise ProfileError(
            f"{path.name} is corrected ({made}), but its correction {beside.name} is not beside "
            f"it, so cells cannot be corrected alike; put {beside.name} there, into "
            f"{beside.parent}, or make both again with: cpcnn profile"
        )
    correction = Correction.load(beside)
    for name, value in {"correction": correction.method, **correction.settings}.items():
        if made and wells.provenance.get(name) != value:
            raise ProfileError(
                f"{beside.name} ({correction.method}) does not belong to {path.name}: {name} is "
                f"{value} and {wells.provenance.get(name)}; make both again with: cpcnn profile"
            )
    return correction
