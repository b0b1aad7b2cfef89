"""Real images: does training find the treatment of unseen wells better?

Twenty wells of the FOXO1A translocation plate (BBBC013-type, two channels, U2OS): untreated and
positive controls, two compounds at two dose steps. A network is trained on the wells of one half
of the replicates and asked for the treatment of the other half, then the other way round.
Needs the folder with the images (``index.csv``)::

    python docs/experiments/sbs_translocation.py FOLDER --work WORK --record
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from showing import sbs_table
from sklearn.metrics import average_precision_score
from wells import embed_wells, run_cpcnn

from cpcnn_core import load_model
from cpcnn_core.crop_store.store import open_crops
from cpcnn_core.evaluation.baselines import count_profiles
from cpcnn_core.evaluation.intervals import bootstrap_interval
from cpcnn_core.models.opening import untrained_efficientnet_b0
from cpcnn_core.models.weights import save_model
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.profiles.retrieval import chance_average_precision
from cpcnn_core.profiles.similarity import cosine_similarity
from cpcnn_core.training.config import (
    DataConfig,
    EvaluationConfig,
    OptimizationConfig,
    RunConfig,
    SplitConfig,
    StudyConfig,
    TrainingConfig,
)
from cpcnn_core.training.fit import train_model
from cpcnn_core.training.reports import EpochReport
from napari_cpcnn.embed.nuclei import find_nuclei

CHANNELS, CROP_PX = ("GFP", "DNA"), 48
TREATMENT = "Metadata_Treatment"
# Four times the paper's, for a training that is thousands of times as short.
LEARNING_RATE = 0.02
# Replicates of every treatment stand in both: the plate's upper and lower row of each block.
HALVES = {"A": "upper", "E": "upper", "B": "lower", "F": "lower"}
CONTROL = "untreated"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, default=Path("sbs_experiment"))
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--record", action="store_true", help="write sbs_translocation.json")
    options = parser.parse_args()
    store = open_crops(make_store(options.folder, options.work))
    minutes, found = [], {"trained": [], "untrained": [], "number of cells": []}
    untrained = save_untrained(options.work)
    for half in dict.fromkeys(HALVES.values()):
        started = time.perf_counter()
        model = load_model(train(options, half), engine="torch")
        minutes.append((time.perf_counter() - started) / 60)
        mine = embed_wells(store, model)
        found["trained"].append(ask(mine, half))
        found["untrained"].append(ask(embed_wells(store, load_model(untrained)), half))
        found["number of cells"].append(ask(count_profiles(mine), half, count=True))
        print(half, {kind: parts[-1]["precision"].mean().round(3) for kind, parts in found.items()})
    result = {
        "unseen wells asked about": len(pd.concat(found["trained"])),
        "chance": float(pd.concat(found["trained"])["chance"].mean()),
        "mean average precision": {},
        "nearest well has the same treatment": {},
        "minutes of training, each half": [round(m, 1) for m in minutes],
        "epochs": options.epochs,
        "cells": len(store),
    }
    for kind, parts in found.items():
        table = pd.concat(parts)
        groups = np.arange(len(table))
        result["mean average precision"][kind] = bootstrap_interval(table["precision"], groups)
        result["nearest well has the same treatment"][kind] = bootstrap_interval(
            table["first"], groups
        )
    difference = (
        pd.concat(found["trained"])["precision"] - pd.concat(found["untrained"])["precision"]
    )
    result["trained minus untrained, well by well"] = bootstrap_interval(difference, groups)
    text = json.dumps(result, indent=2)
    print(text)
    print(sbs_table(result))
    if options.record:
        Path(__file__).with_suffix(".json").write_text(text + "\n")


def make_store(folder, work):
    """Find the nuclei, cut the cells: with cpcnn's own commands, as for any screen."""
    index = pd.read_csv(folder / "index.csv", dtype=str)
    (work / "labels").mkdir(parents=True, exist_ok=True)
    rows = []
    for _, well in index.iterrows():
        row = {f"Metadata_{name.capitalize()}": well[name] for name in ("plate", "well", "site")}
        for name in CHANNELS:
            row |= {f"FileName_{name}": well[name], f"PathName_{name}": str(folder.absolute())}
        rows.append(row)
        labels = find_nuclei(tifffile.imread(folder / well["DNA"]))
        name = f"{well['plate']}_{well['well']}_{well['site']}.tif"
        tifffile.imwrite(work / "labels" / name, labels.astype(np.uint16))
    pd.DataFrame(rows).to_csv(work / "load_data.csv", index=False)
    platemap = index[["plate", "well", "treatment"]].rename(columns=str.capitalize)
    platemap["Half"] = [HALVES[well[0]] for well in platemap["Well"]]
    platemap.to_csv(work / "platemap.csv", index=False)
    words = f"crops --load-data {work}/load_data.csv --labels {work}/labels --out {work}/crops "
    words += f"--platemap {work}/platemap.csv --crop-px {CROP_PX} --channels {' '.join(CHANNELS)}"
    run_cpcnn(words)
    return work / "crops"


def save_untrained(work):
    """Save the untrained network for crops of this size."""
    card, weights = untrained_efficientnet_b0(CHANNELS)
    path = work / "untrained.safetensors"
    save_model(path, dataclasses.replace(card, crop_px=CROP_PX), weights)
    return path


def train(options, half):
    """Train on the wells of one half: the paper's recipe, but for length and learning rate."""
    study = StudyConfig(str(options.work / "crops"), where=f"Half == '{half}'")
    config = TrainingConfig(
        data=DataConfig(label=TREATMENT, studies=(study,)),
        split=SplitConfig(fraction=0.1),
        training=OptimizationConfig(
            epochs=options.epochs, learning_rate=LEARNING_RATE, schedule="cosine"
        ),
        evaluation=EvaluationConfig(every=options.epochs),
        run=RunConfig(out=str(options.work / f"trained_on_{half}"), device="cpu", workers=0),
    )
    return train_model(config, progress=print_epochs)


def print_epochs(report):
    """Print a line for every epoch."""
    if isinstance(report, EpochReport):
        print(report, flush=True)


def ask(wells, half, *, count=False):
    """Ask for the treatment of the wells that were not learned from, among those that were."""
    treatments = wells.texts(TREATMENT)
    learned = wells.texts("Metadata_Half") == half
    controls = treatments == CONTROL
    if count:
        similarity = cosine_similarity(wells.features[~learned], wells.features[learned])
    else:
        # Learned from the controls of the wells that were learned from, like the network.
        correction = fit_correction(
            wells, controls & learned, "sphering", regularization=1.0, relative=True
        )
        corrected = correction.transform(wells).features
        similarity = cosine_similarity(corrected[~learned], corrected[learned])
    matches = treatments[~learned][:, None] == treatments[learned]
    precision = [
        average_precision_score(hit, row) for row, hit in zip(similarity, matches, strict=True)
    ]
    first = matches[np.arange(len(matches)), similarity.argmax(axis=1)]
    chance = chance_average_precision(matches.sum(axis=1), np.full(len(matches), matches.shape[1]))
    return pd.DataFrame({"precision": precision, "first": first.astype(float), "chance": chance})


if __name__ == "__main__":
    main()
