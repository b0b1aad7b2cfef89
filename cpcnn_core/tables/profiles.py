"""Features and what they belong to, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.tables.columns import METADATA_PREFIX

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Profiles:
    """Features of cells, wells or treatments, one row each.

    Attributes
    ----------
    features : ndarray of shape (n, d), float32
    metadata : pandas.DataFrame with n rows
        Every column begins with ``Metadata_``.
    feature_names : list of d str
        E.g. ``Cells_CPCNN_000``.

    Raises
    ------
    ValueError
        Shapes that do not fit, or a metadata column without its prefix.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rows = pd.DataFrame({"Metadata_ObjectNumber": [1, 2]})
    >>> table = Profiles(np.zeros((2, 1), np.float32), rows, ["Cells_CPCNN_000"])
    >>> list(table.to_frame().columns)
    ['Metadata_ObjectNumber', 'Cells_CPCNN_000']
    """

    features: np.ndarray
    metadata: pd.DataFrame
    feature_names: list[str]

    def __post_init__(self) -> None:
        expected = (len(self.metadata), len(self.feature_names))
        if self.features.shape != expected:
            raise ValueError(
                f"expected features of shape {expected} for these rows and names, "
                f"got {self.features.shape}"
            )
        wrong = [c for c in self.metadata.columns if not str(c).startswith(METADATA_PREFIX)]
        if wrong:
            raise ValueError(f"expected metadata columns to begin with Metadata_, got {wrong}")

    def to_frame(self) -> pd.DataFrame:
        """Return one frame: the metadata columns, then the features.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> rows = pd.DataFrame({"Metadata_Well": ["A01"]})
        >>> Profiles(np.ones((1, 1), np.float32), rows, ["Cells_CPCNN_000"]).to_frame().shape
        (1, 2)
        """
        import pandas as pd

        features = pd.DataFrame(
            self.features, columns=self.feature_names, index=self.metadata.index
        )
        return pd.concat([self.metadata, features], axis=1)
