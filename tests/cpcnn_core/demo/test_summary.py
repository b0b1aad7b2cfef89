"""CellProfiler's output, read back: complete, or an error."""

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.demo.summary import summarize
from cpcnn_core.errors import HostError


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    columns = {
        "ImageNumber": [1, 1, 2],
        "ObjectNumber": [1, 2, 1],
        "CPCNN_001": rng.random(3),
        "Location_Center_X": [10.5, 20.5, 30.5],
        "Location_Center_Y": [1.0, 2.0, 3.0],
        "CPCNN_000": rng.random(3),
        "CPCNN_002": rng.random(3),
        "AreaShape_Area": [5, 6, 7],
    }
    return pd.DataFrame(columns)


def written(table, tmp_path):
    table.to_csv(tmp_path / "Cells.csv", index=False)
    return tmp_path / "Cells.csv"


def test_cells_are_read_with_features_in_order(table, tmp_path):
    cells = summarize(written(table, tmp_path), 3)
    expected = table[["CPCNN_000", "CPCNN_001", "CPCNN_002"]].to_numpy()
    np.testing.assert_allclose(cells.features, expected, rtol=1e-15)
    assert cells.field.tolist() == [1, 1, 2]
    assert cells.centers.tolist() == [[1.0, 10.5], [2.0, 20.5], [3.0, 30.5]]
    assert cells.fields == 2
    # Location in x and y, and the area.
    assert cells.classical == 3


def test_missing_features_are_named(table, tmp_path):
    with pytest.raises(HostError, match=r"Cells\.csv lacks the columns CPCNN_003 and on; look at"):
        summarize(written(table, tmp_path), 5)


def test_missing_values_are_an_error(table, tmp_path):
    table.loc[1, "CPCNN_002"] = np.nan
    with pytest.raises(HostError, match=r"lacks values of some cells; look at cellprofiler\.log"):
        summarize(written(table, tmp_path), 3)
