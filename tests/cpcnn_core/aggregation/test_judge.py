"""The judgement: of what was held out alone, against the mean, chance and a placebo."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from cpcnn_core.aggregation import judge as judging
from cpcnn_core.aggregation.fit import fit_aggregation
from cpcnn_core.aggregation.judge import Comparison, Judgement, judge, verdict
from cpcnn_core.evaluation.replicates import find_replicates
from cpcnn_core.schema.profiles import Profiles


@pytest.fixture(scope="module")
def plates4(screen_of):
    return screen_of(4)


@pytest.fixture(scope="module")
def judged(plates4, settings):
    return judge(*plates4, settings, 4)


def test_what_the_mean_cannot_see_is_learned(judged):
    """Treatments that change how cells differ: found on plates that were held out."""
    plates, treatments = (one.summary() for one in judged[0])
    assert (plates.held_out, treatments.held_out) == ("plates", "treatments")
    assert (plates.wells, plates.treatments, treatments.wells) == (48, 12, 48)
    assert plates.mean < plates.chance + 0.15
    assert plates.is_better
    assert plates.learned > plates.mean + 0.3


def test_with_shuffled_treatments_nothing_is_found(judged):
    for one in judged[1]:
        found = one.summary()
        assert not found.is_better
        assert found.learned < found.chance + 0.15


def test_the_mean_finds_what_a_loop_finds(plates4, settings, judged):
    """Held-out plates ask each other; scikit-learn ranks."""
    sets, names, controls = plates4
    comparison = judged[0][0]
    plates = sets.wells.texts("Metadata_Plate")
    random = np.random.default_rng([settings.seed, 2])
    order = random.permutation(4)
    centred = sets.wells.features.copy()
    for plate in set(plates):
        centred[plates == plate] -= centred[controls & (plates == plate)].mean(axis=0)
    centred /= centred[controls].std(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    expected = []
    for fold in range(2):
        held = [
            name for name, turn in zip(sorted(set(plates)), order, strict=True) if turn % 2 == fold
        ]
        for well in np.flatnonzero(~controls & np.isin(plates, held)):
            others = ~controls & np.isin(plates, held) & (plates != plates[well])
            hits = names[others] == names[well]
            expected.append(average_precision_score(hits, centred[others] @ centred[well]))
    np.testing.assert_allclose(comparison.mean, expected, atol=1e-6)


def test_what_is_held_out_is_neither_learned_from_nor_searched_with_what_is(
    plates4, settings, monkeypatch
):
    sets, names, controls = plates4
    plates = sets.wells.texts("Metadata_Plate")
    calls, searched = [], []

    def spy(scored, labels, settings):
        calls.append(labels)
        return fit_aggregation(scored, labels, replace(settings, steps=1))

    def search(wells: Profiles, by):
        searched.append(
            (set(wells.texts("Metadata_Plate")), set(wells.texts(by)), len(wells.metadata))
        )
        return find_replicates(wells, by)

    monkeypatch.setattr(judging, "fit_aggregation", spy)
    monkeypatch.setattr(judging, "find_replicates", search)
    judge(sets, names, controls, settings, 3)
    # Two folds of plates, three of treatments; each real and shuffled, each of mean and learned.
    assert len(calls) == 10
    assert len(searched) == 20
    for number, labels in enumerate(calls):
        where, which, count = searched[2 * number]
        learned = labels != ""
        assert not learned[controls].any()
        assert count + learned.sum() == 48
        if number < 4:
            assert not where & set(plates[learned])
        else:
            assert not which & set(labels[learned])


def test_shuffling_keeps_the_treatments_of_every_plate(plates4):
    sets, names, controls = plates4
    plates = sets.wells.texts("Metadata_Plate")
    names = np.where(controls, "", names)
    shuffled = judging._shuffled(names, plates, np.random.default_rng(0))
    assert ((shuffled == "") == (names == "")).all()
    assert (shuffled != names).sum() > 30
    for plate in set(plates):
        assert sorted(shuffled[plates == plate]) == sorted(names[plates == plate])


def test_one_plate_cannot_be_held_out(screen_of, settings):
    sets, names, controls = screen_of(1)
    # Every treatment twice.
    names = np.where(controls, names, np.char.add("T", (np.arange(len(names)) % 6).astype(str)))
    found, placebo = judge(sets, names, controls, replace(settings, steps=2), 4)
    assert [one.held_out for one in found] == [one.held_out for one in placebo] == ["treatments"]


def test_the_difference_has_an_interval_over_treatments():
    names = np.array(["a", "a", "b", "b"])
    mean, learned = np.array([0.1, 0.1, 0.5, 0.5]), np.array([0.2, 0.4, 0.5, 0.7])
    found = Comparison("plates", names, mean, learned, np.full(4, 0.1)).summary()
    # Both treatments a, both b, or one of each.
    assert found.difference == pytest.approx(0.15)
    assert (found.low, found.high) == pytest.approx((0.1, 0.2))
    assert (found.wells, found.treatments) == (4, 2)


def one(held_out="treatments", low=0.05, *, treatments=20, learned=0.5):
    return Judgement(held_out, 40, treatments, 0.1, 0.3, learned, 0.2, low, low + 0.1)


@pytest.mark.parametrize(
    ("judgements", "placebo", "words"),
    [
        ([one(), one("plates")], [], "better than the mean on held-out treatments and plates"),
        ([one()], [one(low=-0.01)], "better than the mean on held-out treatments of this screen"),
        ([], [], "keep the mean: too few treatments"),
        ([one("plates")], [], "keep the mean: too few treatments have replicates"),
        ([one(low=-0.01)], [], "keep the mean: on held-out treatments the learned"),
        ([one("plates", -0.5), one()], [], "keep the mean: on held-out plates the learned"),
        ([one("plates"), one(low=0.0)], [], "for all others keep the mean"),
        ([one()], [one("plates")], "keep the mean: the placebo"),
        ([one(treatments=9)], [], "keep the mean: an interval of 9 treatments"),
        ([one(learned=0.05)], [], "keep the mean: on held-out treatments"),
        ([one(treatments=1)], [], "keep the mean: an interval of 1"),
    ],
)
def test_the_mean_is_kept_unless_all_speaks_against_it(judgements, placebo, words):
    assert words in verdict(judgements, placebo)
