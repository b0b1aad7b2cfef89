"""Effect of plate layouts on activity: of inert treatments, and of active ones.

Wells are drawn: 4 plates of 96 wells, 24 of them controls, half of the treatments inert, the others
with an effect of .7 standard deviations (root mean square over 60 features). They have effects
of the plate, of the edge and the row, or none, and treatments are at random positions, at fixed
ones, or each on one plate alone. Run it from the project's folder::

    python benchmarks/layouts.py --record
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from machine import machine

from cpcnn_core.evaluation.intervals import bootstrap_interval
from cpcnn_core.evaluation.placebo import run_placebo
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.profiles.cross_fitting import cross_fit
from cpcnn_core.profiles.significance import Significance
from cpcnn_core.schema.profiles import Profiles

BY = "Metadata_Treatment"
PLATES, ROWS, COLUMNS, CONTROLS, DIM = 4, 8, 12, 24, 60
EFFECT, PLATE_EFFECT, EDGE_EFFECT, ROW_EFFECT = 0.7, 1.0, 1.0, 0.5
METHODS = {
    "none": {"method": "none"},
    "centred-sphering 1": {"method": "centred-sphering", "regularization": 1.0, "relative": True},
}
# Name: (effects of plates, of positions, layout).
SCREENS = {
    "no effect but the treatments'": (0, 0, "random"),
    "plates": (1, 0, "random"),
    "plates, edges; positions at random": (1, 1, "random"),
    "plates, edges; fixed positions, controls spread": (1, 1, "fixed, spread"),
    "plates, edges; fixed positions, controls in the outer columns": (1, 1, "fixed, outer"),
    "plates, edges; every treatment on one plate": (1, 1, "one plate"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--record", action="store_true", help="write layouts.json")
    options = parser.parse_args()
    result = {"rounds": options.rounds, "screens": {}}
    for name, how in SCREENS.items():
        result["screens"][name] = {
            method: ask(*how, settings, options.rounds) for method, settings in METHODS.items()
        }
        print(name, json.dumps(result["screens"][name]), flush=True)
    if options.record:
        path = Path(__file__).with_suffix(".json")
        path.write_text(json.dumps(result | machine(), indent=2) + "\n")


def ask(plates, edges, layout, settings, rounds):
    """Return the shares of inert and active treatments that are called active, and the verdicts."""
    inert, inert_q, active, verdicts, units = [], [], [], Counter(), Counter()
    screens = []
    for seed in range(rounds):
        wells = screen(seed, PLATE_EFFECT * plates, edges, layout)
        controls = (wells.metadata[BY] == "DMSO").to_numpy()
        correction = fit_correction(wells, controls, **settings, tell=lambda _: None)
        tests = Significance(cross_fit(wells, controls, BY, correction))
        table = tests.activity()
        nothing = table.index.str.startswith("inert")
        inert += (table["p_value"][nothing] <= 0.05).tolist()
        inert_q += (table["q_value"][nothing] <= 0.05).tolist()
        active += (table["q_value"][~nothing] <= 0.05).tolist()
        screens += [seed] * int(nothing.sum())
        verdicts[run_placebo(tests, seed=seed).verdict] += 1
        units[tests.fitted.unit] += 1
    return {
        # With 95 % intervals: treatments of one screen share its controls.
        "inert, p <= .05": rounded(bootstrap_interval(inert, screens)),
        "inert, q <= .05": rounded(bootstrap_interval(inert_q, screens)),
        "active, q <= .05": rounded(bootstrap_interval(active, screens)),
        "treatments": [len(inert), len(active)],
        "drawn": dict(units),
        "verdicts": dict(verdicts),
    }


def rounded(found):
    return {name: round(value, 3) for name, value in found.items()}


def screen(seed, plate_effect, edges, layout):
    """Draw the wells of a screen, all positions filled."""
    random = np.random.default_rng(seed)
    edge, row = (direction(random) for _ in range(2))
    treated = ROWS * COLUMNS - CONTROLS
    names = [f"{'inert' if n % 2 else 'active'} {n}" for n in range(treated)]
    effects = {name: EFFECT * direction(random) for name in names if name.startswith("active")}
    fixed = positions(random, layout)
    rows, features = [], []
    for plate in range(PLATES):
        own = plate_effect * random.normal(size=DIM)
        places = positions(random, layout) if layout == "random" else fixed
        here = names
        if layout == "one plate":
            # As many treatments, a quarter of them on each plate in four wells.
            here = np.repeat(names[plate::PLATES], PLATES).tolist()
            places = positions(random, "random")
        for place, name in zip(places, ["DMSO"] * CONTROLS + here, strict=True):
            line, column = divmod(int(place), COLUMNS)
            at_edge = line in (0, ROWS - 1) or column in (0, COLUMNS - 1)
            well = own + random.normal(size=DIM)
            well += edges * EDGE_EFFECT * at_edge * edge
            well += edges * ROW_EFFECT * (line / (ROWS - 1) - 0.5) * row
            well += effects.get(name, 0)
            rows.append((f"P{plate}", f"{chr(65 + line)}{column + 1:02d}", name))
            features.append(well)
    metadata = pd.DataFrame(rows, columns=["Metadata_Plate", "Metadata_Well", BY])
    return Profiles(np.array(features), metadata, [f"Cells_{n}" for n in range(DIM)])


def positions(random, layout):
    """Return the positions of the controls, and then of the treatments."""
    places = random.permutation(ROWS * COLUMNS)
    if layout != "fixed, outer":
        return places
    outer = [p for p in range(ROWS * COLUMNS) if p % COLUMNS in (0, COLUMNS - 1)]
    # And one column more.
    outer += [p for p in range(ROWS * COLUMNS) if p % COLUMNS == 1]
    return np.concatenate([outer, [p for p in places if p not in outer]])


def direction(random):
    drawn = random.normal(size=DIM)
    return drawn / np.sqrt((drawn**2).mean())


if __name__ == "__main__":
    main()
