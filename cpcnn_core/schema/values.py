"""The values of a column of metadata: of numpy's plain types, and as texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def plain_values(column: pd.Series) -> np.ndarray | pd.Series:
    """Return a column's values without pandas' own types, whose missing values spread.

    Parameters
    ----------
    column : pandas.Series of shape (n,)
        Of any type: nullable, categorical, string, of Arrow.

    Returns
    -------
    ndarray of shape (n,), or pandas.Series
        Numbers as numpy's, with NaN where they are missing; texts and all else as objects,
        with None where they are missing. A column that is plain, or of times, is as it was.

    Examples
    --------
    >>> import pandas as pd
    >>> plain_values(pd.Series([1, None], dtype="Int64"))
    array([ 1., nan])
    >>> plain_values(pd.Series(["DMSO", None], dtype="category"))
    array(['DMSO', None], dtype=object)
    """
    import pandas as pd

    kind = column.dtype
    if isinstance(kind, np.dtype | pd.DatetimeTZDtype):
        return column
    if isinstance(kind, pd.SparseDtype):
        return np.asarray(column)
    of = kind.categories.dtype if isinstance(kind, pd.CategoricalDtype) else kind
    missing = column.isna().to_numpy()
    values = column.astype(object).to_numpy(copy=True)
    if pd.api.types.is_bool_dtype(of):
        values[missing] = None
        return values if missing.any() else values.astype(bool)
    if not pd.api.types.is_numeric_dtype(of):
        values[missing] = None
        return values
    if missing.any() or not pd.api.types.is_integer_dtype(of):
        values[missing] = np.nan
        return values.astype(np.float64)
    return values.astype(np.uint64 if pd.api.types.is_unsigned_integer_dtype(of) else np.int64)


def text_of(value: object) -> str:
    """Return a value as text: whole numbers without ``.0``, what is missing empty.

    Examples
    --------
    >>> [text_of(value) for value in (10.0, np.float32(0.1), " DMSO ", None, float("nan"), True)]
    ['10', '0.1', 'DMSO', '', '', 'True']
    """
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float | np.floating):
        number = float(value)
        if number.is_integer():
            return str(int(number))
        return "" if np.isnan(number) else str(value)
    # pandas' own have no value to compare by.
    missing = value is None or type(value).__name__ in ("NAType", "NaTType")
    return "" if missing else str(value).strip()


def texts_of(column: pd.Series) -> np.ndarray:
    """Return a column as texts (n,), object; see `text_of`.

    Examples
    --------
    >>> import pandas as pd
    >>> texts_of(pd.Series([7157, None]))
    array(['7157', ''], dtype=object)
    """
    import pandas as pd

    values = np.asarray(plain_values(column))
    if values.dtype == object and pd.api.types.infer_dtype(values, skipna=False) == "string":
        codes, unique = pd.factorize(values)
        result: np.ndarray = np.array([text.strip() for text in unique], object)[codes]
        return result
    # A float of numpy's knows by its type how many digits it has.
    plain = list(values) if values.dtype.kind == "f" else pd.Series(values).tolist()
    return np.array([text_of(value) for value in plain], object)


def arrow_table(frame: pd.DataFrame) -> pa.Table:
    """Return a table of Arrow; columns of numbers and texts mixed become texts.

    Parameters
    ----------
    frame : pandas.DataFrame

    Examples
    --------
    >>> import pandas as pd
    >>> arrow_table(pd.DataFrame({"Dose": [1, "high"]}))["Dose"].to_pylist()
    ['1', 'high']
    """
    import pyarrow as pa

    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        # Numbers and texts in one column, which no column of Arrow holds.
        mixed = [name for name, kind in frame.dtypes.items() if kind.kind == "O"]
        texts = {name: texts_of(frame[name]) for name in mixed}
        return pa.Table.from_pandas(frame.assign(**texts), preserve_index=False)
