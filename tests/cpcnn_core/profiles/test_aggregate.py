"""Medians and means over groups equal a plain loop and the reference's profiles."""

import statistics

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import ProfileError, ProfileWarning
from cpcnn_core.profiles.aggregate import aggregate
from cpcnn_core.schema.profiles import Profiles

SITE = ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]


@pytest.fixture
def cells():
    random = np.random.default_rng(1)
    rows = pd.DataFrame(
        {
            "Metadata_Plate": random.choice(["P1", "P2"], 300),
            "Metadata_Well": random.choice(["A01", "B02", "C03"], 300),
            "Metadata_Site": random.choice(["1", "2"], 300),
        }
    )
    rows["Metadata_Treatment"] = rows["Metadata_Well"].map(
        {"A01": "DMSO", "B02": "taxol", "C03": None}
    )
    rows["Metadata_ObjectNumber"] = np.arange(300)
    features = random.normal(size=(300, 4)).astype(np.float32)
    return Profiles(features, rows, [f"Cells_CPCNN_{i:03d}" for i in range(4)])


@pytest.mark.parametrize("method", ["median", "mean"])
def test_it_equals_a_loop(cells, method):
    found = aggregate(cells, SITE, method)
    rows = list(cells.metadata[SITE].itertuples(index=False, name=None))
    keys = list(dict.fromkeys(rows))
    assert list(found.metadata[SITE].itertuples(index=False, name=None)) == keys
    for key, profile, count in zip(
        keys, found.features, found.metadata["Metadata_CellCount"], strict=True
    ):
        mine = [cells.features[i] for i, row in enumerate(rows) if row == key]
        assert count == len(mine)
        by_hand = getattr(statistics, method)
        expected = [by_hand([float(row[j]) for row in mine]) for j in range(4)]
        np.testing.assert_allclose(profile, expected, rtol=0, atol=1e-14)


def test_cells_are_counted_through_all_levels(cells):
    sites = aggregate(cells, SITE)
    wells = aggregate(sites, SITE[:2], "mean")
    assert len(sites.metadata) == 12
    assert len(wells.metadata) == 6
    assert wells.metadata["Metadata_CellCount"].sum() == 300


def test_metadata_that_is_the_same_throughout_a_group_stays(cells):
    wells = aggregate(cells, SITE[:2])
    assert list(wells.metadata) == [*SITE[:2], "Metadata_Treatment", "Metadata_CellCount"]
    missing = wells.metadata["Metadata_Treatment"].isna()
    assert (missing == (wells.metadata["Metadata_Well"] == "C03")).all()


def test_groups_without_a_value_are_groups_too(cells):
    treatments = aggregate(cells, ["Metadata_Treatment"])
    assert len(treatments.metadata) == 3
    assert treatments.metadata["Metadata_CellCount"].sum() == 300


def test_treatments_equal_the_reference(wells, inputs, arrays):
    wells = Profiles(arrays["whitened_0.01"], wells.metadata, wells.feature_names)
    found = aggregate(wells, ["Metadata_Treatment"], "mean")
    by_name = dict(zip(found.metadata["Metadata_Treatment"], found.features, strict=True))
    mine = np.array([by_name[name] for name in inputs["annot_treatment"]])
    expected = arrays["profiles"]
    np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_rows_with_nan_are_left_out_and_said(cells):
    cells.features[7, 2] = np.nan
    cells.features[8, 0] = np.inf
    with pytest.warns(ProfileWarning, match="2 of 300 rows are left out"):
        found = aggregate(cells, SITE)
    assert found.metadata["Metadata_CellCount"].sum() == 298
    assert np.isfinite(found.features).all()
    cells.features[:] = np.nan
    with pytest.raises(ProfileError, match="none of the 300 rows"):
        aggregate(cells, SITE)


def test_what_is_not_there_is_named(cells):
    with pytest.raises(ProfileError, match="there is no column Metadata_Dose; there are Metadata_"):
        aggregate(cells, ["Metadata_Dose"])
    with pytest.raises(ProfileError, match="expected a method of median, mean, got 'mode'"):
        aggregate(cells, SITE, "mode")


@pytest.mark.parametrize("kind", ["Int64", "int64[pyarrow]", "category", float])
def test_counts_of_any_type_add(kind):
    rows = pd.DataFrame({"Metadata_Well": ["A01", "A01", "B01"]})
    rows["Metadata_CellCount"] = pd.Series([10, 11, 12]).astype(kind)
    found = aggregate(Profiles(np.ones((3, 1)), rows, ["x"]), ["Metadata_Well"], "mean")
    assert found.metadata["Metadata_CellCount"].tolist() == [21, 12]


@pytest.mark.parametrize("kind", ["category", "string", "string[pyarrow]", object])
def test_groups_of_any_type(kind):
    wells = pd.Series(["A01", "B01", "A01", None]).astype(kind)
    rows = pd.DataFrame({"Metadata_Well": wells, "Metadata_Dose": [1, 2, 1, 3]})
    found = aggregate(Profiles(np.arange(4.0)[:, None], rows, ["x"]), ["Metadata_Well"], "mean")
    assert found.texts("Metadata_Well").tolist() == ["A01", "B01", ""]
    assert found.features[:, 0].tolist() == [1, 1, 3]
    assert found.metadata["Metadata_Dose"].tolist() == [1, 2, 3]


def test_a_count_that_is_none_is_refused(cells):
    cells.metadata["Metadata_CellCount"] = 5
    with pytest.raises(ProfileError, match="has a Metadata_CellCount of single cells, which cpcnn"):
        aggregate(cells, SITE)
    cells.metadata.pop("Metadata_ObjectNumber")
    cells.metadata["Metadata_CellCount"] = "1011"
    with pytest.raises(ProfileError, match="the table has '1011' in Metadata_CellCount; expected"):
        aggregate(cells, SITE)


def test_rows_that_are_left_out_are_named_by_their_wells(cells):
    cells.metadata["Metadata_Well"] = [f"A{n // 30 + 1:02d}" for n in range(300)]
    cells.metadata["Metadata_Plate"] = "P1"
    cells.features[[0, 1, 45], 3] = np.nan
    said = []
    aggregate(cells, SITE, tell=said.append)
    [text] = said
    assert text == (
        "3 of 300 rows are left out, for missing or infinite values of Cells_CPCNN_003 (3): "
        "P1/A01 (2 of 30), P1/A02 (1 of 30)"
    )
    cells.features[:, 1] = np.nan
    with pytest.raises(
        ProfileError, match=r"none of the 300 rows .* Cells_CPCNN_001 .300., Cells_CPC"
    ):
        aggregate(cells, SITE)
