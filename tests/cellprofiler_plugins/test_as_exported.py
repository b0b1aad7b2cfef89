"""Tables of CellProfiler's export modules with their default settings, read by cpcnn.

Every cell of ``cpcnn embed`` and ``cpcnn crops`` has to be the one that CellProfiler measured
at that site: features and positions are compared with the module's own, by the names of the
images' files, which both know.
"""

import shutil

import numpy as np
import pandas as pd
import pytest

from cpcnn_core import feature_names
from cpcnn_core.cli.main import main
from cpcnn_core.crop_store.store import open_crops

CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
# Of a small network: what CellProfiler takes to write 672 of them is its own time.
FEATURES = feature_names(6)
# Two plates, measured in turn; CellProfiler writes 123 for 000123 and 1 for 01.
SITES = [
    (plate, well, site)
    for well in ("A01", "A02", "B03")
    for site in ("01", "02")
    for plate in ("000123", "000456")
]
KEYS = ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]
PLACE = ["Metadata_Location_Center_X", "Metadata_Location_Center_Y"]


@pytest.fixture(scope="module")
def screen(made_up_sites, tmp_path_factory):
    """LoadData's table of twelve sites."""
    rows = []
    for key, site in zip(SITES, made_up_sites, strict=False):
        row = dict(zip(KEYS, key, strict=True))
        for channel in CHANNELS:
            row[f"PathName_Orig{channel}"] = str(site[channel].parent)
            row[f"FileName_Orig{channel}"] = site[channel].name
        rows.append(row)
    path = tmp_path_factory.mktemp("screen") / "load_data.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


RUNS = {
    "as it comes": ({"spreadsheet": "as it comes", "database": {"file": "run.db"}}, ()),
    "grouped": (
        {
            "spreadsheet": "as it comes",
            "group_by": "Plate",
            "database": {"file": "run.db", "tables": "Single object table"},
        },
        (),
    ),
    "combined": ({"spreadsheet": "combined"}, ()),
    "with metadata": ({"spreadsheet": "with metadata"}, ()),
    "rows": ({"spreadsheet": "as it comes", "rows": [3, 9]}, ()),
    "range": ({"spreadsheet": "as it comes", "database": {"file": "run.db"}}, ("-f", 3, "-l", 9)),
}
TABLES = {
    "as it comes": ["MyExpt_Nuclei.csv", "run.db", "MyExpt_Nuclei.csv.gz", "one folder per plate"],
    "grouped": ["MyExpt_Nuclei.csv", "run.db"],
    "combined": ["MyExpt_Cells.csv"],
    "with metadata": ["MyExpt_Nuclei.txt", "alone/MyExpt_Nuclei.txt"],
    "rows": ["MyExpt_Nuclei.csv"],
    "range": ["MyExpt_Nuclei.csv", "run.db"],
}


@pytest.fixture(scope="module")
def runs(run_job, screen, small_model_file, tmp_path_factory):
    """CellProfiler's output folders by the kind of run; each is made when it is asked for."""
    images = {channel: f"Orig{channel}" for channel in CHANNELS}
    cnn = {"objects": "Nuclei", "centers": "Nuclei", "images": images}
    cnn["model_file"] = str(small_model_file)
    made = {}

    def run(kind):
        if kind not in made:
            job, arguments = RUNS[kind]
            folder = tmp_path_factory.mktemp(kind.replace(" ", "_"))
            job = {"load_data": str(screen), "cnn": [cnn], "classical": False, **job}
            made[kind] = run_job(folder, job, *map(str, arguments))
        return made[kind]

    return run


def measured(folder):
    """Return what the module measured, with the site of every object by its file's name."""
    files = {f"site{number}_DNA.tif": key for number, key in enumerate(SITES, start=1)}
    images = pd.read_csv(next(folder.glob("MyExpt_Image.*")), sep=None, engine="python")
    site_of = images.set_index("ImageNumber")["FileName_OrigDNA"].map(files)
    path = next(folder.glob("MyExpt_Nuclei.*[vt]"), folder / "MyExpt_Cells.csv")
    lines = path.read_text().splitlines()
    mark = "\t" if "\t" in lines[0] else ","
    if lines[0].startswith("Image,"):
        table = pd.read_csv(path, header=[0, 1])
        # Copied whole: pandas warns of what is read in many pieces.
        nuclei = table["Nuclei"].copy()
        table = nuclei.assign(ImageNumber=table["Image"]["ImageNumber"])
        table = table.rename(columns={"Number_Object_Number": "ObjectNumber"})
        table = table[table["ObjectNumber"].notna()]
    else:
        table = pd.read_csv(path, sep=mark)
    keys = pd.DataFrame([site_of[n] for n in table["ImageNumber"]], columns=KEYS)
    table = table.reset_index(drop=True)
    places = table[["Location_Center_X", "Location_Center_Y"]].set_axis(PLACE, axis=1)
    objects = table["ObjectNumber"].astype(int).rename("Metadata_ObjectNumber")
    return pd.concat([keys, objects, places, table[FEATURES]], axis=1)


def prepared(folder, name):
    """Return where the objects are to be read from, made from the run's own files."""
    if name.endswith(".gz"):
        for table in ("Nuclei", "Image"):
            frame = pd.read_csv(folder / f"MyExpt_{table}.csv", dtype=str, keep_default_na=False)
            frame.to_csv(folder / f"MyExpt_{table}.csv.gz", index=False)
    if name.startswith("alone"):
        (folder / "alone").mkdir()
        shutil.copy(folder / "MyExpt_Nuclei.txt", folder / name)
    if name == "one folder per plate":
        images = pd.read_csv(folder / "MyExpt_Image.csv", dtype=str, keep_default_na=False)
        objects = pd.read_csv(folder / "MyExpt_Nuclei.csv", dtype=str, keep_default_na=False)
        for plate, mine in images.groupby("Metadata_Plate"):
            (folder / name / plate).mkdir(parents=True)
            mine.to_csv(folder / name / plate / "MyExpt_Image.csv", index=False)
            of_plate = objects["ImageNumber"].isin(mine["ImageNumber"])
            objects[of_plate].to_csv(folder / name / plate / "MyExpt_Nuclei.csv", index=False)
    return folder / name


def ordered(table):
    return table.sort_values([*KEYS, "Metadata_ObjectNumber"], ignore_index=True)


# Every kind is a run of CellProfiler.
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(kind, name, marks=[pytest.mark.long] if number else [])
        for number, kind in enumerate(TABLES)
        for name in TABLES[kind]
    ],
)
def test_cells_are_those_that_cellprofiler_measured_there(
    runs, screen, small_model_file, tmp_path, capsys, kind, name
):
    folder = runs(kind)
    objects = ["--load-data", str(screen), "--objects", str(prepared(folder, name))]
    model = ["--model", str(small_model_file), "--device", "cpu"]
    assert main(["embed", *objects, *model, "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "by their place" not in out
    tables = sorted((tmp_path / "out" / "plates").glob("*.parquet"))
    assert [path.stem for path in tables] == ["000123", "000456"]
    embedded = ordered(pd.concat(map(pd.read_parquet, tables)))
    truth = ordered(measured(folder))
    assert len(truth) > 15
    names = [*KEYS, "Metadata_ObjectNumber"]
    pd.testing.assert_frame_equal(embedded[names], truth[names], check_dtype=False)
    # CellProfiler's spreadsheets have all digits, its database has them, too.
    np.testing.assert_allclose(embedded[PLACE], truth[PLACE], rtol=0, atol=1e-9)
    mine = embedded[[f"Cells_{feature}" for feature in FEATURES]].to_numpy()
    assert mine.std(axis=0).max() > 1e-4
    np.testing.assert_allclose(mine, truth[FEATURES].to_numpy(), rtol=0, atol=1e-5)

    assert main(["crops", *objects, "--out", str(tmp_path / "crops")]) == 0
    index = ordered(open_crops(tmp_path / "crops").index)
    pd.testing.assert_frame_equal(index[names], truth[names], check_dtype=False)
    np.testing.assert_allclose(index[PLACE], truth[PLACE], rtol=0, atol=1e-9)
