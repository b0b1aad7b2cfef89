"""A network that costs next to nothing, for tests of everything around networks."""

import atexit
import dataclasses
import functools
import shutil
import tempfile
from pathlib import Path

from cpcnn_core.models.from_timm import timm_card
from cpcnn_core.models.network_builder import random_weights
from cpcnn_core.models.weights import save_model

# One of timm's networks for tests, on all channels together.
SMALL_CARD = timm_card("test_resnet", "inflated", input_px=128, trained=False, name="small")


@functools.cache
def small_model(**changes):
    """Return the path of a model file of `SMALL_CARD`, or of a card with these changes."""
    folder = Path(tempfile.mkdtemp(prefix="cpcnn-small-model-"))
    atexit.register(shutil.rmtree, folder)
    card = dataclasses.replace(SMALL_CARD, **changes)
    save_model(folder / "small.safetensors", card, random_weights(card, 1))
    return str(folder / "small.safetensors")
