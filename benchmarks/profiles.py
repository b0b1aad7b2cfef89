"""Average precision beside copairs, sphering beside pycytominer, and the nearest treatments.

4000 made-up profiles of 672 features, 1000 treatments of four replicates; then 20,000
treatments searched. The programs take turns in one process. Run it from the project's
folder, on a machine that does nothing else::

    python benchmarks/profiles.py --record
"""

import argparse
import importlib.metadata
import json
import statistics
import time
from pathlib import Path

from cpcnn_core.threads import let_threads_wait

let_threads_wait()

import numpy as np
import pandas as pd
from copairs import map as copairs_map
from machine import machine
from pycytominer.operations import Spherize

from cpcnn_core.profiles.correction_steps import fit_sphering
from cpcnn_core.profiles.library import build_library
from cpcnn_core.profiles.retrieval import average_precision
from cpcnn_core.profiles.similarity import cosine_similarity
from cpcnn_core.schema.profiles import Profiles

PROFILES, DIM, REPLICATES, TREATMENTS = 4000, 672, 4, 20_000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write profiles.json")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(PROFILES // REPLICATES), REPLICATES)
    # float32, as copairs computes: then both compare the same numbers.
    features = random.normal(size=(PROFILES, DIM)).astype(np.float32)
    features += random.normal(size=(len(labels) // REPLICATES, DIM)).astype(np.float32)[labels] / 5
    result = {
        "average precision": compare_precision(features, labels, options.rounds),
        "sphering": compare_sphering(features, options.rounds),
        "nearest treatments": nearest(random),
        "versions": {name: importlib.metadata.version(name) for name in ("copairs", "pycytominer")},
        **machine(),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.record:
        Path(__file__).with_suffix(".json").write_text(text + "\n")


def compare_precision(features, labels, rounds):
    frame = pd.DataFrame({"Metadata_treatment": labels.astype(str)})

    def ours():
        similarity = cosine_similarity(features)
        return average_precision(similarity, labels[:, None] == labels)

    def theirs():
        table = copairs_map.average_precision(
            frame,
            features,
            pos_sameby=["Metadata_treatment"],
            pos_diffby=[],
            neg_sameby=[],
            neg_diffby=["Metadata_treatment"],
            progress_bar=False,
        )
        return table["average_precision"].to_numpy(float)

    return side_by_side(ours, theirs, rounds, f"{PROFILES} x {DIM}, all against all")


def compare_sphering(features, rounds):
    # pycytominer divides by n - 1 where the paper divides by n.
    factor = np.sqrt((len(features) - 1) / len(features))

    def ours():
        return fit_sphering(features, 1e-6).transform(features) * factor

    def theirs():
        spherize = Spherize(epsilon=1e-6, center=True, method="ZCA")
        frame = pd.DataFrame(features.astype(np.float64))
        return spherize.fit(frame).transform(frame).to_numpy()

    return side_by_side(ours, theirs, rounds, f"fitted on and applied to {PROFILES} x {DIM}")


def side_by_side(ours, theirs, rounds, what):
    times = {"cpcnn": [], "theirs": []}
    for _ in range(rounds):
        for name, do in (("cpcnn", ours), ("theirs", theirs)):
            start = time.perf_counter()
            found = do()
            times[name].append(time.perf_counter() - start)
            if name == "cpcnn":
                mine = found
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "what": what,
        "seconds, medians": {name: round(value, 2) for name, value in medians.items()},
        "times as fast": round(medians["theirs"] / medians["cpcnn"], 1),
        "largest difference": float(f"{np.abs(mine - found).max():.1e}"),
    }


def nearest(random):
    rows = pd.DataFrame({"Metadata_Treatment": np.arange(TREATMENTS).astype(str)})
    features = random.normal(size=(TREATMENTS, DIM))
    library = build_library(Profiles(features, rows, [f"Cells_CPCNN_{i:03d}" for i in range(DIM)]))
    times = []
    for query in features[:50]:
        start = time.perf_counter()
        library.nearest(query[None])
        times.append(time.perf_counter() - start)
    return {
        "treatments": TREATMENTS,
        "milliseconds, median": round(1e3 * statistics.median(times), 1),
    }


if __name__ == "__main__":
    main()
