"""``cpcnn models``: what brings models here: fetch, timm, import."""

from __future__ import annotations

import argparse

from cpcnn_core.cli.parsers import add_command


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

    from cpcnn_core.atomic import temporary_folder
    from cpcnn_core.models.download import download_weights
    from cpcnn_core.models.importing import import_model
    from cpcnn_core.models.licences import accept_licence, check_licence
    from cpcnn_core.models.registry import model_file
    from cpcnn_core.models.shelf import known_cards
    from cpcnn_core.models.verification import weights_statement
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
    from cpcnn_core.models.importing import import_model

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
