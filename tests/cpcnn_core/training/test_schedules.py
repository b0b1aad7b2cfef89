"""Learning rates: worked out by hand from docs/method.md#optimiser, and as PyTorch's."""

import pytest
import torch

from cpcnn_core.errors import TrainingError
from cpcnn_core.training.schedules import learning_rate, one_cycle_rate


def test_constant_is_the_paper_s():
    assert [learning_rate("constant", 0.005, epoch, 30) for epoch in range(30)] == [0.005] * 30


def test_the_angle_of_cosine_grows_by_180_degrees_over_all_epochs():
    # cos(pi t / 12) at t = 6, 8, 9, 10: 90, 120, 135, 150 degrees.
    expected = {6: 0.0, 8: -0.5, 9: -0.7071067811865476, 10: -0.8660254037844386}
    for epoch, cosine in expected.items():
        found = learning_rate("cosine", 0.005, epoch, 12)
        assert found == pytest.approx(0.0025 * (1 + cosine), abs=1e-15)


def test_cosine_epoch_by_epoch():
    found = [learning_rate("cosine", 0.005, epoch, 30) for epoch in range(30)]
    assert found[:5] == pytest.approx([0.001, 0.00125, 0.005 / 3, 0.0025, 0.005], abs=1e-15)
    # cos of 30, 36, 60, 72, 90, 108, 120, 144 and 174 degrees.
    by_hand = {
        5: 0.8660254037844386,
        6: 0.8090169943749475,
        10: 0.5,
        12: 0.3090169943749474,
        15: 0.0,
        18: -0.3090169943749474,
        20: -0.5,
        24: -0.8090169943749475,
        29: -0.9945218953682733,
    }
    for epoch, cosine in by_hand.items():
        assert found[epoch] == pytest.approx(0.0025 * (1 + cosine), abs=1e-15)
    assert found[4:] == sorted(found[4:], reverse=True)


def test_a_short_cosine_is_all_warm_up():
    assert [learning_rate("cosine", 6.0, epoch, 4) for epoch in range(4)] == [1.2, 1.5, 2.0, 3.0]


def test_step_holds_until_the_next():
    steps = [(0, 3.0), (2, 2.0), (5, 1.0)]
    found = [learning_rate("step", 9.0, epoch, 7, steps) for epoch in range(7)]
    assert found == [3, 3, 2, 2, 2, 1, 1]
    assert [learning_rate("step", 9.0, epoch, 4, steps[1:]) for epoch in range(4)] == [9, 9, 2, 2]


@pytest.mark.parametrize(("steps", "warm_up"), [(11, 0.2), (300, 0.1), (7, 0.5), (1000, 0.03)])
def test_one_cycle_is_pytorchs(steps, warm_up):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.02, total_steps=steps, pct_start=warm_up, cycle_momentum=False
    )
    for step in range(steps):
        expected = optimizer.param_groups[0]["lr"]
        assert one_cycle_rate(0.02, step, steps, warm_up) == pytest.approx(expected, rel=1e-9)
        optimizer.step()
        if step < steps - 1:
            theirs.step()


def test_one_cycle_without_warm_up_only_falls():
    rates = [one_cycle_rate(1.0, step, 5, 0.0) for step in range(5)]
    assert rates[0] == 1.0
    assert rates == sorted(rates, reverse=True)
    assert one_cycle_rate(1.0, 0, 1, 0.0) == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cosin", 1, 0, 2), "schedule of constant, cosine, step, got 'cosin'"),
        (("constant", 1, 2, 2), "expected an epoch from 0 to 1, got 2"),
        (("constant", 1, -1, 2), "expected an epoch from 0 to 1, got -1"),
        (("step", 1, 0, 2), "needs pairs of an epoch (from 0) and its learning rate"),
        (("step", 1, 0, 2, [(3, 1.0), (1, 2.0)]), "the earliest first, got [(3, 1.0), (1, 2.0)]"),
        (("step", 1, 0, 2, [(1, 1.0), (1, 2.0)]), "got [(1, 1.0), (1, 2.0)]"),
    ],
)
def test_what_makes_no_sense_is_one_line(arguments, message):
    with pytest.raises(TrainingError) as error:
        learning_rate(*arguments)
    assert message in str(error.value)
