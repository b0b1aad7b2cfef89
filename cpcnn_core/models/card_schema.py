"""Rules for each entry of a model's card: its type, its length, its range.

Cards come in files from strangers, so every value is one that is expected here, or the card is
refused; and all text is such that it can be shown (`cpcnn_core.user_messages.printable`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from cpcnn_core.errors import WeightsError
from cpcnn_core.user_messages import printable

# timm's names of networks and their weights; no address, no folder (hf-hub:, local-dir:).
TIMM_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)?")
TIMM_PREFIX = "timm/"
OPEN_PHENOM, SUBCELL = "open-phenom", "subcell"
# More channels than any microscope, more features than any network has for them.
MAX_CHANNELS, MAX_FEATURES = 1000, 100_000
# Of crops: a field of a camera; and numbers of a crop of all channels.
LARGEST_PX, MAX_INPUTS = 2048, 2**24
NAME_LENGTH, TEXT_LENGTH = 120, 2000
# Recipes and splits of trainings, as JSON.
PROVENANCE_LENGTH, PROVENANCE_ENTRIES = 4 * 2**20, 100

Rule = Callable[[object], Any]


class _Unfit(Exception):  # noqa: N818  (never leaves this module)
    """An entry breaks its rule; the text says what was expected."""


def checked(name: object, values: Mapping[str, object]) -> dict[str, object]:
    """Return a card's entries as they may be used: texts printable, lists as tuples.

    Parameters
    ----------
    name : object
        The model's, for the error.
    values : mapping of str to object
        Of the fields of `cpcnn_core.models.card.ModelCard`.

    Raises
    ------
    WeightsError
        Names the entry, what was expected, and what came.

    Examples
    --------
    >>> checked("mine", {"crop_px": 128, "channels": ["DNA"]})
    {'crop_px': 128, 'channels': ('DNA',)}
    >>> checked("mine", {"crop_px": 10**9})
    Traceback (most recent call last):
    cpcnn_core.errors.WeightsError: the card of mine: crop_px is 1000000000, expected ...
    """
    return {field: _apply(name, field, _RULES[field], value) for field, value in values.items()}


def checked_options(
    name: str, architecture: str, options: Mapping[str, object]
) -> dict[str, object]:
    """Return the options of an architecture; only those that are known for it pass.

    Raises
    ------
    WeightsError
        Names the option, and what is known.

    Examples
    --------
    >>> checked_options("mine", "timm/resnet18", {"global_pool": "max"})
    {'global_pool': 'max'}
    >>> checked_options("mine", "timm/resnet18", {"pretrained": True})
    Traceback (most recent call last):
    cpcnn_core.errors.WeightsError: the card of mine has the option pretrained, ...
    """
    key = TIMM_PREFIX if architecture.startswith(TIMM_PREFIX) else architecture
    known, needed = _OPTIONS.get(key, {}), _NEEDED.get(key, ())
    for option in options:
        if option not in known:
            raise WeightsError(
                f"the card of {name} has the option {printable(str(option))[:NAME_LENGTH]}, and "
                f"{architecture} takes {', '.join(known) or 'none'}; upgrade with: "
                "pip install --upgrade cpcnn"
            )
    for option in needed:
        if option not in options:
            raise WeightsError(
                f"the card of {name} lacks the option {option}, which {architecture} needs; get "
                "the model from its makers again"
            )
    return {
        option: _apply(name, f"the option {option}", known[option], value)
        for option, value in options.items()
    }


def is_timm_name(text: str) -> bool:
    """Tell whether this can be timm's name of a network, which is no address and no path.

    Examples
    --------
    >>> is_timm_name("vit_small_patch14_dinov2.lvd142m"), is_timm_name("hf-hub:someone/model")
    (True, False)
    """
    return TIMM_NAME.fullmatch(text) is not None


def _apply(name: object, field: str, rule: Rule, value: object) -> object:
    try:
        return rule(value)
    except _Unfit as expected:
        said = printable(str(name))[:NAME_LENGTH]
        came = f"{value!r}" if len(f"{value!r}") <= 60 else f"{value!r}"[:60] + "..."
        raise WeightsError(
            f"the card of {said}: {field} is {came}, expected {expected}; get the model from its "
            "makers again"
        ) from None


def _text(
    most: int = TEXT_LENGTH, least: int = 0, *, plain: bool = False
) -> Callable[[object], str]:
    """Take text; `plain`: without what windows take for a markup language's."""

    def rule(value: object) -> str:
        if not (isinstance(value, str) and least <= len(value) <= most) or (
            plain and re.search("[<>]", value)
        ):
            signs = " without < and >" if plain else ""
            raise _Unfit(f"text of {least} to {most} characters{signs}")
        return printable(value)

    return rule


def _matching(pattern: str, words: str) -> Rule:
    def rule(value: object) -> str:
        if not (isinstance(value, str) and re.fullmatch(pattern, value)):
            raise _Unfit(words)
        return value

    return rule


def _architecture(value: object) -> str:
    text = _text(NAME_LENGTH, 1)(value)
    if text.startswith(TIMM_PREFIX) and not is_timm_name(text.removeprefix(TIMM_PREFIX)):
        raise _Unfit(f"{TIMM_PREFIX} and timm's name of a network")
    return text


def _whole(low: int, high: int) -> Rule:
    def rule(value: object) -> int:
        if not (isinstance(value, int) and not isinstance(value, bool) and low <= value <= high):
            raise _Unfit(f"a whole number from {low} to {high}")
        return value

    return rule


def _number(low: float, high: float) -> Rule:
    def rule(value: object) -> float:
        # Written so that NaN fails too.
        if isinstance(value, bool) or not (
            isinstance(value, int | float) and low <= value <= high and math.isfinite(value)
        ):
            raise _Unfit(f"a number from {low:g} to {high:g}")
        return value

    return rule


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise _Unfit("true or false")
    return value


def _one_of(known: Collection[str]) -> Rule:
    def rule(value: object) -> str:
        if not (isinstance(value, str) and value in known):
            raise _Unfit(f"one of {', '.join(known)}")
        return value

    return rule


def _maybe(rule: Rule) -> Rule:
    return lambda value: None if value is None else rule(value)


def _several(rule: Rule, least: int, most: int, of: str) -> Rule:
    def rules(value: object) -> tuple[object, ...]:
        if not (isinstance(value, list | tuple) and least <= len(value) <= most):
            raise _Unfit(f"a list of {least} to {most} {of}")
        return tuple(_each(rule, value, of))

    return rules


def _each(rule: Rule, values: Iterable[object], of: str) -> Iterable[object]:
    for value in values:
        try:
            yield rule(value)
        except _Unfit as expected:
            raise _Unfit(f"{of}, each {expected}") from None


def _range(value: object) -> tuple[float, float]:
    low, high = _several(_number(-1e6, 1e6), 2, 2, "numbers")(value)
    if low >= high:
        raise _Unfit("a low and a higher number")
    return low, high


def _options(value: object) -> dict[str, object]:
    """Take any names and values; `checked_options` knows which belong to an architecture."""
    if not (isinstance(value, dict) and all(isinstance(name, str) for name in value)):
        raise _Unfit("options by name")
    return dict(value)


def _provenance(value: object) -> dict[str, str]:
    name, text = _text(NAME_LENGTH, 1), _text(PROVENANCE_LENGTH)
    if not (isinstance(value, dict) and len(value) <= PROVENANCE_ENTRIES):
        raise _Unfit(f"at most {PROVENANCE_ENTRIES} texts by name")
    return {name(key): text(told) for key, told in value.items()}


_CHANNEL = _text(NAME_LENGTH, plain=True)
_SIDE = _whole(1, LARGEST_PX)
_RULES: dict[str, Rule] = {
    "name": _text(NAME_LENGTH, 1, plain=True),
    "summary": _text(),
    # That there are any, and which differ, is an error of channels.
    "channels": _several(_CHANNEL, 0, MAX_CHANNELS, "names of channels"),
    "embed_dim": _whole(1, MAX_FEATURES),
    "prefix": _matching("[A-Za-z][A-Za-z0-9]{0,39}", "a letter, then letters and digits"),
    "architecture": _architecture,
    "architecture_options": _options,
    "tap": _text(NAME_LENGTH),
    "pooling": _text(),
    "channel_mode": _text(NAME_LENGTH),
    "crop_px": _SIDE,
    "um_per_px": _maybe(_number(1e-3, 1e3)),
    "normalizer": _text(NAME_LENGTH),
    "input_px": _maybe(_SIDE),
    "resize": _text(NAME_LENGTH),
    "input_range": _range,
    "standardizer": _text(NAME_LENGTH),
    "mean": _several(_number(-1e6, 1e6), 0, MAX_CHANNELS, "numbers"),
    "std": _several(_number(1e-9, 1e6), 0, MAX_CHANNELS, "numbers"),
    "dtype_in": _text(),
    "unit": _text(NAME_LENGTH),
    "trained": _flag,
    "licence": _text(NAME_LENGTH, plain=True),
    "licence_url": _text(plain=True),
    "commercial": _maybe(_flag),
    "source": _text(),
    "hub": _text(),
    "hub_file": _text(),
    "file_sha256": _maybe(_text(64)),
    "citation": _text(),
    "sha256": _maybe(_text(64)),
    "provenance": _provenance,
}

# Options by architecture. Nothing here names a file, an address, or code.
_OPTIONS: dict[str, dict[str, Rule]] = {
    TIMM_PREFIX: {
        "global_pool": _one_of(("avg", "max", "avgmax", "token", "map")),
        "zero_init_last": _flag,
        "class_token": _flag,
        "reg_tokens": _whole(0, 64),
        "no_embed_class": _flag,
        "dynamic_img_size": _flag,
        "dynamic_img_pad": _flag,
        "init_values": _maybe(_number(0, 10)),
        "final_norm": _flag,
        "fc_norm": _maybe(_flag),
    },
    OPEN_PHENOM: {
        "width": _whole(4, 4096),
        "depth": _whole(1, 100),
        "heads": _whole(1, 256),
    },
    SUBCELL: {
        "passes": _several(
            _several(_CHANNEL, 1, MAX_CHANNELS, "names of channels"), 1, MAX_CHANNELS, "passes"
        ),
        "native_px": _whole(16, LARGEST_PX),
        "width": _whole(4, 4096),
        "depth": _whole(1, 100),
        "heads": _whole(1, 256),
        "hidden": _whole(1, 4096),
        "views": _whole(1, 64),
    },
}
_NEEDED = {SUBCELL: ("passes",)}
