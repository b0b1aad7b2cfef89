"""Everything of a screen at once: the parts' own numbers, beside others of the same wells."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import ProfileError
from cpcnn_core.evaluation.confounders import confounder_retrieval
from cpcnn_core.evaluation.control_measures import measure_against_controls
from cpcnn_core.evaluation.evaluation import CELL_COUNT_ALONE, evaluate_profiles
from cpcnn_core.evaluation.intervals import bootstrap_interval
from cpcnn_core.evaluation.placebo import run_placebo
from cpcnn_core.evaluation.replicates import find_replicates, phenotypic_activity
from cpcnn_core.evaluation.scores import evaluate_treatments
from cpcnn_core.profiles.aggregate import aggregate
from cpcnn_core.profiles.corrected_wells import CorrectedWells, as_they_are
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.schema.profiles import Profiles

BY = "Metadata_Treatment"


@pytest.fixture
def controls(wells):
    return (wells.metadata[BY] == "DMSO@0").to_numpy()


@pytest.fixture
def annotations(inputs):
    return dict(zip(inputs["annot_treatment"], inputs["annot_moa"].tolist(), strict=True))


def test_other_profiles_of_the_same_wells_get_their_own_numbers(wells, controls, annotations):
    correction = fit_correction(wells, controls, "sphering", regularization=0.1)
    corrected = correction.transform(wells)
    order = np.random.default_rng(0).permutation(len(controls))
    paired = CorrectedWells(corrected, wells, correction)
    found = evaluate_profiles(
        wells,
        BY,
        controls=controls,
        annotations=annotations,
        baselines={"sphered": paired.select(order)},
    )
    baselines = found.scores["baselines"]["sphered"]
    assert list(found.scores["baselines"]) == ["sphered"]
    assert baselines["made_by"]["correction"] == "sphering"
    for scores, table in ((found.scores, wells), (baselines, corrected)):
        treated = table.select(~controls)
        expected = float(np.nanmean(find_replicates(treated, BY).precision))
        assert scores["replicates"]["mean_average_precision"] == pytest.approx(expected, rel=1e-9)
        treatments = aggregate(treated, [BY], "mean")
        labels = [annotations.get(name, "") for name in treatments.metadata[BY]]
        expected = evaluate_treatments(treatments.features, labels)
        for name, value in expected.items():
            assert scores["treatments"][name] == pytest.approx(value, rel=1e-9)
    # Controls that the correction was not fitted on; of uncorrected wells in the same parts.
    tests = paired.significance(controls, BY)
    for scores, table in ((found.scores, wells), (baselines, None)):
        folds = tests.fitted.folds
        tables = [fold.wells if table is None else table.select(fold.held) for fold in folds]
        parts = [confounder_retrieval(part, "Metadata_Plate") for part in tables]
        assert len(parts) == 2
        for name, value in scores["confounders"]["controls_by_plate"].items():
            assert value == pytest.approx(np.mean([part[name] for part in parts]), rel=1e-9)
    # Activity is the tests' own, and every table has its placebo.
    expected = phenotypic_activity(corrected, controls, BY, tests)
    assert baselines["activity"]["active"] == (expected["q_value"] <= 0.05).sum()
    assert baselines["activity"]["compared_with"].startswith(tests.describe(expected[BY]))
    assert baselines["placebo"] == without_values(run_placebo(tests).summary())


def without_values(placebo):
    """Return what is kept of tables beside: no lists."""
    kept = {}
    for name, found in placebo.items():
        lists = isinstance(found, dict)
        kept[name] = {k: v for k, v in found.items() if k != "p_values"} if lists else found
    return kept


def test_the_batch_is_a_confounder_where_it_is_known(wells, controls):
    assert "controls_by_batch" not in evaluate_profiles(wells, BY, controls=controls).scores
    plates = wells.metadata["Metadata_Plate"]
    wells.metadata["Metadata_Batch"] = np.where(plates.isin(sorted(set(plates))[:2]), "a", "b")
    found = evaluate_profiles(wells, BY, controls=controls).scores["confounders"]
    folds = as_they_are(wells).significance(controls, BY).fitted.folds
    parts = [confounder_retrieval(fold.wells, "Metadata_Batch") for fold in folds]
    for name, value in found["controls_by_batch"].items():
        assert value == pytest.approx(np.mean([part[name] for part in parts]), rel=1e-9)


def test_the_number_of_cells_alone_is_measured_where_it_is_known(wells, controls, annotations):
    toxic = {
        name for name, label in annotations.items() if label == sorted(annotations.values())[-1]
    }
    counts = [20 if name in toxic else 200 for name in wells.metadata[BY]]
    wells.metadata["Metadata_CellCount"] = counts
    found = evaluate_profiles(wells, BY, controls=controls, annotations=annotations)
    assert list(found.scores["baselines"]) == [CELL_COUNT_ALONE]
    alone = found.scores["baselines"][CELL_COUNT_ALONE]
    assert alone["made_by"] == {}
    # All that share a count are alike to the last bit, so ranks of others are shared.
    assert alone["replicates"]["mean_average_precision"] < 0.2
    assert 0 < alone["treatments"]["mean_average_precision"] < 0.5
    # Of one well it is not known.
    wells.metadata["Metadata_CellCount"] = [np.nan, *counts[1:]]
    assert "baselines" not in evaluate_profiles(wells, BY, controls=controls).scores
    wells.metadata["Metadata_CellCount"] = 7
    assert "baselines" not in evaluate_profiles(wells, BY, controls=controls).scores


def test_without_controls_and_truth_there_are_replicates_only(wells):
    scores = evaluate_profiles(wells, BY).scores
    assert list(scores) == ["made_by", "wells", "controls", "replicates"]


def test_what_does_not_fit_is_one_line(wells, controls, annotations):
    short = wells.select(np.arange(500))
    with pytest.raises(ProfileError, match="X lacks 16 of 516 wells: "):
        evaluate_profiles(wells, BY, baselines={"X": short})
    twice = wells.select(np.r_[0, np.arange(516)])
    with pytest.raises(ProfileError, match="X has 1 wells twice"):
        evaluate_profiles(wells, BY, baselines={"X": twice})
    with pytest.raises(ProfileError, match="sphering learns from control wells"):
        evaluate_profiles(wells, BY, sweep=True)
    corrected = replace(wells, provenance={"correction": "sphering"})
    with pytest.raises(ProfileError, match="the profiles are corrected already"):
        evaluate_profiles(corrected, BY, controls=controls, sweep=True)
    with pytest.raises(ProfileError, match="treatments is in the annotations; the profiles have"):
        evaluate_profiles(wells, BY, annotations={"water": "x"})


def test_only_those_who_ask_are_measured_and_all_are_searched(wells, controls, annotations):
    queries = wells.metadata["Metadata_Plate"].isin(
        sorted(set(wells.metadata["Metadata_Plate"]))[:2]
    )
    queries = queries.to_numpy()
    scores = evaluate_profiles(
        wells, BY, controls=controls, queries=queries, annotations=annotations
    ).scores
    found = find_replicates(wells.select(~controls), BY).precision
    mine = queries[~controls]
    expected = [value for value, asks in zip(found, mine, strict=True) if asks and value == value]
    assert scores["replicates"]["wells"] == len(expected)
    assert scores["replicates"]["mean_average_precision"] == pytest.approx(np.mean(expected))
    names = wells.metadata[BY][~controls & queries].to_numpy()
    interval = bootstrap_interval(found[mine], names)
    assert scores["replicates"]["interval"] == [interval["low"], interval["high"]]
    # Treatments are the means of the query wells, so that nothing else enters.
    treatments = aggregate(wells.select(~controls & queries), [BY], "mean")
    labels = [annotations.get(name, "") for name in treatments.metadata[BY]]
    expected = evaluate_treatments(treatments.features, labels)
    found = scores["treatments"]
    assert found["mean_average_precision"] == pytest.approx(expected["mean_average_precision"])
    assert found["interval"][0] < found["mean_average_precision"] < found["interval"][1]
    everybody = evaluate_profiles(wells, BY, controls=controls, annotations=annotations).scores
    assert everybody["replicates"] != scores["replicates"]
    assert everybody["confounders"] == scores["confounders"]


def test_positive_controls_are_searched_and_told_apart(wells, controls, annotations):
    names = sorted(set(wells.texts(BY)[~controls]))[:3]
    positive = np.isin(wells.texts(BY), names)
    found = evaluate_profiles(
        wells, BY, controls=controls, annotations=annotations, positive=positive
    ).scores
    treated = wells.select(~controls)
    precision = find_replicates(treated, BY).precision
    mine = positive[~controls]
    expected = np.nanmean(precision[mine])
    assert found["positive_controls"]["mean_average_precision"] == pytest.approx(expected)
    assert found["positive_controls"]["treatments"] == 3
    expected = np.nanmean(precision[~mine])
    assert found["replicates"]["mean_average_precision"] == pytest.approx(expected)
    everybody = evaluate_profiles(wells, BY, controls=controls, annotations=annotations).scores
    assert "positive_controls" not in everybody
    assert found["replicates"]["treatments"] == everybody["replicates"]["treatments"] - 3
    # Controls that an expression also takes for positive stay controls.
    both = evaluate_profiles(wells, BY, controls=controls, positive=positive | controls).scores
    assert both["positive_controls"] == found["positive_controls"]


def test_somebody_has_to_ask(wells, controls):
    with pytest.raises(ProfileError, match="none of the query wells is a treated one"):
        evaluate_profiles(wells, BY, controls=controls, queries=controls)
    alone = np.zeros(len(controls), bool)
    # A treatment that is there once in all.
    wells.metadata.loc[np.flatnonzero(~controls)[0], BY] = "lonely"
    alone[np.flatnonzero(~controls)[0]] = True
    with pytest.raises(ProfileError, match="none of the query wells has replicates in the"):
        evaluate_profiles(wells, BY, controls=controls, queries=alone)


def test_treatments_that_are_numbers_have_the_labels_of_a_truth_of_texts(
    wells, controls, annotations
):
    expected = evaluate_profiles(wells, BY, controls=controls, annotations=annotations).scores
    names = wells.metadata[BY].unique().tolist()
    codes = {name: 7000 + code for code, name in enumerate(names)}
    numbered = replace(wells, metadata=wells.metadata.assign(**{BY: wells.metadata[BY].map(codes)}))
    assert numbered.metadata[BY].dtype.kind == "i"
    for spell in (str, lambda code: f"{code}.0"):
        spelt = {spell(codes[name]): label for name, label in annotations.items() if name in codes}
        found = evaluate_profiles(numbered, BY, controls=controls, annotations=spelt).scores
        assert found["treatments"] == expected["treatments"]


def test_the_same_wells_are_found_however_they_are_spelt(wells, controls):
    texts = wells.metadata.astype({"Metadata_Plate": str, "Metadata_Well": str})
    spelt = texts.assign(
        Metadata_Plate="00" + texts["Metadata_Plate"],
        Metadata_Well=texts["Metadata_Well"].str.lower(),
    )
    numbers = texts.assign(Metadata_Plate=[str(n) for n in texts["Metadata_Plate"].factorize()[0]])
    other = replace(wells, metadata=spelt.assign(Metadata_Plate="00" + numbers["Metadata_Plate"]))
    order = np.random.default_rng(0).permutation(len(controls))
    mine = replace(wells, metadata=numbers)
    found = evaluate_profiles(mine, BY, controls=controls, baselines={"X": other.select(order)})
    baselines = found.scores["baselines"]["X"]
    assert baselines["replicates"] == found.scores["replicates"]


@pytest.mark.parametrize(("controls", "told"), [(4, False), (24, True)])
def test_where_no_p_value_can_be_small_it_is_not_said_that_nothing_is_active(controls, told):
    names = np.array(["DMSO"] * controls + ["taxol"] * 2 + ["ATP"] * 2)
    features = np.random.default_rng(0).normal(size=(len(names), 6))
    features[names == "taxol"] += 20
    places = [f"A{n + 1}" for n in range(len(names))]
    rows = pd.DataFrame({BY: names, "Metadata_Plate": "P1", "Metadata_Well": places})
    wells = Profiles(features, rows, [f"Cells_{n}" for n in range(6)])
    found = measure_against_controls(as_they_are(wells), names == "DMSO", BY)
    assert found["activity"]["active"] == (1 if told else None)
    assert found["activity"]["tested"] == 2
    assert "none of these can be below" in found["activity"]["compared_with"]
