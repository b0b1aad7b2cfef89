"""A million cells in an index: time, memory, and how many of the nearest it finds.

Made-up cells of 300 kinds, each kind spread along twenty directions of its own, with noise.
Compared is the search with faiss's index against a comparison with every cell. Run it from
the project's folder, on a machine that does nothing else::

    python benchmarks/cell_index.py --record
"""

import argparse
import importlib.metadata
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path

from cpcnn_core.threads import let_threads_wait

let_threads_wait()

import numpy as np
import pandas as pd
from machine import machine

from cpcnn_core.io.profile_files import write_profiles
from cpcnn_core.profiles.cell_index import CellIndex, build_cell_index
from cpcnn_core.schema.profiles import Profiles

CELLS, DIM, KINDS, SPREAD, PLATES = 1_000_000, 672, 300, 20, 20
QUERIES, NEAREST = 50, 20


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write cell_index.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tables, queries = make_tables(Path(folder))
        start = time.perf_counter()
        build_cell_index(tables, Path(folder) / "index")
        built = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        size = sum(path.stat().st_size for path in (Path(folder) / "index").iterdir())
        start = time.perf_counter()
        index = CellIndex.load(Path(folder) / "index")
        opened = time.perf_counter() - start
        found, times = search(index, queries)
        result = {
            "cells": f"{CELLS} x {DIM}",
            "seconds to build, three passes over the tables": round(built, 1),
            "peak memory while building, GiB": round(peak, 2),
            "size on disk, GiB": round(size / 2**30, 2),
            "seconds to open": round(opened, 2),
            "milliseconds per query, median": round(1e3 * statistics.median(times), 1),
            f"part of the {NEAREST} nearest that is found": recall(tables, queries, found),
            "faiss": importlib.metadata.version("faiss-cpu"),
            **machine(),
        }
    text = json.dumps(result, indent=2)
    print(text)
    if options.record:
        Path(__file__).with_suffix(".json").write_text(text + "\n")


def make_tables(folder):
    random = np.random.default_rng(0)
    names = [f"Cells_CPCNN_{n:03d}" for n in range(DIM)]
    centers = random.normal(size=(KINDS, DIM)).astype(np.float32)
    directions = random.normal(size=(KINDS, SPREAD, DIM)).astype(np.float32) / 5
    tables, queries, count = [], [], CELLS // PLATES
    for plate in range(PLATES):
        features = np.empty((count, DIM), np.float32)
        kinds = random.integers(0, KINDS, count)
        for kind in range(KINDS):
            mine = np.flatnonzero(kinds == kind)
            along = random.normal(size=(len(mine), SPREAD)).astype(np.float32)
            features[mine] = centers[kind] + along @ directions[kind]
        features += random.normal(size=features.shape).astype(np.float32) / 4
        rows = pd.DataFrame({"Metadata_Plate": str(plate), "Metadata_Cell": np.arange(count)})
        rows["Metadata_Cell"] += plate * count
        tables.append(folder / f"{plate}.parquet")
        write_profiles(Profiles(features, rows, names), tables[-1])
        queries.append(features[: -(-QUERIES // PLATES)])
    return tables, np.concatenate(queries)[:QUERIES]


def search(index, queries):
    found, times = [], []
    for query in queries:
        start = time.perf_counter()
        table = index.nearest(query[None], NEAREST)
        times.append(time.perf_counter() - start)
        found.append(set(table["Metadata_Cell"]))
    return found, times


def recall(tables, queries, found):
    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    similarity = []
    for path in tables:
        features = pd.read_parquet(path).filter(like="CPCNN").to_numpy()
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        similarity.append(unit @ features.T)
    nearest = np.argsort(-np.concatenate(similarity, axis=1), axis=1)[:, :NEAREST]
    parts = [len(set(row) & mine) / NEAREST for row, mine in zip(nearest, found, strict=True)]
    return round(float(np.mean(parts)), 3)


if __name__ == "__main__":
    main()
