"""A made-up screen with label images, and the store that ``cpcnn crops`` makes of it."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cpcnn_core.cli.main import main
from cpcnn_core.crop_store.store import open_crops

CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
WELLS, SITES, HEIGHT, WIDTH, CROP_PX = 4, 2, 70, 80, 24


def make_screen(folder, wells=WELLS, sites=SITES):
    """Write LoadData's table, a plate map, images and label images; return the command."""
    random = np.random.default_rng(8)
    (folder / "labels").mkdir()
    rows = []
    for well in range(wells):
        plate, name = f"P{1 + well % 2}", f"{'ABCDEFGH'[well // 12 % 8]}{1 + well % 12:02d}"
        for site in range(1, sites + 1):
            row = {"Metadata_Plate": plate, "Metadata_Well": name, "Metadata_Site": str(site)}
            for channel in CHANNELS:
                file = f"{plate}_{name}_{site}_{channel}.png"
                pixels = random.integers(200, 4000, (HEIGHT, WIDTH)).astype(np.uint16)
                Image.fromarray(pixels).save(folder / file)
                row |= {f"PathName_{channel}": str(folder), f"FileName_{channel}": file}
            labels = np.zeros((HEIGHT, WIDTH), np.uint8)
            for number in random.permutation(9)[: 2 + site]:
                y, x = 20 * (number // 3) + 4, 25 * (number % 3) + 5
                labels[y : y + random.integers(5, 15), x : x + random.integers(5, 18)] = number + 3
            Image.fromarray(labels).save(folder / "labels" / f"{plate}_{name}_{site}.tif")
            rows.append(row)
    pd.DataFrame(rows).to_csv(folder / "load_data.csv", index=False)
    wells = pd.DataFrame(rows)[["Metadata_Plate", "Metadata_Well"]].drop_duplicates()
    wells["Treatment"] = ["DMSO", "taxol", "nocodazole"] * (len(wells) // 3) + ["DMSO"] * (
        len(wells) % 3
    )
    wells.to_csv(folder / "platemap.csv", index=False)
    return command_for(folder)


def command_for(folder):
    return [
        *("crops", "--load-data", str(folder / "load_data.csv")),
        *("--labels", str(folder / "labels"), "--crop-px", str(CROP_PX)),
        *("--platemap", str(folder / "platemap.csv"), "--study", "made up"),
    ]


@pytest.fixture(scope="session")
def screen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("screen")
    make_screen(folder)
    return folder


@pytest.fixture(scope="session")
def stored(screen, tmp_path_factory):
    """The folder that ``cpcnn crops`` wrote; not to be changed."""
    out = tmp_path_factory.mktemp("stored")
    assert main([*command_for(screen), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="session")
def store(stored):
    return open_crops(stored)


@pytest.fixture
def own_store(stored, tmp_path):
    """A copy of the store's folder, to be spoilt."""
    return shutil.copytree(stored, tmp_path / "own store")


def files_of(folder):
    """Every file of a folder but the log, by its path in it, as bytes."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".jsonl")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
