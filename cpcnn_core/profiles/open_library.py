"""A library of treatments, opened from its file and ready to be asked.

The command line, the worker of CellProfiler's module and napari's widget all open libraries here.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cpcnn_core.errors import ProfileError
from cpcnn_core.expressions import choose_rows
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.registry import known_cards
from cpcnn_core.profiles.correction import Correction, describe_correction
from cpcnn_core.profiles.correction_files import file_sha256
from cpcnn_core.profiles.library import TreatmentLibrary, build_library, treatment_columns
from cpcnn_core.profiles.library_files import read_marked, read_wells, with_uncorrected
from cpcnn_core.profiles.losses import complete
from cpcnn_core.profiles.significance import Significance
from cpcnn_core.schema.columns import PLATE, WELL, feature_names, metadata_column
from cpcnn_core.schema.origin import (
    CORRECTION,
    CORRECTION_SHA256,
    FEATURES,
    MODEL,
    Origin,
    aligned,
    describe_features,
    find_differences,
    say,
    split_feature,
)
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.user_messages import Tell, warn

ROWS_AT_A_TIME = 2048


class Query(NamedTuple):
    """Profiles that are ready to be compared with a library; made by `OpenLibrary.prepare_query`.

    Attributes
    ----------
    features : ndarray of shape (m, d), float64
        Corrected as the library is; rows with NaN are left out.
    uncorrected : Profiles or None
        The same rows before; None where they are not known.
    note : str
        What a reader has to know about them, or nothing.
    """

    features: np.ndarray
    uncorrected: Profiles | None
    note: str


@dataclass(frozen=True)
class OpenLibrary:
    """A library, and what profiles need before they are compared with it.

    Made by `open_library`; directly for a library that has no file.

    Attributes
    ----------
    library : TreatmentLibrary
    correction : Correction or None
        Applied to cells; None where the library's wells are as they were measured.
    name : str
        The file's name, for messages.
    controls : str
        The expression that chose the control wells.
    sha256 : str
        Checksum of the file; empty without one.
    path : Path or None
        The file; None for a library without one.
    """

    library: TreatmentLibrary
    correction: Correction | None
    name: str
    controls: str = ""
    sha256: str = ""
    path: Path | None = None

    @property
    def provenance(self) -> dict[str, object]:
        """What is known of the table: model, correction, controls."""
        return self.library.wells.provenance

    @property
    def feature_names(self) -> list[str]:
        """Names of the features that cells need, before they are corrected."""
        known = self.library.wells if self.correction is None else self.correction
        return list(known.feature_names)

    @cached_property
    def control_center(self) -> tuple[np.ndarray, float] | None:
        """Mean of the control wells, (d,) float64, and their median distance from it.

        None where it is not known which wells are controls.

        Raises
        ------
        ProfileError
            The controls do not differ.
        """
        if not self.library.controls.any():
            return None
        controls = np.asarray(self.library.wells.features[self.library.controls], np.float64)
        center = controls.mean(axis=0)
        spread = float(np.median(np.linalg.norm(controls - center, axis=1)))
        if not spread > 0:
            raise ProfileError(
                f"the {len(controls)} control wells of {self.name} do not differ, so there is no "
                "measure of how near to them a cell is; choose more with: cpcnn profile --controls"
            )
        return center, spread

    @cached_property
    def _significance(self) -> tuple[Significance | None, str]:
        if not self.library.controls.any():
            return None, "no p-values: the library does not say which wells are controls"
        try:
            tests = self.library.significance
        except ProfileError as error:
            return None, f"no p-values: {error}"
        return tests, tests.describe(list(tests.treatments))

    @property
    def significance(self) -> Significance | None:
        """Basis of the p-values; None where there are none, see `p_values`."""
        return self._significance[0]

    @property
    def p_values(self) -> str:
        """A sentence: what p-values compare with, or why there are none."""
        return self._significance[1]

    def describe(self) -> dict[str, object]:
        """Say what is in it, in JSON's types.

        Raises
        ------
        ProfileError
            As of `control_center`.
        """
        # Now, not when a cell is compared: controls that do not differ are refused.
        _ = self.control_center
        return {
            "file": self.name,
            "sha256": self.sha256,
            "treatments": len(self.library.directions),
            "wells": len(self.library.wells.metadata),
            "controls": int(self.library.controls.sum()),
            "correction": "none" if self.correction is None else self.correction.method,
            "has_p_values": self.significance is not None,
            "p_values": self.p_values,
        }

    def describe_correction(self) -> str:
        """Say in words how profiles are corrected before they are compared."""
        if self.correction is None or not self.correction.steps:
            made = self.provenance.get("correction")
            return f"corrected ({made})" if made else "compared as they are, without a correction"
        settings = {"correction": self.correction.method, **self.correction.settings}
        text = describe_correction(settings)
        return f"{text}{',' if ',' in text else ''} is applied to your cells"

    def check_model(self, card: ModelCard, *, mask_neighbors: bool | None = None) -> None:
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
        theirs = Origin(_with_prefix(self.feature_names, card.prefix), self.provenance)
        differences = find_differences(mine, theirs, corrections=False)
        if not differences:
            return
        first = differences[0]
        if first.fact in MODEL:
            raise ProfileError(
                f"{self.name} was made with the model {_identity(self.provenance)}, chosen here is "
                f"{_identity(mine.provenance)}; choose the library's model, or another library"
            )
        if first.fact == FEATURES:
            names = mine.feature_names
            raise ProfileError(
                f"{self.name} has {describe_features(Origin(self.feature_names))}, {card.name} "
                f"gives {len(names)} from {names[0]} to {names[-1]}; choose a library that was "
                "made with this model"
            )
        raise ProfileError(
            f"{self.name} was made with {first.fact} {first.theirs}, here it is {first.mine}; "
            "measure as the library was made, or choose another library"
        )

    def row(self, treatment: str) -> int:
        """Return the row of a treatment.

        Raises
        ------
        ProfileError
            It is not in the library; says which names are alike.
        """
        names: list[str] = self.library.treatments.texts(self.library.by).tolist()
        if treatment in names:
            return names.index(treatment)
        alike = difflib.get_close_matches(treatment, names, 3, 0.4)
        hint = f"did you mean {', '.join(alike)}?" if alike else f"it has {', '.join(names[:5])}"
        raise ProfileError(f"there is no treatment {treatment!r} in {self.name}; {hint}")

    def as_profiles(
        self, features: np.ndarray, plate: str | None = None, well: str | None = None
    ) -> Profiles:
        """Return features (n, d) in the model's order as a table with the library's features.

        Raises
        ------
        ProfileError
            A correction that goes by plates, and no plate.
        """
        numbered = _numbered(self.feature_names)
        if numbered is not None:
            features = features[:, [number for _, number in numbered]]
        correction = self.correction
        if plate is None and correction and any(hasattr(s, "plates") for s in correction.steps):
            raise ProfileError(
                f"{self.name} is corrected plate by plate ({correction.method}), and the plate of "
                "this image is not known; load the metadata Plate with the images, or use a "
                "library with the correction sphering"
            )
        rows = pd.DataFrame(index=pd.RangeIndex(len(features)))
        for column, value in ((PLATE, plate), (WELL, well)):
            if value is not None:
                rows[column] = value
        return Profiles(np.asarray(features, np.float64), rows, self.feature_names)

    def prepare_query(self, profiles: Profiles) -> Query:
        """Make profiles ready to be compared: the library's features, corrected as its wells.

        Profiles that are corrected already are not corrected again.

        Parameters
        ----------
        profiles : Profiles
            Of cells or wells.

        Raises
        ------
        ProfileError
            Another model or other features, an unknown plate, or no row without NaN.

        Examples
        --------
        >>> rows = pd.DataFrame({"Metadata_Treatment": ["a", "b"]})
        >>> opened = OpenLibrary(build_library(Profiles(np.eye(2), rows, ["x", "y"])), None, "mine")
        >>> cells = Profiles(np.array([[1, np.nan], [1, 3]]), rows, ["y", "x"])
        >>> opened.prepare_query(cells).features.tolist(), opened.prepare_query(cells).note
        ([[3.0, 1.0]], '1 of 2 cells are left out: NaN features')
        """
        correction = self.correction
        if profiles.provenance.get("correction"):
            # They can be made like the library's only with its correction, and only once.
            correction = None
        names = self.library.wells.feature_names if correction is None else self.feature_names
        wanted = Origin(names, self.provenance)
        self._require_same_origin(profiles, wanted, corrections=correction is None)
        profiles, note = aligned(profiles, wanted)
        notes = [note]
        usable = np.isfinite(profiles.features).all(axis=1)
        if not usable.any():
            raise ProfileError(
                "the cells asked about have NaN among their features; ask about others"
            )
        if not usable.all():
            notes.append(f"{(~usable).sum():,} of {len(usable):,} cells are left out: NaN features")
        profiles = profiles.select(usable)
        features = [profiles.features]
        if correction is not None:
            # In chunks: while BLAS multiplies for one thread, all others wait for it.
            rows = np.arange(len(profiles.metadata))
            chunks = [rows[n : n + ROWS_AT_A_TIME] for n in rows[::ROWS_AT_A_TIME]]
            features = [correction.transform(profiles.select(chunk)).features for chunk in chunks]
        corrected = np.concatenate(features, dtype=np.float64)
        uncorrected = None if correction is None else profiles
        return Query(corrected, uncorrected, "; ".join(filter(None, notes)))

    def rows_of(self, profiles: Profiles) -> np.ndarray:
        """Return the library's wells that are the wells of some rows, (m,) int.

        There are none where the rows, or the library, do not say plate and well.
        """
        wells = self.library.wells
        if not {PLATE, WELL} <= {*profiles.metadata} & {*wells.metadata}:
            return np.array([], int)
        mine = set(zip(profiles.texts(PLATE), profiles.texts(WELL), strict=True))
        theirs = zip(wells.texts(PLATE), wells.texts(WELL), strict=True)
        return np.flatnonzero([place in mine for place in theirs])

    def _require_same_origin(
        self, profiles: Profiles, wanted: Origin, *, corrections: bool
    ) -> None:
        differences = find_differences(profiles, wanted, corrections=corrections)
        if not differences:
            return
        first = differences[0]
        if first.fact == FEATURES:
            raise ProfileError(
                f"these cells have {first.mine}, the library has {first.theirs}; open a library "
                "that was made with the same model"
            )
        advice = "embed the cells with the library's model"
        if first.fact in (*CORRECTION, CORRECTION_SHA256):
            advice = "open the cells uncorrected"
        raise ProfileError(
            f"these cells and {self.name} cannot be compared: {say(first)}; {advice}, or open "
            "another library"
        )


def open_library(
    path: str | Path,
    by: str | None = None,
    controls: str | None = None,
    *,
    null: str | None = None,
    doses_of: str | None = None,
    for_cells: bool = True,
    keep_labels: Collection[str] = (),
    tell: Tell = warn,
) -> OpenLibrary:
    """Open a table of wells as a library of treatments.

    Parameters
    ----------
    path : str or Path
        Made by ``cpcnn profile``, or another table that `read_profiles` reads.
    by : str, optional
        The column that names the treatment, with or without ``Metadata_``. Default: the first
        of `treatment_columns`.
    controls : str, optional
        An expression that chooses the control wells. Default: the one that ``cpcnn profile``
        was given; an empty one chooses none.
    null : str, optional
        An expression that chooses wells of treatments that do nothing, see `build_library`.
    doses_of : str, optional
        The column that names the compound, see `build_library`.
    for_cells : bool
        Whether cells are compared: they need the correction beside a corrected table. Else only
        wells that are corrected already, and wells and features with missing values are left out.
    keep_labels, tell
        As in `read_profiles`.

    Raises
    ------
    ProfileError
        No such table, no column of treatments, an expression that chooses nothing, or a
        corrected table without the correction that cells need.

    Examples
    --------
    >>> open_library("nowhere.parquet")
    Traceback (most recent call last):
    cpcnn_core.errors.TableError: there is no table nowhere.parquet
    """
    path = Path(path)
    correction = None
    if for_cells:
        wells, correction = read_wells(path, keep_labels=keep_labels, tell=tell)
    else:
        wells = complete(read_marked(path, keep_labels=keep_labels, tell=tell), tell)
    by = next(iter(treatment_columns(wells)), None) if by is None else metadata_column(by)
    if by is None:
        raise ProfileError(
            f"{path.name} has no column that names treatments; it has "
            f"{', '.join(wells.metadata.columns)}. Add one with: cpcnn profile ... --platemap FILE"
        )
    if controls is None:
        controls = str(wells.provenance.get("controls") or "")
    library = build_library(
        with_uncorrected(path, wells),
        by,
        choose_rows(wells, controls) if controls.strip() else None,
        null=choose_rows(wells, null) if null else None,
        doses_of=metadata_column(doses_of) if doses_of else None,
    )
    return OpenLibrary(library, correction, path.name, controls, file_sha256(path), path)


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


def _numbered(names: Sequence[str]) -> list[tuple[str, int]] | None:
    """Return prefix and number of every feature; None where a name has no number."""
    found = [split for name in names if (split := split_feature(name))]
    return found if len(found) == len(names) else None


def _with_prefix(names: Sequence[str], prefix: str) -> list[str]:
    """Give features that CellProfiler's user has named the model's name; not another model's."""
    numbered = _numbered(names)
    known = {card.prefix for card in known_cards().values()}
    if numbered is None or any(theirs in known for theirs, _ in numbered):
        return list(names)
    return [f"{prefix}_{number:03d}" for _, number in numbered]
