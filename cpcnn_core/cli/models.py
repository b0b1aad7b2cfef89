"""``cpcnn models``: list, show, fetch, import."""

from __future__ import annotations

import argparse
import json
import tempfile

from cpcnn_core.cli.parsers import add_command


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb to the command line."""
    parser = add_command(
        verbs, "models", "List, show, download and import models.", "cpcnn models list"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    add_command(commands, "list", "List the models known by name.", "cpcnn models list", _list)

    show = add_command(
        commands,
        "show",
        "Show a model's card: what it takes, what it gives, where it comes from.",
        "cpcnn models show cell-painting-cnn-v1",
        _show,
    )
    show.add_argument("model", help="name, or a .safetensors file")
    show.add_argument("--json", action="store_true", help="print the card as JSON")

    fetch = add_command(
        commands,
        "fetch",
        "Download a published model and make it usable by its name.",
        "cpcnn models fetch cell-painting-cnn-v1",
        _fetch,
    )
    fetch.add_argument("model", help="name of a published model")
    fetch.add_argument("--url", help="download from this mirror instead of the archive")

    imports = add_command(
        commands,
        "import",
        "Turn a Keras checkpoint (HDF5) of the network into a model.",
        "cpcnn models import Cell_Painting_CNN_v1.hdf5 --name cell-painting-cnn-v1",
        _import,
    )
    imports.add_argument("weights", metavar="WEIGHTS.hdf5", help="weights only or full model")
    imports.add_argument("--out", metavar="MODEL.safetensors", help="write this file")
    imports.add_argument("--name", help="the model's name (default: that of the file)")
    imports.add_argument(
        "--channels",
        type=_names,
        metavar="A,B,...",
        help="channel names in the order of training (default: DNA,RNA,ER,AGP,Mito)",
    )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _list(options: argparse.Namespace) -> None:  # noqa: ARG001
    from cpcnn_core.errors import ModelNotFoundError, WeightsError
    from cpcnn_core.models.registry import find_model, list_models
    from cpcnn_core.models.shelf import known_cards

    for name in list_models():
        try:
            card, path = find_model(name)
            state = "ready" if path or not card.trained else ""
        except ModelNotFoundError:
            card, state = known_cards()[name], f"not here yet: cpcnn models fetch {name}"
        except WeightsError as error:
            print(f"{name}\n    cannot be used: {error}")
            continue
        print(f"{name}\n    {card.summary}\n    channels {', '.join(card.channels)}; {state}")


def _show(options: argparse.Namespace) -> None:
    from cpcnn_core.models.registry import find_model
    from cpcnn_core.models.shelf import known_cards

    known = known_cards().get(options.model)
    card = known if known and not _is_here(known.name) else find_model(options.model)[0]
    values = json.loads(card.to_json())
    if options.json:
        print(json.dumps(values, indent=2))
        return
    for key, value in values.items():
        if key == "provenance":
            for part, text in value.items():
                print(f"{part:<12} {text}")
        elif value not in (None, ""):
            text = ", ".join(value) if isinstance(value, list) else value
            print(f"{key:<12} {text}")


def _is_here(name: str) -> bool:
    from cpcnn_core.models.registry import model_file

    return model_file(name).is_file()


def _is_whole(name: str) -> bool:
    """Tell whether the model is here and undamaged; a damaged one is fetched anew."""
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

    from cpcnn_core.models.download import download_weights
    from cpcnn_core.models.importing import import_keras_model
    from cpcnn_core.models.registry import model_file

    if _is_whole(options.model):
        print(f"{options.model} is here already: {model_file(options.model)}")
        return
    with tempfile.TemporaryDirectory() as folder:
        # Without a total tqdm is neither true nor false, and pooch asks.
        bar = tqdm(total=1, unit="B", unit_scale=True, disable=None, desc=options.model)
        weights = download_weights(options.model, folder, options.url, bar)
        card, path = import_keras_model(weights, options.model)
    print(f"{card.name} is ready: {path}")


def _import(options: argparse.Namespace) -> None:
    from cpcnn_core.models.importing import import_keras_model

    card, path = import_keras_model(options.weights, options.name, options.channels, options.out)
    print(
        f"wrote {path}: {card.name}, {card.embed_dim} features of "
        f"{len(card.channels)} channels ({', '.join(card.channels)})"
    )
    use = path if options.out else card.name
    print(f"use it as: {use}")
