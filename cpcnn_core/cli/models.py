"""``cpcnn models``: list, show, verify, accept; and what brings models here (`model_sources`)."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import TYPE_CHECKING

from cpcnn_core.cli.model_sources import add_fetch, add_import, add_timm
from cpcnn_core.cli.parsers import add_command
from cpcnn_core.cli.text_table import as_text
from cpcnn_core.json_texts import parse_json
from cpcnn_core.models.card import ONE_BY_ONE

if TYPE_CHECKING:
    from cpcnn_core.models.card import ModelCard

_HEAD = ("model", "unit", "channels", "crop", "features", "licence", "state")
_WIDE = 28
# Entries of a card that say nothing while they are as here.
_UNSAID = {
    "standardizer": "none",
    "resize": "bilinear",
    "input_range": [0.0, 1.0],
    "architecture_options": {},
}


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = add_command(
        verbs, "models", "List, show, download and import models.", "cpcnn models list"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    listing = add_command(
        commands, "list", "List the models known by name.", "cpcnn models list", _list
    )
    listing.add_argument("--ready", action="store_true", help="only those that can be used at once")

    show = add_command(
        commands,
        "show",
        "Show a model's card: what it takes, what it gives, where it comes from.",
        "cpcnn models show cell-painting-cnn-v1",
        _show,
    )
    show.add_argument("model", help="name, or a .safetensors file")
    show.add_argument("--json", action="store_true", help="print the card as JSON")

    accept = add_command(
        commands,
        "accept",
        "Accept, once, a licence that forbids commercial use.",
        "cpcnn models accept openphenom",
        _accept,
    )
    accept.add_argument("model", help="name of a model")

    verify = add_command(
        commands,
        "verify",
        "Compare what a model was imported from with its publisher's checksum, or one you know.",
        "cpcnn models verify cell-painting-cnn-v1",
        _verify,
    )
    verify.add_argument("model", help="name, or a .safetensors file")
    verify.add_argument(
        "--sha256",
        metavar="HEX",
        help="the published file's sha256, from a source that you trust (default: ask its "
        "publisher)",
    )
    add_fetch(commands)
    add_timm(commands)
    add_import(commands)


def _list(options: argparse.Namespace) -> None:
    from cpcnn_core.models.registry import list_models

    rows, damaged = [], []
    for name in list_models():
        card, state = _look_up(name)
        if card is None:
            damaged.append(f"{name} cannot be used: {state}")
        elif state == "ready" or not options.ready:
            rows.append(_row(card, name, state))
    print(as_text(_HEAD, rows))
    for line in damaged:
        print(line)
    print("A page about one: cpcnn models show NAME. One that is not here: cpcnn models fetch NAME")


def _row(card: ModelCard, name: str, state: str) -> tuple[str, ...]:
    channels = "any" if card.takes_any_channels else ",".join(card.channels)
    licence = f"{card.licence} (no commercial use)" if card.commercial is False else card.licence
    short = (textwrap.shorten(text, _WIDE, placeholder="...") for text in (channels, licence))
    channels, licence = short
    features = str(card.embed_dim)
    if card.channel_mode in ONE_BY_ONE:
        features = f"{card.embed_dim // len(card.channels)} a channel"
    return name, card.unit, channels, f"{card.crop_px} px", features, licence, state


def _look_up(name: str) -> tuple[ModelCard | None, str]:
    """Return the model's card and whether it can be used; no card where its file is damaged."""
    from cpcnn_core.errors import ModelNotFoundError, WeightsError
    from cpcnn_core.models.licences import needs_yes
    from cpcnn_core.models.registry import find_model
    from cpcnn_core.models.shelf import known_cards

    try:
        card = find_model(name)[0]
    except ModelNotFoundError:
        return known_cards()[name], "not here yet"
    except WeightsError as error:
        return None, str(error)
    return card, "licence to be accepted" if needs_yes(card) else "ready"


def _show(options: argparse.Namespace) -> None:
    from cpcnn_core.models.registry import card_of, find_model, is_model_path, ready_models
    from cpcnn_core.models.verification import weights_statement

    card = card_of(options.model)
    values = parse_json(card.to_json())
    if options.json:
        print(json.dumps(values, indent=2))
        return
    for key, value in (values | values.pop("provenance")).items():
        if value not in (None, "", [], _UNSAID.get(key)):
            print(f"{key:<20} {', '.join(map(str, value)) if isinstance(value, list) else value}")
    if is_model_path(options.model) or options.model in ready_models():
        print(f"{'weights':<20} {weights_statement(*find_model(options.model))}")
    else:
        print(f"not on this machine yet; get it with: cpcnn models fetch {card.name}")


def _verify(options: argparse.Namespace) -> None:
    from cpcnn_core.models.registry import find_model
    from cpcnn_core.models.verification import verify_model

    card, path = find_model(options.model)
    print(f"{card.name}: {verify_model(card, path, options.sha256)}")


def _accept(options: argparse.Namespace) -> None:
    from cpcnn_core.models.licences import accept_licence, licence_file
    from cpcnn_core.models.registry import card_of

    card = card_of(options.model)
    if card.commercial is not False:
        print(f"{card.name} needs no yes: its licence ({card.licence}) does not ask for one")
        return
    accept_licence(card)
    print(f"accepted the licence of {card.name} ({card.licence}); noted in {licence_file()}")
