"""The model that is chosen, and its card."""

import os

from . import asking

MODEL_FILE = "Model file"
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


def card(module, ask=asking.remembered):
    """Return the chosen model's card, with ``features``, the numbers of its features."""
    answer = ask(module, {"type": "describe", "model": chosen_model(module)})
    numbers = [feature.split("_")[-1] for feature in answer["features"]]
    return dict(answer["card"], features=numbers)


def identity(card):
    """Say which weights these are, for the record."""
    sha256 = card["sha256"]
    return "%s sha256:%s" % (card["name"], sha256) if sha256 else card["name"]
