"""Whether two belong together: tables, a table and a library, a library and a model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.schema.profiles import Profiles

FEATURES = "features"
MODEL = ("model", "model_sha256")
# What the features of a cell depend on, beside the model's weights.
SETTINGS = ("layer", "channels", "crop_px", "normalizer", "mask_neighbors")
# A correction and what it was fitted with.
CORRECTION = ("correction", "lambda", "components")
CORRECTION_SHA256 = "correction_sha256"
# Which learned aggregation made wells of cells; none where they are a mean or median.
AGGREGATION = "aggregation"
# Whether the model's weights are the published ones; features do not depend on that.
WEIGHTS = "weights"
_UNKNOWN = ("", "None")
# The text before the model's name says of which objects: Cells_CPCNN_000, CPCNN_000.
_DEEP = re.compile(r"(?:(?P<objects>.+)_)?(?P<model>[A-Za-z][A-Za-z0-9]*)_(?P<number>\d{3,})")


class HasOrigin(Protocol):
    """Features with an origin: `Profiles`, `Origin`, or anything with these two."""

    @property
    def feature_names(self) -> Sequence[str]:
        """Their names, in order."""

    @property
    def provenance(self) -> Mapping[str, object]:
        """How they were made."""


@dataclass(frozen=True)
class Origin:
    """Features that are not here yet, and what makes them.

    Attributes
    ----------
    feature_names : sequence of d str
    provenance : mapping
        As that of `Profiles`.

    Examples
    --------
    >>> Origin(["CPCNN_000"], {"model": "mine"}).provenance["model"]
    'mine'
    """

    feature_names: Sequence[str]
    provenance: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """A fact that differs between the two sides.

    Attributes
    ----------
    fact : str
        `FEATURES`, or a key of the provenance.
    mine, theirs : str
        What it is.
    """

    fact: str
    mine: str
    theirs: str


def find_differences(
    mine: HasOrigin, theirs: HasOrigin, *, corrections: bool = True
) -> list[Difference]:
    """Find out why features cannot be compared; an empty list says that they can.

    Parameters
    ----------
    mine, theirs : HasOrigin
    corrections : bool
        False where one side is still to be corrected as the other is.

    Returns
    -------
    list of Difference
        The model first, the features last.

    Notes
    -----
    What one side does not know is no contradiction, but for the correction and the learned
    aggregation: who does not tell of one has none. The weights' hash counts for more than the
    model's name, and for more than what the features are called. Features are the same by model
    and number (``Cells_CPCNN_007``, ``Nuclei_CPCNN_007``, ``CPCNN_007``), in any order;
    measurements of other kinds by their whole name. Components of a principal component analysis
    are the same only within one fit.
    Pixel sizes may differ: images are brought to the model's before cells are cut out.

    Examples
    --------
    >>> mine = Origin(["CPCNN_000"], {"model": "a", "layer": "b", "channels": "DNA"})
    >>> theirs = Origin(["Cells_CPCNN_000"], {"model": "a", "layer": "c"})
    >>> find_differences(mine, theirs)
    [Difference(fact='layer', mine='b', theirs='c')]
    """
    own, others = mine.provenance, theirs.provenance
    found = _model_difference(own, others)
    facts = (*SETTINGS, AGGREGATION, *(_correction_facts(mine) if corrections else ()))
    for fact in facts:
        values = _text(own, fact), _text(others, fact)
        known = "" not in values or fact in (AGGREGATION, *CORRECTION)
        if known and values[0] != values[1] and not _equal_numbers(*values):
            found.append(Difference(fact, *(value or "None" for value in values)))
    if _order(mine, theirs) is None:
        found.append(Difference(FEATURES, *map(describe_features, (mine, theirs))))
    return found


def require_same_origin(mine: HasOrigin, theirs: HasOrigin) -> None:
    """Refuse tables that cannot be compared: of other features, models or corrections.

    Raises
    ------
    ProfileError

    Examples
    --------
    >>> one = Origin(["a"], {"correction": "sphering"})
    >>> require_same_origin(one, Origin(["a"]))
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: the tables cannot be compared: correction is sphering and None
    """
    found = find_differences(mine, theirs)
    if any(difference.fact == FEATURES for difference in found):
        names = [list(side.feature_names) for side in (mine, theirs)]
        counts = [f"{len(own)} from {own[0]}" if own else "none" for own in names]
        raise ProfileError(f"the tables have different features: {', '.join(counts)}")
    if found:
        raise ProfileError(f"the tables cannot be compared: {say(found[0])}")


def known_together(mine: HasOrigin, theirs: HasOrigin) -> dict[str, object]:
    """Return the provenance of rows of both: mine, and what only the other side knows.

    Without it a third table would be compared with what the first one does not know.

    Examples
    --------
    >>> known_together(Origin([], {"model": "a"}), Origin([], {"model": "b", "layer": "c"}))
    {'model': 'a', 'layer': 'c'}
    """
    own, others = mine.provenance, theirs.provenance
    facts = [fact for fact in (*MODEL, *SETTINGS) if _text(others, fact) and not _text(own, fact)]
    found = {**own, **{fact: others[fact] for fact in facts}}
    if own.get(WEIGHTS) != others.get(WEIGHTS):
        # What holds for some of the rows is not said of all.
        found.pop(WEIGHTS, None)
    return found


def say(difference: Difference) -> str:
    """Put a difference into words.

    Examples
    --------
    >>> say(Difference("model", "a", "b"))
    'model is a and b'
    """
    return f"{difference.fact} is {difference.mine} and {difference.theirs}"


def describe_features(side: HasOrigin) -> str:
    """Say how many features there are, and how they are called.

    Examples
    --------
    >>> describe_features(Origin(["CPCNN_000", "CPCNN_001"]))
    '2 features from CPCNN_000 to CPCNN_001'
    """
    names = side.feature_names
    if len(names) < 2:
        return f"1 feature, {names[0]}" if len(names) else "no features"
    return f"{len(names):,} features from {names[0]} to {names[-1]}"


def aligned(profiles: Profiles, like: HasOrigin) -> tuple[Profiles, str]:
    """Return profiles whose features are in the other side's order, under its names.

    Parameters
    ----------
    profiles : Profiles
    like : HasOrigin
        Without a difference in `find_differences`.

    Returns
    -------
    profiles : Profiles
    note : str
        Where the two have other names for the same features, which; else nothing.

    Raises
    ------
    ProfileError
        Other features.

    Examples
    --------
    >>> import pandas as pd
    >>> names = ["CPCNN_001", "CPCNN_000"]
    >>> table = Profiles(np.array([[1.0, 0.0]]), pd.DataFrame(index=[0]), names)
    >>> found, note = aligned(table, Origin(["Cells_CPCNN_000", "Cells_CPCNN_001"]))
    >>> found.features.tolist(), note
    ([[0.0, 1.0]], 'CPCNN_000, ... are taken for Cells_CPCNN_000, ...')
    """
    order = _order(profiles, like)
    if order is None:
        raise ProfileError(
            f"expected {describe_features(like)}, got {describe_features(profiles)}; use features "
            "of the same model"
        )
    names = list(like.feature_names)
    if list(profiles.feature_names) == names:
        return profiles, ""
    own = [profiles.feature_names[place] for place in order]
    other = next((pair for pair in zip(own, names, strict=True) if pair[0] != pair[1]), None)
    note = f"{other[0]}, ... are taken for {other[1]}, ..." if other else ""
    features = profiles.features
    if not np.array_equal(order, np.arange(len(order))):
        features = features[:, order]
    return replace(profiles, features=features, feature_names=names), note


def split_feature(name: str) -> tuple[str, int] | None:
    """Return model and number of a deep feature's name; None for another measurement.

    Examples
    --------
    >>> split_feature("Cells_CPCNN_007"), split_feature("Cells_AreaShape_Area")
    (('CPCNN', 7), None)
    """
    parts = _DEEP.fullmatch(name)
    return parts and (parts["model"], int(parts["number"]))


def _text(made: Mapping[str, object], fact: str) -> str:
    value = made.get(fact)
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return "" if text in _UNKNOWN or (fact == "correction" and text == "none") else text


def _equal_numbers(mine: str, theirs: str) -> bool:
    try:
        return float(mine) == float(theirs)
    except ValueError:
        return False


def _model_difference(mine: Mapping[str, object], theirs: Mapping[str, object]) -> list[Difference]:
    hashes = _text(mine, "model_sha256"), _text(theirs, "model_sha256")
    names = _text(mine, "model"), _text(theirs, "model")
    if "" not in hashes and hashes[0] == hashes[1]:
        return []
    if "" not in names and names[0] != names[1]:
        return [Difference("model", *names)]
    return [] if "" in hashes else [Difference("model_sha256", *hashes)]


def _correction_facts(side: HasOrigin) -> tuple[str, ...]:
    """Name what two corrections must share; components mean something in their own fit only."""
    parts = [split_feature(name) for name in side.feature_names]
    mixed = bool(parts) and all(part is not None and part[0] == "PC" for part in parts)
    return (*CORRECTION, CORRECTION_SHA256) if mixed else CORRECTION


def _order(mine: HasOrigin, theirs: HasOrigin) -> np.ndarray | None:
    """Return where each of their features is among mine, (d,) int; None where one is missing."""
    keys: list[tuple[Sequence[object], Sequence[object]]] = [
        (list(mine.feature_names), list(theirs.feature_names))
    ]
    own, others = _deep_keys(mine.feature_names), _deep_keys(theirs.feature_names)
    if own and others:
        keys.append((own, others))
        hashes = [_text(side.provenance, "model_sha256") for side in (mine, theirs)]
        if hashes[0] == hashes[1] != "":
            # The same weights under two names: MyCells_000 is CPCNN_000.
            keys.append(([number for _, number in own], [number for _, number in others]))
    for here, there in keys:
        places = {key: place for place, key in enumerate(here)}
        if len(places) == len(here) == len(there) and places.keys() == set(there):
            return np.array([places[key] for key in there], int)
    return None


def _deep_keys(names: Sequence[str]) -> list[tuple[str, int]] | None:
    """Return model and number of every feature, if all are deep ones of the same objects."""
    parts = [part for part in map(_DEEP.fullmatch, names) if part]
    if len(parts) < len(names) or len({part["objects"] for part in parts}) != 1:
        return None
    return [(part["model"], int(part["number"])) for part in parts]
