"""Fewer features: the directions in which profiles differ most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.checks import (
    check_features,
    check_fitted,
    check_lengths,
    check_same_features,
)


@dataclass(frozen=True)
class PrincipalComponents:
    """Standardised features, turned to their principal components.

    Attributes
    ----------
    mean, scale : ndarray of shape (d,), float64
        Standard deviation; 1 for a feature that is constant.
    components : ndarray of shape (k, d), float64
        Rows of unit length, the one with the largest variance first; the largest entry
        of each is positive: signs are arbitrary, and all machines must choose the same.

    Raises
    ------
    ProfileError
        Shapes do not fit, or a scale is not above 0.

    Examples
    --------
    >>> profiles = np.random.default_rng(0).normal(size=(30, 5))
    >>> fit_principal_components(profiles, 2).transform(profiles).shape
    (30, 2)
    """

    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray

    def __post_init__(self) -> None:
        dim, count = len(self.mean), len(self.components)
        check_fitted("mean", self.mean, (dim,))
        check_fitted("scale", self.scale, (dim,))
        check_fitted("components", self.components, (max(count, 1), dim))
        check_lengths("components", self.components)
        if not (self.scale > 0).all():
            raise ProfileError("expected scales above 0")

    @property
    def input_dim(self) -> int:
        """Number of features that go in."""
        return len(self.mean)

    @property
    def output_dim(self) -> int:
        """Number of features that come out."""
        return len(self.components)

    def transform(self, features: np.ndarray) -> np.ndarray:
        """Map features (n, d) to (n, k), float64."""
        features = check_same_features(features, len(self.mean))
        result: np.ndarray = (features - self.mean) / self.scale @ self.components.T
        return result


def fit_principal_components(
    profiles: np.ndarray, count: int, *, solver: str = "full"
) -> PrincipalComponents:
    """Learn the principal components of profiles (n, d), with scikit-learn.

    Parameters
    ----------
    profiles : ndarray of shape (n, d)
    count : int
        How many; at most n - 1 and d are available, more are not an error.
    solver : str
        As of `sklearn.decomposition.PCA`. ``covariance_eigh`` is ten times as fast for many more
        profiles than features; its last components are less exact.

    Returns
    -------
    PrincipalComponents

    Raises
    ------
    ProfileError
        NaN, fewer than two profiles, or a count below 1.

    Examples
    --------
    >>> fit_principal_components(np.eye(3), 64).components.shape
    (2, 3)
    """
    profiles = check_features(profiles)
    if len(profiles) < 2 or count < 1:
        raise ProfileError(
            "principal components need at least 2 profiles and 1 component, got "
            f"{len(profiles)} and {count}"
        )
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(profiles)
    count = min(count, len(profiles) - 1, profiles.shape[1])
    components = PCA(count, svd_solver=solver).fit(scaler.transform(profiles)).components_
    return PrincipalComponents(scaler.mean_, scaler.scale_, components)
