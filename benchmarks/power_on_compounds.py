"""How often a real compound is found again on other plates, by its p-value.

Of the seven JUMP-Target-1 plates three ask and four are searched: the query is the mean of a
compound's wells on the first, and it counts how often its own wells on the others have a p-value
of at most .01 (control wells drawn plate by plate) or .05 (as the program does it there: whole
control positions, of which p can be 1/65 at least). Other compounds on the searched plates tell
how often that happens by chance, and because many compounds do something alike. Needs the plates
(folder of ``BR*.csv.gz``). Run it from the project's folder::

    python benchmarks/power_on_compounds.py PLATES --record
"""

import argparse
import json
from pathlib import Path

import numpy as np
from machine import machine
from p_values import BY, METHODS

from cpcnn_core.evaluation.intervals import bootstrap_interval
from cpcnn_core.expressions import choose_rows
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.profiles.cross_fitting import POSITION, SINGLE, cross_fit
from cpcnn_core.profiles.significance import Significance
from cpcnn_core.profiles.wells import well_profiles
from cpcnn_core.schema.profiles import Profiles

ASKING, COMPOUND = 3, "Metadata_InChIKey"
CHOSEN = ("none", "plate-mad", "sphering .1", "sphering 1", "centred-sphering 1")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plates", type=Path, help="folder of BR*.csv.gz")
    parser.add_argument("--queries", type=int, default=100, help="compounds of each round")
    parser.add_argument("--rounds", type=int, default=3, help="each with other plates that ask")
    parser.add_argument("--record", action="store_true", help="write power_on_compounds.json")
    options = parser.parse_args()
    jump = well_profiles(sorted(options.plates.glob("BR*.csv.gz")), tell=lambda _: None)
    result = {"queries": options.queries * options.rounds, "found": {}}
    for name in CHOSEN:
        found = {
            "p <= .01, wells": ask(jump, METHODS[name], SINGLE, 0.01, options),
            "p <= .05, positions": ask(jump, METHODS[name], POSITION, 0.05, options),
        }
        result["found"][name] = found
        print(name, json.dumps(found), flush=True)
    if options.record:
        text = json.dumps(result | machine(), indent=2)
        Path(__file__).with_suffix(".json").write_text(text + "\n")


def ask(jump, how, unit, level, options):
    """Return which part of the queries finds its own compound, and which part of the others."""
    own, others, groups = [], [], []
    for seed in range(options.rounds):
        random = np.random.default_rng(seed)
        plates = random.permutation(np.unique(jump.texts("Metadata_Plate")))
        asks = np.isin(jump.texts("Metadata_Plate"), plates[:ASKING])
        control = choose_rows(jump, "control_type == 'negcon'")
        compounds = jump.texts(COMPOUND)
        names = np.where(asks & ~control, "", compounds)
        metadata = jump.metadata[["Metadata_Plate", "Metadata_Well"]].assign(**{BY: names})
        wells = Profiles(jump.features, metadata, jump.feature_names)
        correction = fit_correction(wells, control, **how, tell=lambda _: None)
        tests = Significance(cross_fit(wells, control, BY, correction, unit=unit))
        known = [name for name in np.unique(compounds[asks & ~control]) if name in tests.treatments]
        for name in random.permutation(known)[: options.queries]:
            found = tests.nearest(wells.select(asks & ~control & (compounds == name)))["p_value"]
            own.append(found[name] <= level)
            groups.append(name)
            others.append((found.drop(name).dropna() <= level).mean())
    # A compound that asks in several rounds is one compound.
    found = bootstrap_interval(np.array(own, float), groups)
    return {
        "own compound": round(found["mean"], 3),
        "interval": [round(found["low"], 3), round(found["high"], 3)],
        "others": round(float(np.mean(others)), 3),
    }


if __name__ == "__main__":
    main()
