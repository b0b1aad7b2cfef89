"""What is known of treatments: their mechanisms, targets, pathways."""

from __future__ import annotations

from pathlib import Path

from cpcnn_core.errors import ProfileError
from cpcnn_core.readers.tables import read_text_table
from cpcnn_core.tables.columns import metadata_column


def read_truth(path: str | Path, by: str, label: str) -> dict[str, str]:
    """Read the labels of treatments.

    Parameters
    ----------
    path : str or Path
        CSV, or tab separated (.tsv, .txt).
    by, label : str
        Columns of the treatment and of its label, with or without ``Metadata_``. A treatment
        may have several rows, and a row several labels, parted by ``|``.

    Returns
    -------
    dict of str to str
        All labels of a treatment, parted by ``|``.

    Raises
    ------
    ProfileError
        A column is missing.

    Examples
    --------
    >>> read_truth("moa.csv", "Treatment", "moa")  # doctest: +SKIP
    {'taxol': 'tubulin'}
    """
    truth = read_text_table(path)
    truth.columns = [metadata_column(name) for name in truth.columns]
    by, label = metadata_column(by), metadata_column(label)
    missing = [name for name in (by, label) if name not in truth.columns]
    if missing:
        raise ProfileError(
            f"{path} has no column {' or '.join(missing)}; it has "
            f"{', '.join(truth.columns)}; see --by and --label"
        )
    known = truth.groupby(by)[label].agg(lambda values: "|".join(sorted(set(values) - {""})))
    return known.to_dict()
