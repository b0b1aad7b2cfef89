"""Models of four kinds that are made in a second; PyTorch is imported only to make them."""

import dataclasses

from cpcnn_core.models.licences import accept_licence
from cpcnn_core.models.registry import known_cards, model_file

# By name: how many features five channels give, and the first part of their names.
MODELS = {
    "untrained-efficientnet-b0": (672, "CPCNN"),
    "bag": (5 * 96, "TestResnet"),
    "grey": (5 * 64, "TestVit"),
    "openphenom": (384, "OpenPhenom"),
}


def make_models():
    """Put the three that have files among the models of ``CPCNN_HOME``, and accept a licence."""
    from cpcnn_core.models.from_timm import save_timm_model
    from cpcnn_core.models.network_builder import random_weights
    from cpcnn_core.models.weights import save_model

    save_timm_model("test_resnet", "bag", seed=1, crop_px=64, input_px=64, name="bag")
    save_timm_model("test_vit", "rgb", seed=1, crop_px=64, name="grey")
    # Two layers instead of twelve: all else of the card stays, and it is done in no time.
    card = dataclasses.replace(known_cards()["openphenom"], architecture_options={"depth": 2})
    save_model(model_file("openphenom"), card, random_weights(card, 1))
    accept_licence(card)


if __name__ == "__main__":
    make_models()
