"""The model that is chosen, and its card."""

import os

from . import asking
from .memory import forget

MODEL_FILE = "Model file"
UNKNOWN = "Unknown"
DEFAULT_MODEL = "cell-painting-cnn-v1"
BUILT_IN_MODELS = (DEFAULT_MODEL, "untrained-efficientnet-b0")


def chosen_model(module):
    """Return the chosen model as the worker knows it: a name or a path."""
    if module.model != MODEL_FILE:
        return module.model.value
    folder = module.model_directory.get_absolute_path()
    return os.path.join(folder, module.model_file_name.value)


def choices(module):
    """List the models that can be chosen."""
    try:
        names = asking.remembered(module, {"type": "models"})["names"]
    except RuntimeError:
        names = list(BUILT_IN_MODELS)
    # A model that another machine has stays chosen; the module's checks speak of it.
    others = [module.model.value] if module.model.value not in [*names, MODEL_FILE] else []
    return [*names, *others, MODEL_FILE]


def images(module):
    """Return {channel: image} of the channels that are not left out, in the model's order."""
    return {
        group.name.value: group.image.value for group in module.channels if not group.image.is_blank
    }


def chosen_channels(module):
    """List the channels that are not left out; None where none is."""
    chosen = list(images(module))
    return chosen if len(chosen) < len(module.channels) else None


def whole_card(module, ask=asking.remembered):
    """Return the chosen model's card as it is, before channels are left out."""
    return ask(module, {"type": "describe", "model": chosen_model(module)})["card"]


def card(module, ask=asking.remembered):
    """Return the chosen model's card, with ``features``, the numbers of its features.

    ``weights`` says whether its weights are verified. A model that takes any channels has
    those whose images are chosen.
    """
    request = {"type": "describe", "model": chosen_model(module)}
    channels = chosen_channels(module)
    if channels is not None:
        request["channels"] = channels
    answer = ask(module, request)
    numbers = [feature.split("_")[-1] for feature in answer["features"]]
    return dict(answer["card"], features=numbers, weights=answer["weights"])


def licence_question(module):
    """Return what the user has to accept before the model is used; "" for nothing."""
    try:
        answer = asking.remembered(module, {"type": "describe", "model": chosen_model(module)})
    except RuntimeError:
        return ""
    return answer["to_accept"]


def accept_licence(module):
    """Record, with the models, that the user accepts the model's licence."""
    asking.ask(module, {"type": "accept", "model": chosen_model(module)})
    forget()


def um_per_px(module):
    """Return the images' micrometres per pixel as a number, or None where unknown.

    Raises a RuntimeError for anything else.
    """
    text = module.um_per_px.value.strip()
    if text in ("", UNKNOWN):
        return None
    try:
        number = float(text)
    except ValueError:
        number = 0
    # Written so that NaN fails too.
    if not 0 < number < float("inf"):
        raise RuntimeError(
            "Expected micrometres per pixel as a positive number such as 0.65, or %s; got %r."
            % (UNKNOWN, text)
        )
    return number


def crop_side(module, card):
    """Return how many pixels of the images a crop covers."""
    images, trained = um_per_px(module), card["um_per_px"]
    return round(card["crop_px"] * trained / images) if images and trained else card["crop_px"]


def identity(card):
    """Say which weights these are, for the record."""
    sha256 = card["sha256"]
    return "%s sha256:%s" % (card["name"], sha256) if sha256 else card["name"]
