"""Batch correction: learned from a screen's wells, kept in a file, applied to any profiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.correction_steps import (
    PlateScaling,
    PrincipalComponents,
    Sphering,
    fit_plate_centering,
    fit_plate_scaling,
    fit_principal_components,
    fit_sphering,
)
from cpcnn_core.schema.columns import PLATE
from cpcnn_core.schema.origin import Origin, aligned, describe_features
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.user_messages import Tell, listed, warn

STEPS_OF = {
    "none": (),
    "sphering": (Sphering,),
    "centred-sphering": (PlateScaling, Sphering),
    "plate-mad": (PlateScaling,),
    "pca-mad": (PrincipalComponents, PlateScaling),
}
# Below it, sphering with a small lambda makes wells look alike by chance.
CONTROLS_PER_FEATURE = 1 / 2.5
METHODS = tuple(STEPS_OF)


@dataclass(frozen=True)
class Correction:
    """A fitted batch correction.

    Attributes
    ----------
    method : str
        One of `METHODS`.
    feature_names : list of d str
        The features it was fitted on, in order.
    steps : list of Sphering, PlateScaling or PrincipalComponents
        Applied one after the other.
    settings : dict
        What it was fitted with, JSON's types only.

    Raises
    ------
    ProfileError
        A feature twice, or a step for another number of features.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"Metadata_Plate": ["P1"] * 9})
    >>> wells = Profiles(np.random.default_rng(0).normal(size=(9, 2)), rows, ["a", "b"])
    >>> correction = fit_correction(wells, np.arange(9) < 6, "sphering", regularization=0.1)
    >>> correction.transform(wells).features.shape
    (9, 2)
    """

    method: str
    feature_names: list[str]
    steps: list[Sphering | PlateScaling | PrincipalComponents]
    settings: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        dim = len(self.feature_names)
        if len(set(self.feature_names)) != dim:
            raise ProfileError("expected every feature once")
        for step in self.steps:
            if step.input_dim != dim:
                raise ProfileError(
                    f"expected {dim} features, {type(step).__name__} has {step.input_dim}"
                )
            dim = step.output_dim

    def transform(self, profiles: Profiles) -> Profiles:
        """Correct profiles; features come out as float64.

        Features are taken by their names, in any order. They keep them where each stays itself,
        and are called ``PC_000``, ... where they are mixed to fewer.

        Raises
        ------
        ProfileError
            Other features than it was fitted on, NaN, or an unknown plate.
        """
        fitted = Origin(self.feature_names)
        if sorted(profiles.feature_names) != sorted(self.feature_names):
            raise ProfileError(
                f"this correction was fitted on {describe_features(fitted)}, the profiles have "
                f"{describe_features(profiles)}; use those of the same model"
            )
        profiles, _ = aligned(profiles, fitted)
        features, names = profiles.features, self.feature_names
        for step in self.steps:
            if isinstance(step, PlateScaling):
                features = step.transform(features, _plates(profiles))
                names = [name for name, used in zip(names, step.used, strict=True) if used]
            else:
                features = step.transform(features)
            if isinstance(step, PrincipalComponents):
                names = _component_names(step)
        made_by = {"correction": self.method, **self.settings} if self.steps else {}
        return replace(
            profiles,
            features=np.asarray(features, np.float64),
            feature_names=list(names),
            provenance=profiles.provenance | made_by,
        )

    def save(
        self,
        path: str | Path,
        wells: Profiles | None = None,
        uncorrected: np.ndarray | None = None,
    ) -> str:
        """Write the correction to a file (NumPy's npz, without pickles).

        Parameters
        ----------
        path : str or Path
        wells : Profiles, optional
            The wells that it has corrected, where it is written beside their table; see
            `cpcnn_core.profiles.library_files.write_corrected`, which writes both.
        uncorrected : ndarray of shape (wells, d), optional
            The same wells before.

        Returns
        -------
        str
            SHA-256 of the file.
        """
        from cpcnn_core.profiles.correction_files import write_correction

        return write_correction(self, path, wells, uncorrected)

    @classmethod
    def load(cls, path: str | Path) -> Correction:
        """Read a correction that `save` wrote.

        Raises
        ------
        ProfileError
            No such file, not such a file, or a damaged one.
        """
        from cpcnn_core.profiles.correction_files import read_correction

        return read_correction(path).correction


def correction_file(table: str | Path) -> Path:
    """Name the file beside a table that holds its correction.

    Examples
    --------
    >>> correction_file("screen.v1.parquet").name
    'screen.v1.parquet.correction.npz'
    """
    table = Path(table)
    return table.with_name(f"{table.name}.correction.npz")


def describe_correction(made: Mapping[str, object]) -> str:
    """Say in words which correction a provenance tells of.

    Examples
    --------
    >>> describe_correction({"correction": "sphering", "lambda_relative": 0.1})
    'sphering, lambda 0.1 of the mean eigenvalue'
    """
    name = str(made.get("correction", "none"))
    if "lambda_relative" in made:
        return f"{name}, lambda {made['lambda_relative']:g} of the mean eigenvalue"
    return f"{name}, lambda {made['lambda']:g}" if "lambda" in made else name


def fit_correction(
    profiles: Profiles,
    controls: np.ndarray | None,
    method: str,
    *,
    regularization: float = 1e-2,
    relative: bool = False,
    components: int = 64,
    tell: Tell = warn,
) -> Correction:
    """Learn a batch correction from the wells of a screen.

    It is a choice: on some data whitening makes retrieval worse. Compare with ``none``.

    Parameters
    ----------
    profiles : Profiles
        Of wells, of all plates.
    controls : ndarray of shape (n,), bool
        Which of them are negative controls.
    method : str
        ``none``. ``sphering``: the paper's, see `fit_sphering`. ``centred-sphering``: every
        plate minus the mean of its controls, divided by the standard deviation of all
        controls, then ``sphering``: for features of several scales. ``plate-mad``: every plate
        minus the median of its controls, divided by their median absolute deviation.
        ``pca-mad``: standardised features, principal components of all wells, then
        ``plate-mad``.
    regularization, relative
        Of the sphering, see `fit_sphering`.
    components : int
        Of ``pca-mad``, at most.
    tell : callable
        Takes a sentence: which features are left out, as they do not vary among the controls
        of a plate; that there are fewer controls than a sphering with a small lambda needs.

    Returns
    -------
    Correction

    Raises
    ------
    ProfileError
        An unknown method, no controls, a plate without controls, NaN, or profiles that are
        corrected already.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"Metadata_Plate": ["P1"] * 4 + ["P2"] * 4})
    >>> wells = Profiles(np.random.default_rng(0).normal(size=(8, 3)), rows, ["a", "b", "c"])
    >>> correction = fit_correction(wells, np.ones(8, bool), "plate-mad")
    >>> correction.steps[0].plates.tolist()
    ['P1', 'P2']
    """
    controls = np.asarray(controls, bool)
    if method not in METHODS:
        raise ProfileError(f"expected a correction of {', '.join(METHODS)}, got {method!r}")
    names = list(profiles.feature_names)
    if method == "none":
        return Correction(method, names, [])
    if profiles.provenance.get("correction"):
        raise ProfileError(
            f"the profiles are corrected already ({profiles.provenance['correction']}), which "
            f"{method} would hide; fit it on uncorrected ones"
        )
    if controls.shape != (len(profiles.metadata),) or not controls.any():
        raise ProfileError(
            f"none of the {len(profiles.metadata)} wells is a control; {method} learns from them"
        )
    if method in ("sphering", "centred-sphering"):
        steps, features = [], profiles.features
        if method == "centred-sphering":
            steps.append(_fit_plates(fit_plate_centering, profiles, controls, tell))
            features = steps[0].transform(features, _plates(profiles))
        step = fit_sphering(features[controls], regularization, relative=relative)
        _warn_of_few(int(controls.sum()), step, tell)
        settings: dict[str, object] = {"lambda": step.regularization}
        if relative:
            settings["lambda_relative"] = regularization
        return Correction(method, names, [*steps, step], settings)
    if method == "plate-mad":
        return Correction(method, names, [_fit_plates(fit_plate_scaling, profiles, controls, tell)])
    pca = fit_principal_components(profiles.features, components)
    features, turned_names = pca.transform(profiles.features), _component_names(pca)
    turned = replace(profiles, features=features, feature_names=turned_names)
    scaling = _fit_plates(fit_plate_scaling, turned, controls, tell)
    return Correction(method, names, [pca, scaling], {"components": len(pca.components)})


def refit_correction(
    correction: Correction, profiles: Profiles, controls: np.ndarray
) -> Correction:
    """Fit a correction of the same method and settings to other wells.

    Parameters, errors and result are those of `fit_correction`; a lambda that is a fraction of
    the mean eigenvalue is a fraction of that of these controls.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"Metadata_Plate": ["P1"] * 9})
    >>> wells = Profiles(np.random.default_rng(0).normal(size=(9, 2)), rows, ["a", "b"])
    >>> one = fit_correction(wells, np.arange(9) < 6, "sphering", regularization=0.1)
    >>> refit_correction(one, wells, np.arange(9) > 2).settings
    {'lambda': 0.1}
    """
    settings = correction.settings
    relative = "lambda_relative" in settings
    told = {
        "regularization": settings.get("lambda_relative" if relative else "lambda"),
        "components": settings.get("components"),
    }
    known: dict[str, Any] = {name: value for name, value in told.items() if value is not None}
    return fit_correction(
        profiles,
        controls,
        correction.method,
        relative=relative,
        # What is left out was said when the correction was fitted first.
        tell=lambda _: None,
        **known,
    )


def _plates(profiles: Profiles) -> list[str]:
    profiles.require([PLATE])
    result: list[str] = profiles.metadata[PLATE].astype(str).tolist()
    return result


def _warn_of_few(controls: int, step: Sphering, tell: Tell) -> None:
    wanted = math.ceil(len(step.eigenvalues) * CONTROLS_PER_FEATURE)
    if controls < wanted and step.regularization < step.eigenvalues.mean():
        tell(
            f"sphering learns from {controls} control wells, and {len(step.eigenvalues)} features "
            f"need {wanted} (one for 2.5 features): with fewer, wells look alike by chance; take "
            "more controls, or a larger lambda, such as --lambda 1 --relative"
        )


def _fit_plates(
    fit: Callable[[np.ndarray, list[str]], PlateScaling],
    profiles: Profiles,
    controls: np.ndarray,
    tell: Tell,
) -> PlateScaling:
    plates = np.array(_plates(profiles), object)
    without = sorted(set(plates) - set(plates[controls]))
    if without:
        raise ProfileError(
            f"plate {', '.join(without)} has no control wells; every plate needs some to be "
            "centred on, or use the correction sphering"
        )
    scaling = fit(profiles.features[controls], plates[controls].tolist())
    unused = [
        name for name, used in zip(profiles.feature_names, scaling.used, strict=True) if not used
    ]
    if unused:
        verb = "is" if len(unused) == 1 else "are"
        tell(
            f"{len(unused)} of {len(scaling.used)} features {verb} left out, not varying among the "
            f"controls of every plate: {listed(unused)}"
        )
    return scaling


def _component_names(pca: PrincipalComponents) -> list[str]:
    return [f"PC_{i:03d}" for i in range(len(pca.components))]
