"""Features and what they belong to, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.schema.columns import METADATA_PREFIX
from cpcnn_core.schema.values import plain_values, texts_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Profiles:
    """Features of cells, wells or treatments, one row each.

    Attributes
    ----------
    features : ndarray of shape (n, d), float32 or float64
    metadata : pandas.DataFrame with n rows
        Every column begins with ``Metadata_``. Columns of pandas' nullable, categorical and
        string types become plain ones, see `cpcnn_core.schema.values.plain_values`.
    feature_names : list of d str
        E.g. ``Cells_CPCNN_000``.
    provenance : dict
        What made the features: model, versions, corrections; JSON's types only.

    Raises
    ------
    ValueError
        Shapes that do not fit, a metadata column without its prefix, or one that is there
        twice.

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
    provenance: dict[str, Any] = field(default_factory=dict)

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
        if not self.metadata.columns.is_unique:
            twice = self.metadata.columns[self.metadata.columns.duplicated()].tolist()
            raise ValueError(f"expected every metadata column once, got twice {twice}")
        types = self.metadata.dtypes
        own = [name for name, kind in types.items() if not isinstance(kind, np.dtype)]
        if own:
            plain = {name: plain_values(self.metadata[name]) for name in own}
            self.metadata = self.metadata.assign(**plain)

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

    def require(self, columns: Sequence[str]) -> None:
        """Say which of these metadata columns are not there.

        Raises
        ------
        ProfileError

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> rows = pd.DataFrame({"Metadata_Well": ["A01"]})
        >>> Profiles(np.ones((1, 1)), rows, ["x"]).require(["Metadata_Plate"])
        Traceback (most recent call last):
        cpcnn_core.errors.ProfileError: there is no column Metadata_Plate; there are Metadata_Well
        """
        missing = [name for name in columns if name not in self.metadata.columns]
        if missing:
            raise ProfileError(
                f"there is no column {', '.join(missing)}; there are "
                f"{', '.join(map(str, self.metadata.columns)) or 'none'}"
            )

    def texts(self, column: str) -> np.ndarray:
        """Return a metadata column as texts (n,); what is missing is empty.

        Whole numbers have no decimal point, whatever type they are kept as.

        Raises
        ------
        ProfileError
            No such column.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> rows = pd.DataFrame({"Metadata_Dose": [1, None]}, dtype=object)
        >>> Profiles(np.ones((2, 1)), rows, ["x"]).texts("Metadata_Dose").tolist()
        ['1', '']
        """
        self.require([column])
        return texts_of(self.metadata[column]).astype(str)

    def named(self, column: str) -> np.ndarray:
        """Tell which rows have a text in a metadata column, (n,) bool.

        Raises
        ------
        ProfileError
            No such column.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> rows = pd.DataFrame({"Metadata_Treatment": ["taxol", " ", None]}, dtype=object)
        >>> Profiles(np.ones((3, 1)), rows, ["x"]).named("Metadata_Treatment").tolist()
        [True, False, False]
        """
        result: np.ndarray = np.char.strip(self.texts(column)) != ""
        return result

    def select(self, rows: np.ndarray) -> Profiles:
        """Return some rows: a mask of shape (n,), or row numbers.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> rows = pd.DataFrame({"Metadata_Well": ["A01", "B01"]})
        >>> Profiles(np.ones((2, 1)), rows, ["x"]).select(np.array([False, True])).to_frame()
          Metadata_Well    x
        0           B01  1.0
        """
        metadata = self.metadata.iloc[np.arange(len(self.metadata))[rows]]
        return replace(self, features=self.features[rows], metadata=metadata.reset_index(drop=True))
