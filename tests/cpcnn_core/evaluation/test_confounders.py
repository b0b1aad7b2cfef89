"""Plates that differ are seen, plates that do not are not, and numbers are a loop's."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from cpcnn_core.errors import ProfileError
from cpcnn_core.evaluation.confounders import confounder_retrieval, confounders, linear_probe
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.schema.profiles import Profiles

# A random order of 20 controls on each of four plates; the mean of 4000 drawn ones is 0.2778.
CHANCE = 0.2789968771
BY = "Metadata_Treatment"


def screen(shift, seed=0):
    """Four plates of 60 wells: 20 controls and eight treatments; plates moved by `shift`."""
    random = np.random.default_rng(seed)
    treatments = ["DMSO"] * 20 + [f"T{i}" for i in range(8) for _ in range(5)]
    wells = [f"{chr(65 + i // 12)}{i % 12 + 1:02d}" for i in range(60)]
    rows = pd.DataFrame(
        [(f"P{p}", *row) for p in range(4) for row in zip(wells, treatments, strict=True)],
        columns=["Metadata_Plate", "Metadata_Well", BY],
    )
    # A set's order differs from run to run, and with it what each treatment draws.
    effect = {name: random.normal(0, 1.5, 30) for name in dict.fromkeys(treatments)}
    features = random.normal(size=(240, 30)) + [effect[name] for name in rows[BY]]
    features += np.repeat(random.normal(0, shift, (4, 30)), 60, axis=0) if shift else 0
    return Profiles(features, rows, [f"Cells_{i}" for i in range(30)])


def test_plates_that_differ_are_seen_until_they_are_corrected():
    wells = screen(shift=2)
    controls = (wells.metadata[BY] == "DMSO").to_numpy()
    before = confounders(wells, controls, BY)
    assert before["controls_by_plate"]["mean_average_precision"] > 0.9
    assert before["plate_from_controls"]["balanced_accuracy"] > 0.95
    corrected = fit_correction(wells, controls, "plate-mad").transform(wells)
    after = confounders(corrected, controls, BY)
    assert abs(after["controls_by_plate"]["mean_average_precision"] - CHANCE) < 0.1
    assert after["plate_from_controls"]["balanced_accuracy"] < 0.4
    read = "treatment_leave_plates_out"
    assert after[read]["balanced_accuracy"] > before[read]["balanced_accuracy"]


def test_plates_that_do_not_differ_are_at_chance():
    wells = screen(shift=0)
    found = confounders(wells, (wells.metadata[BY] == "DMSO").to_numpy(), BY)
    assert found["controls_by_plate"]["chance"] == pytest.approx(CHANCE, rel=1e-9)
    assert abs(found["controls_by_plate"]["mean_average_precision"] - CHANCE) < 0.03
    assert found["plate_from_controls"]["chance"] == 0.25
    assert abs(found["plate_from_controls"]["balanced_accuracy"] - 0.25) < 0.15
    gap = [
        found[f"treatment_leave_{what}_out"]["balanced_accuracy"] for what in ("wells", "plates")
    ]
    assert min(gap) > 0.9
    assert abs(gap[0] - gap[1]) < 0.05


def test_retrieval_equals_scikit_learn(wells, inputs):
    controls = wells.select(inputs["treatment"] == "DMSO@0")
    found = confounder_retrieval(controls, "Metadata_Plate")
    unit = controls.features / np.linalg.norm(controls.features, axis=1, keepdims=True)
    plates = controls.metadata["Metadata_Plate"].to_numpy()
    expected = []
    for i in range(len(plates)):
        others = np.arange(len(plates)) != i
        annotations = plates[others] == plates[i]
        expected.append(average_precision_score(annotations, (unit @ unit[i])[others]))
    assert found["mean_average_precision"] == pytest.approx(np.mean(expected), abs=1e-12)


def test_a_probe_equals_ridge_regression_by_hand():
    wells = screen(shift=1).select(np.arange(240) % 60 < 20)
    found = linear_probe(wells, "Metadata_Treatment")
    assert found is None
    wells.metadata["Metadata_Batch"] = np.where(np.arange(80) % 3 == 0, "a", "b")
    wells.features[:, 0] += np.arange(80) % 3 == 0
    found = linear_probe(wells, "Metadata_Batch", apart="Metadata_Plate")
    plates = wells.metadata["Metadata_Plate"].to_numpy()
    annotations = np.where(wells.metadata["Metadata_Batch"] == "b", 1.0, -1.0)
    guess = np.empty(80)
    for plate in np.unique(plates):
        train, test = plates != plate, plates == plate
        mean, scale = wells.features[train].mean(axis=0), wells.features[train].std(axis=0)
        x = (wells.features[train] - mean) / scale
        y = annotations[train]
        weights = np.linalg.solve(x.T @ x + np.eye(30), x.T @ (y - y.mean()))
        guess[test] = (wells.features[test] - mean) / scale @ weights + y.mean()
    right = (guess > 0) == (annotations > 0)
    expected = (right[annotations > 0].mean() + right[annotations < 0].mean()) / 2
    assert found == {"balanced_accuracy": pytest.approx(expected, abs=1e-12), "chance": 0.5}


def test_treatments_of_one_plate_each_cannot_be_read_from_another():
    # Of this seed, no well of either treatment is near the other one.
    wells = screen(shift=0, seed=1)
    treated = wells.select((wells.metadata[BY] != "DMSO").to_numpy())
    # Every treatment on one plate: what is on the other is never learned.
    own = treated.metadata["Metadata_Plate"] + treated.metadata[BY]
    alone = Profiles(treated.features, treated.metadata.assign(**{BY: own}), treated.feature_names)
    assert linear_probe(alone, BY, apart="Metadata_Plate") is None
    assert linear_probe(alone, BY) is not None
    # Two treatments are on all plates; what is on one only does not pull them down.
    names = zip(treated.texts(BY), own, strict=True)
    some = [name if name in ("T0", "T1") else one for name, one in names]
    mixed = Profiles(treated.features, treated.metadata.assign(**{BY: some}), alone.feature_names)
    found = linear_probe(mixed, BY, apart="Metadata_Plate")
    assert found == {"balanced_accuracy": 1.0, "chance": 0.5}


def test_what_cannot_be_measured_is_none_or_one_line():
    wells = screen(shift=1)
    one = wells.select((wells.metadata["Metadata_Plate"] == "P0").to_numpy())
    found = confounders(one, (one.metadata[BY] == "DMSO").to_numpy(), BY)
    assert found["controls_by_plate"] is None
    assert found["plate_from_controls"] is None
    assert found["treatment_leave_plates_out"] is None
    assert found["treatment_leave_wells_out"]["balanced_accuracy"] > 0.5
    with pytest.raises(ProfileError, match="confounders are read from control wells"):
        confounders(wells, np.zeros(240, bool), BY)
    with pytest.raises(ProfileError, match="there is no column Metadata_Batch"):
        linear_probe(wells, "Metadata_Batch")
