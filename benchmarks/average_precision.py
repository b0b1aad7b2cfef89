"""Average precision of all wells of a screen: ours and copairs, on the same wells in turns.

2,688 wells of seven plates (noise), 904 features: every well looks for the wells of its treatment
among all others, by cosine. Why ours is used though copairs is well kept: see the ratio. Run it
from the project's folder::

    python benchmarks/average_precision.py --record
"""

import argparse
import importlib.metadata
import json
import statistics
import time
from pathlib import Path

import numpy as np
import pandas as pd
from copairs.map import average_precision as copairs_average_precision
from machine import machine

from cpcnn_core.profiles.retrieval import average_precision
from cpcnn_core.profiles.similarity import cosine_similarity, same_label

PLATES, WELLS, FEATURES, TURNS = 7, 384, 904, 3
TREATMENT = "Metadata_Treatment"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write average_precision.json")
    options = parser.parse_args()
    features = np.random.default_rng(0).normal(size=(PLATES * WELLS, FEATURES)).astype(np.float32)
    metadata = pd.DataFrame({TREATMENT: np.tile([f"t{n}" for n in range(WELLS)], PLATES)})
    seconds, found = {"cpcnn": [], "copairs": []}, {}
    for _ in range(TURNS):
        for name, measure in (("cpcnn", ours), ("copairs", theirs)):
            started = time.process_time()
            found[name] = measure(metadata, features)
            seconds[name].append(time.process_time() - started)
    medians = {name: round(statistics.median(values), 2) for name, values in seconds.items()}
    result = {
        "wells": len(features),
        "processor seconds": medians,
        "ratio": round(medians["copairs"] / medians["cpcnn"], 1),
        "largest difference": float(np.abs(found["cpcnn"] - found["copairs"]).max()),
        "copairs": importlib.metadata.version("copairs"),
        **machine(),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.record:
        Path(__file__).with_suffix(".json").write_text(text + "\n")


def ours(metadata, features):
    """Return the average precision of every well."""
    similarity = cosine_similarity(features)
    return average_precision(similarity, same_label(metadata[TREATMENT].tolist()))


def theirs(metadata, features):
    """Return the same by copairs."""
    table = copairs_average_precision(metadata, features, [TREATMENT], [], [], [TREATMENT])
    return table["average_precision"].to_numpy()


if __name__ == "__main__":
    main()
