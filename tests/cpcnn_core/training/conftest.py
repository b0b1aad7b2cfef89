"""A made-up store of crops, written without ``cpcnn crops``, and trainings of a few steps."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from cpcnn_core.crop_store.crop_files import write_crops
from cpcnn_core.crop_store.settings import StoreSettings, claim_store
from cpcnn_core.training.config import (
    DataConfig,
    EvaluationConfig,
    NetworkConfig,
    OptimizationConfig,
    RunConfig,
    StudyConfig,
    TrainingConfig,
)

CHANNELS = ("DNA", "ER", "Mito")
CROP_PX = 32
# Rows of a plate are treatments.
TREATMENTS = {"A": "DMSO", "B": "rings", "C": "stripes"}


def draw_crop(random, treatment, channels=3, crop_px=CROP_PX):
    """Draw a blob, a ring or stripes somewhere near the middle, and noise."""
    y, x = np.mgrid[:crop_px, :crop_px] - (crop_px - 1) / 2
    y, x = y - random.normal(0, 2), x - random.normal(0, 2)
    radius = np.hypot(y, x)
    size = crop_px / 5 * random.uniform(0.9, 1.1)
    shape = np.exp(-((radius / size) ** 2))
    if treatment == "rings":
        shape = np.exp(-(((radius - size) / 2) ** 2))
    if treatment == "stripes":
        shape = shape * (np.cos(x * 1.5) > 0)
    crop = shape[None] + random.normal(0, 0.05, (channels, crop_px, crop_px))
    low, high = crop.min(axis=(1, 2), keepdims=True), crop.max(axis=(1, 2), keepdims=True)
    return np.floor((crop - low) / (high - low) * 255).astype(np.uint8)


def write_store(
    folder,
    *,
    plates=("P1", "P2"),
    columns=2,
    sites=1,
    cells=6,
    treatments=None,
    channels=CHANNELS,
    crop_px=CROP_PX,
    seed=0,
    um_per_px=None,
):
    """Write plates with a row of wells for every treatment; a count for each may be given."""
    random = np.random.default_rng(seed)
    treatments = treatments or TREATMENTS
    settings = StoreSettings(tuple(channels), crop_px, um_per_px=um_per_px)
    claim_store(folder, settings)
    rows = []
    for plate in plates:
        for letter, treatment in treatments.items():
            for column in range(1, columns + 1):
                for site in range(1, sites + 1):
                    well = f"{letter}{column:02d}"
                    file = f"{plate}/{well}/{site}.npy"
                    crops = np.stack(
                        [draw_crop(random, treatment, len(channels), crop_px) for _ in range(cells)]
                    )
                    path = folder / "crops" / file
                    dtype = np.dtype("u1")
                    sums = write_crops(path, [crops], cells, crops.shape[1:], dtype)
                    rows += [
                        (folder.name, plate, well, str(site), n + 1, treatment, file, n, sums[n])
                        for n in range(cells)
                    ]
    names = ["Study", "Plate", "Well", "Site", "ObjectNumber", "Treatment"]
    names = [*(f"Metadata_{name}" for name in names), "crop_file", "crop_place", "crop_crc32"]
    pd.DataFrame(rows, columns=names).to_parquet(folder / "index.parquet", index=False)
    return folder


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Two plates, three treatments, 72 cells."""
    return write_store(tmp_path_factory.mktemp("stores") / "screen")


@pytest.fixture(scope="session")
def make_store(tmp_path_factory):
    """Write another store, see `write_store`."""

    def make(**how):
        return write_store(tmp_path_factory.mktemp("stores") / how.pop("name", "screen"), **how)

    return make


def config_of(crops, folder, **changes):
    """Write a recipe for a tiny network; ``section={...}`` changes entries."""
    config = TrainingConfig(
        data=DataConfig(studies=(StudyConfig(str(crops)),)),
        network=NetworkConfig(backbone="test_resnet"),
        training=OptimizationConfig(epochs=2, batch=8, learning_rate=0.01),
        evaluation=EvaluationConfig(controls="Treatment == 'DMSO'"),
        run=RunConfig(out=str(folder / "out"), device="cpu", workers=0),
    )
    for section, entries in changes.items():
        changed = dataclasses.replace(getattr(config, section), **entries)
        config = dataclasses.replace(config, **{section: changed})
    return config


@pytest.fixture
def make_config(store, tmp_path):
    """Write a recipe, see `config_of`, by default for `store` and this test's own folder."""
    return lambda crops=store, **changes: config_of(crops, tmp_path, **changes)


@pytest.fixture(autouse=True)
def _one_thread():
    """Keep sums in one order, and other people's cores free."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
