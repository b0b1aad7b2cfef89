"""Batch correction: learned from a screen's wells, kept in a file, applied to any profiles."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from cpcnn_core.atomic import write_atomically
from cpcnn_core.errors import ProfileError, ProfileWarning
from cpcnn_core.profiles.plate_scaling import (
    PlateScaling,
    fit_plate_centering,
    fit_plate_scaling,
)
from cpcnn_core.profiles.principal_components import (
    PrincipalComponents,
    fit_principal_components,
)
from cpcnn_core.profiles.sphering import Sphering, fit_sphering
from cpcnn_core.tables.columns import PLATE
from cpcnn_core.tables.profiles import Profiles

METHODS = ("none", "sphering", "centred-sphering", "plate-mad", "pca-mad")
FORMAT_VERSION = 1
_STEPS = {kind.__name__: kind for kind in (Sphering, PlateScaling, PrincipalComponents)}


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

    def transform(self, profiles: Profiles) -> Profiles:
        """Correct profiles; features come out as float64.

        Features keep their names where each stays itself, and are called ``PC_000``, ...
        where they are mixed to fewer.

        Raises
        ------
        ProfileError
            Other features than it was fitted on, NaN, or an unknown plate.
        """
        if list(profiles.feature_names) != self.feature_names:
            raise ProfileError(
                f"this correction was fitted on {_shown(self.feature_names)}, the profiles have "
                f"{_shown(profiles.feature_names)}; use those of the same model"
            )
        features, names = profiles.features, self.feature_names
        for step in self.steps:
            if isinstance(step, PlateScaling):
                features = step.transform(features, _plates(profiles))
                names = [name for name, used in zip(names, step.used, strict=True) if used]
            else:
                features = step.transform(features)
            if isinstance(step, PrincipalComponents):
                names = [f"PC_{i:03d}" for i in range(len(step.components))]
        made_by = {"correction": self.method, **self.settings} if self.steps else {}
        return replace(
            profiles,
            features=np.asarray(features, np.float64),
            feature_names=list(names),
            provenance=profiles.provenance | made_by,
        )

    def save(self, path: str | Path) -> None:
        """Write the correction to a file (NumPy's npz, without pickles)."""
        arrays, steps = {}, []
        for number, step in enumerate(self.steps):
            steps.append(type(step).__name__)
            for part in fields(step):
                arrays[f"{number}.{part.name}"] = np.asarray(getattr(step, part.name))
        about = {
            "cpcnn_correction": FORMAT_VERSION,
            "method": self.method,
            "feature_names": self.feature_names,
            "steps": steps,
            "settings": self.settings,
        }
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
        write_atomically(_npz(path), lambda place: np.savez(place, **arrays))

    @classmethod
    def load(cls, path: str | Path) -> Correction:
        """Read a correction that `save` wrote.

        Raises
        ------
        ProfileError
            No such file, or not such a file.
        """
        path = _npz(path)
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            about = json.loads(arrays.pop("about").tobytes())
            version = about["cpcnn_correction"]
        except FileNotFoundError as error:
            raise ProfileError(f"there is no correction {path}") from error
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ProfileError(f"{path} is not a correction that cpcnn wrote ({error})") from error
        if version != FORMAT_VERSION:
            raise ProfileError(
                f"{path} has format {version}, this cpcnn reads {FORMAT_VERSION}; upgrade with: "
                "pip install --upgrade cpcnn"
            )
        steps = []
        for number, name in enumerate(about["steps"]):
            kind = _STEPS[name]
            values = {part.name: arrays[f"{number}.{part.name}"] for part in fields(kind)}
            # A number was saved as an array without dimensions.
            steps.append(kind(**{name: v if v.ndim else v.item() for name, v in values.items()}))
        return cls(about["method"], about["feature_names"], steps, about["settings"])


def correction_file(table: str | Path) -> Path:
    """Name the file in which a table's correction lies beside it.

    Examples
    --------
    >>> correction_file("profiles.csv.gz").name
    'profiles.correction.npz'
    """
    table = Path(table)
    return table.with_name(f"{table.name.split('.')[0]}.correction.npz")


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
    controls: np.ndarray,
    method: str,
    *,
    regularization: float = 1e-2,
    relative: bool = False,
    components: int = 64,
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

    Returns
    -------
    Correction

    Raises
    ------
    ProfileError
        An unknown method, no controls, a plate without controls, NaN.

    Warns
    -----
    ProfileWarning
        Features are left out because they do not vary among the controls of a plate.

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
    if controls.shape != (len(profiles.metadata),) or not controls.any():
        raise ProfileError(
            f"none of the {len(profiles.metadata)} wells is a control; {method} learns from them"
        )
    if method in ("sphering", "centred-sphering"):
        steps, features = [], profiles.features
        if method == "centred-sphering":
            steps.append(_fit_plates(fit_plate_centering, features, profiles, controls))
            features = steps[0].transform(features, _plates(profiles))
        step = fit_sphering(features[controls], regularization, relative=relative)
        settings = {"lambda": step.regularization}
        if relative:
            settings["lambda_relative"] = regularization
        return Correction(method, names, [*steps, step], settings)
    if method == "plate-mad":
        step = _fit_plates(fit_plate_scaling, profiles.features, profiles, controls)
        return Correction(method, names, [step])
    pca = fit_principal_components(profiles.features, components)
    features = pca.transform(profiles.features)
    scaling = _fit_plates(fit_plate_scaling, features, profiles, controls)
    return Correction(method, names, [pca, scaling], {"components": len(pca.components)})


def _plates(profiles: Profiles) -> list[str]:
    profiles.require([PLATE])
    return profiles.metadata[PLATE].astype(str).tolist()


def _fit_plates(
    fit: Callable[[np.ndarray, list[str]], PlateScaling],
    features: np.ndarray,
    profiles: Profiles,
    controls: np.ndarray,
) -> PlateScaling:
    plates = np.array(_plates(profiles), object)
    without = sorted(set(plates) - set(plates[controls]))
    if without:
        raise ProfileError(
            f"plate {', '.join(without)} has no control wells; every plate needs some to be "
            "centred on, or use the correction sphering"
        )
    scaling = fit(features[controls], plates[controls].tolist())
    if not scaling.used.all():
        warnings.warn(
            f"{(~scaling.used).sum()} of {len(scaling.used)} features are left out: they do not "
            "vary among the controls",
            ProfileWarning,
            stacklevel=3,
        )
    return scaling


def _shown(names: list[str]) -> str:
    return f"{len(names)} features from {names[0]} to {names[-1]}" if names else "no features"


def _npz(path: str | Path) -> Path:
    path = Path(path)
    return path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
