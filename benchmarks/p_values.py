"""Whether p-values are what they say: data without any effect through the whole procedure.

Of wells in which nothing differs but chance, p-values at or below .05 should be 5 % of all. Such
wells are drawn (``gauss``), or are the untreated wells of real plates, some of which are called
treatments. And whole positions of untreated wells are called treatments on plates whose
compounds are at fixed positions, which only a null of positions can answer. The fast part,
with fewer rounds, is tests/cpcnn_core/profiles/test_calibration.py. Needs the seven
JUMP-Target-1 plates (folder of ``BR*.csv.gz``). Run it from the project's folder::

    python benchmarks/p_values.py PLATES --record
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from machine import machine

from cpcnn_core.expressions import choose_rows
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.profiles.cross_fitting import cross_fit
from cpcnn_core.profiles.significance import Significance
from cpcnn_core.profiles.wells import well_profiles
from cpcnn_core.schema.profiles import Profiles

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.cpcnn_core.profiles.test_calibration import METHODS

BY = "Metadata_Treatment"
CONTROL = "DMSO"
QUERIES = 8


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plates", type=Path, help="folder of BR*.csv.gz")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--record", action="store_true", help="write p_values.json")
    options = parser.parse_args()
    jump = well_profiles(sorted(options.plates.glob("BR*.csv.gz")), tell=lambda _: None)
    untreated = jump.select(choose_rows(jump, "control_type == 'negcon'"))
    screens = {"gauss, 2 plates": gauss} | {
        f"untreated JUMP wells, {plates} plates": lambda seed, plates=plates: pretended(
            untreated, plates, seed
        )
        for plates in (2, 4, 7)
    }
    result = {"rounds": options.rounds, "share of p-values at or below .05 and .01": {}}
    for name, make in screens.items():
        found = {method: null_shares(make, how, options.rounds) for method, how in METHODS.items()}
        result["share of p-values at or below .05 and .01"][name] = found
        print(name, json.dumps(found), flush=True)
    result["activity, wells drawn at random, no correction"] = found = {
        f"{controls} controls a plate, {replicates} plates": activity_shares(
            controls, replicates, options.rounds
        )
        for controls in (4, 8, 16, 32)
        for replicates in (2, 4, 7)
    }
    print(json.dumps(found), flush=True)
    result["untreated positions called treatments"] = found = {
        method: position_shares(jump, how, max(2, options.rounds // 5))
        for method, how in METHODS.items()
        if method in ("none", "sphering .1", "sphering 1", "centred-sphering 1")
    }
    print(json.dumps(found), flush=True)
    text = json.dumps(result | machine(), indent=2)
    if options.record:
        Path(__file__).with_suffix(".json").write_text(text + "\n")


def gauss(seed, plates=2, controls=16, treatments=16, dim=672):
    """Wells that differ by chance alone."""
    random = np.random.default_rng(seed)
    names = [CONTROL] * controls + [f"T{n}" for n in range(treatments)]
    rows = [(f"P{plate}", name) for plate in range(plates) for name in names]
    metadata = pd.DataFrame(rows, columns=["Metadata_Plate", BY])
    features = random.normal(size=(len(rows), dim))
    return Profiles(features, metadata, [f"Cells_{n}" for n in range(dim)])


def pretended(untreated, plates, seed, treatments=24):
    """Call some untreated wells of every plate, at random positions, treatments."""
    random = np.random.default_rng(seed)
    of = untreated.texts("Metadata_Plate")
    used = random.permutation(np.unique(of))[:plates]
    wells = untreated.select(np.isin(of, used))
    names = np.full(len(wells.metadata), CONTROL, object)
    for plate in used:
        mine = random.permutation(np.flatnonzero(wells.texts("Metadata_Plate") == plate))
        names[mine[:treatments]] = [f"T{n}" for n in range(treatments)]
    metadata = wells.metadata[["Metadata_Plate", "Metadata_Well"]].assign(**{BY: names})
    return Profiles(wells.features, metadata, wells.feature_names)


def null_shares(make, how, rounds):
    """Return the shares of p-values of `nearest` and of `activity`, and seconds a round."""
    nearest, activity, started = [], [], time.process_time()
    for seed in range(rounds):
        wells = make(seed)
        found = significance(wells, (wells.metadata[BY] == CONTROL).to_numpy(), how)
        names = np.array(list(found.treatments))
        for name in names[:QUERIES]:
            query = wells.select((wells.metadata[BY] == name).to_numpy())
            nearest += found.nearest(query, exclude=[name])["p_value"].dropna().tolist()
        activity += found.activity()["p_value"].dropna().tolist()
    return {
        "nearest": shares(nearest),
        "activity": shares(activity),
        "CPU seconds a round": round((time.process_time() - started) / rounds, 2),
    }


def activity_shares(controls, plates, rounds):
    found = []
    for seed in range(rounds):
        wells = gauss(seed, plates, controls, treatments=30, dim=50)
        mine = (wells.metadata[BY] == CONTROL).to_numpy()
        found += significance(wells, mine, METHODS["none"]).activity()["p_value"].tolist()
    return shares(found)


def position_shares(jump, how, rounds):
    """Call 14 positions of untreated wells treatments, beside the plates' real compounds."""
    placebo, compounds = [], []
    untreated = choose_rows(jump, "control_type == 'negcon'")
    positions = jump.texts("Metadata_Well")
    for seed in range(rounds):
        random = np.random.default_rng(seed)
        chosen = random.permutation(np.unique(positions[untreated]))[:14]
        mine = untreated & np.isin(positions, chosen)
        names = np.where(mine, np.char.add("placebo ", positions), jump.texts("Metadata_InChIKey"))
        metadata = jump.metadata[["Metadata_Plate", "Metadata_Well"]].assign(**{BY: names})
        wells = Profiles(jump.features, metadata, jump.feature_names)
        found = significance(wells, untreated & ~mine, how).activity().dropna()
        own = found.index.str.startswith("placebo ")
        placebo += found["p_value"][own].tolist()
        compounds.append(float((found["q_value"][~own] <= 0.05).mean()))
    return {"placebo": shares(placebo), "compounds with q <= .05": round(np.mean(compounds), 3)}


def significance(wells, controls, how):
    correction = fit_correction(wells, controls, **how, tell=lambda _: None)
    return Significance(cross_fit(wells, controls, BY, correction))


def shares(p_values):
    p_values = np.array(p_values)
    return {
        "at .05": round(float((p_values <= 0.05).mean()), 3),
        "at .01": round(float((p_values <= 0.01).mean()), 3),
        "count": len(p_values),
    }


if __name__ == "__main__":
    main()
