"""Corrections tried on replicates: as each alone, and a choice that flatters none of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import ProfileError
from cpcnn_core.evaluation.confounders import confounder_retrieval
from cpcnn_core.evaluation.correction_sweep import sweep_corrections
from cpcnn_core.evaluation.replicates import find_replicates
from cpcnn_core.evaluation.scores import evaluate_treatments
from cpcnn_core.expressions import choose_rows
from cpcnn_core.profiles.aggregate import aggregate
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.profiles.cross_fitting import cross_fit
from cpcnn_core.profiles.wells import well_profiles
from cpcnn_core.schema.profiles import Profiles

JUMP = Path(__file__).parents[4] / "shared" / "data" / "profiles" / "jump_target1_wells"
BY = "Metadata_Treatment"


@pytest.fixture
def controls(wells):
    return (wells.metadata[BY] == "DMSO@0").to_numpy()


def replicate_maps(sweep):
    return [row["replicate_map"] for row in sweep.rows()]


@pytest.mark.parametrize("method", ["sphering", "centred-sphering"])
@pytest.mark.parametrize("relative", [False, True])
def test_every_correction_does_what_it_does_alone(wells, controls, method, relative):
    names = wells.texts(BY)
    annotations = {name: str(number % 5) for number, name in enumerate(np.unique(names))}
    how = {"annotations": annotations, "relative": relative}
    sweep = sweep_corrections(
        wells, controls, BY, ["sphering", "centred-sphering"], [1.0, 0.1], **how
    )
    name = "lambda_relative" if relative else "lambda"
    assert [(row["correction"], row[name]) for row in sweep.rows()] == [
        ("none", None),
        *(("sphering", 1.0), ("sphering", 0.1)),
        *(("centred-sphering", 1.0), ("centred-sphering", 0.1)),
    ]
    found = next(r for r in sweep.rows() if r["correction"] == method and r[name] == 0.1)
    fit = {"regularization": 0.1, "relative": relative}
    alone = fit_correction(wells, controls, method, **fit)
    treated = alone.transform(wells).select(~controls)
    expected = np.nanmean(find_replicates(treated, BY).precision)
    assert found["replicate_map"] == pytest.approx(expected, abs=1e-12)
    means = aggregate(treated, [BY], "mean")
    scores = evaluate_treatments(means.features, [annotations[one] for one in means.texts(BY)])
    assert found["label_map"] == pytest.approx(scores["mean_average_precision"], abs=1e-12)
    folds = cross_fit(wells, controls, BY, alone).folds
    places = [confounder_retrieval(fold.wells, "Metadata_Well") for fold in folds]
    places = [one["mean_average_precision"] for one in places if one is not None]
    if places:
        assert found["controls_by_well"] == pytest.approx(np.mean(places), abs=1e-12)
    else:
        assert found["controls_by_well"] is None


def test_a_sweep_counts_those_who_ask(wells, controls):
    queries = (wells.metadata["Metadata_Plate"] == wells.metadata["Metadata_Plate"][0]).to_numpy()
    sweep = sweep_corrections(wells, controls, BY, lambdas=[1.0], queries=queries)
    corrected = fit_correction(wells, controls, "sphering", regularization=1.0).transform(wells)
    found = find_replicates(corrected.select(~controls), BY).precision
    expected = np.nanmean(found[queries[~controls]])
    assert replicate_maps(sweep)[1] == expected
    assert expected != np.nanmean(found)
    with pytest.raises(ProfileError, match="none of the query wells has replicates"):
        sweep_corrections(wells, controls, BY, lambdas=[1.0], queries=controls)


def test_a_choice_is_measured_on_what_it_was_not_made_on(wells, controls):
    sweep = sweep_corrections(wells, controls, BY)
    precision, chosen = sweep.nested(seed=4)
    # The obvious loop: wells that were measured together, chosen for by all others.
    names = sweep.names
    treatments = np.unique(names)
    parts = np.random.default_rng(4).permutation(len(treatments)) % 5
    for part, one in enumerate(chosen):
        mine = np.isin(names, treatments[parts == part])
        scores = [sweep.precision(other)[~mine].mean() for other in sweep.tried]
        assert sweep.precision(one)[~mine].mean() == max(scores)
        np.testing.assert_array_equal(precision[mine], sweep.precision(one)[mine])
    choice = sweep.choice()
    assert choice["mean_average_precision"] == max(replicate_maps(sweep))
    assert choice["nested"]["mean_average_precision"] <= choice["mean_average_precision"]
    gain = choice["nested"]["mean_average_precision"] - replicate_maps(sweep)[0]
    assert choice["over_none"]["mean"] == pytest.approx(gain, abs=1e-12)


def noise(seed, treatments=12, replicates=2, controls=24, dim=30):
    random = np.random.default_rng(seed)
    names = np.repeat([f"t{i}" for i in range(treatments)], replicates).tolist()
    names += ["DMSO"] * controls
    metadata = pd.DataFrame({BY: names, "Metadata_Plate": "P1"})
    features = random.normal(size=(len(names), dim)) * random.uniform(0.1, 3, dim)
    wells = Profiles(features, metadata, [f"f{i}" for i in range(dim)])
    return wells, metadata[BY].to_numpy() == "DMSO"


def test_a_choice_on_noise_stays_at_chance_where_the_best_does_not():
    best, nested, above = [], [], []
    for seed in range(60):
        wells, controls = noise(seed)
        sweep = sweep_corrections(wells, controls, BY)
        choice = sweep.choice()
        best.append(choice["mean_average_precision"] - sweep.chance)
        nested.append(choice["nested"]["mean_average_precision"] - sweep.chance)
        above.append(choice["nested"]["above_chance"])
    error = np.std(nested) / np.sqrt(len(nested))
    print(f"best {np.mean(best):.4f}, nested {np.mean(nested):.4f} (error {error:.4f})")
    assert np.mean(best) > 3 * error
    assert abs(np.mean(nested)) < 3 * error
    assert np.mean(above) < 0.15


def test_one_treatment_alone_cannot_be_chosen_for(wells, controls):
    queries = (wells.metadata[BY] == wells.metadata[BY][~controls].iloc[0]).to_numpy()
    sweep = sweep_corrections(wells, controls, BY, lambdas=[1.0], queries=queries)
    assert sweep.choice() is None
    with pytest.raises(ProfileError, match="cannot be chosen on some treatments"):
        sweep.nested()


def test_of_equals_what_changes_least_is_chosen():
    wells, controls = noise(0, treatments=2, replicates=1)
    # Two wells of each on one plate, so alike that every correction finds them.
    wells.features[:2] = [[100] + [0] * 29, [-100] + [0] * 29]
    doubled = wells.select(np.r_[0, 0, 1, 1, 2 : len(wells.metadata)])
    sweep = sweep_corrections(doubled, np.r_[[False] * 4, controls[2:]], BY)
    assert set(replicate_maps(sweep)) == {1.0}
    assert sweep.best().method == "none"


def test_seven_plates_of_jump():
    if not JUMP.is_dir():
        pytest.skip("the seven JUMP-Target-1 plates are not on this machine")
    wells = well_profiles(sorted(JUMP.glob("*.csv.gz")))
    controls = choose_rows(wells, "control_type == 'negcon'")
    assert (len(controls), controls.sum()) == (2688, 448)
    sweep = sweep_corrections(wells, controls, "Metadata_InChIKey", lambdas=[1e-6, 1e-2, 1.0, 10.0])
    # ECOSYSTEM 1.2, measured there with another program.
    expected = [0.328, 0.263, 0.280, 0.336, 0.350]
    np.testing.assert_allclose(replicate_maps(sweep), expected, rtol=0, atol=1.01e-3)
