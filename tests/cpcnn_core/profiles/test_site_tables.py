"""Tables of cells to sites: the same as a loop, in any order and any parts."""

import statistics

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import ProfileError, TableError
from cpcnn_core.io import delimited, profile_files
from cpcnn_core.profiles.site_tables import read_site_rows

KEYS = ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]
NAMES = ["Cells_A", "Cells_B"]


@pytest.fixture
def cells():
    random = np.random.default_rng(0)
    rows = [
        ("007", well, site, number)
        for well in ("A01", "A02", "B01")
        for site in ("1", "2")
        for number in range(1, random.integers(3, 12))
    ]
    frame = pd.DataFrame(rows, columns=[*KEYS, "Metadata_ObjectNumber"])
    frame["Metadata_Dose"] = [{"A01": 0.5, "A02": 10, "B01": 1}[well] for well in frame[KEYS[1]]]
    for name in NAMES:
        frame[name] = random.normal(size=len(frame))
    return frame


def nobody(text):
    """Hear nothing."""


def by_hand(frame, method=statistics.median):
    groups = {}
    for row in frame.itertuples(index=False):
        if np.isfinite([row.Cells_A, row.Cells_B]).all():
            groups.setdefault(row[:3], []).append((row.Cells_A, row.Cells_B))
    return {
        "/".join(key): [method(values) for values in zip(*rows, strict=True)]
        for key, rows in groups.items()
    }, {"/".join(key): len(rows) for key, rows in groups.items()}


def check(rows, frame, method=statistics.median):
    expected, counts = by_hand(frame, method)
    names = ["/".join(key) for key in rows.profiles.metadata[KEYS].itertuples(index=False)]
    assert sorted(names) == sorted(expected)
    for name, features, weight in zip(names, rows.profiles.features, rows.weights, strict=True):
        np.testing.assert_allclose(features, expected[name], rtol=0, atol=1e-14)
        assert weight == counts[name]
    assert rows.profiles.metadata["Metadata_CellCount"].tolist() == rows.weights.tolist()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize("order", ["as it is", "shuffled", "backwards"])
def test_cells_in_any_order_and_any_parts(tmp_path, cells, ending, size, order, monkeypatch):
    monkeypatch.setattr(profile_files, "ROWS_AT_A_TIME", size)
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 200 * size)
    if order != "as it is":
        cells = cells.sample(frac=1, random_state=0) if order == "shuffled" else cells[::-1]
    path = tmp_path / f"t.{ending}"
    cells.to_csv(path, index=False) if ending == "csv" else cells.to_parquet(path)
    rows = read_site_rows(path, tell=nobody)
    check(rows, cells)
    assert rows.losses.total.total() == len(cells)
    assert rows.losses.lost.total() == 0
    assert rows.profiles.metadata["Metadata_Dose"].dtype == np.float64
    check(read_site_rows(path, "mean", tell=nobody), cells, statistics.fmean)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_cells_that_lack_a_feature_are_left_out(tmp_path, cells, size, monkeypatch):
    monkeypatch.setattr(profile_files, "ROWS_AT_A_TIME", size)
    # Elsewhere these cells would be the only ones of a part.
    lost = cells.index[(cells[KEYS[1]] == "A02")][:3]
    cells.loc[lost[0], "Cells_A"] = np.nan
    cells.loc[lost[1], "Cells_B"] = np.inf
    cells.to_parquet(tmp_path / "t.parquet")
    rows = read_site_rows(tmp_path / "t.parquet", tell=nobody)
    complete = np.isfinite(rows.profiles.features).all(axis=1)
    expected, _ = by_hand(cells)
    names = ["/".join(key) for key in rows.profiles.metadata[KEYS].itertuples(index=False)]
    for name, features in zip(
        np.array(names)[complete], rows.profiles.features[complete], strict=True
    ):
        np.testing.assert_allclose(features, expected[name], rtol=0, atol=1e-14)
    assert rows.losses.lost.total() + rows.weights[~complete].sum() == 2


def test_a_feature_that_no_cell_has_costs_no_cell(tmp_path, cells):
    cells["Cells_C"] = np.nan
    cells.to_csv(tmp_path / "t.csv", index=False)
    rows = read_site_rows(tmp_path / "t.csv", tell=nobody)
    assert rows.profiles.feature_names == [*NAMES, "Cells_C"]
    assert np.isnan(rows.profiles.features[:, 2]).all()
    assert np.isfinite(rows.profiles.features[:, :2]).all()
    assert rows.weights.sum() == len(cells)
    dropped = read_site_rows(tmp_path / "t.csv", drop_features=["*_C"], tell=nobody)
    check(dropped, cells)


@pytest.mark.parametrize(
    "names",
    [
        {"Metadata_Plate": "Plate", "Metadata_Well": "Well", "Metadata_Site": "Site"},
        {"Metadata_Plate": "Metadata_Barcode", "Metadata_Site": "Metadata_FieldID"},
        {"Metadata_Well": "well_position", "Metadata_Plate": "Image_Metadata_PlateID"},
        {"Metadata_ObjectNumber": "ObjectNumber", "Metadata_Site": "FOV"},
    ],
)
def test_keys_by_other_names(tmp_path, cells, names):
    cells.rename(columns=names).to_csv(tmp_path / "t.csv", index=False)
    check(read_site_rows(tmp_path / "t.csv", tell=nobody), cells)


def test_sites_and_wells_come_as_they_are(tmp_path, cells):
    sites = cells.drop_duplicates(KEYS).drop(columns="Metadata_ObjectNumber")
    sites["Metadata_CellCount"] = range(10, 10 + len(sites))
    sites.to_csv(tmp_path / "t.csv", index=False)
    rows = read_site_rows(tmp_path / "t.csv", tell=nobody)
    np.testing.assert_array_equal(rows.profiles.features, sites[NAMES])
    assert rows.weights.tolist() == [1] * len(sites)
    assert (
        rows.profiles.metadata["Metadata_CellCount"].tolist()
        == sites["Metadata_CellCount"].tolist()
    )
    assert rows.losses.what == "site"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.drop(columns=KEYS[0]),
            "there is no column Metadata_Plate in .*t.csv; there are",
        ),
        (lambda t: t.drop(columns=KEYS[:2]), "there is no column Metadata_Plate, Metadata_Well in"),
        (lambda t: t.drop(columns=KEYS[2]), "has cells .* and does not say of which site"),
        (
            lambda t: t.assign(Metadata_Well=[*t.Metadata_Well[:-1], ""]),
            "has no Metadata_Well in row",
        ),
        (
            lambda t: t.assign(Metadata_Plate=["NA", *t.Metadata_Plate[1:]]),
            "no Metadata_Plate in row 1 ",
        ),
        (lambda t: pd.concat([t, t[4:5]]), "has the cell 007/A01/1/5 twice .of 1 duplicates"),
        (lambda t: pd.concat([t, t]), "has the cell 007/A01/1/1 twice"),
        (
            lambda t: t.assign(Metadata_CellCount=3),
            "t.csv has a Metadata_CellCount of single cells",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, cells, change, message):
    cells.loc[cells[KEYS[1]] == "A01", "Metadata_ObjectNumber"] = np.arange(
        1, 1 + (cells[KEYS[1]] == "A01").sum()
    )
    change(cells).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ProfileError, match=message):
        read_site_rows(tmp_path / "t.csv", tell=nobody)


def test_no_rows_and_no_file(tmp_path, cells):
    cells[:0].to_parquet(tmp_path / "t.parquet")
    rows = read_site_rows(tmp_path / "t.parquet", tell=nobody)
    assert rows.profiles is None
    assert rows.losses.total.total() == len(rows.weights) == 0
    with pytest.raises(TableError, match="there is no table"):
        read_site_rows(tmp_path / "u.parquet")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("missing", [[4], [0, 1], slice(None)])
def test_a_cell_without_a_site_is_named(tmp_path, cells, ending, missing):
    cells["Metadata_Site"] = cells["Metadata_Site"].astype(object)
    cells.loc[cells.index[missing], "Metadata_Site"] = None
    path = tmp_path / f"cells.{ending}"
    cells.to_csv(path, index=False) if ending == "csv" else cells.to_parquet(path)
    row = int(cells.index[missing][0]) + 1
    with pytest.raises(TableError, match=rf"cells.{ending} has no Metadata_Site in row {row} "):
        read_site_rows(path, tell=nobody)


def test_sites_of_which_some_have_no_name_are_refused_and_wells_need_none(tmp_path, cells):
    sites = cells.drop_duplicates(KEYS).drop(columns="Metadata_ObjectNumber")
    sites["Metadata_Site"] = ["1", "", "1", "2", "1", "2"]
    sites.to_csv(tmp_path / "sites.csv", index=False)
    with pytest.raises(TableError, match="has no Metadata_Site in row 2 "):
        read_site_rows(tmp_path / "sites.csv", tell=nobody)
    wells = cells.drop_duplicates(KEYS[:2]).drop(columns="Metadata_ObjectNumber")
    wells.assign(Metadata_Site="").to_csv(tmp_path / "wells.csv", index=False)
    assert len(read_site_rows(tmp_path / "wells.csv", tell=nobody).profiles.metadata) == 3
