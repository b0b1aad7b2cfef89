"""Plates are made alike: every one centred on its own controls and scaled by their spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.checks import check_features, check_fitted, check_same_features


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
