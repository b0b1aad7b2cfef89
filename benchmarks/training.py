"""Cells per second in training, and how long the device waits for crops.

The recipes on made-up crops of five channels and 128 pixels, batches of 32, augmentation on, in
float32 and, on a GPU, in mixed precision too: the paper's, and ``cpcnn`` with channels one by one
and all together. The crops come from a store on this disk, read and checked by processes of
their own. The second epoch is told, when everything is warm; recipes take turns, and the ratio to
the paper's is of the medians. Run it from the project's folder::

    python benchmarks/training.py --record
"""

import argparse
import csv
import importlib.metadata
import json
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from machine import machine

from cpcnn_core.threads import let_threads_wait

let_threads_wait()

import torch

from cpcnn_core.crop_store.crop_files import write_crops
from cpcnn_core.crop_store.settings import StoreSettings, claim_store
from cpcnn_core.training.config_files import config_from
from cpcnn_core.training.fit import train_model

CHANNELS, CROP_PX, BATCH = ("DNA", "RNA", "ER", "AGP", "Mito"), 128, 32
TREATMENTS = 8
TOGETHER = {"channels": "together", "input_px": 0, "fixed_statistics": False}
RECIPES = {
    "paper": {},
    "cpcnn, channels one by one": {"recipe": "cpcnn"},
    "cpcnn, channels together": {"recipe": "cpcnn", "network": TOGETHER},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write training.json")
    parser.add_argument("--steps", type=int, default=10, help="of an epoch (default: 10)")
    parser.add_argument("--workers", type=int, nargs="+", default=[0])
    parser.add_argument("--turns", type=int, default=3, help="of every recipe (default: 3)")
    options = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    rates, runs = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        crops = make_store(Path(folder) / "crops", options.steps * BATCH)
        for turn in range(options.turns):
            for recipe, table in RECIPES.items():
                for precision in ("float32", "bfloat16") if on_gpu else ("float32",):
                    for workers in options.workers:
                        name = f"{recipe}, {precision}, {workers} processes that read"
                        out = Path(folder) / f"{name}, {turn}"
                        found = measure(crops, out, table, precision, workers)
                        runs.setdefault(name, []).append(found)
                        print(name, found, flush=True)
    for name, found in runs.items():
        rates[name] = {
            kind: round(statistics.median(one[kind] for one in found), 4) for kind in found[0]
        }
        paper = ", ".join(["paper", *name.rsplit(", ", 2)[1:]])
        rates[name]["ratio to the paper's"] = round(
            rates[name]["cells per second"] / rates[paper]["cells per second"], 2
        )
    result = {
        "runs": rates,
        "turns": options.turns,
        "device": torch.cuda.get_device_name() if on_gpu else "CPU",
        "threads": torch.get_num_threads(),
        "batch": BATCH,
        "steps": options.steps,
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "accelerate")},
        **machine(),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.record:
        Path(sys.argv[0]).with_suffix(".json").write_text(text + "\n")


def make_store(folder, training_cells):
    """Write as many random crops as an epoch needs, and a quarter more for validation."""
    each = -(-training_cells * 5 // (4 * TREATMENTS))
    settings = StoreSettings(CHANNELS, CROP_PX)
    claim_store(folder, settings)
    random, rows = np.random.default_rng(0), []
    for number in range(TREATMENTS):
        file = f"P1/A{number + 1:02d}/1.npy"
        crops = random.integers(0, 256, (each, *settings.shape), np.uint8)
        sums = write_crops(folder / "crops" / file, [crops], each, settings.shape, crops.dtype)
        well = f"A{number + 1:02d}"
        rows += [("P1", well, "1", n, f"t{number}", file, n, sums[n]) for n in range(each)]
    names = [f"Metadata_{name}" for name in ("Plate", "Well", "Site", "ObjectNumber", "Treatment")]
    names += ["crop_file", "crop_place", "crop_crc32"]
    pd.DataFrame(rows, columns=names).to_parquet(folder / "index.parquet", index=False)
    return folder


def measure(crops, out, table, precision, workers):
    entries = {
        "data": {"studies": [{"crops": str(crops)}]},
        "training": {"epochs": 2, "batch": BATCH},
        "evaluation": {"every": 2},
        "run": {"out": str(out), "precision": precision, "workers": workers},
    }
    train_model(config_from(table | entries))
    with (out / "log.csv").open(newline="") as file:
        row = list(csv.DictReader(file))[-1]
    return {
        "cells per second": round(float(row["cells_per_second"]), 1),
        "part of the time waiting for data": round(float(row["waiting"]), 4),
    }


if __name__ == "__main__":
    main()
