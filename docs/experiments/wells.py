"""From a store of crops to well profiles: what the experiments share."""

import numpy as np

from cpcnn_core.cli.main import main
from cpcnn_core.profiles.aggregate import aggregate
from cpcnn_core.schema.columns import PLATE, WELL
from cpcnn_core.schema.profiles import Profiles

BATCH = 256


def embed_wells(store, model, rows=None):
    """Return the wells' profiles: the median of the features of their cells, or of some rows."""
    rows = np.arange(len(store)) if rows is None else rows
    features = [
        model.embed(store.read(rows[start : start + BATCH]).astype(np.float32) / 255)
        for start in range(0, len(rows), BATCH)
    ]
    features = np.concatenate(features)
    names = [f"Cells_CNN_{n:03d}" for n in range(features.shape[1])]
    return wells_of(Profiles(features, store.index.iloc[rows].reset_index(drop=True), names))


def run_cpcnn(words):
    """Run a command as on the command line; end here when it ends with an error."""
    code = main(words.split())
    if code:
        raise SystemExit(code)


def wells_of(cells):
    """Return the median of every well's cells."""
    return aggregate(cells, [PLATE, WELL], "median")
