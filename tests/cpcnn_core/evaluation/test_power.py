"""Power as simulated from control wells is that of newly drawn screens."""

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import ProfileError
from cpcnn_core.evaluation.power import (
    Design,
    measure_effects,
    simulate_power,
    smallest_designs,
)
from cpcnn_core.profiles.correction import Correction, fit_correction
from cpcnn_core.profiles.cross_fitting import cross_fit
from cpcnn_core.profiles.significance import Significance
from cpcnn_core.schema.profiles import Profiles

BY = "Metadata_Treatment"
DIM = 20


OFFSETS = np.random.default_rng(7).normal(size=(4, DIM))


def draw(random, plates, controls, replicates, sizes, directions):
    """A screen from scratch: plate effects, noise, and treatments along known directions."""
    rows, features = [], []
    for plate in random.permutation(4)[:plates]:
        offset = OFFSETS[plate]
        names = ["DMSO"] * controls
        names += [f"t{one}" for one in range(len(sizes)) for _ in range(replicates)]
        for name in names:
            well = offset + random.normal(size=DIM)
            if name != "DMSO":
                treatment = int(name[1:])
                well = well + sizes[treatment] * directions[treatment]
            rows.append((f"P{plate}", name))
            features.append(well)
    metadata = pd.DataFrame(rows, columns=["Metadata_Plate", BY])
    names = [f"f{number}" for number in range(DIM)]
    return Profiles(np.array(features), metadata, names)


def directions(random, count):
    """Of root mean square 1 over the features."""
    drawn = random.normal(size=(count, DIM))
    return drawn / np.sqrt((drawn**2).mean(axis=1, keepdims=True))


def controls_of(wells):
    return wells.metadata[BY].to_numpy() == "DMSO"


@pytest.fixture(scope="module")
def pilot():
    random = np.random.default_rng(0)
    return draw(random, 4, 64, 2, [1.0] * 40, directions(random, 40))


@pytest.mark.parametrize("method", ["none", "plate-mad", "sphering"])
def test_power_is_that_of_screens_drawn_anew(pilot, method):
    correction = fit_correction(pilot, controls_of(pilot), method, regularization=1.0)
    design, effects = Design(plates=3, replicates=1, controls=16), [0.0, 0.5, 1.0]
    table = simulate_power(pilot, controls_of(pilot), BY, correction, [design], effects, rounds=40)
    random, expected = np.random.default_rng(1), []
    for effect in effects:
        found = []
        for _ in range(40):
            screen = draw(random, 3, 16, 1, [effect] * 10, directions(random, 10))
            tests = Significance(cross_fit(screen, controls_of(screen), BY, correction))
            found += (tests.activity()["p_value"] <= 0.05).tolist()
        expected.append(np.mean(found))
    print(method, table["power"].round(3).tolist(), np.round(expected, 3).tolist())
    assert (table["treatments"] == 400).all()
    # Both vary by about a fortieth; treatments of one screen share their controls.
    np.testing.assert_allclose(table["power"], expected, atol=0.07)
    assert table["power"][0] <= 0.09
    assert table["power"].is_monotonic_increasing
    assert (table["low"] <= table["power"]).all()
    assert (table["power"] <= table["high"]).all()


def test_more_wells_and_larger_effects_find_more(pilot):
    designs = [Design(2, 1, 8), Design(4, 1, 8), Design(4, 2, 8)]
    none = Correction("none", pilot.feature_names, [])
    table = simulate_power(pilot, controls_of(pilot), BY, none, designs, [0.0, 0.6, 5.0])
    power = table.pivot_table(index=["plates", "replicates"], columns="effect", values="power")
    assert power[0.6].is_monotonic_increasing
    assert power[0.6].iloc[-1] > power[0.6].iloc[0] + 0.2
    assert (power[5.0] == 1).all()
    assert power[0.0].max() < 0.12


def test_a_treatments_size_is_the_one_it_was_given():
    random = np.random.default_rng(3)
    given = np.repeat([0.0, 0.5, 2.0], 60)
    wells = draw(random, 4, 32, 2, given, directions(random, len(given)))
    found = measure_effects(wells, controls_of(wells), BY)
    means = [found.sizes[given == size].mean() for size in (0.5, 2.0)]
    np.testing.assert_allclose(means, [0.5, 2.0], rtol=0.05)
    # Half of those without any effect are below what noise shows of nothing.
    assert np.median(found.sizes[given == 0]) < 0.1
    assert np.sqrt((found.directions**2).mean(axis=1)) == pytest.approx(1, abs=0.1)


def test_the_same_seed_gives_the_same_numbers(pilot):
    none = Correction("none", pilot.feature_names, [])
    how = {"effects": [0.0, 1.0], "rounds": 3}
    one, again, other = (
        simulate_power(pilot, controls_of(pilot), BY, none, [Design(2, 1, 8)], seed=seed, **how)
        for seed in (0, 0, 1)
    )
    pd.testing.assert_frame_equal(one, again)
    assert not one.equals(other)


def test_what_cannot_be_asked_has_a_reason(pilot):
    none = Correction("none", pilot.feature_names, [])
    designs = [Design(9, 1, 8), Design(2, 1, 64), Design(1, 1, 8), Design(2, 1, 3), Design(2, 1, 4)]
    table = simulate_power(pilot, controls_of(pilot), BY, none, designs, [1.0], rounds=2)
    assert table["power"].isna().all()
    assert table["reason"].tolist() == [
        "4 plates here have 9 control wells to deal",
        "0 plates here have 65 control wells to deal",
        "one well has no replicate",
        "p-values need 4 controls on a plate",
        "no p-value can be 0.05 or less",
    ]


def test_what_has_no_effect_to_look_for_is_refused(pilot):
    none = Correction("none", pilot.feature_names, [])
    alone = pilot.select(controls_of(pilot))
    with pytest.raises(ProfileError, match="or more, there is none; keep some treated wells"):
        simulate_power(alone, controls_of(alone), BY, none, [Design(2, 1, 8)], [1.0])
    with pytest.raises(ProfileError, match="expected effects from 0, got -1"):
        simulate_power(pilot, controls_of(pilot), BY, none, [Design(2, 1, 8)], [-1.0])
    same = Profiles(np.ones_like(pilot.features), pilot.metadata, pilot.feature_names)
    with pytest.raises(ProfileError, match="have all the same features"):
        measure_effects(same, controls_of(same), BY)


def test_the_smallest_design_is_that_with_the_fewest_wells():
    columns = ["plates", "replicates", "controls", "effect", "power"]
    rows = [
        (4, 1, 8, 0.5, 0.9),
        (2, 2, 8, 0.5, 0.95),
        (2, 1, 16, 0.5, 0.79),
        (2, 1, 16, 1.0, 0.9),
        (2, 1, 8, 1.0, 0.85),
        (2, 1, 8, 0.0, 0.9),
        (2, 1, 8, 0.2, None),
    ]
    found = smallest_designs(pd.DataFrame(rows, columns=columns))
    assert found[columns[:4]].to_numpy().tolist() == [[2, 2, 8, 0.5], [2, 1, 8, 1.0]]
