"""Whether a correction for the position of wells is worth having.

Two are tried, both learned from control wells alone, after the mean of every plate's controls is
taken away: ``two-way``, effects of rows and of columns, the same on all plates, shrunk (a ridge);
``patterns``, the first principal components of the controls' mean at every position, taken out of
all wells. Then wells are sphered (lambda 1, relative). Beside them is ``centred-sphering``,
which knows nothing of positions. They are asked of the seven JUMP-Target-1 plates (folder of
``BR*.csv.gz``), and of drawn screens with effects of the edge, see benchmarks/layouts.py.
Run it from the project's folder::

    python benchmarks/position_correction.py PLATES --record
"""

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from layouts import BY, screen
from machine import machine

from cpcnn_core.evaluation.annotations import label_of, read_annotations
from cpcnn_core.evaluation.intervals import bootstrap_interval
from cpcnn_core.evaluation.replicates import find_replicates
from cpcnn_core.expressions import choose_rows
from cpcnn_core.profiles.aggregate import aggregate
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.profiles.retrieval import average_precision
from cpcnn_core.profiles.similarity import cosine_similarity, same_label
from cpcnn_core.profiles.wells import well_profiles

COMPOUND = "Metadata_InChIKey"
FOLDS = 4
TRIED = {
    "none": None,
    "none, centred-sphering": ("none", None, "centred-sphering"),
    "two-way, ridge 4": ("two-way", 4),
    "two-way, ridge 32": ("two-way", 32),
    "patterns, 2": ("patterns", 2),
    "patterns, 5": ("patterns", 5),
    "patterns, 10": ("patterns", 10),
    "patterns, 2, centred-sphering": ("patterns", 2, "centred-sphering"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plates", type=Path, help="folder of BR*.csv.gz and comp.tsv")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--record", action="store_true", help="write position_correction.json")
    options = parser.parse_args()
    jump = well_profiles(sorted(options.plates.glob("BR*.csv.gz")), tell=lambda _: None)
    truth = read_annotations(options.plates / "comp.tsv", COMPOUND, "moa_list", tell=lambda _: None)
    result = {"JUMP-Target-1": {}, "drawn": {}}
    uncorrected = None
    for name, how in TRIED.items():
        found, precision = ask_jump(jump, truth, how)
        uncorrected = precision if uncorrected is None else uncorrected
        # Compounds are resampled, the same for both.
        gain = bootstrap_interval(precision - uncorrected, range(len(precision)))
        found["mechanisms, more than without"] = [round(one, 4) for one in gain.values()]
        result["JUMP-Target-1"][name] = found
        print("JUMP-Target-1,", name, json.dumps(found), flush=True)
    for layout in ("random", "fixed, spread", "fixed, outer"):
        result["drawn"][layout] = {
            name: ask_drawn(layout, how, options.rounds) for name, how in TRIED.items()
        }
        print(layout, json.dumps(result["drawn"][layout]), flush=True)
    if options.record:
        path = Path(__file__).with_suffix(".json")
        path.write_text(json.dumps(result | machine(), indent=2) + "\n")


def ask_jump(jump, truth, how):
    """Replicates and mechanisms of compounds; untreated positions, held out, among them."""
    controls = choose_rows(jump, "control_type == 'negcon'")
    wells = corrected(jump, controls, how)
    treated = wells.select(~controls & wells.named(COMPOUND))
    means = aggregate(treated, [COMPOUND], "mean")
    labels = label_of(truth, means.texts(COMPOUND).tolist())
    mechanisms = average_precision(cosine_similarity(means.features), same_label(labels))
    positions = jump.texts("Metadata_Well")
    turn = np.random.default_rng(0).permutation(len(np.unique(positions[controls]))) % FOLDS
    place = np.unique(positions[controls], return_inverse=True)[1]
    untreated = []
    for fold in range(FOLDS):
        held = np.zeros(len(positions), bool)
        held[np.flatnonzero(controls)[turn[place] == fold]] = True
        again = corrected(jump, controls & ~held, how)
        names = np.where(held, np.char.add("untreated ", positions), jump.texts(COMPOUND))
        named = replace(again, metadata=again.metadata.assign(**{COMPOUND: names}))
        queries = named.select((~controls | held) & (names != ""))
        found = find_replicates(queries, COMPOUND)
        mine = np.char.startswith(found.names.astype(str), "untreated ")
        untreated += found.precision[mine].tolist()
    found = {
        "replicates": mean(find_replicates(treated, COMPOUND).precision),
        "mechanisms": mean(mechanisms),
        "untreated positions": mean(untreated),
    }
    return found, mechanisms


def ask_drawn(layout, how, rounds):
    """Replicates of active and of inert treatments; inert ones should be at chance."""
    active, inert, chance = [], [], []
    for seed in range(rounds):
        wells = screen(seed, 1.0, 1.0, layout)
        controls = (wells.metadata[BY] == "DMSO").to_numpy()
        found = find_replicates(corrected(wells, controls, how).select(~controls), BY)
        nothing = np.char.startswith(found.names.astype(str), "inert")
        active += found.precision[~nothing].tolist()
        inert += found.precision[nothing].tolist()
        chance += found.chance.tolist()
    return {"active": mean(active), "inert": mean(inert), "chance": mean(chance)}


def corrected(wells, controls, how):
    features, (kind, size, *method) = wells.features, how or ("none", None)
    if kind != "none":
        plates = wells.texts("Metadata_Plate")
        features = features.copy()
        for plate in np.unique(plates):
            mine = plates == plate
            features[mine] -= features[mine & controls].mean(axis=0)
        learn = {"two-way": two_way, "patterns": patterns}[kind]
        features = learn(features, grid(wells), controls, size)
    moved = replace(wells, features=features)
    sphering = {"regularization": 1.0, "relative": True, "tell": lambda _: None}
    method = method[0] if method else "sphering"
    return fit_correction(moved, controls, method, **sphering).transform(moved)


def two_way(features, places, controls, ridge):
    """Take effects of rows and columns away, learned by ridge regression on the controls."""
    design = np.concatenate(
        [(places[:, [axis]] == np.unique(places[:, axis])).astype(float) for axis in (0, 1)], axis=1
    )
    mine = design[controls]
    weights = np.linalg.solve(mine.T @ mine + ridge * np.eye(mine.shape[1]), mine.T)
    return features - design @ (weights @ features[controls])


def patterns(features, places, controls, count):
    """Take the directions away in which the controls' positions differ most."""
    _, position = np.unique(places[controls], axis=0, return_inverse=True)
    sums = np.zeros((position.max() + 1, features.shape[1]))
    np.add.at(sums, position.ravel(), features[controls])
    means = sums / np.bincount(position.ravel())[:, None]
    *_, directions = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    return features - features @ directions[:count].T @ directions[:count]


def grid(wells):
    found = [re.fullmatch(r"([A-Z])0*(\d+)", name) for name in wells.texts("Metadata_Well")]
    return np.array([(ord(one[1]) - 65, int(one[2]) - 1) for one in found])


def mean(values):
    return round(float(np.nanmean(values)), 3)


if __name__ == "__main__":
    main()
