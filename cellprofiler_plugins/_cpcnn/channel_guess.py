"""Offer an image for each channel, from the names that people use."""

import re

# Names of dyes and targets for the channels of Cell Painting.
SYNONYMS = {
    "dna": ("dna", "dapi", "hoechst", "nuclei", "nucleus"),
    "rna": ("rna", "syto", "nucleoli"),
    "er": ("er", "cona", "concanavalin", "reticulum"),
    "agp": ("agp", "actin", "phalloidin", "wga", "golgi"),
    "mito": ("mito", "mitotracker", "mitochondria"),
}


def guess_images(channels, images):
    """Return {channel: image} where exactly one image's name fits, and fits no other."""
    fitting = {channel: [i for i in images if _fits(channel, i)] for channel in channels}
    guesses = {channel: found[0] for channel, found in fitting.items() if len(found) == 1}
    taken = list(guesses.values())
    return {channel: image for channel, image in guesses.items() if taken.count(image) == 1}


def _fits(channel, image):
    # OrigER, orig_er and CorrER_2 hold the word "er"; Filter does not.
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", image)
    words = re.findall(r"[a-z]+", re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1 \2", spaced).lower())
    return any(word in words for word in SYNONYMS.get(channel.lower(), (channel.lower(),)))
