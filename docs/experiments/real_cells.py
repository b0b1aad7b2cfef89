"""Real cells: what finds the treatment of unseen wells, and the field of unseen cells?

The translocation plate (BBBC013-type, two channels, U2OS; ``index.csv`` says which wells there
are): networks are trained on the wells of one half of the replicates, and every kind of profile
is asked for the treatment of the wells of the other half; then the other way round. Beside them
the textbook readout of this assay, the GFP of the nucleus divided by that of a ring around it.

With ``--fields``, three Cell Painting fields of CPJUMP1: are cells nearest to the other half of
their own field? Needs the folders with the images::

    python docs/experiments/real_cells.py FOLDER --fields FIELDS --work WORK --record

What is computed once is kept in ``--work``; trainings resume.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from showing import BLUE, draw_real, real_table
from skimage.measure import regionprops_table
from skimage.segmentation import expand_labels
from sklearn.metrics import average_precision_score
from wells import embed_cells, run_cpcnn, save_networks, wells_of

from cpcnn_core.crop_store.store import open_crops
from cpcnn_core.evaluation.baselines import count_profiles
from cpcnn_core.evaluation.classical import ClassicalJob, measure_screen
from cpcnn_core.evaluation.intervals import bootstrap_interval
from cpcnn_core.io.profile_files import read_profiles
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.profiles.retrieval import chance_average_precision
from cpcnn_core.profiles.similarity import cosine_similarity
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.screen.reports import JobResult
from cpcnn_core.training.config_files import config_from
from cpcnn_core.training.fit import train_model
from cpcnn_core.training.reports import EpochReport
from napari_cpcnn.embed.nuclei import find_nuclei

CHANNELS, CROP_PX = ("GFP", "DNA"), 48
FIELD_CHANNELS, FIELD_CROP_PX = ("DNA", "RNA", "ER", "AGP", "Mito"), 96
TREATMENT, HALF = "Metadata_Treatment", "Metadata_Half"
# Replicates of every treatment are in both: every other row of the plate.
HALVES = {letter: ("upper", "lower")[place % 2] for place, letter in enumerate("ABCDEFGHIJKLMNOP")}
CONTROL = "untreated"
# A ring around the nucleus, about as wide as the cytoplasm that can be seen there.
RING_PX = 5
CORRECTIONS = ("none", "standardised", "sphered")
# Four times the paper's rate, for a training that is thousands of times as short.
PAPER = {"training": {"epochs": 40, "learning_rate": 0.02, "schedule": "cosine"}}
RECIPES = {"trained, recipe paper": ("paper", PAPER), "trained, recipe cpcnn": ("cpcnn", {})}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fields", type=Path)
    parser.add_argument("--work", type=Path, default=Path("real_cells"))
    parser.add_argument("--recipes", nargs="*", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--record", action="store_true", help="write real_cells.json")
    options = parser.parse_args()
    result = {"translocation": translocation(options)}
    if options.fields:
        result["fields"] = fields(options)
    text = json.dumps(result, indent=2)
    print(text)
    print(real_table(result["translocation"]))
    if options.record:
        here = Path(__file__)
        here.with_suffix(".json").write_text(text + "\n")
        draw_real(result["translocation"], here.parents[1] / "images" / "real_cells.png", BLUE)


def translocation(options):
    """Ask every kind of profile for the treatment of wells of the other half."""
    work = options.work
    store = make_store(options.folder, work, CHANNELS, CROP_PX)
    wells = {
        "number of cells": count_profiles(wells_of(cells_of(work, store, "untrained"))),
        "GFP ratio": as_angles(wells_of(ratio_cells(options.folder, work, store))),
        "classical (cp_measure)": wells_of(classical_cells(work, store)),
        "untrained": wells_of(cells_of(work, store, "untrained")),
        "ImageNet, frozen": wells_of(cells_of(work, store, "imagenet")),
    }
    found = {name: [] for name in [*wells, *options.recipes]}
    for half in ("upper", "lower"):
        for name in options.recipes:
            path = train(work, half, *RECIPES[name])
            wells[name] = wells_of(cells_of(work, store, path.parent.name, path))
        for name, table in wells.items():
            found[name].append(search(table, half))
    tables = {name: pd.concat(parts, ignore_index=True) for name, parts in found.items()}
    every = np.arange(len(tables["GFP ratio"]))

    def interval(values):
        return bootstrap_interval(values, every)

    reference = tables["ImageNet, frozen"]
    return {
        "cells": len(store),
        "wells asked about": len(every),
        "chance": float(reference["chance"].mean()),
        "mean average precision": {
            name: {correction: interval(table[correction]) for correction in CORRECTIONS}
            for name, table in tables.items()
        },
        "minus ImageNet, frozen": {
            name: {c: interval(table[c] - reference[c]) for c in CORRECTIONS}
            for name, table in tables.items()
            if table is not reference
        },
        "treatments shuffled": {
            name: {c: interval(table[f"{c}, shuffled"]) for c in CORRECTIONS}
            for name, table in tables.items()
        },
    }


def make_store(folder, work, channels, crop_px):
    """Find the nuclei, cut the cells: with cpcnn's own commands, as for any screen."""
    index = pd.read_csv(folder / "index.csv", dtype=str)
    (work / "labels").mkdir(parents=True, exist_ok=True)
    rows = []
    for _, well in index.iterrows():
        row = {f"Metadata_{name.capitalize()}": well[name] for name in ("plate", "well", "site")}
        for name in channels:
            file = (folder / well[name]).absolute()
            row |= {f"FileName_{name}": file.name, f"PathName_{name}": str(file.parent)}
        rows.append(row)
        labels = find_nuclei(tifffile.imread(folder / well["DNA"]))
        tifffile.imwrite(label_file(work, well), labels.astype(np.uint16))
    pd.DataFrame(rows).to_csv(work / "load_data.csv", index=False)
    platemap = index[["plate", "well", "treatment"]].rename(columns=str.capitalize)
    platemap["Half"] = [HALVES[well[0]] for well in platemap["Well"]]
    platemap.to_csv(work / "platemap.csv", index=False)
    words = f"crops --load-data {work}/load_data.csv --labels {work}/labels --out {work}/crops "
    words += f"--platemap {work}/platemap.csv --crop-px {crop_px} --channels {' '.join(channels)}"
    run_cpcnn(words)
    save_networks(work, channels, crop_px)
    return open_crops(work / "crops")


def label_file(work, well):
    """Name a well's label image as cpcnn looks for it."""
    return work / "labels" / f"{well['plate']}_{well['well']}_{well['site']}.tif"


def train(work, half, recipe, entries):
    """Train on the wells of one half."""
    study = {"crops": str(work / "crops"), "where": f"Half == '{half}'"}
    out = f"{recipe}_{half}"
    table = {
        "recipe": recipe,
        "data": {"label": TREATMENT, "studies": [study]},
        "split": {"fraction": 0.1},
        "evaluation": {"every": 1000},
        "run": {"out": str(work / out), "device": "cpu", "workers": 0},
    }
    return train_model(config_from(table | entries), progress=print_epochs)


def print_epochs(report):
    """Print a line for every epoch."""
    if isinstance(report, EpochReport):
        print(report, flush=True)


def cells_of(work, store, name, model=None):
    """Embed all cells, once."""
    return embed_cells(store, model or work / f"{name}.safetensors", work / f"{name}.parquet")


def classical_cells(work, store):
    """Measure the cells as `cpcnn compare --classical` does."""
    names = tuple((name, name) for name in CHANNELS)
    out = work / "classical"
    job = ClassicalJob(str(work / "load_data.csv"), str(work / "labels"), names, str(out))
    measure_screen(job, JobResult())
    cells = read_profiles(next((out / "plates").glob("*.parquet")))
    # A column that some cell lacks says nothing of the others.
    whole = np.isfinite(cells.features).all(axis=0)
    names = [name for name, known in zip(cells.feature_names, whole, strict=True) if known]
    return known_cells(Profiles(cells.features[:, whole], cells.metadata, names), store)


def ratio_cells(folder, work, store):
    """Measure the GFP of each nucleus, divided by that of a ring around it."""
    rows, values = [], []
    for _, well in pd.read_csv(folder / "index.csv", dtype=str).iterrows():
        labels = tifffile.imread(label_file(work, well)).astype(int)
        gfp = tifffile.imread(folder / well["GFP"]).astype(float)
        ring = np.where(labels == 0, expand_labels(labels, RING_PX), 0)
        inside, outside = (
            pd.DataFrame(regionprops_table(mask, gfp, ("label", "intensity_mean")))
            for mask in (labels, ring)
        )
        both = inside.merge(outside, on="label", suffixes=("", "_ring"))
        values += (both["intensity_mean"] / (both["intensity_mean_ring"] + 1)).tolist()
        rows += [(well["plate"], well["well"], well["site"], int(n)) for n in both["label"]]
    names = [f"Metadata_{name}" for name in ("Plate", "Well", "Site", "ObjectNumber")]
    features = np.log(values)[:, None]
    cells = Profiles(features, pd.DataFrame(rows, columns=names), ["Ratio_GFP"])
    return known_cells(cells, store)


def as_angles(wells):
    """Turn one value of each well into a direction, from 0 to 90 degrees: a cosine compares them.

    As `count_profiles` does with numbers of cells.
    """
    values = wells.features[:, 0]
    angle = (values - values.min()) / (values.max() - values.min()) * np.pi / 2
    features = np.column_stack([np.cos(angle), np.sin(angle)])
    return Profiles(features, wells.metadata, ["Ratio_x", "Ratio_y"])


def known_cells(cells, store):
    """Give cells the metadata of the store, in which each has a crop."""
    keys = [f"Metadata_{name}" for name in ("Plate", "Well", "Site", "ObjectNumber")]
    known = store.index.astype(dict.fromkeys(keys, str)).set_index(keys)
    places = pd.MultiIndex.from_frame(cells.metadata[keys].astype(str))
    there = places.isin(known.index)
    metadata = known.loc[places[there]].reset_index()
    named = [name for name in metadata.columns if name.startswith("Metadata_")]
    return Profiles(cells.features[there], metadata[named], list(cells.feature_names))


def search(wells, half):
    """Search the treatment of the wells that were not learned from, among those that were."""
    treatments = wells.texts(TREATMENT)
    learned = wells.texts(HALF) == half
    shuffled = np.random.default_rng(0).permutation(treatments)
    found = {}
    for correction in CORRECTIONS:
        features = corrected(wells, learned, treatments == CONTROL, correction)
        similarity = cosine_similarity(features[~learned], features[learned])
        for kind, names in ((correction, treatments), (f"{correction}, shuffled", shuffled)):
            matches = names[~learned][:, None] == names[learned]
            found[kind] = [
                average_precision_score(hit, row) if hit.any() else np.nan
                for hit, row in zip(matches, similarity, strict=True)
            ]
    matches = treatments[~learned][:, None] == treatments[learned]
    sizes = np.full(len(matches), matches.shape[1])
    return pd.DataFrame(found | {"chance": chance_average_precision(matches.sum(axis=1), sizes)})


def corrected(wells, learned, controls, correction):
    """Correct the wells by what the wells that were learned from say, like the network."""
    features = np.asarray(wells.features, float)
    # A single measure has no scales to bring together.
    if features.shape[1] <= 2:
        return features
    if correction == "standardised":
        spread = features[learned].std(axis=0)
        varies = spread > 0
        return (features - features[learned].mean(axis=0))[:, varies] / spread[varies]
    if correction == "sphered":
        fitted = fit_correction(
            wells, controls & learned, "sphering", regularization=1.0, relative=True
        )
        return fitted.transform(wells).features
    return features


def fields(options):
    """Ask whether cells are nearest to the other half of their own field."""
    work = options.work / "fields"
    store = make_store(options.fields, work, FIELD_CHANNELS, FIELD_CROP_PX)
    names = tuple((name, name) for name in FIELD_CHANNELS)
    job = ClassicalJob(
        str(work / "load_data.csv"), str(work / "labels"), names, str(work / "classical")
    )
    measure_screen(job, JobResult())
    tables = [read_profiles(file) for file in sorted((work / "classical" / "plates").iterdir())]
    features = np.concatenate([table.features for table in tables])
    whole = np.isfinite(features).all(axis=0)
    metadata = pd.concat([table.metadata for table in tables], ignore_index=True)
    columns = [n for n, known in zip(tables[0].feature_names, whole, strict=True) if known]
    kinds = {
        "classical (cp_measure)": known_cells(
            Profiles(features[:, whole], metadata, columns), store
        ),
        "untrained": cells_of(work, store, "untrained"),
        "ImageNet, frozen": cells_of(work, store, "imagenet"),
    }
    sides = left_or_right(store)
    result = {"cells": len(store), "chance": 1 / 3, "nearest to the own field": {}}
    for name, cells in kinds.items():
        right = own_field(cells, sides)
        result["nearest to the own field"][name] = bootstrap_interval(right, np.arange(len(right)))
    return result


def left_or_right(store):
    """Tell by plate, well and number which cells are in the left half of their field."""
    keys = [f"Metadata_{name}" for name in ("Plate", "Well", "ObjectNumber")]
    places = store.index[[*keys, "Metadata_Location_Center_X"]]
    middle = places.groupby(keys[:2])["Metadata_Location_Center_X"].transform("median")
    names = places[keys].astype(str).itertuples(index=False, name=None)
    return dict(zip(names, places["Metadata_Location_Center_X"] < middle, strict=True))


def own_field(cells, sides):
    """Tell which cells are nearer to the other half of their field than to any other field's."""
    keys = [f"Metadata_{name}" for name in ("Plate", "Well", "ObjectNumber")]
    names = cells.metadata[keys].astype(str).itertuples(index=False, name=None)
    is_left = np.array([sides[name] for name in names])
    fields = cells.texts("Metadata_Well")
    features = np.asarray(cells.features, float)
    spread = features.std(axis=0)
    features = (features - features.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    known = np.unique(fields)
    right = np.zeros(len(fields))
    for side in (is_left, ~is_left):
        means = np.stack([features[~side & (fields == name)].mean(axis=0) for name in known])
        nearest = known[cosine_similarity(features[side], means).argmax(axis=1)]
        right[side] = nearest == fields[side]
    return right


if __name__ == "__main__":
    main()
