"""Sets of cells: does a learned aggregation find replicates better than the mean?

Four questions, each answered by ``cpcnn aggregation train`` and ``cpcnn profile``: on numbers in
which treatments change how the cells of a well differ, but not their mean; on a virtual screen;
on another virtual screen, with treatments and a style of its own, that the aggregation was not
trained on; and on the real wells of the translocation plate, whose folder is given::

    python docs/experiments/learned_aggregation.py FOLDER --work WORK --record
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
from sbs_translocation import make_store
from wells import run_cpcnn

from cpcnn_core.aggregation.cell_sets import read_cell_sets
from cpcnn_core.aggregation.files import read_aggregation
from cpcnn_core.aggregation.fit import AggregationSettings, fit_aggregation
from cpcnn_core.aggregation.judge import describe, verdict
from cpcnn_core.aggregation.scored_sets import score_sets
from cpcnn_core.evaluation.intervals import bootstrap_interval
from cpcnn_core.evaluation.replicates import find_replicates
from cpcnn_core.io.profile_files import read_profiles, write_profiles
from cpcnn_core.models.opening import untrained_efficientnet_b0
from cpcnn_core.models.weights import save_model
from cpcnn_core.profiles.correction_steps import fit_plate_centering
from cpcnn_core.profiles.wells import find_tables, join_platemap, well_profiles
from cpcnn_core.schema.columns import PLATE, TREATMENT
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.simulation.design import ScreenDesign
from cpcnn_core.simulation.layout import CONTROL
from cpcnn_core.simulation.screen import simulate_screen

CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
DESIGN = ScreenDesign(studies=1, plates=4, wells=48, sites=1, treatments=16, cells=40, seed=5)
CROP_PX = 64
# Numbers: cells of a treatment go one way or the other, along an axis of its own.
DIM, CELLS, TREATMENTS, CONTROLS, AWAY = 32, 40, 24, 12, 2.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, default=Path("aggregation_experiment"))
    parser.add_argument("--record", action="store_true", help="write learned_aggregation.json")
    options = parser.parse_args()
    work, result = options.work, {}
    result["numbers"] = train(work / "numbers", make_numbers(work / "numbers"), CONTROL)
    model, screen, other = save_untrained(work), work / "screen", work / "other"
    simulate(screen, DESIGN.seed, model)
    result["virtual screen"] = train(screen, screen / "embedded", CONTROL)
    result["virtual screen"]["placebo that looks among what was learned from"] = leak(screen)
    make_store(options.folder, work / "sbs")
    embed(
        work / "sbs",
        work / "sbs" / "labels",
        "--channels GFP=GFP DNA=DNA --model imagenet-efficientnet-lite0",
    )
    result["real wells"] = train(work / "sbs", work / "sbs" / "embedded", "untreated")
    simulate(other, DESIGN.seed + 1, model)
    result["another virtual screen"] = compare(other, screen / "learned.safetensors")
    text = json.dumps(result, indent=2)
    print(text)
    if options.record:
        Path(__file__).with_suffix(".json").write_text(text + "\n")


def make_numbers(folder):
    """Write cells of four plates whose wells have the same mean, but for noise."""
    random = np.random.default_rng(1)
    axes = random.normal(size=(TREATMENTS, DIM))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    names = [CONTROL] * CONTROLS + [f"T{number:02d}" for number in range(TREATMENTS)]
    wells = [f"{row}{column:02d}" for row in "ABC" for column in range(1, 13)]
    for plate in ("P1", "P2", "P3", "P4"):
        shift, rows, parts = random.normal(0, 1, DIM), [], []
        for well, name in zip(wells, names, strict=True):
            cells = random.normal(0, 1, (CELLS, DIM)) + random.normal(0, 0.1, DIM) + shift
            if name != CONTROL:
                sign = np.where(np.arange(CELLS) % 2, 1, -1)[:, None]
                cells += AWAY * sign * axes[int(name[1:])]
            parts.append(cells)
            rows += [(plate, well, "1", number) for number in range(CELLS)]
        keys = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber"]
        metadata = pd.DataFrame(rows, columns=keys)
        features = np.concatenate(parts).astype(np.float32)
        names_of = [f"Cells_CNN_{number:03d}" for number in range(DIM)]
        table = Profiles(features, metadata, names_of, {"model": "numbers"})
        write_profiles(table, folder / "embedded" / "plates" / f"{plate}.parquet")
    platemap = pd.DataFrame({"Well": wells, "Treatment": names})
    platemap.to_csv(folder / "platemap.csv", index=False)
    return folder / "embedded"


def save_untrained(work):
    """Save the untrained network for small crops."""
    card, weights = untrained_efficientnet_b0(CHANNELS)
    path = work / "untrained.safetensors"
    save_model(path, dataclasses.replace(card, crop_px=CROP_PX), weights)
    return path


def simulate(folder, seed, model):
    """Simulate a screen, and embed its cells."""
    simulate_screen(dataclasses.replace(DESIGN, seed=seed), folder)
    embed(folder, folder / "labels", f"--model {model}")


def embed(folder, labels, how):
    run_cpcnn(
        f"embed --load-data {folder}/load_data.csv --labels {labels} --out {folder}/embedded {how}"
    )


def train(folder, embedded, control):
    """Train on a screen; return what the command says of itself."""
    model = folder / "learned.safetensors"
    run_cpcnn(
        f"aggregation train {embedded} --platemap {folder}/platemap.csv "
        f"--controls Treatment=='{control}' --out {model}"
    )
    card, _ = read_aggregation(model)
    return {
        "wells": card.wells,
        "cells": card.cells,
        "treatments": len(card.treatments),
        "plates": len(card.plates),
        "judgements": [dataclasses.asdict(one) for one in card.judgements],
        "placebo": [dataclasses.asdict(one) for one in card.placebo],
        "in words": [describe(one) for one in (*card.judgements, *card.placebo)],
        "verdict": verdict(card.judgements, card.placebo),
    }


def leak(folder):
    """Return the placebo's gain where held-out plates look among the plates learned from."""
    wells = well_profiles([folder / "embedded"], cells="mean")
    wells = join_platemap(wells, folder / "platemap.csv", tell=print)
    tables, settings = find_tables([folder / "embedded"]), AggregationSettings()
    sets, plates = read_cell_sets(wells, tables, 256), wells.texts(PLATE)
    names, random, parts = wells.texts(TREATMENT), np.random.default_rng(0), []
    controls = names == CONTROL
    for plate in np.unique(plates):
        mine = np.flatnonzero((plates == plate) & ~controls)
        names[mine] = names[random.permutation(mine)]
    shuffled = wells.metadata.assign(**{TREATMENT: names})
    for plate in np.unique(plates):
        known = plates != plate
        scored = score_sets(sets, controls, controls & known, settings.components, settings.seed)
        learned = scored.aggregate(fit_aggregation(scored, np.where(known, names, ""), settings))
        found = []
        for features in (sets.wells.features, learned):
            scaling = fit_plate_centering(features[controls], plates[controls].tolist())
            centred = scaling.transform(features, plates.tolist())
            kept = [n for n, used in zip(wells.feature_names, scaling.used, strict=True) if used]
            table = Profiles(centred, shuffled, kept).select(~controls)
            found.append(find_replicates(table, TREATMENT).precision[~known[~controls]])
        parts.append((names[~known & ~controls], found[1] - found[0]))
    groups, gains = (np.concatenate(values) for values in zip(*parts, strict=True))
    return bootstrap_interval(gains, groups)


def compare(folder, model):
    """Ask the wells of a screen for their replicates, as mean and as learned elsewhere."""
    found = {}
    for name, how in (("mean", "--cells mean"), ("learned", f"--aggregation {model}")):
        table = folder / f"{name}.parquet"
        run_cpcnn(
            f"profile {folder}/embedded --platemap {folder}/platemap.csv "
            f"--controls Treatment=='{CONTROL}' --correction centred-sphering --lambda 1 "
            f"--relative --out {table} {how}"
        )
        wells = read_profiles(table)
        found[name] = find_replicates(wells.select(wells.texts(TREATMENT) != CONTROL), TREATMENT)
    mean, learned = found["mean"], found["learned"]
    asked = mean.queries()
    difference = (learned.precision - mean.precision)[asked]
    return {
        "wells": int(asked.sum()),
        "treatments": len(set(mean.names[asked])),
        "chance": float(mean.chance[asked].mean()),
        "mean": float(mean.precision[asked].mean()),
        "learned": float(learned.precision[asked].mean()),
        "learned minus mean": bootstrap_interval(difference, mean.names[asked]),
    }


if __name__ == "__main__":
    main()
