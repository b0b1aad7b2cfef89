"""Compare the cells of an image with a library of treatments.

The function that reads libraries is passed in (`Reader`): this package is below those that know
tables of profiles, and the dock widget's worker needs none.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.registry import known_cards
from cpcnn_core.schema.columns import PLATE, WELL, feature_names
from cpcnn_core.schema.origin import (
    FEATURES,
    MODEL,
    Origin,
    describe_features,
    find_differences,
    split_feature,
)
from cpcnn_core.schema.profiles import Profiles

# Path and treatment column to a TreatmentLibrary and the Correction of its wells or None,
# both of cpcnn_core.profiles.
Reader = Callable[[str, str], tuple[Any, Any]]


@dataclass(frozen=True)
class Library:
    """A library that is open, and what cells are measured by; made by `open_library`.

    Attributes
    ----------
    file, sha256 : str
        Name and checksum of the file.
    treatments : TreatmentLibrary
    correction : Correction or None
        Applied to cells; None where the wells are as they were measured.
    center : ndarray of shape (d,), float64, or None
        Mean of the control wells; None where it is not known which they are.
    spread : float
        Median distance of the control wells from it.
    significance : Significance or None
        What p-values are computed with; None where there are none.
    p_values : str
        What they compare with, or why there are none.
    """

    file: str
    sha256: str
    treatments: Any
    correction: Any
    center: np.ndarray | None
    spread: float
    significance: Any
    p_values: str

    def describe(self) -> dict[str, object]:
        """Say what is in it, in JSON's types."""
        return {
            "file": self.file,
            "sha256": self.sha256,
            "treatments": len(self.treatments.directions),
            "wells": len(self.treatments.wells.metadata),
            "controls": int(self.treatments.controls.sum()),
            "correction": "none" if self.correction is None else self.correction.method,
            "has_p_values": self.significance is not None,
            "p_values": self.p_values,
        }

    def check(self, card: ModelCard, *, mask_neighbors: bool | None = None) -> None:
        """Refuse a model that is not the library's, or one that is used in another way.

        Parameters
        ----------
        card : ModelCard
        mask_neighbors : bool, optional
            Whether neighbouring cells are masked; None where that is not known.

        Raises
        ------
        ProfileError
        """
        mine = _origin(card, mask_neighbors)
        made = self.treatments.wells.provenance
        theirs = Origin(_with_prefix(self._features(), card.prefix), made)
        differences = find_differences(mine, theirs, corrections=False)
        if not differences:
            return
        first = differences[0]
        if first.fact in MODEL:
            raise ProfileError(
                f"{self.file} was made with the model {_identity(made)}, chosen here is "
                f"{_identity(mine.provenance)}; choose the library's model, or another library"
            )
        if first.fact == FEATURES:
            names = mine.feature_names
            raise ProfileError(
                f"{self.file} has {describe_features(Origin(self._features()))}, {card.name} gives "
                f"{len(names)} from {names[0]} to {names[-1]}; choose a library that was made with "
                "this model"
            )
        raise ProfileError(
            f"{self.file} was made with {first.fact} {first.theirs}, here it is {first.mine}; "
            "measure as the library was made, or choose another library"
        )

    def row(self, treatment: str) -> int:
        """Return the row of a treatment.

        Raises
        ------
        ProfileError
            It is not in the library; says which names are alike.
        """
        names: list[str] = self.treatments.treatments.texts(self.treatments.by).tolist()
        if treatment in names:
            return names.index(treatment)
        alike = difflib.get_close_matches(treatment, names, 3, 0.4)
        hint = f"did you mean {', '.join(alike)}?" if alike else f"it has {', '.join(names[:5])}"
        raise ProfileError(f"there is no treatment {treatment!r} in {self.file}; {hint}")

    def as_wells(
        self, features: np.ndarray, plate: str | None, well: str | None = None
    ) -> Profiles:
        """Return features (n, d) in the model's order as a table with the library's features.

        Raises
        ------
        ProfileError
            A correction that goes by plates, and no plate.
        """
        parts = _split(self._features())
        if parts is not None:
            features = features[:, [number for _, number in parts]]
        import pandas as pd

        steps = () if self.correction is None else self.correction.steps
        if plate is None and any(hasattr(step, "plates") for step in steps):
            raise ProfileError(
                f"{self.file} is corrected plate by plate ({self.correction.method}), and the "
                "plate of this image is not known; load the metadata Plate with the images, or "
                "use a library with the correction sphering"
            )
        rows = pd.DataFrame(index=pd.RangeIndex(len(features)))
        for column, value in ((PLATE, plate), (WELL, well)):
            if value is not None:
                rows[column] = value
        return Profiles(np.asarray(features, np.float64), rows, self._features())

    def correct(self, measured: Profiles) -> np.ndarray:
        """Correct what `as_wells` returned as the library's wells were, (n, d) float64.

        Raises
        ------
        ProfileError
            A correction that goes by plates, and an unknown plate.
        """
        if self.correction is None:
            return measured.features
        corrected: np.ndarray = self.correction.transform(measured).features
        return corrected

    def rows_of(self, measured: Profiles) -> np.ndarray:
        """Return the library's wells that are the wells of some rows, (m,) int.

        There are none where the rows, or the library, do not say plate and well.
        """
        wells = self.treatments.wells
        if not {PLATE, WELL} <= {*measured.metadata} & {*wells.metadata}:
            return np.array([], int)
        mine = set(zip(measured.texts(PLATE), measured.texts(WELL), strict=True))
        theirs = zip(wells.texts(PLATE), wells.texts(WELL), strict=True)
        return np.flatnonzero([place in mine for place in theirs])

    def like_controls(self, corrected: np.ndarray) -> np.ndarray:
        """Tell how near corrected profiles (n, d) are to the controls, (n,) float64.

        1 / (1 + distance / spread): 1 where the controls' mean is, 0.5 as far from it as
        half of the control wells. Not the cosine, since corrections move the controls
        to the origin, from where everything is in some other direction.
        """
        distance: np.ndarray = np.linalg.norm(corrected - self.center, axis=1)
        return 1 / (1 + distance / self.spread)

    def _features(self) -> list[str]:
        known = self.treatments.wells if self.correction is None else self.correction
        return list(known.feature_names)


def open_library(path: str, by: str, read: Reader) -> Library:
    """Read a library, and find out where its controls are.

    Raises
    ------
    ProfileError
        It cannot be read, or its controls have no spread.

    Examples
    --------
    >>> open_library("profiles.parquet", "Treatment", read)  # doctest: +SKIP
    """
    treatments, correction = read(path, by)
    center, spread = None, 0.0
    if treatments.controls.any():
        controls = np.asarray(treatments.wells.features[treatments.controls], np.float64)
        center = controls.mean(axis=0)
        spread = float(np.median(np.linalg.norm(controls - center, axis=1)))
        if not spread > 0:
            raise ProfileError(
                f"the {len(controls)} control wells of {Path(path).name} do not differ, so there "
                "is no measure of how near to them a cell is; choose more with: cpcnn profile "
                "--controls"
            )
    sha256 = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    significance, says = _significance(treatments)
    name = Path(path).name
    return Library(name, sha256, treatments, correction, center, spread, significance, says)


def compare(
    library: Library,
    features: np.ndarray,
    *,
    plate: str | None = None,
    well: str | None = None,
    count: int = 3,
    treatment: str | None = None,
) -> tuple[list[dict[str, object]], dict[str, np.ndarray]]:
    """Find the treatments that an image looks like, and tell what each cell is like.

    The image's profile is the median of its cells, as `cpcnn_core.profiles.wells` makes
    sites; it and every cell are corrected as the library's wells were.

    Parameters
    ----------
    library : Library
    features : ndarray of shape (n, d), as the model gives them
        Rows with NaN have not been measured.
    plate : str, optional
        For corrections that go plate by plate.
    well : str, optional
        Where the library holds the image's own well (by plate and well) and it is a control,
        p-values do not compare with it.
    count : int
        How many treatments.
    treatment : str, optional
        The one that every cell is compared with.

    Returns
    -------
    nearest : list of dict
        ``treatment`` and ``similarity`` (cosine), the nearest first; where the library has
        p-values also ``p_value`` and ``q_value`` (over all treatments of the library), see
        `cpcnn_core.profiles.significance`, NaN for a treatment that cannot be asked.
    likeness : dict of str to ndarray, float64
        ``like_controls`` (n,) and ``image_like_controls`` (1,), see
        `Library.like_controls`, where controls are known; ``like_treatment`` (n,), the
        cosine, where one was chosen. NaN for cells that have not been measured.

    Examples
    --------
    >>> compare(library, features, treatment="taxol")  # doctest: +SKIP
    """
    usable = np.isfinite(features).all(axis=1)
    row = None if treatment is None else library.row(treatment)
    likeness = {"like_controls": np.full(len(features), np.nan)}
    likeness["image_like_controls"] = np.full(1, np.nan)
    if row is not None:
        likeness["like_treatment"] = np.full(len(features), np.nan)
    if library.center is None:
        likeness = {name: values for name, values in likeness.items() if "control" not in name}
    if not usable.any():
        return [], likeness
    cells = library.correct(library.as_wells(features[usable], plate))
    median = np.median(np.asarray(features[usable], np.float64), axis=0, keepdims=True)
    measured = library.as_wells(median, plate, well)
    whole = library.correct(measured)
    if library.center is not None:
        likeness["like_controls"][usable] = library.like_controls(cells)
        likeness["image_like_controls"][:] = library.like_controls(whole)
    if row is not None:
        direction = library.treatments.directions[row].astype(np.float64)
        lengths = np.linalg.norm(cells, axis=1) * np.linalg.norm(direction)
        likeness["like_treatment"][usable] = cells @ direction / lengths
    found = library.treatments.nearest(whole, count)
    names = found[library.treatments.by].astype(str)
    told = {"treatment": names.tolist(), "similarity": found["similarity"].tolist()}
    if library.significance is not None:
        tests = library.significance.nearest(measured, rows=library.rows_of(measured))
        for column in ("p_value", "q_value"):
            told[column] = tests[column].reindex(names).tolist()
    nearest = [dict(zip(told, values, strict=True)) for values in zip(*told.values(), strict=True)]
    return nearest, likeness


def _significance(treatments: Any) -> tuple[Any, str]:  # noqa: ANN401  (see Reader)
    """Return what p-values of a library are computed with, and what they compare with."""
    if not treatments.controls.any():
        return None, "no p-values: the library does not say which wells are controls"
    try:
        tests = treatments.significance
    except ProfileError as error:
        return None, f"no p-values: {error}"
    return tests, tests.describe(list(tests.treatments))


def _origin(card: ModelCard, mask_neighbors: bool | None) -> Origin:
    made = {
        "model": card.name,
        "model_sha256": card.sha256,
        "channels": ",".join(card.channels),
        "layer": card.tap,
        "crop_px": card.crop_px,
        "normalizer": card.normalizer,
        "mask_neighbors": mask_neighbors,
    }
    return Origin(feature_names(card.embed_dim, card.prefix), made)


def _identity(made: Mapping[str, object]) -> str:
    name, sha256 = made.get("model") or "of an unknown name", made.get("model_sha256")
    return f"{name} ({sha256})" if sha256 else str(name)


def _split(names: Sequence[str]) -> list[tuple[str, int]] | None:
    """Return prefix and number of every feature; None where some name has none."""
    parts = [part for name in names if (part := split_feature(name))]
    return parts if len(parts) == len(names) else None


def _with_prefix(names: Sequence[str], prefix: str) -> list[str]:
    """Give features that CellProfiler's user has named the model's name; not another model's."""
    parts = _split(names)
    known = {card.prefix for card in known_cards().values()}
    if parts is None or any(part[0] in known for part in parts):
        return list(names)
    return [f"{prefix}_{number:03d}" for _, number in parts]
