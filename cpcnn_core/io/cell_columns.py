"""The columns beside the features of every cell, the same in every format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.schema.columns import (
    CENTER_X,
    CENTER_Y,
    IMAGE_NUMBER,
    MODEL,
    OBJECT_NUMBER,
    TOUCHES_BORDER,
    metadata_column,
)

if TYPE_CHECKING:
    from cpcnn_core.io.deepprofiler_npz import SiteTable

# Columns that every table has, after those of the screen's own metadata.
CELL_COLUMNS = {
    IMAGE_NUMBER: np.int64,
    OBJECT_NUMBER: np.int64,
    CENTER_X: np.float64,
    CENTER_Y: np.float64,
    TOUCHES_BORDER: np.bool_,
}


def cell_columns(site: SiteTable, metadata_names: Sequence[str]) -> dict[str, str | np.ndarray]:
    """Return the metadata columns of a site's cells.

    Parameters
    ----------
    site : SiteTable
    metadata_names : sequence of str
        Names of the screen's metadata, without ``Metadata_``.

    Returns
    -------
    dict of str to str or ndarray of shape (n,)
        By column name, in order. A text is the same for all cells of the site; it is
        empty where this site lacks it.

    Examples
    --------
    >>> from cpcnn_core.io.deepprofiler_npz import SiteTable
    >>> place, one = np.array([[4.0, 5.0]]), np.array([1])
    >>> site = SiteTable(np.ones((1, 2), "f4"), {"Well": "A01"}, place, one, one > 1, {})
    >>> columns = cell_columns(site, ["Well", "Treatment"])
    >>> columns["Metadata_Well"], columns["Metadata_Treatment"]
    ('A01', '')
    >>> columns["Metadata_Location_Center_X"].tolist()
    [4.0]
    """
    numbers = (
        np.full(len(site.features), site.image_number),
        site.object_numbers,
        site.locations[:, 0],
        site.locations[:, 1],
        site.touches_border,
    )
    return {
        **{metadata_column(name): site.metadata.get(name, "") for name in metadata_names},
        **{
            name: np.asarray(values, dtype)
            for (name, dtype), values in zip(CELL_COLUMNS.items(), numbers, strict=True)
        },
        MODEL: site.provenance.get("model", ""),
    }
