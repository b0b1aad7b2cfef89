"""Annotations of treatments: their mechanisms, targets, pathways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from cpcnn_core.errors import TableError
from cpcnn_core.io.metadata_types import canonical_label, metadata_named
from cpcnn_core.io.numbers import is_missing
from cpcnn_core.io.tables import read_text_table
from cpcnn_core.schema.columns import metadata_column
from cpcnn_core.user_messages import Tell, counted, some, warn


def read_annotations(
    path: str | Path,
    by: str,
    label: str,
    *,
    keep_labels: Collection[str] = (),
    tell: Tell = warn,
) -> dict[str, str]:
    """Read the labels of treatments.

    Parameters
    ----------
    path : str or Path
        A table, see `cpcnn_core.io.tables.open_table`.
    by, label : str
        Columns of the treatment and of its label, with or without ``Metadata_``. A treatment
        may have several rows, and a row several labels, separated by ``|``.
    keep_labels : collection of str
        Texts such as ``NA`` that are names here; else what says that there is no label
        (`cpcnn_core.io.numbers.MISSING`) is none.
    tell : callable
        Takes a sentence: how many treatments have no label, and what their cells hold.

    Returns
    -------
    dict of str to str
        All labels of a treatment, separated by ``|``; empty where there is none.

    Raises
    ------
    TableError
        A column is missing.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [("taxol", "tubulin"), ("staurosporine", "PKC"), ("staurosporine", "kinase")]
    >>> pd.DataFrame(rows, columns=["Treatment", "moa"]).to_csv("moa.csv", index=False)
    >>> read_annotations("moa.csv", "Treatment", "moa")
    {'taxol': 'tubulin', 'staurosporine': 'PKC|kinase'}
    """
    table = metadata_named(read_text_table(path), path)
    by, label = metadata_column(by), metadata_column(label)
    missing = [name for name in (by, label) if name not in table.columns]
    if missing:
        raise TableError(
            f"{path} has no column {' or '.join(missing)}; it has "
            f"{', '.join(table.columns)}; see --by and --label"
        )
    labels: dict[str, set[str]] = {}
    unlabelled: Counter[str] = Counter()
    for name, text in zip(table[by], table[label], strict=True):
        if is_missing(name) and name not in keep_labels:
            continue
        known = labels.setdefault(name, set())
        for part in map(str.strip, text.split("|")):
            if is_missing(part) and part not in keep_labels:
                unlabelled[part or "an empty cell"] += 1
            else:
                known.add(part)
    found = {name: "|".join(sorted(known)) for name, known in labels.items()}
    without = sum(not text for text in found.values())
    if without:
        tell(
            f"{path} has no {label.removeprefix('Metadata_')} for {without} of "
            f"{some(len(found), 'treatment')}; found instead: {counted(unlabelled)}"
        )
    return found


def label_of(annotations: Mapping[str, str], names: Collection[str]) -> list[str]:
    """Return the labels of treatments, empty where there are none.

    Names that are numbers are the same however they are written: a table of numbers has 7157
    where the annotations have 7157.0.

    Examples
    --------
    >>> label_of({"7157.0": "TP53", "taxol": "tubulin"}, ["7157", "taxol", "DMSO"])
    ['TP53', 'tubulin', '']
    """
    canonical = {canonical_label(name): label for name, label in annotations.items()}
    return [
        annotations[name] if name in annotations else canonical.get(canonical_label(name), "")
        for name in names
    ]
