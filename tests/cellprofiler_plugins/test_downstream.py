"""The field's programs read what a pipeline with a library exports, the similarities included."""

import shutil
import sqlite3

import numpy as np
import pandas as pd
import pytest

from cpcnn_core import feature_names
from cpcnn_core.io.profile_files import read_profiles
from cpcnn_core.profiles.open_library import open_library

from ..cytotable_conversion import cytotable_convert
from .conftest import CHANNELS

for package in ("cytotable", "pycytominer"):
    pytest.importorskip(package)

SITES = 4
DEEP = feature_names(672, compartment="Cells")
LIKE = ["Cells_CPCNNLike_Controls", "Cells_CPCNNLike_Treatment"]
WELL = ["Metadata_Plate", "Metadata_Well"]
# Warnings of other people's programs.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def exported(run_job, write_load_data, made_up_sites, library_folder, tmp_path_factory):
    """Spreadsheets, and a database as CytoTable wants it: .sqlite, no prefix, all compartments."""
    folder = tmp_path_factory.mktemp("downstream")
    cells = {
        "centers": "Nuclei",
        "model": "untrained-efficientnet-b0",
        "images": {channel: f"Orig{channel}" for channel in CHANNELS},
        "library": str(library_folder / "profiles.parquet"),
        "treatment": "taxol",
    }
    job = {
        "load_data": write_load_data(folder / "load.csv", made_up_sites[:SITES]),
        "cytoplasm": True,
        "cnn": [cells],
        "database": {"file": "measurements.sqlite", "prefix": False},
    }
    return run_job(folder, job)


def read(folder, table):
    with sqlite3.connect(folder / "measurements.sqlite") as connection:
        frame = pd.read_sql(f"select * from {table}", connection)
    connection.close()
    return frame


@pytest.fixture(scope="module")
def cells(exported):
    """Every cell as CellProfiler's own database has it, with the plate and the well."""
    images = read(exported, "Per_Image").set_index("ImageNumber")
    cells = read(exported, "Per_Cells")
    for name in WELL:
        cells[name] = cells["ImageNumber"].map(images[f"Image_{name}"])
    cells = cells.sort_values(["ImageNumber", "Cells_Number_Object_Number"], ignore_index=True)
    assert len(cells) == sum(2 + number % 3 for number in range(1, SITES + 1))
    return cells


@pytest.fixture(scope="module")
def measured(cells):
    """Name what was measured: everything but numbers of images and objects."""
    keys = ["ImageNumber", "Cells_Number_Object_Number", "Cells_Parent_Nuclei"]
    return cells.columns.drop([*keys, *WELL])


def test_the_similarities_are_those_of_the_features_beside_them(exported, cells, library_folder):
    library = np.load(library_folder / "wells.npz")
    wells, treatment = library["wells"].astype(float), library["treatment"]
    controls, taxol = wells[treatment == "DMSO"], wells[treatment == "taxol"].mean(axis=0)
    away = np.linalg.norm(cells[DEEP] - controls.mean(axis=0), axis=1)
    spread = np.median(np.linalg.norm(controls - controls.mean(axis=0), axis=1))
    np.testing.assert_allclose(cells[LIKE[0]], 1 / (1 + away / spread), rtol=1e-5)
    cosine = cells[DEEP] @ taxol / np.linalg.norm(cells[DEEP], axis=1) / np.linalg.norm(taxol)
    np.testing.assert_allclose(cells[LIKE[1]], cosine, atol=1e-6)
    sheet = pd.read_csv(exported / "Cells.csv").add_prefix("Cells_")
    np.testing.assert_allclose(sheet[DEEP + LIKE], cells[DEEP + LIKE], rtol=0, atol=1e-12)


def test_our_profiles_leave_the_similarities_out(exported):
    profiles = read_profiles(exported / "Cells.csv", ["CPCNN"])
    assert profiles.feature_names == feature_names(672)
    assert {"Metadata_CPCNNLike_Controls", "Metadata_CPCNNLike_Treatment"} < {*profiles.metadata}


def test_both_exports_name_the_same_nearest_treatments(exported):
    images, sheet = read(exported, "Per_Image"), pd.read_csv(exported / "Image.csv")
    nearest = [name for name in sheet if name.startswith("CPCNNNearest_")]
    assert len(nearest) == 13
    assert set(sheet["CPCNNNearest_Treatment1_Cells"]) <= {"taxol", "nocodazole"}
    base = images[[f"Image_{name}" for name in nearest]].set_axis(nearest, axis=1)
    # There are two treatments: the third has no name and no similarity in either file.
    pd.testing.assert_frame_equal(base.replace("", np.nan), sheet[nearest], check_dtype=False)


def test_the_p_values_are_those_of_the_core(exported, cells, library_folder):
    sheet = pd.read_csv(exported / "Image.csv")
    library = open_library(library_folder / "profiles.parquet", "Treatment").library
    wells = library.wells.texts("Metadata_Well")
    for number, rows in cells.groupby("ImageNumber"):
        row = sheet.set_index("ImageNumber").loc[number]
        # The library holds controls of the same plate and wells: they are not compared with.
        own = np.flatnonzero(wells == row["Metadata_Well"])
        assert library.controls[own].tolist() == [True]
        features = np.median(rows[library.wells.feature_names], axis=0, keepdims=True)
        expected = library.nearest(features, 2, significance=True, rows=own)
        for rank, one in enumerate(expected.itertuples(), start=1):
            assert row[f"CPCNNNearest_Treatment{rank}_Cells"] == one.Metadata_Treatment
            told = [row[f"CPCNNNearest_{what}{rank}_Cells"] for what in ("PValue", "QValue")]
            assert told == pytest.approx([one.p_value, one.q_value], abs=1e-12)
        assert np.isnan(row["CPCNNNearest_PValue3_Cells"])
    run = pd.read_csv(exported / "Experiment.csv", index_col="Key")["Value"]
    statement = "p-values compare with 12 control wells, drawn plate by plate, held out in 3 folds"
    assert run["CPCNN_PValues_Cells"].startswith(statement)


@pytest.fixture(scope="module", params=["csv", "sqlite"])
def converted(request, exported, tmp_path_factory):
    """One row per cell, as CytoTable puts CellProfiler's tables together."""
    folder = tmp_path_factory.mktemp(request.param)
    source = folder / "source"
    source.mkdir()
    for path in exported.glob(f"*.{request.param}"):
        shutil.copy(path, source)
    preset = {"csv": "cellprofiler_csv", "sqlite": "cellprofiler_sqlite_pycytominer"}
    out = cytotable_convert(
        folder,
        source_path=str(source),
        source_datatype=request.param,
        preset=preset[request.param],
    )
    keys = ["Metadata_ImageNumber", "Metadata_Cytoplasm_Parent_Cells"]
    return pd.read_parquet(out).sort_values(keys, ignore_index=True)


def test_cytotable_hands_on_every_measurement_of_every_cell(converted, cells, measured):
    assert converted["Metadata_ImageNumber"].tolist() == cells["ImageNumber"].tolist()
    assert set(DEEP + LIKE) < set(measured)
    np.testing.assert_allclose(converted[measured], cells[measured], rtol=0, atol=1e-12)


def test_pycytominer_takes_the_similarities_for_features_until_they_are_dropped(
    converted, cells, measured
):
    from pycytominer import aggregate, feature_select, normalize

    converted = converted.assign(**{name: cells[name] for name in WELL})
    wells = aggregate(converted, strata=WELL, features="infer", operation="median")
    assert set(measured) < set(wells)
    expected = cells.groupby(WELL)[list(measured)].median()
    np.testing.assert_allclose(wells[measured], expected, rtol=0, atol=1e-12)

    wells = wells.drop(columns=wells.filter(like="CPCNNLike_").columns)
    scaled = normalize(wells, features="infer", meta_features="infer", method="standardize")
    kept = feature_select(scaled, features="infer", operation=["drop_na_columns"])
    assert [name for name in kept if "CPCNN" in name] == DEEP
    deep = expected[DEEP]
    np.testing.assert_allclose(kept[DEEP], (deep - deep.mean()) / deep.std(ddof=0), atol=1e-6)


def test_pycytominer_reads_the_database_itself(exported, cells, tmp_path):
    from pycytominer.cyto_utils.cells import SingleCells

    # Tables and columns have the names that cytominer-database gave them.
    path = shutil.copy(exported / "measurements.sqlite", tmp_path)
    with sqlite3.connect(path) as connection:
        for name in ("Cells", "Nuclei", "Cytoplasm"):
            number = f"{name}_Number_Object_Number as ObjectNumber"
            connection.execute(f"create view {name} as select {number}, * from Per_{name}")
        place = [f"Image_{name} as {name}" for name in (*WELL, "Metadata_Site")]
        place = ", ".join(["ImageNumber", *place])
        connection.execute(f"create view Image as select {place} from Per_Image")
    connection.close()
    database = SingleCells(
        f"sqlite:///{path}",
        merge_cols=["ImageNumber"],
        image_cols=["ImageNumber", "Metadata_Site"],
    )
    found = database.merge_single_cells()
    found = found.sort_values(["Metadata_ImageNumber", "Metadata_ObjectNumber"])
    np.testing.assert_array_equal(found[DEEP + LIKE], cells[DEEP + LIKE])
    wells = database.aggregate_profiles()
    expected = cells.groupby(WELL)[DEEP + LIKE].median()
    np.testing.assert_allclose(wells[DEEP + LIKE], expected, rtol=0, atol=1e-12)
