"""What similar cells of other fields tell: against a plain loop, and nothing where nothing is."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from cpcnn_core.demo.cells import neighbor_agreement


@pytest.fixture
def cells():
    """Three fields of cells whose features are their sizes, a shift of the field, and noise."""
    random = np.random.default_rng(4)
    size, field = random.normal(size=180), np.repeat([1, 2, 5], (50, 60, 70))
    features = random.normal(size=(180, 8)) + field[:, None]
    features[:, :3] += 2 * size[:, None]
    return features, field, size


def test_it_equals_a_loop(cells):
    features, field, size = cells
    directions = np.array([row / np.sqrt((row**2).sum()) for row in features])
    directions = (directions - directions.mean(0)) / directions.std(0)
    told = []
    for cell in range(len(features)):
        others = np.flatnonzero(field != field[cell])
        cosines = [
            directions[cell] @ directions[other] / np.linalg.norm(directions[other])
            for other in others
        ]
        told.append(size[others[np.argsort(cosines)[-10:]]].mean())
    told = np.array(told)
    expected = np.mean([spearmanr(told[field == f], size[field == f])[0] for f in (1, 2, 5)])
    found, shuffled = neighbor_agreement(features, field, size)
    assert found == pytest.approx(expected, abs=1e-12)
    assert found > 0.6 > 0.3 > shuffled


def test_what_only_fields_have_in_common_tells_nothing(cells):
    features, field, _ = cells
    values = field + np.random.default_rng(5).normal(0, 0.01, len(field))
    found, shuffled = neighbor_agreement(features, field, values)
    assert abs(found) < 0.2
    assert shuffled < 0.3
