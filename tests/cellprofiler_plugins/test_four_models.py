"""One saved pipeline in headless CellProfiler, models of four kinds: only its model differs."""

import difflib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cpcnn_core import embed_cells, feature_names, load_model
from cpcnn_core.hosts.headless import run_pipeline
from cpcnn_core.models.registry import find_model

from ..four_models import MODELS, make_models
from .conftest import CHANNELS

UNTRAINED = "untrained-efficientnet-b0"
SITES = 3
TABLES = ("Cells", "Nuclei", "Experiment")


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """All models on this machine, and the licence accepted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CPCNN_HOME", str(tmp_path_factory.mktemp("home")))
        make_models()
        yield


@pytest.fixture(scope="module")
def pipelines(write_pipeline, write_load_data, made_up_sites, tmp_path_factory):
    """The pipeline as CellProfiler saved it, with each model's name written into it."""
    folder = tmp_path_factory.mktemp("pipeline")
    job = {
        "load_data": write_load_data(folder / "load.csv", made_up_sites[:SITES]),
        "classical": False,
        "cnn": [
            {
                "centers": "Nuclei",
                "model": UNTRAINED,
                "images": {channel: f"Orig{channel}" for channel in CHANNELS},
            }
        ],
    }
    text = write_pipeline(folder / "saved.cppipe", job).read_text()
    paths = {name: folder / f"{name}.cppipe" for name in MODELS}
    for name, path in paths.items():
        path.write_text(text.replace(UNTRAINED, name))
    return paths


@pytest.fixture(scope="module")
def tables(pipelines, cellprofiler_python, plugins, tmp_path_factory):
    """Tables that CellProfiler wrote, by the model's name."""
    found = {}
    for name, pipeline in pipelines.items():
        out = tmp_path_factory.mktemp(name)
        run_pipeline(cellprofiler_python, pipeline, out, images=out, plugins_directory=plugins)
        found[name] = {table: pd.read_csv(out / f"{table}.csv") for table in TABLES}
    return found


def names_of(name):
    """Name a model's features as CellProfiler's table of the cells does, by its own first part."""
    return feature_names(*MODELS[name])


def test_the_pipelines_differ_in_one_setting(pipelines):
    texts = {name: path.read_text().splitlines() for name, path in pipelines.items()}
    for name in MODELS.keys() - {UNTRAINED}:
        changed = [line for line in difflib.ndiff(texts[UNTRAINED], texts[name]) if line[0] in "-+"]
        assert changed == [
            f"-     Select the model:{UNTRAINED}",
            f"+     Select the model:{name}",
        ]


@pytest.mark.parametrize("name", MODELS)
def test_every_model_fills_its_own_columns(tables, name):
    cells, mine = tables[name]["Cells"], names_of(name)
    prefixes = tuple(f"{prefix}_" for _, prefix in MODELS.values())
    assert [column for column in cells if column.startswith(prefixes)] == mine
    assert np.isfinite(cells[mine].to_numpy()).all()
    experiment = tables[name]["Experiment"].set_index("Key")["Value"]
    record = experiment[f"{mine[0].split('_')[0]}_Model_Cells"]
    sha256 = find_model(name)[0].sha256
    assert record == (f"{name} sha256:{sha256}" if sha256 else name)


@pytest.mark.parametrize("name", MODELS)
def test_values_are_those_of_the_core(tables, made_up_sites, name):
    cells, nuclei = tables[name]["Cells"], tables[name]["Nuclei"]
    model = load_model(name, device="cpu")
    for number, site in enumerate(made_up_sites[:SITES], start=1):
        image = np.stack([np.asarray(Image.open(site[channel])) for channel in CHANNELS])
        mine = cells[cells["ImageNumber"] == number]
        others = nuclei[nuclei["ImageNumber"] == number].set_index("ObjectNumber")
        centers = others.loc[mine["Parent_Nuclei"], ["Location_Center_Y", "Location_Center_X"]]
        assert len(mine) == 2 + number % 3
        scaled = image.astype(np.float32) / np.float32(65535)
        expected = embed_cells(model, scaled, centers.to_numpy())
        # Some models' features are small; what differs from cell to cell has to be seen.
        tolerance = 1e-5 * min(1, np.abs(expected).max())
        assert np.ptp(expected, axis=0).max() > 20 * tolerance
        found = mine[names_of(name)]
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_no_two_models_share_a_column(tables):
    named = [column for name in MODELS for column in names_of(name)]
    assert len(named) == len(set(named))


def test_all_measured_the_same_objects(tables):
    for table in ("Cells", "Nuclei"):
        first, *others = (
            one[table].drop(columns=names_of(name), errors="ignore") for name, one in tables.items()
        )
        assert len(first) == sum(2 + number % 3 for number in range(1, SITES + 1))
        for other in others:
            pd.testing.assert_frame_equal(other, first)
