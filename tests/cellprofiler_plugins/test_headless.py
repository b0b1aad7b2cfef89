"""Whole pipelines in real headless CellProfiler, against the core called directly."""

import csv
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cpcnn_core import embed_cells, feature_names, load_model
from cpcnn_core.cli.main import main
from cpcnn_core.errors import HostError

CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
IMAGES = {channel: f"Orig{channel}" for channel in CHANNELS}
FEATURES = feature_names(672)
REAL = Path(__file__).parents[2].parent / "shared" / "data" / "images" / "cpjump1_examples"


def deep(table):
    return table[[c for c in table.columns if "CPCNN_" in c]]


@pytest.fixture(scope="module")
def real_run(run_job, write_load_data, tmp_path_factory):
    if not REAL.is_dir():
        pytest.skip(f"the real Cell Painting fields are not here ({REAL.name})")
    folder = tmp_path_factory.mktemp("real")
    with (REAL / "index.csv").open() as file:
        sites = [{c: REAL / row[c] for c in CHANNELS} for row in csv.DictReader(file)]
    cells = {"objects": "Cells", "centers": "Nuclei", "model": "untrained-efficientnet-b0"}
    nuclei = {"objects": "Nuclei", "mask": True, "model": "untrained-efficientnet-b0"}
    job = {
        "load_data": write_load_data(folder / "load.csv", sites),
        "cnn": [{**cells, "images": IMAGES}, {**nuclei, "images": IMAGES}],
        "held": str(folder / "held"),
        "database": {"file": "measurements.db"},
    }
    return run_job(folder, job)


@pytest.fixture(scope="module")
def tables(real_run):
    return {name: pd.read_csv(real_run / f"{name}.csv") for name in ("Image", "Cells", "Nuclei")}


@pytest.mark.parametrize("name", ["Cells", "Nuclei"])
def test_exactly_672_features_beside_the_classical_ones_and_none_missing(tables, name):
    table = tables[name]
    assert list(deep(table).columns) == FEATURES
    assert {"AreaShape_Area", "Intensity_MeanIntensity_OrigDNA"} <= set(table.columns)
    assert len(table) > 100
    assert table["ImageNumber"].nunique() == 3
    assert not deep(table).isna().to_numpy().any()


@pytest.mark.parametrize("name", ["Cells", "Nuclei"])
def test_the_database_holds_the_same(real_run, tables, name):
    with sqlite3.connect(real_run / "measurements.db") as connection:
        table = pd.read_sql(f"select * from MyExpt_Per_{name}", connection)
    connection.close()
    assert list(deep(table).columns) == [f"{name}_{feature}" for feature in FEATURES]
    assert f"{name}_AreaShape_Area" in table.columns
    np.testing.assert_array_equal(table["ImageNumber"], tables[name]["ImageNumber"])
    np.testing.assert_allclose(deep(table), deep(tables[name]), rtol=0, atol=1e-12)


def held(folder, tables, number, what):
    """Read the pixel data that CellProfiler held, as SaveImages wrote it."""
    stem = Path(tables["Image"].set_index("ImageNumber").loc[number, "FileName_OrigDNA"]).stem
    return np.load(folder / "held" / f"{stem}_{what}.npy")


def test_cells_equal_the_core_on_the_pixels_that_cellprofiler_held(real_run, tables):
    model = load_model("untrained-efficientnet-b0", device="cpu")
    for number, cells in tables["Cells"].groupby("ImageNumber"):
        image = np.stack([held(real_run, tables, number, IMAGES[c]) for c in CHANNELS])
        nuclei = tables["Nuclei"].query("ImageNumber == @number").set_index("ObjectNumber")
        centers = nuclei.loc[cells["Parent_Nuclei"], ["Location_Center_Y", "Location_Center_X"]]
        expected = embed_cells(model, image, centers.to_numpy())
        np.testing.assert_allclose(deep(cells), expected, rtol=0, atol=1e-5)


def test_masked_nuclei_equal_the_core_too(real_run, tables):
    model = load_model("untrained-efficientnet-b0", device="cpu")
    for number, nuclei in tables["Nuclei"].groupby("ImageNumber"):
        image = np.stack([held(real_run, tables, number, IMAGES[c]) for c in CHANNELS])
        expected = embed_cells(
            model,
            image,
            nuclei[["Location_Center_Y", "Location_Center_X"]].to_numpy(),
            labels=held(real_run, tables, number, "NucleiLabels").astype(np.int32),
            label_ids=nuclei["ObjectNumber"].to_numpy(),
        )
        np.testing.assert_allclose(deep(nuclei), expected, rtol=0, atol=1e-5)


def test_the_pixel_scale_does_not_matter(real_run, tables):
    model = load_model("untrained-efficientnet-b0", device="cpu")
    image = np.stack([held(real_run, tables, 1, IMAGES[c]) for c in CHANNELS])
    assert image.max() <= 1
    raw = np.rint(image.astype(np.float64) * 65535).astype(np.uint16)
    centers = np.array([[300.0, 400.0], [512.5, 700.25], [20.0, 1000.0]])
    ours, theirs = embed_cells(model, raw, centers), embed_cells(model, image, centers)
    # The 1e-7 in the normaliser's denominator counts for more on the smaller scale.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("objects", ["Nuclei.csv", "measurements.db"])
def test_cpcnn_embed_gives_the_same_from_the_files_and_cellprofilers_positions(
    real_run, tables, tmp_path, objects
):
    command = ["embed", "--load-data", str(real_run / "load.csv"), "--device", "cpu"]
    command += ["--objects", str(real_run / objects), "--out", str(tmp_path)]
    assert main([*command, "--model", "untrained-efficientnet-b0"]) == 0
    cells, nuclei = tables["Cells"], pd.read_parquet(tmp_path / "plates" / "P1.parquet")
    nuclei["ImageNumber"] = nuclei["Metadata_Site"].astype(int)
    keys = ["ImageNumber", "Metadata_ObjectNumber"]
    theirs = nuclei.set_index(keys).loc[
        pd.MultiIndex.from_frame(cells[["ImageNumber", "Parent_Nuclei"]], names=keys)
    ]
    # The files hold 16 bits, CellProfiler the same from 0 to 1: see the pixel scale above.
    np.testing.assert_allclose(deep(theirs), deep(cells), rtol=2e-5, atol=1e-4)


def test_the_model_is_recorded(real_run):
    with sqlite3.connect(real_run / "measurements.db") as connection:
        row = pd.read_sql("select * from MyExpt_Per_Experiment", connection)
    connection.close()
    sheet = pd.read_csv(real_run / "Experiment.csv", index_col="Key")["Value"]
    assert sheet["CPCNN_Model_Cells"] == "untrained-efficientnet-b0"
    assert len(row) == 1


def test_the_database_has_the_columns_that_only_the_library_can_tell(
    run_job, write_load_data, made_up_sites, library_folder, tmp_path
):
    """CellProfiler lists columns before the module can ask what its library holds."""
    cnn = {"model": "untrained-efficientnet-b0", "images": IMAGES, "treatment": "taxol"}
    job = {
        "load_data": write_load_data(tmp_path / "load.csv", made_up_sites[:2]),
        "classical": False,
        "cnn": [{**cnn, "library": str(library_folder / "profiles.parquet")}],
        "database": {"file": "m.db"},
    }
    run_job(tmp_path, job)
    with sqlite3.connect(tmp_path / "m.db") as connection:
        cells, image = (
            pd.read_sql(f"select * from MyExpt_Per_{table}", connection)
            for table in ("Cells", "Image")
        )
    connection.close()
    assert np.isfinite(cells[["Cells_CPCNNLike_Controls", "Cells_CPCNNLike_Treatment"]]).all(None)
    ranks = [f"Image_CPCNNNearest_{what}Value{rank}_Cells" for what in "PQ" for rank in (1, 2)]
    assert ((image[ranks] > 0) & (image[ranks] <= 1)).all(axis=None)
    assert np.isfinite(image["Image_CPCNNNearest_LikeControls_Cells"]).all()
    assert set(image["Image_CPCNNNearest_Treatment1_Cells"]) <= {"taxol", "nocodazole"}


# ---- what goes wrong in the middle of a run ----------------------------------------------

DEEDS = {2: "nan", 4: "kill", 6: "size", 8: "remove"}
SITES = 9


@pytest.fixture(scope="module")
def measure_sites(run_job, write_load_data, made_up_sites, small_model_file):
    """Return a function that measures the first sites, does harm, and returns the cells."""

    def measure(folder, deeds, *arguments, model_file=small_model_file):
        job = {
            "load_data": write_load_data(folder / "load.csv", made_up_sites[:SITES]),
            "classical": False,
            "sabotage": {"deeds": deeds, "model_file": str(model_file)},
            "cnn": [{"centers": "Nuclei", "model_file": str(model_file), "images": IMAGES}],
        }
        run_job(folder, job, *arguments)
        return pd.read_csv(folder / "Cells.csv")

    return measure


@pytest.mark.long
def test_only_the_harmed_image_sets_lose_their_features(measure_sites, tmp_path):
    for name in ("unharmed", "harmed"):
        (tmp_path / name).mkdir()
    unharmed = measure_sites(tmp_path / "unharmed", "")
    deeds = " ".join(f"{number}={deed}" for number, deed in DEEDS.items())
    harmed = measure_sites(tmp_path / "harmed", deeds, "--always-continue")
    keys = ["ImageNumber", "ObjectNumber", "Parent_Nuclei"]
    pd.testing.assert_frame_equal(harmed[keys], unharmed[keys])
    hit = harmed["ImageNumber"].isin(DEEDS).to_numpy()
    assert hit.any()
    assert deep(harmed)[hit].isna().all(axis=None)
    np.testing.assert_array_equal(deep(harmed)[~hit], deep(unharmed)[~hit])
    log = (tmp_path / "harmed" / "cellprofiler.log").read_text()
    assert "OrigER (for ER) has 1 pixels that are not numbers" in log
    assert "ended with exit status -9" in log
    assert "OrigER (for ER) is 152 x 160 pixels" in log
    assert "there is no model file" in log


def test_without_leave_to_continue_an_error_ends_the_run_and_says_so(measure_sites, tmp_path):
    with pytest.raises(HostError, match=r"OrigER .for ER. has 1 pixels that are not numbers"):
        measure_sites(tmp_path, "1=nan")


def test_a_missing_model_stops_the_run_before_the_first_image_set(measure_sites, tmp_path):
    with pytest.raises(HostError, match=r"cannot run: Select the model: there is no model file"):
        measure_sites(tmp_path, "", model_file=tmp_path / "none.safetensors")
    assert not (tmp_path / "Cells.csv").exists()


def test_too_many_columns_for_sqlite_stop_the_run_and_say_what_to_choose(
    run_job, write_load_data, made_up_sites, tmp_path
):
    cnn = {"model": "untrained-efficientnet-b0", "images": IMAGES}
    job = {
        "load_data": write_load_data(tmp_path / "load.csv", made_up_sites),
        "classical": False,
        "cnn": [{**cnn, "objects": "Cells"}, {**cnn, "objects": "Nuclei"}],
        "database": {"file": "m.db", "means": True},
    }
    with pytest.raises(HostError, match=r"SQLite takes 2000. In ExportToDatabase, switch off the"):
        run_job(tmp_path, job)
