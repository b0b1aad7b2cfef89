"""Licences that forbid commercial use: asked about once, and what was answered."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cpcnn_core.errors import LicenceError
from cpcnn_core.io.damaged_files import read_checked, set_aside, write_checked
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.folders import cpcnn_home


def licence_file() -> Path:
    """Return where it is written which licences this user has accepted.

    Examples
    --------
    >>> licence_file().name
    'licences.json'
    """
    return cpcnn_home() / "licences.json"


def needs_yes(card: ModelCard) -> bool:
    """Tell whether the model's licence forbids commercial use and was not accepted yet.

    Examples
    --------
    >>> needs_yes(ModelCard("free", "An example.", ("DNA",), 3, commercial=True))
    False
    """
    return card.commercial is False and _accepted(card) != card.licence


def accept_licence(card: ModelCard) -> None:
    """Write down that this user accepts the model's licence.

    Examples
    --------
    >>> about = {"licence": "CC-BY-NC-4.0", "commercial": False}
    >>> card = ModelCard("mine", "An example.", ("DNA",), 3, **about)
    >>> needs_yes(card)
    True
    >>> accept_licence(card)
    >>> needs_yes(card)
    False
    """
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    try:
        before = _entries()
    except LicenceError:
        # What was accepted before is asked again, when it is needed.
        set_aside(licence_file())
        before = {}
    entries = before | {card.name: {"licence": card.licence, "accepted": today}}
    write_checked(licence_file(), entries, indent=2)


def check_licence(card: ModelCard) -> None:
    """Refuse a model whose licence must be accepted first.

    Raises
    ------
    LicenceError
        Names the licence, where it can be read, and how to accept it.

    Examples
    --------
    >>> check_licence(ModelCard("nc", "An example.", ("DNA",), 3, commercial=False, licence="X"))
    Traceback (most recent call last):
    cpcnn_core.errors.LicenceError: the licence of nc (X) forbids commercial use; ...
    """
    if needs_yes(card):
        raise LicenceError(
            f"{question(card)}; when that suits your work, accept it once: "
            f"cpcnn models accept {card.name}"
        )


def question(card: ModelCard) -> str:
    """Say in one sentence what one accepts with the model.

    Examples
    --------
    >>> question(ModelCard("nc", "An example.", ("DNA",), 3, licence="CC BY-NC 4.0"))
    'the licence of nc (CC BY-NC 4.0) forbids commercial use'
    """
    where = f", {card.licence_url}" if card.licence_url else ""
    return f"the licence of {card.name} ({card.licence}{where}) forbids commercial use"


def _accepted(card: ModelCard) -> str | None:
    return _entries().get(card.name, {}).get("licence")


def _entries() -> dict[str, dict[str, str]]:
    file = licence_file()
    if not file.is_file():
        return {}
    try:
        return {
            name: {"licence": str(entry["licence"]), "accepted": str(entry["accepted"])}
            for name, entry in read_checked(file).items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LicenceError(
            f"{file} is damaged ({error}); accept the licences again with: cpcnn models accept "
            "NAME, which sets the file aside and writes a new one"
        ) from error
