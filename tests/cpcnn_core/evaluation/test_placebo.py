"""Controls that are called treatments are arranged on the plates like treatments."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.evaluation.placebo import CALIBRATED, UNKNOWN, _choose_wells, run_placebo
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.profiles.cross_fitting import cross_fit
from cpcnn_core.profiles.significance import Significance
from cpcnn_core.schema.profiles import Profiles

BY, PLATE = "Metadata_Treatment", "Metadata_Plate"


def significance_of(layouts, controls, seed=0):
    """Return p-values of a screen without effects; layouts: {treatment: plates of its wells}."""
    plates = sorted({plate for wells in layouts.values() for plate in wells})
    rows = [("DMSO", plate) for plate in plates for _ in range(controls)]
    rows += [(name, plate) for name, wells in layouts.items() for plate in wells]
    metadata = pd.DataFrame(rows, columns=[BY, PLATE])
    features = np.random.default_rng(seed).normal(size=(len(rows), 20))
    wells = Profiles(features, metadata, [f"Cells_{n}" for n in range(20)])
    mine = (metadata[BY] == "DMSO").to_numpy()
    return Significance(cross_fit(wells, mine, BY, fit_correction(wells, mine, "none")))


def placebos(tests, seed):
    """Return the layouts of one round of placebos, checked to be controls, each named once."""
    layouts = [layout for layout in tests.layouts if sum(count for _, count in layout) > 1]
    named = _choose_wells(layouts, tests.fitted, np.random.default_rng(seed))
    if named is None:
        return []
    frame = tests.fitted.wells.metadata.assign(named=named)
    assert set(frame.loc[named != "", BY]) == {"DMSO"}
    found = frame[named != ""].groupby("named")[PLATE]
    return [tuple(sorted(Counter(plates).items())) for _, plates in found]


def test_every_layout_is_asked_as_often_as_treatments_have_it():
    layouts = {f"a{n}": ["P0", "P1"] for n in range(10)}
    layouts |= {f"b{n}": ["P2", "P3", "P3"] for n in range(20)}
    layouts |= {f"c{n}": ["P0"] for n in range(40)}
    tests = significance_of(layouts, controls=40)
    found = Counter(layout for seed in range(100) for layout in placebos(tests, seed))
    a, b = (("P0", 1), ("P1", 1)), (("P2", 1), ("P3", 2))
    # One well alone has no replicate to be like.
    assert set(found) == {a, b}
    assert found[b] / found[a] == pytest.approx(2, rel=0.25)


def test_no_more_than_a_quarter_of_the_controls_of_a_plate_are_called_treatments():
    tests = significance_of({"a": ["P0", "P1"], "b": ["P0", "P0", "P1"]}, controls=16)
    for seed in range(20):
        used = Counter()
        for layout in placebos(tests, seed):
            used.update(dict(layout))
        # A treatment of two wells on P0 may not have found two more.
        assert 3 <= used["P0"] <= 4
        assert used["P1"] <= 4


@pytest.mark.parametrize(("big", "verdict"), [(1, CALIBRATED), (3, UNKNOWN)])
def test_treatments_with_more_wells_than_placebos_can_have(big, verdict):
    layouts = {f"small{n}": ["P0", "P1"] for n in range(2)}
    layouts |= {f"big{n}": ["P0", "P1"] * 3 for n in range(big)}
    # Of most treatments nothing can be said, and the others do not speak for them.
    assert run_placebo(significance_of(layouts, controls=11)).verdict == verdict


def test_null_data_in_mixed_layouts_are_called_calibrated():
    found = []
    for seed in range(5):
        layouts = {f"a{n}": ["P0", "P1"] for n in range(6)}
        layouts |= {f"b{n}": ["P1", "P2", "P3"] for n in range(6)}
        placebo = run_placebo(significance_of(layouts, controls=20, seed=seed), seed=seed)
        assert placebo.verdict == CALIBRATED
        assert placebo.apart >= 10
        found += placebo.activity.tolist()
    share = float((np.array(found) <= 0.05).mean())
    assert 0.02 <= share <= 0.075, share
