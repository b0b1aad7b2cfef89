"""Cells per second in training, and how long the device waits for crops.

EfficientNet-B0 on made-up crops of five channels and 128 pixels, batches of 32, augmentation
on, in float32 and, on a GPU, in mixed precision too. The crops come from a store on this
disk, read and checked by processes of their own. The second epoch is told, when everything is
warm. Run it from the project's folder::

    python benchmarks/training.py --record
"""

import argparse
import csv
import importlib.metadata
import json
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
from cpcnn_core.training.config import (
    DataConfig,
    EvaluationConfig,
    OptimizationConfig,
    RunConfig,
    StudyConfig,
    TrainingConfig,
)
from cpcnn_core.training.fit import train_model

CHANNELS, CROP_PX, BATCH = ("DNA", "RNA", "ER", "AGP", "Mito"), 128, 32
TREATMENTS = 8


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write training.json")
    parser.add_argument("--steps", type=int, default=10, help="of an epoch (default: 10)")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    options = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    rates = {}
    with tempfile.TemporaryDirectory() as folder:
        crops = make_store(Path(folder) / "crops", options.steps * BATCH)
        for precision in ("float32", "bfloat16") if on_gpu else ("float32",):
            for workers in options.workers:
                name = f"{precision}, {workers} processes that read"
                rates[name] = measure(crops, Path(folder) / name, precision, workers)
                print(name, rates[name])
    result = {
        "runs": rates,
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


def measure(crops, out, precision, workers):
    config = TrainingConfig(
        data=DataConfig(studies=(StudyConfig(str(crops)),)),
        training=OptimizationConfig(epochs=2, batch=BATCH),
        evaluation=EvaluationConfig(every=2),
        run=RunConfig(out=str(out), precision=precision, workers=workers),
    )
    train_model(config)
    with (out / "log.csv").open(newline="") as file:
        row = list(csv.DictReader(file))[-1]
    return {
        "cells per second": round(float(row["cells_per_second"]), 1),
        "part of the time waiting for data": round(float(row["waiting"]), 4),
    }


if __name__ == "__main__":
    main()
