"""The paper's claims on virtual screens, where every cause is known.

Four studies are simulated, of three plates each. Networks are trained on some of them and asked
about the last, which none has seen: do wells find their treatment on other plates after
sphering, do treatments find others of their mechanism, and how much do the profiles tell of
plates, before and after. Beside them: a network that was not trained, classical measurements
(cp_measure) and the number of cells. Everything by one command::

    python docs/experiments/virtual_screens.py --work WORK --record
"""

import argparse
import dataclasses
import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from cp_measure.featurizer import featurize, make_featurizer_config
from showing import draw_virtual, virtual_table
from wells import embed_wells, run_cpcnn, wells_of

from cpcnn_core import load_model
from cpcnn_core.crop_store.store import open_crops
from cpcnn_core.evaluation.baselines import count_profiles, standard_profiles
from cpcnn_core.evaluation.confounders import confounders
from cpcnn_core.evaluation.intervals import bootstrap_interval
from cpcnn_core.evaluation.replicates import find_replicates
from cpcnn_core.io.profile_files import read_profiles, write_profiles
from cpcnn_core.profiles.aggregate import aggregate
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.profiles.retrieval import average_precision
from cpcnn_core.profiles.similarity import cosine_similarity, same_label
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.simulation.design import ScreenDesign
from cpcnn_core.simulation.layout import CONTROL
from cpcnn_core.simulation.screen import simulate_screen
from cpcnn_core.training.cells import gather_cells
from cpcnn_core.training.config import (
    DataConfig,
    EvaluationConfig,
    NetworkConfig,
    OptimizationConfig,
    RunConfig,
    SplitConfig,
    StudyConfig,
    TrainingConfig,
)
from cpcnn_core.training.fit import train_model
from cpcnn_core.training.reports import EpochReport
from cpcnn_core.training.sampling import steps_per_epoch

DESIGN = ScreenDesign(studies=4, plates=3, wells=36, treatments=12, shared=4, seed=11)
CROP_PX, BACKBONE = 64, "mobilenetv3_small_100"
# Four times the paper's, for trainings that are a thousand times as short.
LEARNING_RATE, NONE = 0.02, 1e-12
CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
TREATMENT, MECHANISM = "Metadata_Treatment", "Metadata_Mechanism"
UNSEEN = "S4"
LAMBDAS = (0.01, 0.1, 1.0, 10.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("virtual_experiment"))
    parser.add_argument("--steps", type=int, default=1000, help="of every training")
    parser.add_argument("--record", action="store_true", help="write virtual_screens.json")
    options = parser.parse_args()
    work = options.work
    simulate_screen(DESIGN, work / "screen")
    store = open_crops(cut(work))
    truth = pd.read_csv(work / "screen" / "treatments.csv").set_index("Treatment")
    strong, weak = halves_by_strength(truth, store)
    first, seen = "Plate.str.startswith('S1')", f"not Plate.str.startswith('{UNSEEN}')"
    some = {
        name: f"{seen} and Treatment in {[*treatments, CONTROL]}"
        for name, treatments in (("strong", strong), ("weak", weak))
    }
    trainings = {
        "untrained": (first, 0),
        "one study": (first, options.steps),
        "three studies": (seen, options.steps),
        "strong half of treatments": (some["strong"], options.steps),
        "weak half of treatments": (some["weak"], options.steps),
    }
    plates = store.column("Metadata_Plate")
    mine = np.flatnonzero([plate.startswith(UNSEEN) for plate in plates])
    tables = {
        name: embed_wells(store, load_model(train(work, name, where, steps)), mine)
        for name, (where, steps) in trainings.items()
    }
    tables["classical"] = classical(work)
    tables["number of cells"] = count_profiles(tables["one study"])
    result = {
        "wells": len(tables["untrained"].metadata),
        "cells": len(mine),
        "steps of every training": options.steps,
        "profiles": {name: evaluate(wells, truth) for name, wells in tables.items()},
    }
    text = json.dumps(result, indent=2)
    print(text)
    print(virtual_table(result))
    if options.record:
        Path(__file__).with_suffix(".json").write_text(text + "\n")
        draw_virtual(result, Path(__file__).parents[1] / "images" / "virtual_screens.png")


def cut(work):
    """Cut all cells, with cpcnn's own command."""
    screen = work / "screen"
    words = f"crops --load-data {screen}/load_data.csv --labels {screen}/labels --out {work}/crops "
    words += f"--platemap {screen}/platemap.csv --crop-px {CROP_PX}"
    run_cpcnn(words)
    return work / "crops"


def halves_by_strength(truth, store):
    """Part the treatments of the studies that are learned from: those that do much, and little."""
    learned = np.array([plate[:2] != UNSEEN for plate in store.column("Metadata_Plate")])
    there = sorted(set(store.column(TREATMENT)[learned]) - {CONTROL})
    effects = truth.loc[there].drop(columns=["Mechanism", "Strength", "HalfDose"])
    ordered = np.sqrt((effects**2).sum(axis=1)).sort_values().index
    return list(ordered[len(ordered) // 2 :]), list(ordered[: len(ordered) // 2])


def train(work, name, where, steps):
    """Train about so many steps, whatever the number of cells.

    With 0 steps nothing is learned but what batch norm knows of the crops' brightness.
    """
    study = StudyConfig(str(work / "crops"), where=where)
    config = TrainingConfig(
        data=DataConfig(label=TREATMENT, studies=(study,)),
        split=SplitConfig(fraction=0.1),
        network=NetworkConfig(backbone=BACKBONE),
        training=OptimizationConfig(learning_rate=LEARNING_RATE if steps else NONE),
        run=RunConfig(out=str(work / name.replace(" ", "_")), device="cpu", workers=0),
    )
    an_epoch = steps_per_epoch(gather_cells(config).training_classes, config.training.batch)
    epochs = max(1, round(steps / an_epoch))
    config = dataclasses.replace(
        config,
        training=dataclasses.replace(config.training, epochs=epochs),
        evaluation=EvaluationConfig(every=epochs),
    )
    return train_model(config, progress=print_epochs)


def print_epochs(report):
    """Print a line for every epoch."""
    if isinstance(report, EpochReport):
        print(report, flush=True)


def classical(work):
    """Return wells of the unseen study by classical measurements, standardised."""
    cells = measured_cells(work)
    # A column that some cell lacks says nothing of the others.
    whole = np.isfinite(cells.features).all(axis=0)
    names = [name for name, known in zip(cells.feature_names, whole, strict=True) if known]
    wells = wells_of(Profiles(cells.features[:, whole], cells.metadata, names))
    return standard_profiles(wells)


def measured_cells(work):
    """Measure the cells of the unseen study with cp_measure, once; as CellProfiler does."""
    screen, table = work / "screen", work / "classical.parquet"
    if table.is_file():
        return read_profiles(table)
    sites = pd.read_csv(screen / "load_data.csv", dtype=str)
    config = make_featurizer_config(list(CHANNELS), objects=["Cells"], correlation_costes=False)
    features, keys = [], []
    for _, site in sites[sites["Metadata_Plate"].str.startswith(UNSEEN)].iterrows():
        files = [f"{site[f'PathName_{c}']}/{site[f'FileName_{c}']}" for c in CHANNELS]
        image = np.stack([tifffile.imread(screen / file) for file in files]) / 65535
        key = [site[f"Metadata_{name}"] for name in ("Plate", "Well", "Site")]
        labels = tifffile.imread(screen / "labels" / f"{'_'.join(key)}.tif").astype(int)
        with warnings.catch_warnings():
            # A cell of one grey level has no texture: such columns are left out later.
            warnings.simplefilter("ignore")
            found, columns, _ = featurize(image[None], labels[None, None], config)
        features.append(found)
        keys += [key] * len(found)
    metadata = pd.DataFrame(keys, columns=["Metadata_Plate", "Metadata_Well", "Metadata_Site"])
    platemap = pd.read_csv(screen / "platemap.csv", dtype=str).add_prefix("Metadata_")
    metadata = metadata.merge(platemap, on=["Metadata_Plate", "Metadata_Well"], how="left")
    names = [f"Cells_{name}" for name in columns]
    write_profiles(Profiles(np.concatenate(features), metadata, names), table)
    return read_profiles(table)


def evaluate(wells, truth):
    """Measure the profiles before and after sphering, with intervals over treatments.

    Lambda is chosen for each kind of profile by how well replicates find each other, as the
    paper chose it; what every lambda gives is in the result.
    """
    controls = wells.texts(TREATMENT) == CONTROL
    found = {"not corrected": measures(wells, controls, truth)}
    several = {}
    for strength in LAMBDAS if wells.features.shape[1] > 1 else ():
        correction = fit_correction(
            wells, controls, "sphering", regularization=strength, relative=True
        )
        several[strength] = measures(correction.transform(wells), controls, truth)
    if several:
        best = max(several, key=lambda strength: several[strength]["replicates"]["mean"])
        found |= {"sphered": several[best], "lambda": best}
        found["replicates by lambda"] = {
            str(strength): one["replicates"]["mean"] for strength, one in several.items()
        }
    return found


def measures(wells, controls, truth):
    """Return retrieval of replicates and mechanisms, and what is told of plates."""
    treated = wells.select(~controls)
    names = treated.texts(TREATMENT)
    treatments = aggregate(treated, [TREATMENT], "mean")
    mechanisms = [str(truth["Mechanism"][name]) for name in treatments.texts(TREATMENT)]
    by_mechanism = average_precision(cosine_similarity(treatments.features), same_label(mechanisms))
    plates = confounders(wells, controls, TREATMENT)
    return {
        "replicates": bootstrap_interval(find_replicates(treated, TREATMENT).precision, names),
        "mechanisms": bootstrap_interval(by_mechanism, treatments.texts(TREATMENT)),
        "plate from controls": plates["plate_from_controls"],
        "controls by plate": plates["controls_by_plate"],
    }


if __name__ == "__main__":
    main()
