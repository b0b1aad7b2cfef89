"""Of wells without any effect 5 % of the p-values are .05 or less, whatever the correction.

The fast part, seeded, of benchmarks/p_values.py, which has more rounds, real plates and positions.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.evaluation.placebo import CALIBRATED, POSITION_EFFECTS, UNKNOWN, run_placebo
from cpcnn_core.expressions import choose_rows
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.profiles.cross_fitting import cross_fit
from cpcnn_core.profiles.significance import Significance
from cpcnn_core.profiles.wells import well_profiles
from cpcnn_core.schema.profiles import Profiles

PLATES = Path(__file__).parents[4] / "shared" / "data" / "profiles" / "jump_target1_wells"
BY, CONTROL = "Metadata_Treatment", "DMSO"
# Also those of the benchmark.
METHODS = {
    "none": {"method": "none"},
    "plate-mad": {"method": "plate-mad"},
    "sphering .1": {"method": "sphering", "regularization": 0.1, "relative": True},
    "sphering 1": {"method": "sphering", "regularization": 1.0, "relative": True},
    "centred-sphering .1": {"method": "centred-sphering", "regularization": 0.1, "relative": True},
    "centred-sphering 1": {"method": "centred-sphering", "regularization": 1.0, "relative": True},
    "pca-mad": {"method": "pca-mad", "components": 16},
}


def screen(seed, plates=2, controls=16, treatments=16, dim=120, well=False):
    """Wells that differ by chance alone; with `well`, everything is at one position."""
    random = np.random.default_rng(seed)
    names = [CONTROL] * controls + [f"T{n}" for n in range(treatments)]
    wells = [f"{chr(65 + n // 12)}{n % 12 + 1:02d}" for n in range(len(names))]
    rows = [
        (f"P{plate}", place, name)
        for plate in range(plates)
        for place, name in zip(wells, names, strict=True)
    ]
    metadata = pd.DataFrame(rows, columns=["Metadata_Plate", "Metadata_Well", BY])
    if not well:
        metadata = metadata.drop(columns="Metadata_Well")
    features = random.normal(size=(len(rows), dim))
    return Profiles(features, metadata, [f"Cells_{n}" for n in range(dim)])


def significance_of(wells, how):
    controls = (wells.metadata[BY] == CONTROL).to_numpy()
    correction = fit_correction(wells, controls, **how, tell=lambda _: None)
    return Significance(cross_fit(wells, controls, BY, correction))


def share(p_values, level=0.05):
    return float((np.array(p_values) <= level).mean())


@pytest.mark.parametrize("method", METHODS)
def test_nearest_and_activity_without_an_effect(method):
    nearest, activity = [], []
    for seed in range(5):
        wells = screen(seed)
        tests = significance_of(wells, METHODS[method])
        for name in list(tests.treatments)[:8]:
            query = wells.select((wells.metadata[BY] == name).to_numpy())
            nearest += tests.nearest(query, exclude=[name])["p_value"].dropna().tolist()
        activity += tests.activity()["p_value"].tolist()
    assert len(nearest) == 5 * 8 * 15
    assert 0.02 <= share(nearest) <= 0.08, share(nearest)
    assert share(nearest, 0.01) <= 0.035
    assert len(activity) == 5 * 16
    # Of 80 that are right, fewer than one in a thousand times more than 11.
    assert share(activity) <= 11 / 80


@pytest.mark.parametrize("controls", [4, 8, 16, 32])
@pytest.mark.parametrize("plates", [2, 4, 7])
def test_activity_with_few_and_many_controls(controls, plates):
    found = []
    for seed in range(4):
        wells = screen(seed, plates, controls, treatments=30, dim=50)
        found += significance_of(wells, METHODS["none"]).activity()["p_value"].tolist()
    assert len(found) == 120
    # Of 120 that are right, fewer than one in a thousand times more than 15.
    assert share(found) <= 15 / 120, share(found)
    # And they are no lower bound that says nothing, where there are controls enough.
    if controls >= 16:
        assert 0.35 <= np.median(found) <= 0.65


def moved_by_position(wells, strength, seed):
    """Give every position an effect of its own, the same on all plates."""
    random = np.random.default_rng(seed)
    places = wells.texts("Metadata_Well")
    effect = {
        place: random.normal(0, strength, wells.features.shape[1])
        for place in dict.fromkeys(places)
    }
    wells.features += [effect[place] for place in places.tolist()]
    return wells


def test_positions_are_drawn_where_treatments_stand_at_fixed_ones():
    wells = moved_by_position(screen(0, plates=4, controls=28, well=True), 1, 0)
    tests = significance_of(wells, METHODS["none"])
    assert "28 control positions, each with its wells on all plates" in tests.fitted.describe()
    assert share(tests.activity()["p_value"]) <= 4 / 16
    assert run_placebo(tests).verdict == CALIBRATED


def test_a_placebo_that_cannot_fail_is_not_called_calibrated():
    # Five of 20 positions are called treatments: 1 / 16 is all that p can be beside the others.
    wells = moved_by_position(screen(0, plates=4, controls=20, well=True), 1, 0)
    found = run_placebo(significance_of(wells, METHODS["none"]))
    assert len(found.activity) >= 50
    assert (found.finest, found.verdict) == (1 / 16, UNKNOWN)


@pytest.mark.parametrize(("strength", "verdict"), [(0, CALIBRATED), (1, POSITION_EFFECTS)])
def test_few_control_positions_are_not_drawn_but_tell_position_effects(strength, verdict):
    wells = moved_by_position(screen(0, plates=4, controls=11, well=True), strength, 0)
    tests = significance_of(wells, METHODS["none"])
    assert tests.finest("T0") < 0.05
    assert run_placebo(tests).verdict == verdict


def test_position_effects_are_named_where_there_are_too_few_control_positions():
    wells = moved_by_position(screen(0, plates=4, controls=11, well=True), 1, 0)
    tests = significance_of(wells, METHODS["none"])
    assert "drawn plate by plate" in tests.fitted.describe()
    # What a position does passes for what the treatment does.
    assert share(tests.activity()["p_value"]) > 0.9
    assert run_placebo(tests).verdict == POSITION_EFFECTS


@pytest.mark.parametrize("method", ["none", "sphering 1"])
def test_untreated_wells_of_real_plates(method):
    if not PLATES.is_dir():
        pytest.skip("the JUMP-Target-1 plates are not there")
    jump = well_profiles(sorted(PLATES.glob("BR*.csv.gz"))[:2], tell=lambda _: None)
    untreated = jump.select(choose_rows(jump, "control_type == 'negcon'"))
    of, nearest = untreated.texts("Metadata_Plate"), []
    for seed in range(4):
        random, names = np.random.default_rng(seed), np.full(len(of), CONTROL, object)
        for plate in np.unique(of):
            mine = random.permutation(np.flatnonzero(of == plate))[:24]
            names[mine] = [f"T{n}" for n in range(24)]
        metadata = untreated.metadata[["Metadata_Plate"]].assign(**{BY: names})
        wells = Profiles(untreated.features, metadata, untreated.feature_names)
        tests = significance_of(wells, METHODS[method])
        for name in list(tests.treatments)[:6]:
            query = wells.select((metadata[BY] == name).to_numpy())
            nearest += tests.nearest(query, exclude=[name])["p_value"].dropna().tolist()
    assert len(nearest) == 4 * 6 * 23
    assert 0.02 <= share(nearest) <= 0.08, share(nearest)
