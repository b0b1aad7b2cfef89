"""``cpcnn worker``: spoken to by the CellProfiler module."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cpcnn_core.cli.parsers import add_command

if TYPE_CHECKING:
    from cpcnn_core.profiles.correction import Correction
    from cpcnn_core.profiles.library import TreatmentLibrary


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb to the command line."""
    parser = add_command(
        verbs,
        "worker",
        "Answer a program of another Python on stdin and stdout; not for typing.",
        "cpcnn worker --device cpu",
        _work,
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default: %(default)s)")


def _work(options: argparse.Namespace) -> None:
    from cpcnn_core.worker.serve import main

    main(options.device, read_library)


def read_library(path: str, by: str) -> tuple[TreatmentLibrary, Correction | None]:
    """Read a library of ``cpcnn profile``, with its controls and the correction beside it.

    Parameters
    ----------
    path : str
    by : str
        The column that names the treatment, with or without ``Metadata_``.

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
    from cpcnn_core.errors import ProfileError
    from cpcnn_core.profiles.correction import Correction, correction_file
    from cpcnn_core.profiles.files import read_profiles
    from cpcnn_core.profiles.library import build_library
    from cpcnn_core.profiles.wells import choose_rows
    from cpcnn_core.tables.columns import metadata_column

    wells = read_profiles(path)
    made, beside = wells.provenance.get("correction"), correction_file(path)
    # A table of text cannot tell whether it is corrected; the file beside it does.
    corrected = made or (not wells.provenance and beside.is_file())
    if corrected and not beside.is_file():
        raise ProfileError(
            f"{path} is corrected ({made}) and its correction is not beside it, so cells cannot "
            f"be corrected alike; put {beside.name} there, or make both again: cpcnn profile"
        )
    correction = Correction.load(beside) if corrected else None
    if made and (made, wells.provenance.get("lambda")) != (
        correction.method,
        correction.settings.get("lambda"),
    ):
        raise ProfileError(
            f"{beside.name} ({correction.method}) does not belong to {path} ({made}); make both "
            "again: cpcnn profile"
        )
    expression = wells.provenance.get("controls")
    controls = choose_rows(wells, str(expression)) if expression else None
    return build_library(wells, metadata_column(by), controls), correction
