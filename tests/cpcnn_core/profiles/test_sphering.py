"""Sphering equals the reference's, an independent loop, and what the mathematics says."""

import math

import numpy as np
import pytest

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.correction_steps import fit_sphering


@pytest.fixture
def controls(inputs):
    return inputs["features"][inputs["treatment"] == "DMSO@0"]


@pytest.mark.parametrize("regularization", ["0.01", "0.001", "1e-05"])
def test_it_equals_the_reference(inputs, arrays, controls, regularization):
    sphering = fit_sphering(controls, float(regularization))
    np.testing.assert_allclose(sphering.mean, arrays["mu"], rtol=1e-12, atol=1e-14)
    for found, name in (
        (sphering.matrix, "W"),
        (sphering.transform(inputs["features"]), "whitened"),
    ):
        expected = arrays[f"{name}_{regularization}"]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def test_it_equals_a_loop_over_eigenvectors(controls):
    some = controls[:, :7]
    sphering = fit_sphering(some, 0.03)
    n, d = some.shape
    mean = [math.fsum(row[j] for row in some) / n for j in range(d)]
    covariance = np.empty((d, d))
    for i in range(d):
        for j in range(d):
            products = ((row[i] - mean[i]) * (row[j] - mean[j]) for row in some)
            covariance[i, j] = math.fsum(products) / n
    # The inverse square root by Newton's iteration (Denman and Beavers), without eigenvectors.
    y, z = covariance + 0.03 * np.eye(d), np.eye(d)
    for _ in range(60):
        y, z = (y + np.linalg.inv(z)) / 2, (z + np.linalg.inv(y)) / 2
    np.testing.assert_allclose(sphering.matrix, z, rtol=0, atol=1e-10)
    expected = [[math.fsum((row - mean) * z[:, j]) for j in range(d)] for row in some]
    np.testing.assert_allclose(sphering.transform(some), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("wells", "dim"), [(36, 48), (200, 48), (447, 904)])
def test_the_controls_keep_what_lambda_leaves(wells, dim):
    random = np.random.default_rng(wells)
    controls = random.normal(size=(wells, dim)) @ random.normal(size=(dim, dim)) / np.sqrt(dim)
    sphering = fit_sphering(controls, 0.01, relative=True)
    after = sphering.transform(controls)
    assert np.abs(after.mean(axis=0)).max() < 1e-10
    basis = sphering.eigenvectors
    covariance = basis.T @ (after.T @ after / wells) @ basis
    values = sphering.eigenvalues
    expected = np.diag(values / (values + sphering.regularization))
    np.testing.assert_allclose(covariance, expected, rtol=0, atol=1e-10)
    # Fewer wells than features leave directions in which the controls do not vary.
    assert (values > 1e-9).sum() == min(wells - 1, dim)


def test_a_relative_lambda_follows_the_scale(controls):
    one = fit_sphering(controls, 0.1, relative=True)
    thousand = fit_sphering(controls * 1000, 0.1, relative=True)
    np.testing.assert_allclose(
        one.transform(controls), thousand.transform(controls * 1000), atol=1e-10
    )
    variance = controls.var(axis=0).mean()
    assert one.regularization == pytest.approx(0.1 * variance, rel=1e-12)


@pytest.mark.parametrize(
    ("controls", "regularization", "message"),
    [
        (np.ones((0, 3)), 1, "expected controls of shape (n, d) with rows, got (0, 3)"),
        (np.ones((1, 3)), 1, "at least 2 control wells, got 1"),
        (np.ones((5, 3)), 1, "the 5 control wells have all the same features"),
        (np.array([[1.0, np.nan], [2, 3]]), 1, "1 of 2 controls have features that are NaN"),
        (np.eye(3), 0, "expected a lambda above 0, got 0"),
        (np.eye(3), np.nan, "expected a lambda above 0, got nan"),
    ],
)
def test_what_cannot_be_learned_from_is_one_line(controls, regularization, message):
    with pytest.raises(ProfileError) as error:
        fit_sphering(controls, regularization)
    assert message in str(error.value)


def test_other_features_than_fitted_are_refused(controls):
    with pytest.raises(ProfileError, match="fitted on 48 features, got 47"):
        fit_sphering(controls, 1).transform(controls[:, 1:])
