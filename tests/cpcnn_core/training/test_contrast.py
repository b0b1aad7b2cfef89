"""The contrastive loss is a slow loop over pairs of cells."""

import math

import pytest
import torch

from cpcnn_core.training.contrast import supervised_contrast


def by_hand(points, classes, wells, temperature):
    """Khosla's L_out; cells of one class and one well are left out of both sums."""
    losses = []
    for i in range(len(points)):
        positives, others = [], []
        for j in range(len(points)):
            if classes[i] == classes[j] and wells[i] == wells[j]:
                continue
            similarity = sum(a * b for a, b in zip(points[i], points[j], strict=True))
            others.append(similarity / temperature)
            if classes[i] == classes[j]:
                positives.append(similarity / temperature)
        if positives:
            total = math.log(sum(math.exp(value) for value in others))
            losses.append(sum(total - value for value in positives) / len(positives))
    return sum(losses) / len(losses) if losses else 0.0


def draw(seed, n, classes, wells):
    random = torch.Generator().manual_seed(seed)
    points = torch.nn.functional.normalize(torch.randn(n, 5, generator=random).double(), dim=1)
    drawn = [torch.randint(k, (n,), generator=random) for k in (classes, wells)]
    return points, *drawn


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("classes", "wells"), [(3, 2), (2, 6), (8, 8), (1, 3)])
def test_it_is_the_slow_loop(seed, classes, wells):
    points, of_class, of_well = draw(seed, 12, classes, wells)
    expected = by_hand(points.tolist(), of_class.tolist(), of_well.tolist(), 0.3)
    found = supervised_contrast(points, of_class, of_well, 0.3)
    # The loss is float32, as in training.
    assert found.item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("wells", [[0, 0, 0, 0], [0, 1, 2, 3]])
def test_without_a_positive_it_is_nothing(wells):
    points, *_ = draw(0, 4, 2, 2)
    points.requires_grad_(requires_grad=True)
    classes = torch.tensor([0, 0, 0, 0]) if wells[1] == 0 else torch.tensor([0, 1, 2, 3])
    found = supervised_contrast(points, classes, torch.tensor(wells), 0.1)
    assert found.item() == 0
    found.backward()
    assert torch.equal(points.grad, torch.zeros_like(points))


def test_a_well_that_looks_like_itself_gains_nothing():
    """What cells of one well have in common, such as its focus, is no reason to be near."""
    apart = torch.nn.functional.normalize(
        torch.tensor([[1.0, 0], [0, 1], [1, 1], [-1, 0.2]]), dim=1
    )
    near = apart.clone()
    near[1] = near[0]
    classes, wells = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 2])
    # Cells 0 and 1 are of one well: only what they are to the others counts.
    found = [supervised_contrast(p, classes, wells, 0.5).item() for p in (apart, near)]
    expected = [by_hand(p.tolist(), classes.tolist(), wells.tolist(), 0.5) for p in (apart, near)]
    assert found == pytest.approx(expected, rel=1e-5)


def test_gradients_are_those_of_small_steps():
    points, classes, wells = draw(3, 6, 2, 4)
    points.requires_grad_(requires_grad=True)
    supervised_contrast(points, classes, wells, 0.5).backward()
    for place in ((0, 0), (3, 2), (5, 4)):
        step = torch.zeros_like(points)
        step[place] = 1e-6
        up, down = (
            by_hand((points + sign * step).tolist(), classes.tolist(), wells.tolist(), 0.5)
            for sign in (1, -1)
        )
        assert points.grad[place].item() == pytest.approx((up - down) / 2e-6, rel=1e-3, abs=1e-6)
