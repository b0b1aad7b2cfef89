"""Sphering: what the controls do by themselves is made small, in every direction alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.checks import (
    check_features,
    check_fitted,
    check_lengths,
    check_same_features,
)


@dataclass(frozen=True)
class Sphering:
    """A fitted sphering transform (ZCA whitening).

    Attributes
    ----------
    mean : ndarray of shape (d,), float64
        Of the controls.
    eigenvalues : ndarray of shape (d,), float64, ascending
    eigenvectors : ndarray of shape (d, d), float64
        Of the controls' covariance, one a column.
    regularization : float
        Lambda, above 0, added to every eigenvalue.

    Raises
    ------
    ProfileError
        Lambda is not above 0, or the shapes do not fit.

    Examples
    --------
    >>> controls = np.random.default_rng(0).normal(size=(50, 3)) * [1, 5, 0.1]
    >>> sphering = fit_sphering(controls, 1e-9)
    >>> sphering.transform(controls).std(axis=0).round(6).tolist()
    [1.0, 1.0, 1.0]
    """

    mean: np.ndarray
    eigenvalues: np.ndarray
    eigenvectors: np.ndarray
    regularization: float

    def __post_init__(self) -> None:
        # Written so that NaN fails too.
        if not 0 < self.regularization < np.inf:
            raise ProfileError(f"expected a lambda above 0, got {self.regularization}")
        dim = len(self.mean)
        check_fitted("mean", self.mean, (dim,))
        check_fitted("eigenvalues", self.eigenvalues, (dim,))
        check_fitted("eigenvectors", self.eigenvectors, (dim, dim))
        check_lengths("eigenvectors", self.eigenvectors.T)
        if (self.eigenvalues < 0).any():
            raise ProfileError(f"expected eigenvalues from 0, got {self.eigenvalues.min()}")

    @property
    def input_dim(self) -> int:
        """Number of features that go in."""
        return len(self.mean)

    @property
    def output_dim(self) -> int:
        """Number of features that come out."""
        return len(self.mean)

    @cached_property
    def matrix(self) -> np.ndarray:
        """W of shape (d, d): V diag(1 / sqrt(s + lambda)) V'."""
        scaled = self.eigenvectors / np.sqrt(self.eigenvalues + self.regularization)
        result: np.ndarray = scaled @ self.eigenvectors.T
        return result

    def transform(self, features: np.ndarray) -> np.ndarray:
        """Map features (n, d) to (x - mean) W, float64.

        Examples
        --------
        >>> fit_sphering(np.array([[0.0], [2.0]]), 3.0).transform(np.array([[5.0]]))
        array([[2.]])
        """
        features = check_same_features(features, len(self.mean))
        result: np.ndarray = (features - self.mean) @ self.matrix
        return result


def fit_sphering(
    controls: np.ndarray, regularization: float, *, relative: bool = False
) -> Sphering:
    """Learn the sphering transform from the profiles of control wells.

    Parameters
    ----------
    controls : ndarray of shape (n, d)
        Of all plates together, as in the paper. Fewer wells than features are the
        normal case.
    regularization : float, above 0
        Lambda. The paper's numbers were made with 1e-5 to 1e-1 on raw features
        (docs/method.md#sphering); what is good depends on the scale of the features.
    relative : bool
        `regularization` is a fraction of the mean eigenvalue of the controls, so that one
        number suits features of any scale.

    Returns
    -------
    Sphering

    Raises
    ------
    ProfileError
        Fewer than two controls, NaN, controls that are all the same, or lambda not
        above 0.

    Notes
    -----
    mean and C = X'X / n of the controls (n, not n - 1); C = V diag(s) V';
    W = V diag(1 / sqrt(s + lambda)) V'. Moshkov et al. 2024, Methods; docs/method.md#sphering. The
    covariance of the transformed controls is s / (s + lambda) in the eigenvectors' basis.

    Examples
    --------
    >>> controls = np.random.default_rng(0).normal(size=(20, 48))
    >>> fit_sphering(controls, 0.01, relative=True).matrix.shape
    (48, 48)
    """
    controls = check_features(controls, "controls")
    if len(controls) < 2:
        raise ProfileError(f"sphering needs at least 2 control wells, got {len(controls)}")
    mean = controls.mean(axis=0)
    centred = controls - mean
    covariance = centred.T @ centred / len(controls)
    values, vectors = scipy.linalg.eigh(covariance, overwrite_a=True, check_finite=False)
    # Rounding makes the eigenvalues of directions without variance slightly negative.
    values = np.maximum(values, 0)
    if not values.any():
        raise ProfileError(
            f"the {len(controls)} control wells have all the same features; sphering cannot "
            "learn from them"
        )
    if relative:
        regularization *= float(values.mean())
    return Sphering(mean, values, vectors, float(regularization))
