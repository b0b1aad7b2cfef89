"""Cells in files to wells: the same as with the whole table in memory."""

import gzip

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import DependencyError, ProfileError, ProfileWarning
from cpcnn_core.expressions import choose_rows
from cpcnn_core.io import profile_files
from cpcnn_core.io.profile_files import read_profiles, write_profiles
from cpcnn_core.profiles.site_tables import join_rows
from cpcnn_core.profiles.wells import join_platemap, well_profiles
from cpcnn_core.schema.profiles import Profiles

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
    monkeypatch.setattr(profile_files, "ROWS_AT_A_TIME", rows)
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


def heard(folder, *arguments, **how):
    said = []
    return well_profiles(list(arguments) or [folder], tell=said.append, **how), said


def table_of_wells(plates=("P1", "P2")):
    random = np.random.default_rng(3)
    rows = [(p, f"{r}{c:02d}") for p in plates for r in "AB" for c in range(1, 13)]
    frame = pd.DataFrame(rows, columns=["Metadata_Plate", "Metadata_Well"])
    return frame.assign(**{name: random.normal(size=len(frame)) for name in NAMES})


MAPS = {
    "platemap.txt": {"sep": "\t"},
    "platemap.csv": {"sep": ";"},
    "utf16.csv": {"encoding": "utf-16"},
    "bom.csv": {"encoding": "utf-8-sig", "lineterminator": "\r\n"},
    "cr.csv": {"lineterminator": "\r"},
    "packed.tsv.gz": {"sep": "\t"},
}


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("well", ["Well", "well_position", "Metadata_Well", "WellID"])
@pytest.mark.parametrize(
    "spell",
    [
        str,
        str.lower,
        lambda well: f"{well[0]}{int(well[1:])}",
        lambda well: f" {well[0]}0{well[1:]}",
    ],
    ids=["A01", "a01", "A1", "A001"],
)
def test_plate_maps_however_they_are_written(folder, name, well, spell):
    wells = well_profiles([folder])
    table = pd.DataFrame({well: [*map(spell, ("A01", "A02", "B01", "H12"))]})
    table["Treatment"], table["plate_map_name"] = ["5 µM taxol", "DMSO", "a;b, c", "x"], "map1"
    table.to_csv(folder / name, index=False, **MAPS[name])
    joined = join_platemap(wells, folder / name)
    assert joined.metadata["Metadata_Treatment"].tolist() == ["5 µM taxol", "DMSO", "a;b, c"] * 2
    assert list(joined.metadata)[-2:] == ["Metadata_Treatment", "Metadata_plate_map_name"]
    assert joined.metadata["Metadata_Well"].tolist() == ["A01", "A02", "B01"] * 2


@pytest.mark.parametrize("plate", ["000123", "123", "123.0", "0123"])
def test_plates_of_any_spelling(folder, plate):
    rows = table_of_wells(("000123",))
    rows.to_csv(folder / "w.csv", index=False)
    wells = well_profiles([folder / "w.csv"])
    maps = pd.DataFrame({"Barcode": plate, "Well": rows["Metadata_Well"], "Dose": range(24)})
    maps.to_csv(folder / "one.csv", index=False)
    joined = join_platemap(wells, folder / "one.csv")
    assert joined.metadata["Metadata_Dose"].tolist() == list(range(24))
    assert set(joined.metadata["Metadata_Plate"]) == {"000123"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Well,Plate\nA01,P9\n",
            "none of the 6 wells is in .*one.csv: the profiles have P1/A01, the plate map P9/A01",
        ),
        (
            "Well\n",
            "none of the 6 wells is in .*one.csv: the profiles have A01, the plate map none",
        ),
        ("Well,Dose\nA01,1\na1,2\n", "has the well A01 in row 1 and a1 in row 2, which other"),
        ("Well,Dose\nA01,1\n,2\n", "one.csv has no well in row 2; fill it in"),
        ("Well,Dose\nA01,1\nNA,2\n", "one.csv has no well in row 2"),
        ("well_position,Well ID,Dose\nA01,A01,1\n", "has well_position, Well ID, which may all be"),
        ("Well,Dose,Metadata_Dose\nA01,1,2\n", "the columns Dose and Metadata_Dose, which mean"),
        ("Well,CellCount\nA01,5\nA02,5\nB01,5\n", "and the cells of the wells are counted already"),
        ("Well,Dose\nA01,1\nA02\nB01,1\n", "fewer values in line 3"),
        ("Well,Dose\nA01,1,5\n", "has '5' in row 1 of its column 3, which has no name"),
        ("Well Dose\nA01 1\n", "has no column Well; it has Metadata_Well Dose"),
        ("", "is empty"),
    ],
)
def test_a_plate_map_that_is_wrong_is_named(folder, text, message):
    (folder / "one.csv").write_text(text)
    with pytest.raises(ProfileError, match=message) as raised:
        join_platemap(well_profiles([folder]), folder / "one.csv")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_doses_of_a_plate_map_are_numbers_and_its_names_texts(folder, ending):
    wells = well_profiles([folder])
    table = pd.DataFrame(
        {
            "Well": ["A01", "A02", "B01"],
            "Dose": ["10", "0.5", "NA"],
            "Compound_ID": ["007", "12", "13"],
            "Gene": ["7157", "672", ""],
            "Replicates": ["3", "4", "5"],
        }
    )
    path = folder / f"one.{ending}"
    table.to_csv(path, index=False) if ending == "csv" else table.to_parquet(path)
    said = []
    metadata = join_platemap(wells, path, tell=said.append).metadata
    np.testing.assert_array_equal(metadata["Metadata_Dose"], [10, 0.5, np.nan] * 2)
    assert metadata["Metadata_Compound_ID"].tolist() == ["007", "12", "13"] * 2
    assert metadata["Metadata_Gene"].tolist() == ["7157", "672", ""] * 2
    assert metadata["Metadata_Replicates"].tolist() == [3, 4, 5] * 2
    assert "one." in said[0]
    assert "says nothing of some wells: Dose for 2 of 6 (NA), Gene for 2 of 6" in said[0]


@pytest.mark.parametrize("text", ["NA", "nan", "None", "NULL"])
def test_labels_of_a_plate_map_that_are_none(folder, text):
    wells = well_profiles([folder])
    (folder / "one.csv").write_text(f"Well,Treatment\nA01,taxol\nA02,{text}\nB01,NA@NA\n")
    said = []
    joined = join_platemap(wells, folder / "one.csv", tell=said.append)
    assert joined.metadata["Metadata_Treatment"].tolist() == ["taxol", "", "NA@NA"] * 2
    assert f"Treatment for 2 of 6 ({text})" in said[0]
    kept = join_platemap(wells, folder / "one.csv", keep_labels=[text])
    assert kept.metadata["Metadata_Treatment"].tolist() == ["taxol", text, "NA@NA"] * 2


@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz", "parquet", "feather"])
def test_counts_of_sites_add(folder, ending):
    sites = pd.concat([table_of_wells().assign(Metadata_Site=site) for site in (1, 2)])
    sites["Metadata_CellCount"] = np.arange(len(sites)) % 7 + 4
    path = folder / f"s.{ending}"
    if ending == "parquet":
        sites.to_parquet(path)
    elif ending == "feather":
        sites.reset_index(drop=True).to_feather(path)
    else:
        sites.to_csv(path, index=False, sep="\t" if ending == "tsv" else ",")
    wells = well_profiles([path])
    expected = sites.groupby(["Metadata_Plate", "Metadata_Well"])["Metadata_CellCount"].sum()
    found = wells.metadata.set_index(["Metadata_Plate", "Metadata_Well"])["Metadata_CellCount"]
    assert found.to_dict() == expected.to_dict()
    sites["Metadata_CellCount"] = "many"
    sites.to_csv(folder / "s.csv", index=False)
    with pytest.raises(
        ProfileError, match=r"s.csv has 'many' in Metadata_CellCount; expected numbers"
    ):
        well_profiles([folder / "s.csv"])


def test_a_feature_that_no_well_has_costs_no_well(folder):
    table = table_of_wells().assign(Cells_RWC_1=np.nan)
    table.to_csv(folder / "w.csv", index=False)
    wells, said = heard(folder, folder / "w.csv")
    assert said == ["1 of 4 features is left out, as no well has it: Cells_RWC_1"]
    assert wells.feature_names == NAMES
    np.testing.assert_array_equal(wells.features, table[NAMES])
    with pytest.warns(ProfileWarning, match="no well has it: Cells_RWC_1"):
        well_profiles([folder / "w.csv"])


@pytest.mark.parametrize("rows", [1, 7, 10_000])
def test_a_feature_that_no_cell_has_costs_no_cell(folder, rows, monkeypatch):
    monkeypatch.setattr(profile_files, "ROWS_AT_A_TIME", rows)
    cells = plate_of_cells("P1", 0).to_frame()
    expected = well_profiles([folder / "plates" / "P1.parquet"])
    cells.assign(Cells_RWC_1=np.nan).to_parquet(folder / "c.parquet")
    wells, said = heard(folder, folder / "c.parquet")
    assert said == ["1 of 4 features is left out, as no cell has it: Cells_RWC_1"]
    np.testing.assert_allclose(wells.features, expected.features, rtol=0, atol=1e-14)
    assert wells.metadata["Metadata_CellCount"].tolist() == [10] * 3


@pytest.mark.parametrize("rows", [1, 4, 11, 10_000])
def test_cells_that_are_left_out_are_said_well_by_well(folder, rows, monkeypatch):
    monkeypatch.setattr(profile_files, "ROWS_AT_A_TIME", rows)
    cells = plate_of_cells("P1", 0).to_frame()
    # A whole well, half a well, and one cell.
    cells.loc[10:19, NAMES[1]] = np.nan
    cells.loc[20:21, NAMES[0]] = np.inf
    cells.loc[2, NAMES[2]] = np.nan
    cells.to_parquet(folder / "c.parquet")
    wells, [said] = heard(folder, folder / "c.parquet")
    left = cells[np.isfinite(cells[NAMES]).all(axis=1)].astype(dict.fromkeys(NAMES, float))
    keys = ["Metadata_Plate", "Metadata_Well"]
    expected = left.groupby([*keys, "Metadata_Site"])[NAMES].median().groupby(keys).mean()
    np.testing.assert_allclose(wells.features, expected, rtol=0, atol=1e-14)
    assert wells.metadata["Metadata_CellCount"].tolist() == [9, 8]
    assert said.startswith("13 of 30 cells are left out, for missing or infinite values of ")
    # In whatever part they are.
    assert "Cells_CPCNN_001 (10), Cells_CPCNN_000 (2), Cells_CPCNN_002 (1)" in said
    for text in ("P1/A01 (1 of 10)", "P1/A02 (10 of 10)", "P1/B01 (2 of 10)"):
        assert text in said
    assert said.endswith("; nothing is left of P1/A02")


def test_most_wells_are_not_left_out_for_missing_values(folder):
    table = table_of_wells()
    table.loc[:30, NAMES[1]] = np.nan
    table.to_csv(folder / "w.csv", index=False)
    with pytest.raises(ProfileError, match=r"31 of 48 wells would be left out, .*_001 .31.; leave"):
        heard(folder, folder / "w.csv")
    wells, said = heard(folder, folder / "w.csv", drop_features=[NAMES[1]])
    assert (len(wells.metadata), wells.feature_names, said) == (48, [NAMES[0], NAMES[2]], [])


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_pandas_own_types_from_end_to_end(folder, backend):
    table = table_of_wells()
    table["Metadata_Treatment"] = ["DMSO", "a", None, "b"] * 12
    table["Metadata_CellCount"] = range(48)
    table.to_parquet(folder / "plain.parquet")
    own = table.convert_dtypes(dtype_backend=backend).astype({"Metadata_Plate": "category"})
    own.to_parquet(folder / "own.parquet")
    expected, found = (well_profiles([folder / f"{name}.parquet"]) for name in ("plain", "own"))
    np.testing.assert_array_equal(found.features, expected.features)
    pd.testing.assert_frame_equal(found.metadata, expected.metadata)
    in_memory = Profiles(expected.features, own.iloc[:, [0, 1, 5, 6]], NAMES)
    assert choose_rows(in_memory, "Treatment == 'DMSO'").sum() == 12
    assert choose_rows(in_memory, "CellCount == '7'").sum() == 1
    joined = join_rows([in_memory, in_memory])
    assert joined.texts("Metadata_Treatment").tolist() == ["DMSO", "a", "", "b"] * 24


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ("A01", "a1", "P1/A01 in .*w1.csv and P1/a1 in .*w2.csv are the same well; leave one out"),
        ("A01", "A01", "the well P1/A01 is there twice, in .*w1.csv and in .*w2.csv; leave one"),
    ],
)
def test_a_well_of_two_tables_is_refused_with_both(folder, one, other, message):
    for name, well in (("w1", one), ("w2", other)):
        rows = table_of_wells()[:1].assign(Metadata_Well=well)
        rows.to_csv(folder / f"{name}.csv", index=False)
    with pytest.raises(ProfileError, match=message):
        well_profiles([folder / "w1.csv", folder / "w2.csv"])


def test_wells_and_their_own_cells_are_refused(folder):
    wells = well_profiles([folder])
    write_profiles(wells, folder / "plates" / "wells.parquet")
    with pytest.raises(
        ProfileError, match=r"the well P1/A01 is there twice, in .*P1.parquet and in"
    ):
        well_profiles([folder])
    found, _ = heard(folder, leave_out=[folder / "plates" / "wells.parquet"])
    pd.testing.assert_frame_equal(found.metadata, wells.metadata)


def test_plates_in_folders_of_their_own(folder):
    table = table_of_wells(("P1", "P2", "P3"))
    formats = (("P1", "csv.gz"), ("P2", "tsv"), ("P3", "parquet"))
    for plate, ending in formats:
        place = folder / "profiles" / "batch" / plate
        place.mkdir(parents=True)
        rows, path = table[table["Metadata_Plate"] == plate], place / f"{plate}.{ending}"
        if ending == "parquet":
            rows.to_parquet(path)
        else:
            rows.to_csv(path, index=False, sep="\t" if ending == "tsv" else ",")
    for path in ("profiles", "profiles/batch", "profiles/**/P*"):
        wells = well_profiles([folder / path])
        np.testing.assert_array_equal(wells.features, table[NAMES])
        assert wells.metadata["Metadata_Plate"].tolist() == table["Metadata_Plate"].tolist()


def test_an_empty_plate_is_said_and_empty_plates_are_refused(folder):
    empty = plate_of_cells("P3", 2).select(np.zeros(30, bool))
    write_profiles(empty, folder / "plates" / "P3.parquet")
    wells, [said] = heard(folder)
    assert "P3.parquet has no rows" in said
    assert len(wells.metadata) == 6
    with pytest.raises(ProfileError, match=r"there are no rows in .*P3.parquet"):
        heard(folder, folder / "plates" / "P3.parquet")


def test_a_column_of_numbers_in_one_table_and_texts_in_another_is_texts(folder):
    one, other = table_of_wells(("P1",)), table_of_wells(("P2",))
    one.assign(Metadata_Dose="10").to_csv(folder / "w1.csv", index=False)
    other.assign(Metadata_Dose="high").to_csv(folder / "w2.csv", index=False)
    wells = well_profiles([folder / "w1.csv", folder / "w2.csv"])
    assert wells.metadata["Metadata_Dose"].tolist() == ["10"] * 24 + ["high"] * 24
    assert choose_rows(wells, "Dose == 10").sum() == 24
