"""A correction fitted several times, each time without some controls, to compare with those.

A correction draws the very controls together that it is fitted on. Beside these everything else
looks unlike nothing: p-values against them are too small. Controls that were held out are treated
like every other well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.io.site_keys import normal_well
from cpcnn_core.profiles.correction import Correction, refit_correction
from cpcnn_core.schema.columns import PLATE, WELL
from cpcnn_core.schema.profiles import Profiles

FOLDS = 4
HELD_OUT, WANTED = 2, 4
FIXED_SHARE, FIXED_POSITIONS = 0.9, 12
POSITION, SINGLE = "position", "well"


@dataclass(frozen=True)
class Fold:
    """One fit of the correction, and what it was not fitted on.

    Attributes
    ----------
    correction : Correction
        Fitted on the other controls.
    held : ndarray of shape (h,), int
        Rows of the controls that were held out.
    unit : ndarray of shape (h,), int
        Which of them are drawn together, numbered from 0: those of one position, or each alone.
    wells : Profiles
        These controls, corrected.
    """

    correction: Correction
    held: np.ndarray
    unit: np.ndarray
    wells: Profiles

    @property
    def features(self) -> np.ndarray:
        """Those of `wells`, (h, d) float64."""
        return self.wells.features


@dataclass(frozen=True)
class CrossFit:
    """A correction cross-fitted to the wells of a screen; made by `cross_fit`.

    Attributes
    ----------
    wells : Profiles
        Of all wells, uncorrected.
    controls : ndarray of shape (n,), bool
        What corrections are fitted on.
    null : ndarray of shape (n,), bool
        What is compared with: the controls, or other wells without effect.
    by : str
        The column that names the treatment.
    unit : str
        What is drawn: ``position``, a control position with its wells on all plates, or
        ``well``.
    plates : ndarray of shape (n,), str
        The plate of every well; empty where it has too few controls, see `bare`.
    bare : list of str
        Plates without enough controls. Their wells are not compared.
    folds : list of Fold
    """

    wells: Profiles
    controls: np.ndarray
    null: np.ndarray
    by: str
    unit: str
    plates: np.ndarray
    bare: list[str]
    folds: list[Fold]

    @property
    def treated(self) -> np.ndarray:
        """Which wells have a treatment that can be asked about, (n,) bool."""
        return _treated(self.wells, self.by, self.controls, self.null)

    @property
    def count(self) -> int:
        """How many wells are compared with."""
        return sum(len(fold.held) for fold in self.folds)

    def describe(self) -> str:
        """Say in a sentence what p-values compare with.

        Examples
        --------
        >>> from cpcnn_core.profiles.correction import fit_correction
        >>> correction = fit_correction(wells, controls, "plate-mad")
        >>> cross_fit(wells, controls, "Metadata_Treatment", correction, unit="well").describe()
        'p-values compare with 24 control wells, drawn plate by plate, held out in 3 folds'
        """
        units = sum(len(np.unique(fold.unit)) for fold in self.folds)
        own = self.null is self.controls
        kind = "control" if own else "null"
        drawn = (
            f"{units} {kind} positions, each with its wells on all plates ({self.count} wells)"
            if self.unit == POSITION
            else f"{self.count} {kind} wells, drawn plate by plate"
        )
        how = f"held out in {len(self.folds)} folds" if own else "not used to fit the correction"
        without = (
            f"; plates with too few {'controls' if own else 'of these'}, whose wells are not "
            f"compared: {', '.join(self.bare)}"
            if self.bare
            else ""
        )
        return f"p-values compare with {drawn}, {how}{without}"


def cross_fit(
    wells: Profiles,
    controls: np.ndarray,
    by: str,
    correction: Correction,
    *,
    null: np.ndarray | None = None,
    unit: str | None = None,
    seed: int = 0,
) -> CrossFit:
    """Fit a correction again without some of the controls, until each was left out once.

    Where other wells are known to be without effect, these are compared with instead: one fit on
    all controls does.

    Where at least 90 % of the treatments that are on several plates are at one position on all
    of them, what all wells of a position share would pass for the treatment. Controls are then
    held out, and drawn, position by position, if at least 12 positions are controls on every
    plate with treatments; else well by well, plate by plate.

    Parameters
    ----------
    wells : Profiles
        Uncorrected, of all plates.
    controls : ndarray of shape (n,), bool
    by : str
        The column that names the treatment.
    correction : Correction
        What is fitted again, with its method and settings.
    null : ndarray of shape (n,), bool, optional
        Wells without effect that are no controls. Default: the controls.
    unit : str, optional
        ``position`` or ``well``, whatever the wells are like.
    seed : int

    Returns
    -------
    CrossFit
        Four folds, or as many as leave four controls of every plate in each, but two at least;
        one with `null`.

    Raises
    ------
    ProfileError
        Corrected wells, or fewer than four controls, two of `null`, on every plate; wells that
        are both.

    Examples
    --------
    >>> from cpcnn_core.profiles.correction import fit_correction
    >>> correction = fit_correction(wells, controls, "plate-mad")
    >>> fitted = cross_fit(wells, controls, "Metadata_Treatment", correction)
    >>> fitted.unit, [len(fold.held) for fold in fitted.folds]
    ('well', [8, 8, 8])
    """
    controls = np.asarray(controls, bool)
    if wells.provenance.get("correction"):
        raise ProfileError("expected uncorrected wells to fit a correction on, these are corrected")
    own = null is None
    null = controls if own else np.asarray(null, bool)
    if not own:
        refuse_controls(null, controls)
    plates, positions = plates_of(wells), _positions(wells)
    everywhere = sorted(set(_everywhere(wells, by, controls, null).values()))
    if unit is None:
        unit = POSITION if len(everywhere) >= FIXED_POSITIONS else SINGLE
    random = np.random.default_rng(seed)
    if unit == POSITION:
        if positions is None:
            raise ProfileError(f"positions are compared, and there is no column {WELL}")
        bare, count = [], FOLDS
        order = random.permutation(len(everywhere))
        places = {everywhere[place]: turn for turn, place in enumerate(order)}
        turns = [places.get(name, -1) if mine else -1 for name, mine in _zip(positions, null)]
        turn = np.array(turns)
    else:
        least = 2 * HELD_OUT if own else HELD_OUT
        counts = Counter(plates[null].tolist())
        bare = sorted(name for name in set(plates) if counts[name] < least)
        enough = [counts[name] for name in set(plates) - set(bare)]
        if not enough:
            most = max(counts.values(), default=0)
            raise ProfileError(
                f"p-values need {least} control wells on a plate, {HELD_OUT} to fit on and "
                f"{HELD_OUT} to compare with; there are at most {most}"
                if own
                else f"p-values need {least} wells of the null on a plate; there are at most {most}"
            )
        turn = np.full(len(plates), -1)
        for name in sorted(set(plates) - set(bare)):
            mine = np.flatnonzero(null & (plates == name))
            turn[random.permutation(mine)] = np.arange(len(mine))
        # Rather fewer folds than two or three controls of a plate, which can be drawn in few ways.
        count = max(2, min(FOLDS, min(enough) // WANTED))
    # What no correction was fitted on needs no turns.
    count = count if own else 1
    folds = [_fold(wells, controls, correction, turn, one, count, unit) for one in range(count)]
    used = np.where(np.isin(plates, bare), "", plates) if bare else plates
    return CrossFit(wells, controls, null, by, unit, used, bare, folds)


def refuse_controls(null: np.ndarray, controls: np.ndarray) -> None:
    """Refuse to compare with the wells that a correction is fitted on.

    Raises
    ------
    ProfileError

    Examples
    --------
    >>> refuse_controls(np.array([False, True]), np.array([True, False]))
    """
    both = int((null & controls).sum())
    if both:
        raise ProfileError(
            f"{both} wells are controls, which the correction is fitted on, and said to be the "
            "null that is compared with: take others for one of them"
        )


def null_positions(fitted: CrossFit) -> dict[int, str]:
    """Return the position of every well compared with that is one on all plates, by row.

    Empty where treatments have no fixed positions, see `cross_fit`.

    Examples
    --------
    >>> from cpcnn_core.profiles.correction import fit_correction
    >>> correction = fit_correction(wells, controls, "plate-mad")
    >>> null_positions(cross_fit(wells, controls, "Metadata_Treatment", correction))
    {}
    >>> wells.metadata["Metadata_Compound"] = wells.texts("Metadata_Well")  # another in each
    >>> positions = null_positions(cross_fit(wells, controls, "Metadata_Compound", correction))
    >>> positions[0], positions[24]
    ('A1', 'A1')
    """
    return _everywhere(fitted.wells, fitted.by, fitted.controls, fitted.null)


def _treated(wells: Profiles, by: str, controls: np.ndarray, null: np.ndarray) -> np.ndarray:
    treated: np.ndarray = wells.named(by) & ~controls & ~null
    return treated


def _everywhere(wells: Profiles, by: str, controls: np.ndarray, null: np.ndarray) -> dict[int, str]:
    plates, positions = plates_of(wells), _positions(wells)
    treated = _treated(wells, by, controls, null)
    if positions is None or not _fixed_layout(
        wells.texts(by)[treated], plates[treated], positions[treated]
    ):
        return {}
    everywhere = set(_on_all_plates(positions, plates, null, treated))
    rows = np.flatnonzero(null & np.isin(positions, sorted(everywhere)))
    return {int(row): str(positions[row]) for row in rows}


def plates_of(wells: Profiles) -> np.ndarray:
    """Return the plate of every well, (n,) str; one for all where there is no such column.

    Raises
    ------
    ProfileError
        A well has no plate.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"Metadata_Plate": ["P1", "P2"]})
    >>> plates_of(Profiles(np.eye(2), rows, ["x", "y"])).tolist()
    ['P1', 'P2']
    """
    if PLATE not in wells.metadata.columns:
        return np.full(len(wells.metadata), "one")
    plates = wells.texts(PLATE)
    without = np.flatnonzero(plates == "")
    if len(without):
        raise ProfileError(
            f"{len(without)} of {len(plates)} wells have no plate, the first in row "
            f"{without[0] + 1}; fill {PLATE} in, or leave these wells out"
        )
    return plates


def _fold(
    wells: Profiles,
    controls: np.ndarray,
    correction: Correction,
    turn: np.ndarray,
    fold: int,
    folds: int,
    unit: str,
) -> Fold:
    out = (turn >= 0) & (turn % folds == fold)
    held = np.flatnonzero(out)
    # What is learned from all wells, such as principal components, is learned from the held-out
    # controls like from every treatment.
    fitted = refit_correction(correction, wells, controls & ~out)
    corrected = fitted.transform(wells.select(held))
    names = turn[held] if unit == POSITION else np.arange(len(held))
    return Fold(fitted, held, np.unique(names, return_inverse=True)[1], corrected)


def _positions(wells: Profiles) -> np.ndarray | None:
    if WELL not in wells.metadata.columns:
        return None
    return np.array([normal_well(text) for text in wells.texts(WELL).tolist()])


def _fixed_layout(names: np.ndarray, plates: np.ndarray, positions: np.ndarray) -> bool:
    """Tell whether treatments of several plates are at one position on all of them."""
    on: dict[str, set[str]] = {}
    at: dict[str, set[str]] = {}
    for name, plate, position in _zip(names, plates, positions):
        on.setdefault(name, set()).add(plate)
        at.setdefault(name, set()).add(position)
    several = [name for name, plates_of in on.items() if len(plates_of) > 1]
    at_one = sum(len(at[name]) == 1 for name in several)
    return bool(several) and at_one >= FIXED_SHARE * len(several)


def _on_all_plates(
    positions: np.ndarray, plates: np.ndarray, controls: np.ndarray, treated: np.ndarray
) -> list[str]:
    """List the positions that are controls on every plate that has treatments."""
    wanted = set(plates[treated])
    on: dict[str, set[str]] = {}
    for position, plate in _zip(positions[controls], plates[controls]):
        on.setdefault(position, set()).add(plate)
    return sorted(position for position, found in on.items() if wanted <= found)


def _zip(*columns: np.ndarray) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.tolist() for column in columns), strict=True)
