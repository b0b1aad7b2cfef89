"""Evaluation of a network during training, compared with slow loops and scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, average_precision_score

from cpcnn_core.errors import ProfileError
from cpcnn_core.evaluation.confounders import confounders
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.training.config import EvaluationConfig
from cpcnn_core.training.monitoring import classifier_row, nearest_treatment_accuracy, profile_row
from cpcnn_core.training.sampling import draw_epoch

CONTROLS = EvaluationConfig(controls="Treatment == 'DMSO'", regularization=0.01, relative=False)
BY = "Metadata_Treatment"


def cells_of(plates=3, columns=6, sites=2, cells=3, treatments=("DMSO", "a", "b", "c")):
    """Cells of wells; what a plate adds is as large as what a treatment does."""
    random = np.random.default_rng(0)
    effects = {name: random.normal(0, 1, 8) for name in treatments}
    rows, features = [], []
    for plate in range(plates):
        shift = random.normal(0, 1, 8)
        for letter, treatment in zip("ABCD", treatments, strict=False):
            for column in range(columns):
                well = random.normal(0, 0.5, 8) + shift + effects[treatment]
                for site in range(sites):
                    for cell in range(cells):
                        well_name = f"{letter}{column:02d}"
                        rows.append((f"P{plate}", well_name, str(site), cell, treatment))
                        features.append(well + random.normal(0, 0.3, 8))
    names = ["Plate", "Well", "Site", "ObjectNumber", "Treatment"]
    table = pd.DataFrame(rows, columns=[f"Metadata_{name}" for name in names])
    return Profiles(np.array(features, np.float32), table, [f"Cells_CPCNN_{i}" for i in range(8)])


def wells_by_loop(cells):
    """Median over the cells of a site, mean over the sites of a well."""
    found = {}
    for key, rows in cells.metadata.groupby(["Metadata_Plate", "Metadata_Well"]).groups.items():
        sites = cells.metadata.loc[rows, "Metadata_Site"]
        medians = [np.median(cells.features[rows][sites == s], axis=0) for s in sorted(set(sites))]
        found[key] = (
            cells.metadata.loc[rows[0], BY],
            np.mean(np.array(medians, np.float64), axis=0),
        )
    return found


def cosine(one, other):
    return one @ other / np.linalg.norm(one) / np.linalg.norm(other)


def sphered_by_loop(wells, regularization):
    controls = np.array([x for name, x in wells.values() if name == "DMSO"])
    mean = controls.mean(axis=0)
    covariance = sum(np.outer(x - mean, x - mean) for x in controls) / len(controls)
    values, vectors = np.linalg.eigh(covariance)
    matrix = vectors @ np.diag(1 / np.sqrt(values + regularization)) @ vectors.T
    return {key: (name, (x - mean) @ matrix) for key, (name, x) in wells.items()}


def test_wells_are_sphered_and_searched_on_other_plates():
    cells = cells_of()
    wells = sphered_by_loop(wells_by_loop(cells), 0.01)
    treated = {key: value for key, value in wells.items() if value[0] != "DMSO"}
    precisions, hits = [], []
    for (plate, _), (name, x) in treated.items():
        others = [(n, y) for (p, _), (n, y) in treated.items() if p != plate]
        scores = [cosine(x, y) for _, y in others]
        precisions.append(average_precision_score([n == name for n, _ in others], scores))
        means = {n: np.mean([y for m, y in others if m == n], axis=0) for n, _ in others}
        hits.append(max(means, key=lambda n: cosine(x, means[n])) == name)
    row = profile_row(cells, BY, CONTROLS)
    assert row["correction"] == "sphering on 18 control wells"
    assert (row["wells"], row["control_wells"], row["note"]) == (72, 18, "")
    assert row["replicates"] == pytest.approx(np.mean(precisions), abs=1e-10)
    assert row["nearest_treatment"] == pytest.approx(np.mean(hits))
    assert row["nearest_treatment_chance"] == pytest.approx(1 / 3)


def test_confounders_are_read_from_wells_that_are_not_corrected():
    cells = cells_of()
    table = [(*key, name) for key, (name, _) in wells_by_loop(cells).items()]
    metadata = pd.DataFrame(table, columns=["Metadata_Plate", "Metadata_Well", BY])
    features = np.array([x for _, x in wells_by_loop(cells).values()])
    wells = Profiles(features, metadata, cells.feature_names)
    expected = confounders(wells, (metadata[BY] == "DMSO").to_numpy(), BY)
    row = profile_row(cells, BY, CONTROLS)
    for name, measured in expected.items():
        values = list(measured.values())
        assert [row[name], row[f"{name}_chance"]] == pytest.approx(values, abs=1e-9), name
    # Three plates that differ are told apart.
    assert row["plate_from_controls"] > 0.9
    assert row["plate_from_controls_chance"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("controls", "cells", "said"),
    [
        ("", cells_of(), "none: no controls are named"),
        ("Treatment == 'DMSO'", cells_of(1, 1), "none: 1 of 4 wells are controls"),
        ("Treatment == 'water'", cells_of(1, 1), "none: 0 of 4 wells are controls"),
    ],
)
def test_it_says_why_nothing_was_corrected(controls, cells, said):
    row = profile_row(cells, BY, EvaluationConfig(controls=controls))
    assert row["correction"] == said


def test_controls_that_are_all_the_same_are_told():
    cells = cells_of(2, 2)
    is_control = (cells.metadata[BY] == "DMSO").to_numpy()
    cells.features[is_control] = 1
    row = profile_row(cells, BY, CONTROLS)
    assert row["correction"].startswith("none: the 4 control wells have all the same features")
    assert row["replicates"] is not None


def test_what_cannot_be_measured_is_empty_and_told():
    row = profile_row(cells_of(1, 1), BY, EvaluationConfig())
    assert row["replicates"] is row["nearest_treatment"] is row["plate_from_controls"] is None
    assert (
        row["note"] == f"no treatment in the column {BY} has replicates to rank among other wells"
    )
    only_controls = cells_of(treatments=("DMSO",))
    assert profile_row(only_controls, BY, CONTROLS)["note"] == "no treated wells"


def test_plates_of_one_name_in_two_studies_are_two_plates():
    cells = cells_of(2, 2)
    cells.metadata["Metadata_Study"] = cells.metadata["Metadata_Plate"].map(
        {"P0": "one", "P1": "two"}
    )
    expected = profile_row(cells, BY, CONTROLS)
    cells.metadata["Metadata_Plate"] = "P"
    found = profile_row(cells, BY, CONTROLS)
    assert found == pytest.approx(expected, nan_ok=True)


def test_without_plates_in_common_other_wells_are_searched():
    """Two treatments on one plate, two on another: each well against all others."""
    random = np.random.default_rng(3)
    names = ["a", "a", "a", "b", "b", "c", "c", "d"]
    plates = ["1"] * 5 + ["2"] * 3
    features = random.normal(size=(8, 3))
    hits, chances = [], []
    for i, name in enumerate(names):
        others = [j for j in range(8) if j != i]
        means = {
            n: features[[j for j in others if names[j] == n]].mean(axis=0)
            for n in {names[j] for j in others}
        }
        if name in means:
            hits.append(max(means, key=lambda n: cosine(features[i], means[n])) == name)
            chances.append(1 / len(means))
    table = pd.DataFrame({"Metadata_Plate": plates, BY: names})
    found = nearest_treatment_accuracy(Profiles(features, table, ["x", "y", "z"]), BY)
    assert found == pytest.approx(
        {"accuracy": np.mean(hits), "chance": np.mean(chances), "wells": 7}
    )


def test_without_replicates_there_is_no_nearest_treatment():
    table = pd.DataFrame({BY: ["a", "b"]})
    with pytest.raises(ProfileError, match="has replicates"):
        nearest_treatment_accuracy(Profiles(np.eye(2), table, ["x", "y"]), BY)


def test_the_classifier_is_asked_equally_often_about_every_class():
    random = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2, -1], [30, 9, 3, 5])
    logits = random.normal(size=(47, 3)).astype(np.float32)
    taught = classes >= 0
    drawn = draw_epoch(classes[taught], 7, 0)
    answers = logits[taught].argmax(axis=1)
    found = classifier_row(logits, classes, 7)
    assert np.bincount(classes[taught][drawn]).tolist() == [9, 9, 9]
    assert found["validation_accuracy"] == pytest.approx(
        accuracy_score(classes[taught][drawn], answers[drawn])
    )
    assert set(classifier_row(logits, np.full(47, -1), 7).values()) == {None}
