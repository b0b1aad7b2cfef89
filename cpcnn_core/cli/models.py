"""``cpcnn models``: list, show, verify, accept; fetch, timm, import."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import TYPE_CHECKING

from cpcnn_core.cli.options import add_command
from cpcnn_core.cli.terminal import as_text
from cpcnn_core.io.json_files import parse_json
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
    from cpcnn_core.models.registry import find_model, known_cards

    try:
        card = find_model(name)[0]
    except ModelNotFoundError:
        return known_cards()[name], "not here yet"
    except WeightsError as error:
        return None, str(error)
    return card, "licence to be accepted" if needs_yes(card) else "ready"


def _show(options: argparse.Namespace) -> None:
    from cpcnn_core.errors import ModelNotFoundError
    from cpcnn_core.models.registry import card_of, find_model
    from cpcnn_core.models.verification import weights_statement

    card = card_of(options.model)
    values = parse_json(card.to_json())
    if options.json:
        print(json.dumps(values, indent=2))
        return
    for key, value in (values | values.pop("provenance")).items():
        if value not in (None, "", [], _UNSAID.get(key)):
            print(f"{key:<20} {', '.join(map(str, value)) if isinstance(value, list) else value}")
    try:
        found = find_model(options.model)
    except ModelNotFoundError as error:
        print(error)
    else:
        print(f"{'weights':<20} {weights_statement(*found)}")


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


def add_fetch(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the download of published models."""
    fetch = add_command(
        commands,
        "fetch",
        "Download a published model and make it usable by its name.",
        "cpcnn models fetch cell-painting-cnn-v1",
        _fetch,
    )
    fetch.add_argument("model", help="name of a published model")
    fetch.add_argument(
        "--url",
        help="download from this address instead; for a whole institute set CPCNN_MIRROR",
    )
    _add_insecure(fetch)
    fetch.add_argument(
        "--accept-licence", action="store_true", help="say yes to a licence that must be accepted"
    )


def add_timm(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add networks of timm."""
    timm = add_command(
        commands,
        "timm",
        "Make a model of any network of timm.",
        "cpcnn models timm vit_small_patch14_dinov2.lvd142m --channel-mode rgb",
        _timm,
    )
    timm.add_argument("backbone", help="timm's name of the network")
    timm.add_argument(
        "--channel-mode",
        choices=("rgb", "bag", "inflated"),
        default="rgb",
        help="rgb: every channel alone, as a grey picture; bag: every channel alone, the first "
        "layer summed to one; inflated: all together, the first layer widened "
        "(default: %(default)s)",
    )
    timm.add_argument(
        "--channels",
        type=names,
        metavar="A,B,...",
        help="channel names (default: DNA,RNA,ER,AGP,Mito)",
    )
    timm.add_argument("--crop-px", type=int, default=128, help="side of crops (default: 128)")
    timm.add_argument("--input-px", type=int, help="side that the network sees (default: timm's)")
    timm.add_argument("--weights", metavar="FILE", help="its weights, instead of timm's download")
    _add_insecure(timm)
    timm.add_argument("--untrained", type=int, metavar="SEED", help="random weights of this seed")
    timm.add_argument("--name", help="the model's name (default: timm's and the channel mode)")


def add_import(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the import of files."""
    imports = add_command(
        commands,
        "import",
        "Turn its makers' file of weights into a model.",
        "cpcnn models import Cell_Painting_CNN_v1.hdf5 --name cell-painting-cnn-v1",
        _import,
    )
    imports.add_argument(
        "weights",
        metavar="FILE",
        help="Keras checkpoint (HDF5); or PyTorch or safetensors file of the model in --name",
    )
    imports.add_argument("--out", metavar="MODEL.safetensors", help="write this file")
    imports.add_argument("--name", help="the model's name (default: that of the file)")
    imports.add_argument(
        "--channels",
        type=names,
        metavar="A,B,...",
        help="channel names in the order of training (default: DNA,RNA,ER,AGP,Mito)",
    )
    imports.add_argument(
        "--unverified",
        action="store_true",
        help="do not ask the publisher of the model in --name for the file's checksum",
    )


def _add_insecure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="also take what comes from a mirror without TLS (http), which anybody on the way can "
        "change",
    )


def names(text: str) -> list[str]:
    """Read names between commas.

    Examples
    --------
    >>> names("DNA, ER")
    ['DNA', 'ER']
    """
    return [name.strip() for name in text.split(",")]


def _is_whole(name: str) -> bool:
    """Tell whether the model is here and undamaged; a damaged one is fetched again."""
    from cpcnn_core.errors import CPCNNError
    from cpcnn_core.models.registry import model_file
    from cpcnn_core.models.weights import read_model

    try:
        read_model(model_file(name))
    except CPCNNError:
        return False
    return True


def _fetch(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from cpcnn_core.io.atomic import temporary_folder
    from cpcnn_core.models.download import download_weights
    from cpcnn_core.models.licences import accept_licence, check_licence
    from cpcnn_core.models.registry import known_cards, model_file
    from cpcnn_core.models.verification import weights_statement
    from cpcnn_core.models.weight_import import import_model
    from cpcnn_core.models.weights import read_card

    card = known_cards().get(options.model)
    if card is not None:
        if options.accept_licence and card.commercial is False:
            accept_licence(card)
        check_licence(card)
    if _is_whole(options.model):
        path = model_file(options.model)
        print(f"{options.model} is here already: {path}")
        print(weights_statement(read_card(path), path))
        return
    with temporary_folder() as folder:
        # Without a total tqdm is neither true nor false, and pooch asks.
        bar = tqdm(total=1, unit="B", unit_scale=True, disable=None, desc=options.model)
        weights = download_weights(
            options.model, folder, options.url, bar, insecure=options.insecure
        )
        said: list[str] = []
        card, path = import_model(weights, options.model, tell=said.append)
    print(f"{card.name} is ready: {path}")
    print("\n".join(said))


def _timm(options: argparse.Namespace) -> None:
    from cpcnn_core.models.from_timm import save_timm_model

    card, path = save_timm_model(
        options.backbone,
        options.channel_mode,
        channels=options.channels,
        crop_px=options.crop_px,
        input_px=options.input_px,
        weights=options.weights,
        seed=options.untrained,
        name=options.name,
        insecure=options.insecure,
    )
    print(f"{card.name} is ready: {path}")


def _import(options: argparse.Namespace) -> None:
    from cpcnn_core.models.weight_import import import_model

    said: list[str] = []
    card, path = import_model(
        options.weights,
        options.name,
        options.channels,
        options.out,
        unverified=options.unverified,
        tell=said.append,
    )
    print(
        f"wrote {path}: {card.name}, {card.embed_dim} features of "
        f"{len(card.channels)} channels ({', '.join(card.channels)})"
    )
    print("\n".join(said))
    use = path if options.out else card.name
    print(f"use it as: {use}")
