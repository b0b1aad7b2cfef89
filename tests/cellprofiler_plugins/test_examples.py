"""The pipelines of the folder examples, and what CellProfiler Analyst makes of their output."""

import re
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cpcnn_core import feature_names
from cpcnn_core.hosts.headless import run_pipeline

EXAMPLES = Path(__file__).parents[2] / "examples"
SITES = 2


@pytest.fixture(scope="module")
def deep_run(cellprofiler_python, plugins, write_load_data, made_up_sites, tmp_path_factory):
    """The deep example on made-up images, with the model that needs no download."""
    folder = tmp_path_factory.mktemp("example")
    write_load_data(folder / "load_data.csv", made_up_sites[:SITES])
    text = (EXAMPLES / "cell_painting_deep.cppipe").read_text()
    text = text.replace("cell-painting-cnn-v1", "untrained-efficientnet-b0")
    (folder / "p.cppipe").write_text(text)
    run_pipeline(
        cellprofiler_python, folder / "p.cppipe", folder, images=folder, plugins_directory=plugins
    )
    return folder


@pytest.fixture(scope="module")
def properties(deep_run):
    """The properties as CellProfiler Analyst reads them: name = value, # begins a comment."""
    (path,) = deep_run.glob("*_Cells.properties")
    lines = [line.split("#")[0] for line in path.read_text().splitlines()]
    pairs = [line.split("=", 1) for line in lines if "=" in line]
    return {name.strip(): value.strip() for name, value in pairs}


def read(path, table):
    with sqlite3.connect(path) as connection:
        frame = pd.read_sql(f"select * from {table}", connection)
    connection.close()
    return frame


def test_analyst_finds_its_tables_and_columns(properties):
    assert properties["db_type"] == "sqlite"
    cells = read(properties["db_sqlite_file"], properties["object_table"])
    images = read(properties["db_sqlite_file"], properties["image_table"])
    assert {properties[name] for name in ("image_id", "object_id")} <= set(cells.columns)
    assert {properties[name] for name in ("cell_x_loc", "cell_y_loc")} <= set(cells.columns)
    assert {properties[name] for name in ("image_id", "plate_id", "well_id")} <= set(images.columns)
    for name in ("image_path_cols", "image_file_cols"):
        columns = [column.strip() for column in properties[name].split(",") if column.strip()]
        assert len(columns) == 5
        assert set(columns) <= set(images.columns)
    assert len(images) == SITES


def test_every_deep_column_can_be_learned_from(properties):
    cells = read(properties["db_sqlite_file"], properties["object_table"])
    ignored = [pattern for pattern in properties["classifier_ignore_columns"].split(",") if pattern]
    deep = feature_names(672, compartment="Cells")
    assert set(deep) <= set(cells.columns)
    assert not any(re.match(f"({pattern.strip()})$", name) for pattern in ignored for name in deep)
    assert all(np.issubdtype(cells[name].dtype, np.floating) for name in deep)
    assert np.isfinite(cells[deep].to_numpy()).all()
    assert not cells.duplicated([properties["image_id"], properties["object_id"]]).any()


def test_the_examples_differ_by_the_classical_modules_only():
    deep, both = (
        re.findall(r"^(\w+):\[module_num", (EXAMPLES / name).read_text(), re.MULTILINE)
        for name in ("cell_painting_deep.cppipe", "cell_painting_deep_beside_classical.cppipe")
    )
    classical = [name for name in both if name.startswith("Measure") and "CNN" not in name]
    assert len(classical) == 8
    assert [name for name in both if name not in classical] == deep
    assert deep[-2:] == ["MeasureCellPaintingCNN", "ExportToDatabase"]
