"""A made-up screen of small sites, and a DeepProfiler project with its checkpoint."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cpcnn_core.cli.main import main

from ...small_model import small_model

# What the output begins with, of a screen without illumination functions.
AS_STORED = "no illumination functions: pixels are taken as stored"
CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
PROJECT = Path(__file__).parents[2] / "data" / "deepprofiler_project"


@pytest.fixture
def project(tmp_path, keras_weights):
    root = tmp_path / "project"
    shutil.copytree(PROJECT, root)
    checkpoint = root / "outputs" / "cell_painting" / "checkpoint"
    checkpoint.mkdir(parents=True)
    (checkpoint / "Cell_Painting_CNN_v1.hdf5").symlink_to(keras_weights)
    return root


def make_screen(folder, wells, sites=1, cells=3, side=80):
    """Write LoadData's table, CellProfiler's and the images of a screen; return the command."""
    random = np.random.default_rng(5)
    rows, objects = [], []
    for number, (well, site) in enumerate(
        ((w, s) for w in range(wells) for s in range(sites)), start=1
    ):
        row = {
            "Metadata_Plate": f"P{1 + well % 2}",
            "Metadata_Well": f"{'ABCDEFGH'[well // 24 % 8]}{1 + well % 24:02d}",
            "Metadata_Site": str(site + 1),
        }
        for channel in CHANNELS:
            name = f"{number}_{channel}.png"
            pixels = random.integers(0, 4000, (side, side)).astype(np.uint16)
            Image.fromarray(pixels).save(folder / name)
            row |= {f"PathName_Orig{channel}": str(folder), f"FileName_Orig{channel}": name}
        rows.append(row)
        for cell in range(cells):
            x, y = random.uniform(5, side - 5, 2)
            objects.append((number, cell + 1, x, y))
    table = pd.DataFrame(rows)
    table.to_csv(folder / "load_data.csv", index=False)
    images = table.filter(like="Metadata_")
    images.insert(0, "ImageNumber", range(1, len(images) + 1))
    images.to_csv(folder / "Image.csv", index=False)
    names = ["ImageNumber", "ObjectNumber", "Location_Center_X", "Location_Center_Y"]
    pd.DataFrame(objects, columns=names).to_csv(folder / "Nuclei.csv", index=False)
    return command_for(folder)


def command_for(folder, model=None):
    """Return the command that embeds a screen, by default with a small network."""
    return [
        *("embed", "--load-data", str(folder / "load_data.csv")),
        *("--objects", str(folder / "Nuclei.csv")),
        *("--model", model or small_model(), "--device", "cpu"),
    ]


@pytest.fixture(scope="session")
def screen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("screen")
    make_screen(folder, wells=4, sites=2)
    return folder


@pytest.fixture(scope="session")
def embedded(screen, tmp_path_factory):
    """What ``cpcnn embed`` makes of the screen: sites, and tables in both formats."""
    out = tmp_path_factory.mktemp("embedded")
    command = [*command_for(screen), "--tables", "parquet", "anndata", "--out", str(out)]
    assert main(command) == 0
    return out


@pytest.fixture
def own_screen(screen, tmp_path):
    """A copy to be spoilt; its table names the copy's own files."""
    folder = tmp_path / "screen"
    shutil.copytree(screen, folder)
    table = folder / "load_data.csv"
    table.write_text(table.read_text().replace(str(screen), str(folder)))
    return folder
