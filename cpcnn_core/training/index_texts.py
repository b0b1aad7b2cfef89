"""The table of crops' entries for each cell, as texts without gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.errors import TrainingError

if TYPE_CHECKING:
    import pandas as pd


def texts_of(index: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column as texts without space around them, of which none is empty.

    Parameters
    ----------
    index : pandas.DataFrame with n rows
    column : str

    Returns
    -------
    ndarray of shape (n,), object

    Raises
    ------
    TrainingError
        No rows, no such column, or empty values in it.

    Examples
    --------
    >>> import pandas as pd
    >>> texts_of(pd.DataFrame({"Metadata_Site": [1, 2]}), "Metadata_Site").tolist()
    ['1', '2']
    """
    if column not in index.columns:
        raise TrainingError(
            f"the crops have no column {column}; they have {', '.join(map(str, index.columns))}"
        )
    texts = index[column].astype(str).where(index[column].notna(), "").str.strip()
    empty = (texts == "").sum()
    if empty or not len(texts):
        raise TrainingError(f"{empty} of {len(texts)} cells have no {column}; leave them out")
    result: np.ndarray = texts.to_numpy(object)
    return result


def joined_texts(index: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Name each cell by what several columns say: ``plate/well``, (n,) object.

    Raises
    ------
    TrainingError
        As `texts_of`.

    Examples
    --------
    >>> import pandas as pd
    >>> joined_texts(pd.DataFrame({"Plate": ["P"], "Site": [2]}), ["Plate", "Site"]).tolist()
    ['P/2']
    """
    parts = zip(*(texts_of(index, column) for column in columns), strict=True)
    return np.array(list(map("/".join, parts)), object)


def numbered(texts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give every text (n,) its number in the order of the alphabet.

    Returns
    -------
    names : ndarray of shape (k,), object
        The different ones, sorted.
    numbers : ndarray of shape (n,), int
        The place of each text in `names`.
    counts : ndarray of shape (k,), int
        How often each is there.

    Examples
    --------
    >>> names, numbers, counts = numbered(np.array(["b", "a", "b"], object))
    >>> names.tolist(), numbers.tolist(), counts.tolist()
    (['a', 'b'], [1, 0, 1], [1, 2])
    """
    import pandas as pd

    # Hashing millions of texts is much faster than sorting them.
    numbers, names = pd.factorize(texts, sort=True)
    return names, numbers, np.bincount(numbers, minlength=len(names))
