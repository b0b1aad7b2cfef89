"""Cells in files to wells: the same as with the whole table in memory."""

import gzip

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import DependencyError, ProfileError
from cpcnn_core.profiles import files
from cpcnn_core.profiles.files import read_profiles, write_profiles
from cpcnn_core.profiles.wells import choose_rows, join_platemap, join_rows, well_profiles
from cpcnn_core.tables.profiles import Profiles

NAMES = ["Cells_CPCNN_000", "Cells_CPCNN_001", "Cells_CPCNN_002"]


def plate_of_cells(plate, seed, dtype=np.float32):
    random = np.random.default_rng(seed)
    keys = [(w, s) for w in ("A01", "A02", "B01") for s in ("1", "2") for _ in range(5)]
    metadata = pd.DataFrame(keys, columns=["Metadata_Well", "Metadata_Site"])
    metadata.insert(0, "Metadata_Plate", plate)
    metadata["Metadata_ObjectNumber"] = np.arange(len(keys))
    features = random.normal(size=(len(keys), 3)).astype(dtype)
    return Profiles(features, metadata, NAMES, {"model": "m", "model_sha256": "1"})


@pytest.fixture
def folder(tmp_path):
    for seed, plate in enumerate(("P1", "P2")):
        write_profiles(plate_of_cells(plate, seed), tmp_path / "plates" / f"{plate}.parquet")
    return tmp_path


@pytest.mark.parametrize("rows", [1, 3, 7, 10_000])
def test_wells_equal_pandas_however_the_file_is_cut(folder, rows, monkeypatch):
    monkeypatch.setattr(files, "ROWS_AT_A_TIME", rows)
    found = well_profiles([folder])
    cells = pd.concat([plate_of_cells(p, seed).to_frame() for seed, p in enumerate(("P1", "P2"))])
    keys = ["Metadata_Plate", "Metadata_Well"]
    sites = cells.astype(dict.fromkeys(NAMES, float)).groupby([*keys, "Metadata_Site"])
    expected = sites[NAMES].median().groupby(keys).mean()
    assert list(found.metadata[keys].itertuples(index=False, name=None)) == list(expected.index)
    np.testing.assert_allclose(found.features, expected, rtol=0, atol=1e-14)
    assert found.metadata["Metadata_CellCount"].tolist() == [10] * 6
    assert found.provenance["model"] == "m"


@pytest.mark.parametrize("name", ["wells.parquet", "wells.csv", "wells.csv.gz"])
def test_a_table_comes_back_as_it_was_written(folder, name):
    wells = well_profiles([folder])
    write_profiles(wells, folder / name)
    read = read_profiles(folder / name)
    assert read.feature_names == wells.feature_names
    np.testing.assert_array_equal(read.features.astype("f4"), wells.features.astype("f4"))
    columns = ["Metadata_Plate", "Metadata_Well"]
    pd.testing.assert_frame_equal(read.metadata[columns], wells.metadata[columns])
    if name == "wells.parquet":
        assert read.provenance == wells.provenance


def test_a_csv_of_cellprofiler_is_understood(tmp_path):
    (tmp_path / "w.csv").write_text(
        "Image_Metadata_Plate,Image_Metadata_Well,ImageNumber,Cells_Area,Nuclei_Area,Compound\n"
        "0012,A01,7,1.1,2,NA\n0012,A02,8,,3,\n"
    )
    said = []
    table = read_profiles(tmp_path / "w.csv", tell=said.append)
    assert table.feature_names == ["Cells_Area", "Nuclei_Area"]
    np.testing.assert_array_equal(table.features, [[1.1, 2], [np.nan, 3]])
    expected = {
        "Metadata_Plate": ["0012", "0012"],
        "Metadata_Well": ["A01", "A02"],
        "Metadata_ImageNumber": [7, 8],
        "Metadata_Compound": ["", ""],
    }
    assert table.metadata.to_dict("list") == expected
    [text] = said
    assert "w.csv has no label where it says so (Compound: NA (1))" in text
    named = read_profiles(tmp_path / "w.csv", keep_labels=["NA"])
    assert named.metadata.to_dict("list") == expected | {"Metadata_Compound": ["NA", ""]}


def test_anndata_of_embed_is_read(tmp_path):
    anndata = pytest.importorskip("anndata")
    cells = plate_of_cells("P1", 0)
    obs = cells.metadata.astype(str).astype("category")
    obs.index = obs.index.astype(str)
    made = {"feature_extraction_provenance": {"tool": "cpcnn", "model": "m", "sha256": "1"}}
    table = anndata.AnnData(cells.features, obs, pd.DataFrame(index=NAMES), uns=made)
    table.write_h5ad(tmp_path / "P1.h5ad")
    write_profiles(cells, tmp_path / "P1.parquet")
    found, expected = (well_profiles([tmp_path / f"P1.{kind}"]) for kind in ("h5ad", "parquet"))
    np.testing.assert_array_equal(found.features, expected.features)
    pd.testing.assert_frame_equal(found.metadata, expected.metadata)
    assert found.provenance["model_sha256"] == "1"


def test_anndata_that_is_not_installed_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "anndata", None)
    (tmp_path / "x.h5ad").write_bytes(b"")
    with pytest.raises(DependencyError, match="AnnData tables need anndata"):
        read_profiles(tmp_path / "x.h5ad")


def test_a_plate_map_is_joined_by_well_and_by_plate(folder):
    wells = well_profiles([folder])
    (folder / "one.csv").write_text("Well,Treatment\nB01,c\nA01,a\nA02,b\nZ99,unused\n")
    joined = join_platemap(wells, folder / "one.csv")
    assert joined.metadata["Metadata_Treatment"].tolist() == list("abcabc")
    rows = [f"{p},{w},{p}{w}" for p in ("P2", "P1") for w in ("A01", "A02", "B01")]
    (folder / "two.csv").write_text("\n".join(["Metadata_Plate,Metadata_Well,Treatment", *rows]))
    again = join_platemap(joined, folder / "two.csv")
    assert again.metadata["Metadata_Treatment"][4] == "P2A02"
    np.testing.assert_array_equal(again.features, wells.features)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Position,Treatment\nA01,a\n", "has no column Well; it has Metadata_Position"),
        ("Well,Treatment\nA01,a\nA01,b\n", "has the well A01 twice"),
        ("Well,Treatment\nA01,a\nA02,b\n", "2 of 6 wells are not in .*one.csv: B01, B01"),
    ],
)
def test_a_plate_map_that_does_not_fit_is_one_line(folder, text, message):
    (folder / "one.csv").write_text(text)
    with pytest.raises(ProfileError, match=message):
        join_platemap(well_profiles([folder]), folder / "one.csv")


def test_rows_are_chosen_by_expression(folder):
    wells = well_profiles([folder])
    chosen = choose_rows(wells, "Metadata_Well == 'A01' or (Plate == 'P2' and Well > 'A02')")
    assert chosen.tolist() == [True, False, False, True, False, True]
    for expression, message in (
        ("Dose == 1", "name 'Dose' is not defined; there are the columns Plate, Well"),
        ("Well ==", "cannot understand 'Well =='"),
        ("Well", "does not say yes or no for every row"),
        ("Well == 'C01'", "is true for none of the 6 rows"),
    ):
        with pytest.raises(ProfileError, match=message):
            choose_rows(wells, expression)


def test_tables_that_do_not_belong_together_are_one_line(folder):
    one = plate_of_cells("P1", 0)
    with pytest.raises(ProfileError, match="model is m and n"):
        join_rows([one, Profiles(one.features, one.metadata, NAMES, {"model": "n"})])
    unknown = Profiles(one.features, one.metadata, NAMES, {})
    with pytest.raises(ProfileError, match="model is m and n"):
        join_rows([unknown, one, Profiles(one.features, one.metadata, NAMES, {"model": "n"})])
    assert join_rows([unknown, one]).provenance == one.provenance
    fewer = Profiles(one.features[:, 1:], one.metadata, NAMES[1:], one.provenance)
    with pytest.raises(ProfileError, match=r"different features: 3 from .*_000, 2 from .*_001"):
        join_rows([one, fewer])
    with pytest.raises(ProfileError, match="the site P1/A01/1 is there twice"):
        well_profiles([folder, folder / "plates" / "P1.parquet"])
    wells = well_profiles([folder])
    write_profiles(wells, folder / "wells.csv")
    with pytest.raises(ProfileError, match="the well P1/A01 is there twice"):
        well_profiles([folder / "wells.csv", folder / "wells.csv"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.parquet", b"PAR1 no", "cannot be read as a table"),
        ("x.csv", b"Well,Area\nA01,1\n", "has no features: no column of numbers begins with"),
        ("x.csv", b"Well,Cells_Area\n", "has no"),
        ("x.csv", b"", "is empty; expected a table with a header"),
        (
            "x.csv.gz",
            gzip.compress(b"Well,Cells_Area\nA01,1\n", mtime=0)[:20],
            "cannot be read as a CSV table",
        ),
        ("x.xlsx", b"PK\x03\x04", "is an Excel workbook or another zip file; save it as CSV"),
        ("x.h5ad", b"no", "cannot be read as AnnData"),
    ],
)
def test_a_file_that_is_no_table_is_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ProfileError, match=message):
        read_profiles(tmp_path / name)


def test_a_folder_without_plates_is_one_line(tmp_path):
    with pytest.raises(ProfileError, match="there are no plates"):
        well_profiles([tmp_path])
    with pytest.raises(ProfileError, match="there is no table or folder"):
        well_profiles([tmp_path / "none"])
    (tmp_path / "x.csv").write_text("Place,Cells_Area\nx,2\n")
    with pytest.raises(ProfileError, match="there is no column Metadata_Plate, Metadata_Well"):
        well_profiles([tmp_path / "x.csv"])


def test_features_are_put_below_each_other_by_their_names():
    one, other = plate_of_cells("P1", 0), plate_of_cells("P2", 1)
    order = [2, 0, 1]
    names = [NAMES[place].removeprefix("Cells_") for place in order]
    shuffled = Profiles(other.features[:, order], other.metadata, names, other.provenance)
    found = join_rows([one, shuffled])
    assert found.feature_names == NAMES
    np.testing.assert_array_equal(found.features, join_rows([one, other]).features)
