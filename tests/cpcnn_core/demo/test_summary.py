"""CellProfiler's output, read back: complete, or an error."""

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.demo.cells import summarize
from cpcnn_core.errors import HostError


@pytest.fixture
def tables():
    rng = np.random.default_rng(0)
    cells = {
        "ImageNumber": [1, 1, 2],
        "ObjectNumber": [1, 2, 1],
        "CPCNN_001": rng.random(3),
        "Location_Center_X": [11.5, 21.5, 31.5],
        "CPCNN_000": rng.random(3),
        "CPCNN_002": rng.random(3),
        "AreaShape_Area": [50, 60, 70],
    }
    # In another order, and one that belongs to no cell.
    nuclei = {
        "ImageNumber": [2, 1, 1, 1],
        "ObjectNumber": [1, 3, 2, 1],
        "Location_Center_X": [30.5, 200.5, 20.5, 10.5],
        "Location_Center_Y": [3.0, 9.0, 2.0, 1.0],
        "AreaShape_Area": [7, 9, 6, 5],
    }
    return pd.DataFrame(cells), pd.DataFrame(nuclei)


def written(tables, tmp_path):
    for table, name in zip(tables, ("Cells", "Nuclei"), strict=True):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


def test_cells_are_read_with_features_in_order(tables, tmp_path):
    cells = summarize(written(tables, tmp_path), 3)
    expected = tables[0][["CPCNN_000", "CPCNN_001", "CPCNN_002"]].to_numpy()
    np.testing.assert_allclose(cells.features, expected, rtol=1e-15)
    assert cells.field.tolist() == [1, 1, 2]
    assert cells.fields == 2
    # Location in x, and the area.
    assert cells.classical == 2


def test_a_cell_has_the_place_and_the_area_of_its_nucleus(tables, tmp_path):
    cells = summarize(written(tables, tmp_path), 3)
    assert cells.centers.tolist() == [[1.0, 10.5], [2.0, 20.5], [3.0, 30.5]]
    assert cells.known["the nucleus's area (px)"].tolist() == [5, 6, 7]


def test_nuclei_around_are_counted_within_their_field(tables, tmp_path):
    known = summarize(written(tables, tmp_path), 3).known
    assert known["nuclei within 64 px"].tolist() == [1, 1, 0]
    tables[1].loc[2, "Location_Center_X"] = 75.0
    known = summarize(written(tables, tmp_path), 3).known
    assert known["nuclei within 64 px"].tolist() == [0, 0, 0]


def test_missing_features_are_named(tables, tmp_path):
    with pytest.raises(HostError, match=r"Cells\.csv lacks the columns CPCNN_003 and on; look at"):
        summarize(written(tables, tmp_path), 5)


def test_missing_values_are_an_error(tables, tmp_path):
    tables[0].loc[1, "CPCNN_002"] = np.nan
    with pytest.raises(HostError, match=r"lacks values of some cells; look at cellprofiler\.log"):
        summarize(written(tables, tmp_path), 3)


def test_a_cell_without_a_nucleus_is_an_error(tables, tmp_path):
    tables = (tables[0], tables[1][1:])
    with pytest.raises(HostError, match=r"cells without a nucleus; look at cellprofiler\.log"):
        summarize(written(tables, tmp_path), 3)
