"""From a store of crops to well profiles: what the experiments share."""

import dataclasses

import numpy as np

from cpcnn_core import load_model
from cpcnn_core.cli.main import main
from cpcnn_core.io.profile_files import read_profiles, write_profiles
from cpcnn_core.models.opening import open_model, untrained_efficientnet_b0
from cpcnn_core.models.weights import save_model
from cpcnn_core.profiles.aggregate import aggregate
from cpcnn_core.schema.columns import PLATE, WELL
from cpcnn_core.schema.profiles import Profiles

BATCH, IMAGENET = 256, "imagenet-efficientnet-lite0"


def save_networks(work, channels, crop_px):
    """Save the networks that an experiment does not train, for crops of this size."""
    for name, (card, weights) in {
        "untrained": untrained_efficientnet_b0(channels),
        "imagenet": open_model(IMAGENET),
    }.items():
        mine = dataclasses.replace(card.with_channels(channels), crop_px=crop_px)
        save_model(work / f"{name}.safetensors", mine, weights)


def run_cpcnn(words):
    """Run a command as on the command line; end here when it ends with an error."""
    code = main(words.split())
    if code:
        raise SystemExit(code)


def wells_of(cells):
    """Return the median of every well's cells."""
    return aggregate(cells, [PLATE, WELL], "median")


def embed_cells(store, model, table, rows=None):
    """Return the features of cells of a store, or of some rows, by a model; kept in a table."""
    if table.is_file():
        return read_profiles(table)
    rows = np.arange(len(store)) if rows is None else rows
    network = load_model(model, engine="torch")
    features = np.concatenate(
        [
            network.embed(store.read(part).astype(np.float32) / 255)
            for part in np.array_split(rows, -(-len(rows) // BATCH))
        ]
    )
    metadata = store.index.iloc[rows].reset_index(drop=True)
    metadata = metadata[[name for name in metadata.columns if str(name).startswith("Metadata_")]]
    names = [f"Cells_CNN_{n:04d}" for n in range(features.shape[1])]
    write_profiles(Profiles(features, metadata, names), table)
    return read_profiles(table)
