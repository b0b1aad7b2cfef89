"""Training on virtual screens, where every cause is known: what finds it on an unseen study?

Four studies are simulated, of three plates each, with causes that differ in textures, organelles,
arrangement and rare subpopulations at equal amounts (``cpcnn simulate --causes``), or in sizes and
intensities. Networks are trained on three of them by either recipe, and by ``cpcnn`` without each
of its parts; all are asked about the fourth study: do wells find their treatment on other plates,
do treatments find others of their mechanism, and how much do profiles tell of plates. Beside them
the frozen ImageNet network, an untrained one, classical measurements (cp_measure) and the number of
cells. One command for each screen::

    python docs/experiments/virtual_screens.py --causes beyond --seed 21 --work WORK --record

What is computed once is kept in ``--work``; trainings resume.
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
from wells import embed_cells, run_cpcnn, save_networks, wells_of

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
from cpcnn_core.training.config_files import config_from
from cpcnn_core.training.fit import train_model
from cpcnn_core.training.reports import EpochReport
from cpcnn_core.training.sampling import steps_per_epoch

CAUSES = {
    "classical": ("classical",),
    "beyond": ("textures", "organelles", "arrangement", "subpopulations"),
}
DESIGN = ScreenDesign(studies=4, plates=3, wells=36, treatments=12, shared=4)
CROP_PX = 64
CHANNELS = ("DNA", "RNA", "ER", "AGP", "Mito")
TREATMENT, MECHANISM, FAMILY = "Metadata_Treatment", "Metadata_Mechanism", "Family"
UNSEEN = "S4"
# Chosen beforehand, for all kinds of profiles alike (docs/statistics.md).
LAMBDA = 1.0
# Channels enter together: a fifth of the work, on two cores.
CPCNN = {
    "recipe": "cpcnn",
    "network": {"channels": "together", "input_px": 0, "fixed_statistics": False},
}
# Four times the paper's rate, for a training that is thousands of times as short.
PAPER = {"recipe": "paper", "training": {"batch": 64, "learning_rate": 0.02}}
WITHOUT = {
    "ImageNet start": {"network": {"initialization": "random"}, "training": {"taken_rate": 1.0}},
    "slower taken weights": {"training": {"taken_rate": 1.0}},
    "contrast": {"contrast": {"weight": 0.0}},
    "pairs and balanced plates": {
        "sampling": {"plates": False, "cells_per_class": 1},
        "contrast": {"weight": 0.0},
    },
    "averaging": {"training": {"averaging": 0.0}},
    "one cycle": {"training": {"schedule": "constant"}},
}
SELF = {
    "sampling": {"plates": False, "cells_per_class": 1},
    "training": {"classification": 0.0},
    "contrast": {"positives": "views"},
}
TRAININGS = {
    "recipe paper": PAPER,
    "recipe cpcnn": CPCNN,
    **{f"recipe cpcnn without {part}": [CPCNN, change] for part, change in WITHOUT.items()},
    "recipe cpcnn, self-supervised": [CPCNN, SELF],
    "recipe cpcnn, one study": CPCNN,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("virtual_experiment"))
    parser.add_argument("--causes", choices=CAUSES, default="beyond")
    parser.add_argument("--seed", type=int, default=21, help="of the screen and the trainings")
    parser.add_argument("--steps", type=int, default=500, help="of every training, about")
    parser.add_argument("--trainings", nargs="*", default=list(TRAININGS), choices=list(TRAININGS))
    parser.add_argument("--record", action="store_true", help="write virtual_screens.json")
    options = parser.parse_args()
    work = options.work / f"{options.causes}_{options.seed}"
    design = dataclasses.replace(DESIGN, causes=CAUSES[options.causes], seed=options.seed)
    simulate_screen(design, work / "screen")
    store = open_crops(cut(work))
    truth = pd.read_csv(work / "screen" / "treatments.csv").set_index("Treatment")
    rows = np.flatnonzero([p.startswith(UNSEEN) for p in store.column("Metadata_Plate")])
    save_networks(work, CHANNELS, CROP_PX)
    models = {
        "untrained": work / "untrained.safetensors",
        "ImageNet, frozen": work / "imagenet.safetensors",
    }
    for name in options.trainings:
        models[name] = train(work, name, options)
    cells = {
        name: embed_cells(store, model, model.with_suffix(".parquet"), rows)
        for name, model in models.items()
    }
    tables = {name: wells_of(one) for name, one in cells.items()}
    tables["classical (cp_measure)"] = classical(work)
    tables["number of cells"] = count_profiles(tables["untrained"])
    found = {name: evaluate(wells, truth) for name, wells in tables.items()}
    result = {
        "causes": options.causes,
        "seed": options.seed,
        "wells": len(tables["untrained"].metadata),
        "cells": len(rows),
        "steps": options.steps,
        "profiles": {name: one[0] for name, one in found.items()},
        "minus": {
            baseline: {
                name: difference(one[1], found[baseline][1])
                for name, one in found.items()
                if name != baseline
            }
            for baseline in ("ImageNet, frozen", "classical (cp_measure)", "recipe cpcnn")
            if baseline in found
        },
    }
    text = json.dumps(result, indent=2)
    print(text)
    print(virtual_table(result))
    if options.record:
        here = Path(__file__)
        name = f"{here.stem}_{options.causes}_{options.seed}"
        here.with_name(f"{name}.json").write_text(text + "\n")
        draw_virtual(result, here.parents[1] / "images" / f"{name}.png")


def cut(work):
    """Cut all cells, with cpcnn's own command."""
    screen = work / "screen"
    words = f"crops --load-data {screen}/load_data.csv --labels {screen}/labels --out {work}/crops "
    words += f"--platemap {screen}/platemap.csv --crop-px {CROP_PX}"
    run_cpcnn(words)
    return work / "crops"


def train(work, name, options):
    """Train about so many steps, whatever the number of cells."""
    where = f"not Plate.str.startswith('{UNSEEN}')"
    if name.endswith("one study"):
        where = "Plate.str.startswith('S1')"
    study = {"crops": str(work / "crops"), "where": where}
    table = {
        "data": {"label": TREATMENT, "studies": [study]},
        "split": {"kind": "wells", "fraction": 0.1},
        "run": {"out": str(work / name.replace(" ", "_")), "device": "cpu", "workers": 0},
    }
    table["run"]["seed"] = options.seed
    given = TRAININGS[name]
    for changes in given if isinstance(given, list) else [given]:
        for section, entries in changes.items():
            known = table.get(section)
            table[section] = {**known, **entries} if isinstance(known, dict) else entries
    config = config_from(table)
    an_epoch = steps_per_epoch(gather_cells(config).training_classes, config.training.batch)
    epochs = max(1, round(options.steps / an_epoch))
    config = dataclasses.replace(
        config,
        training=dataclasses.replace(config.training, epochs=epochs),
        evaluation=dataclasses.replace(config.evaluation, every=epochs),
    )
    return train_model(config, progress=lambda report: print_epochs(name, report))


def print_epochs(name, report):
    """Print a line for every epoch."""
    if isinstance(report, EpochReport):
        print(name, report, flush=True)


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
    """Measure profiles before and after sphering; return what is told, and every well's."""
    controls = wells.texts(TREATMENT) == CONTROL
    tables = {"not corrected": wells}
    if wells.features.shape[1] > 1:
        correction = fit_correction(
            wells, controls, "sphering", regularization=LAMBDA, relative=True
        )
        tables["sphered"] = correction.transform(wells)
    told, each = {}, {}
    for state, table in tables.items():
        told[state], each[state] = measures(table, controls, truth)
    return told, each


def measures(wells, controls, truth):
    """Return retrieval of replicates and mechanisms, and what is told of plates."""
    treated = wells.select(~controls)
    names = treated.texts(TREATMENT)
    treatments = aggregate(treated, [TREATMENT], "mean")
    of_treatments = treatments.texts(TREATMENT)
    mechanisms = [str(truth["Mechanism"][name]) for name in of_treatments]
    by_mechanism = average_precision(cosine_similarity(treatments.features), same_label(mechanisms))
    plates = confounders(wells, controls, TREATMENT)
    found = find_replicates(treated, TREATMENT)
    shuffled = treated.metadata.copy()
    random = np.random.default_rng(0)
    for rows in shuffled.groupby("Metadata_Plate").groups.values():
        shuffled.loc[rows, TREATMENT] = random.permutation(shuffled.loc[rows, TREATMENT])
    placebo = find_replicates(dataclasses.replace(treated, metadata=shuffled), TREATMENT)
    families = np.array([str(truth[FAMILY][name]) for name in names])
    told = {
        "replicates": bootstrap_interval(found.precision, names),
        "chance": float(np.nanmean(found.chance)),
        "treatments shuffled": bootstrap_interval(placebo.precision, names),
        "replicates by family": {
            family: bootstrap_interval(
                found.precision[families == family], names[families == family]
            )
            for family in np.unique(families)
        },
        "mechanisms": bootstrap_interval(by_mechanism, of_treatments),
        "plate from controls": plates["plate_from_controls"],
        "controls by plate": plates["controls_by_plate"],
    }
    return told, (found.precision, names)


def difference(mine, theirs):
    """Return the difference of two kinds of profiles, well by well, by correction."""
    return {
        state: bootstrap_interval(mine[state][0] - theirs[state][0], mine[state][1])
        for state in mine
        if state in theirs
    }


if __name__ == "__main__":
    main()
