"""Training: the loss of a plain loop, the same bits twice, from replicates and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from cpcnn_core.aggregation.fit import AggregationSettings, _contrast, fit_aggregation
from cpcnn_core.aggregation.scored_sets import score_sets
from cpcnn_core.errors import TrainingError
from cpcnn_core.evaluation.replicates import replicate_pairs

torch = pytest.importorskip("torch")
WEIGHTS = ("hidden", "bias", "output")


@pytest.fixture(scope="module")
def scored(screen):
    sets, _, controls = screen
    return score_sets(sets, controls, controls, 6, 0)


def test_the_loss_equals_a_loop():
    random = np.random.default_rng(0)
    names = np.array(["a", "b", "a", "c", "b", "d", "a"])
    plates = np.array(["P1", "P1", "P2", "P2", "P2", "P1", "P1"])
    positives, searched, _ = replicate_pairs(names, plates)
    similarity = random.normal(size=(7, 7))
    losses = []
    for row in range(7):
        mine = [n for n in range(7) if names[n] == names[row] and plates[n] != plates[row]]
        others = [n for n in range(7) if plates[n] != plates[row]]
        if mine:
            total = sum(np.exp(similarity[row, other]) for other in others)
            losses.append(-np.mean([np.log(np.exp(similarity[row, n]) / total) for n in mine]))
    assert len(losses) == 5
    found = _contrast(*map(torch.from_numpy, (similarity, positives, searched)))
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-12)
    nothing = torch.zeros(7, 7, dtype=bool)
    assert _contrast(torch.from_numpy(similarity), nothing, torch.from_numpy(searched)) is None


def test_twice_the_same_bits_whatever_the_number_of_threads(scored, screen, settings):
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(fit_aggregation(scored, screen[1], settings))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    for name in WEIGHTS:
        assert getattr(found[0], name).tobytes() == getattr(found[1], name).tobytes()
    other = fit_aggregation(scored, screen[1], replace(settings, seed=1))
    assert not np.array_equal(other.output, found[0].output)


def test_controls_and_unnamed_wells_are_not_learned_from(scored, screen, settings):
    _, names, controls = screen
    short = replace(settings, steps=5)
    found = fit_aggregation(scored, np.where(controls, "", names), short)
    again = fit_aggregation(scored, names, short)
    assert found.output.tobytes() == again.output.tobytes()


def test_replicates_come_nearer(scored, screen, settings):
    sets, names, controls = screen
    treated = np.flatnonzero(~controls)
    aggregation = fit_aggregation(scored, names, settings)
    positives, searched, _ = replicate_pairs(names[treated], scored.plates[treated])
    gaps = []
    for features in (sets.wells.features, scored.aggregate(aggregation)):
        rows = []
        for well in treated:
            mine = controls & (scored.plates == scored.plates[well])
            rows.append(features[well] - features[mine].mean(axis=0))
        rows = np.array(rows) / scored.space.scale
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        cosine = rows @ rows.T
        gaps.append(cosine[positives].mean() - cosine[searched & ~positives].mean())
    assert gaps[0] < 0.2
    assert gaps[1] > gaps[0] + 0.3


@pytest.mark.parametrize("kept", [["T00"], ["T00 of P1", "T01 of P2"]])
def test_too_little_to_learn_from_is_refused(scored, screen, settings, kept):
    wells = screen[0].wells.texts("Metadata_Plate")
    full = np.char.add(np.char.add(screen[1], " of "), wells)
    names = np.where(np.isin(screen[1], kept) | np.isin(full, kept), screen[1], "")
    with pytest.raises(
        TrainingError, match=r"expected at least 2 treatments.*got \d treated wells"
    ):
        fit_aggregation(scored, names, settings)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("steps", 0, "a number above 0 as steps, got 0"),
        ("rate", float("nan"), "a number above 0 as rate, got nan"),
        ("strength", -1.0, "a number from 0 as strength, got -1"),
        ("seed", -1, "a number from 0 as seed, got -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(name, value, expected):
    with pytest.raises(TrainingError, match=expected):
        AggregationSettings(**{name: value})
