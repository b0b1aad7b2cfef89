"""Steps of corrections: plates made alike, sphering, principal components.

Plate scaling centres every plate on its own controls and scales it by their spread. Sphering makes
small what the controls do by themselves, in every direction alike. Principal components are fewer
features: the directions in which profiles differ most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg
import scipy.stats

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.checks import (
    check_features,
    check_fitted,
    check_lengths,
    check_same_features,
)


@dataclass(frozen=True)
class PlateScaling:
    """Centre and spread of the controls of every plate.

    Attributes
    ----------
    plates : ndarray of shape (p,), str
    centers : ndarray of shape (p, d), float64
    scales : ndarray of shape (p, d), float64
        NaN for features that `used` leaves out.
    used : ndarray of shape (d,), bool
        Features that vary among the controls.

    Raises
    ------
    ProfileError
        Shapes do not fit, a plate is there twice, or a scale is not above 0.

    Examples
    --------
    >>> controls = np.array([[0.0], [1.0], [2.0]])
    >>> scaling = fit_plate_scaling(controls, ["P1"] * 3)
    >>> scaling.transform(np.array([[1.0], [2.0]]), ["P1", "P1"]).round(4).tolist()
    [[0.0], [0.6745]]
    """

    plates: np.ndarray
    centers: np.ndarray
    scales: np.ndarray
    used: np.ndarray

    def __post_init__(self) -> None:
        plates, used = np.asarray(self.plates), np.asarray(self.used)
        shape = (len(plates), len(used))
        if plates.dtype.kind != "U" or len(set(plates.tolist())) < max(len(plates), 1):
            raise ProfileError(f"expected the names of different plates, got {plates}")
        if used.dtype != bool or not used.any():
            raise ProfileError(f"expected which features are used, at least one, got {used}")
        check_fitted("centers", self.centers, shape)
        check_fitted("scales", np.where(used, self.scales, 1), shape)
        if not (self.scales[:, used] > 0).all():
            raise ProfileError("expected scales above 0")

    @property
    def input_dim(self) -> int:
        """Number of features that go in."""
        return len(self.used)

    @property
    def output_dim(self) -> int:
        """Number of features that come out."""
        return int(self.used.sum())

    def transform(self, features: np.ndarray, plates: Sequence[str]) -> np.ndarray:
        """Map features (n, d) of wells on `plates` (n,) to (n, used features), float64.

        Raises
        ------
        ProfileError
            A plate that was not fitted, NaN, or another number of features.
        """
        features = check_same_features(features, len(self.used))
        places = {plate: n for n, plate in enumerate(self.plates)}
        unknown = sorted({plate for plate in map(str, plates) if plate not in places})
        if unknown:
            raise ProfileError(
                f"plate {', '.join(unknown)} was not among those that the correction was fitted "
                f"on ({', '.join(self.plates)}); fit it again with all plates"
            )
        rows = [places[plate] for plate in map(str, plates)]
        scaled = (features - self.centers[rows]) / self.scales[rows]
        result: np.ndarray = scaled[:, self.used]
        return result


def fit_plate_scaling(controls: np.ndarray, plates: Sequence[str]) -> PlateScaling:
    """Learn median and median absolute deviation of the controls of every plate.

    The deviation is divided by 0.6745 (unrounded), which makes it the standard deviation
    where values are normally distributed. With few controls on a plate (six in BBBC021) it
    is so uncertain that it does harm; see `fit_plate_centering`.

    Parameters
    ----------
    controls : ndarray of shape (n, d)
    plates : sequence of n str

    Returns
    -------
    PlateScaling

    Raises
    ------
    ProfileError
        NaN, or no feature varies among the controls of every plate.

    Examples
    --------
    >>> fit_plate_scaling(np.array([[0.0, 5], [1, 5], [2, 5]]), ["P1"] * 3).used
    array([ True, False])
    """
    controls = check_features(controls, "controls")
    names = np.array([str(plate) for plate in plates])
    known = np.unique(names)
    centers = np.stack([np.median(controls[names == plate], axis=0) for plate in known])
    scales = np.stack(
        [
            scipy.stats.median_abs_deviation(controls[names == plate], axis=0, scale="normal")
            for plate in known
        ]
    )
    used = np.asarray((scales > 0).all(axis=0))
    if not used.any():
        few = {plate: int((names == plate).sum()) for plate in known}
        least = min(few, key=lambda plate: few[plate])
        raise ProfileError(
            "no feature varies among the controls of every plate; plate "
            f"{least} has {few[least]} control wells"
        )
    return PlateScaling(known, centers, np.where(used, scales, np.nan), used)


def fit_plate_centering(controls: np.ndarray, plates: Sequence[str]) -> PlateScaling:
    """Learn the mean of the controls of every plate, and one spread for all plates.

    Parameters, errors and result are those of `fit_plate_scaling`; the spread is the
    standard deviation of all controls, each minus the mean of its plate.

    Examples
    --------
    >>> scaling = fit_plate_centering(np.array([[0.0], [2], [5], [7]]), ["P1", "P1", "P2", "P2"])
    >>> scaling.centers.tolist(), scaling.scales.tolist()
    ([[1.0], [6.0]], [[1.0], [1.0]])
    """
    controls = check_features(controls, "controls")
    known, plate = np.unique([str(name) for name in plates], return_inverse=True)
    centers = np.stack([controls[plate == n].mean(axis=0) for n in range(len(known))])
    spread = (controls - centers[plate]).std(axis=0)
    # Rounding of the mean leaves a little where all values are the same.
    used = spread > 1e-12 * np.abs(controls).max(axis=0)
    if not used.any():
        raise ProfileError(
            f"no feature varies among the {len(controls)} control wells of a plate; "
            "every plate needs several"
        )
    scales = np.tile(np.where(used, spread, np.nan), (len(known), 1))
    return PlateScaling(known, centers, scales, used)


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
