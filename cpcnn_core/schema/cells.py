"""The columns that describe a cell, in every table that has cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cpcnn_core.schema.columns import (
    CENTER_X,
    CENTER_Y,
    IMAGE_NUMBER,
    MODEL,
    OBJECT_NUMBER,
    TOUCHES_BORDER,
)

# In this order, after the metadata of the site.
CELL_COLUMNS = {
    IMAGE_NUMBER: np.int64,
    OBJECT_NUMBER: np.int64,
    CENTER_X: np.float64,
    CENTER_Y: np.float64,
    TOUCHES_BORDER: np.bool_,
}


def cell_columns(
    of_site: Mapping[str, object],
    object_numbers: np.ndarray,
    centers_xy: np.ndarray,
    touches_border: np.ndarray,
    *,
    model: str | None = None,
    image_number: int | None = None,
    measured: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Return the metadata columns of a site's cells, in order.

    Parameters
    ----------
    of_site : mapping of str to object
        Columns of the site, equal for all its cells; names with ``Metadata_``.
    object_numbers : ndarray of shape (n,), int
    centers_xy : ndarray of shape (n, 2), float
        (x, y), in pixels of the image.
    touches_border : ndarray of shape (n,), bool
        Whether the cell's crop reaches beyond the image.
    model : str, optional
        Left out where there is none yet.
    image_number : int, optional
        Left out where the site has none.
    measured : mapping of str to ndarray of shape (n,), optional
        Other columns of the cells.

    Returns
    -------
    dict of str to str or ndarray of shape (n,)
        A text of the site is one value for all its cells.

    Examples
    --------
    >>> one = np.array([1])
    >>> columns = cell_columns({"Metadata_Well": "A01"}, one, np.array([[4.0, 5]]), one > 1)
    >>> list(columns)[:3], columns["Metadata_Location_Center_X"].tolist()
    (['Metadata_Well', 'Metadata_ObjectNumber', 'Metadata_Location_Center_X'], [4.0])
    """
    centers = np.asarray(centers_xy, np.float64).reshape(-1, 2)
    values = (
        np.full(len(centers), 0 if image_number is None else image_number),
        object_numbers,
        centers[:, 0],
        centers[:, 1],
        touches_border,
    )
    return {
        **of_site,
        **{
            name: np.asarray(column, dtype)
            for (name, dtype), column in zip(CELL_COLUMNS.items(), values, strict=True)
            if name != IMAGE_NUMBER or image_number is not None
        },
        **(measured or {}),
        **({} if model is None else {MODEL: model}),
    }
