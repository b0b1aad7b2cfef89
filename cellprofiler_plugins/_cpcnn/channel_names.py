"""Which image shows which channel, told by the words of its name.

CellProfiler, napari and the core guess by this file. CellProfiler's Python, which may be 3.8,
imports nothing of the core, so the file lies twice, the same to the byte (a test compares
them): ``cpcnn_core/channel_names.py`` and ``cellprofiler_plugins/_cpcnn/channel_names.py``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

# Dyes, targets and spellings of the channels of Cell Painting. A channel of another name is
# told by that name alone.
SYNONYMS = {
    "dna": ("dna", "dapi", "hoechst", "hoescht", "draq", "nuclei", "nucleus", "nuc"),
    "rna": ("rna", "syto", "nucleoli", "nucleolus"),
    "er": ("er", "cona", "concanavalin", "concanavalina", "endoplasmic", "reticulum"),
    "agp": ("agp", "actin", "factin", "phalloidin", "wga", "agglutinin", "golgi", "plasma"),
    "mito": ("mito", "mitochondria", "mitochondrion", "mitochondrial"),
}
# What is written onto those words without a space: origdna, ERch2, CropDNA.
FILLERS = (
    *("orig", "original", "raw", "corr", "corrected", "crop", "cropped", "rescaled", "resized"),
    *("img", "image", "ch", "channel", "site", "plate", "tracker", "deepred"),
)
# Words that hold one of those and mean something else.
OTHER_WORDS = (
    *("sirna", "shrna", "sgrna", "mirna", "grna", "crrna", "mrna", "rnai", "rnase", "rnaseq"),
    *("cdna", "gdna", "mtdna", "dnase", "sytox"),
)
# What is made of images and is no image of a channel.
SHAPES = (
    *("mask", "masks", "outline", "outlines", "overlay", "labels", "object", "objects"),
    *("segmentation", "segmented", "threshold", "thresholded", "binary"),
)
FUNCTIONS = ("illum", "illumination", "background", "flatfield")
# An image from which a function has been taken away is one again.
REPAIRED = ("corrected", "subtracted", "removed")

# Of the dyes called SYTO only number 14 is Cell Painting's.
_OTHER_SYTO = frozenset(str(number) for number in range(9, 86)) - {"14"}
_KNOWN = frozenset((*FILLERS, *OTHER_WORDS, *SHAPES, *FUNCTIONS, *REPAIRED)).union(
    *SYNONYMS.values()
)
_CON_A = re.compile(r"(?<![^\W_])con[ _-]a(?![^\W_])", re.IGNORECASE)
# An acronym ends before the next capital word (ERImage), or before an index (DNAz1).
_PART = re.compile(r"[A-Z]{2,}(?=[a-z]{1,2}\d)|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")


def guess_images(channels: Sequence[str], images: Sequence[str]) -> dict[str, str]:
    """Guess which image shows which channel, where the names leave no doubt.

    Parameters
    ----------
    channels : sequence of str
        The model's.
    images : sequence of str
        Names of images, layers or files.

    Returns
    -------
    dict of str to str
        The image of a channel. Left out are channels that no name or several names tell, and
        those whose image's name tells another channel too.

    Examples
    --------
    >>> guess_images(("DNA", "ER", "Mito"), ["IllumDNA", "OrigDNA", "w2ConA", "MitoActin"])
    {'DNA': 'OrigDNA', 'ER': 'w2ConA'}
    >>> guess_images(("DNA", "protein"), ["DNA", "DNA [1]", "corr_protein"])
    {'protein': 'corr_protein'}
    """
    images = list(dict.fromkeys(images))
    told = [told_channels(image, channels) for image in images]
    guesses = {}
    for channel in channels:
        fitting = [number for number, names in enumerate(told) if channel in names]
        if len(fitting) == 1 and len(told[fitting[0]]) == 1:
            guesses[channel] = images[fitting[0]]
    return guesses


def told_channels(image: str, channels: Sequence[str]) -> set[str]:
    """Return the channels of which an image's name tells.

    Parameters
    ----------
    image : str
    channels : sequence of str
        The model's.

    Returns
    -------
    set of str
        Of the model's channels; and of those of Cell Painting that the model lacks, in lower
        case. Empty for masks, outlines and illumination functions.

    Examples
    --------
    >>> told_channels("Phalloidin/WGA", ["AGP"]), told_channels("MaskDNA", ["DNA"])
    ({'AGP'}, set())
    >>> sorted(told_channels("MitoActin", ["Mito"]))
    ['Mito', 'agp']
    """
    phrases = [(channel, phrase) for channel in channels for phrase in _phrases(channel)]
    # Two letters of a name, but for ER, would be found in half of all words.
    own = {word for _, phrase in phrases for word in phrase if len(word) > 2}
    words = _words(image, _KNOWN | own)
    if not _shows_a_channel(words):
        return set()
    told: set[str] = set()
    taken: set[int] = set()
    for channel, phrase in phrases:
        for start in range(len(words) - len(phrase) + 1):
            if words[start : start + len(phrase)] == phrase:
                told.add(channel)
                taken.update(range(start, start + len(phrase)))
    rest = {word for place, word in enumerate(words) if place not in taken}
    asked = {channel.lower() for channel in channels}
    return told | {
        channel
        for channel, synonyms in SYNONYMS.items()
        if channel not in asked and not rest.isdisjoint(synonyms)
    }


def _phrases(channel: str) -> list[list[str]]:
    """Return what tells a channel: sequences of words."""
    synonyms = SYNONYMS.get(channel.lower())
    if synonyms is not None:
        return [[word] for word in synonyms]
    own = _words(channel, _KNOWN)
    return [own] if own else []


def _shows_a_channel(words: Sequence[str]) -> bool:
    function = not set(words).isdisjoint(FUNCTIONS) and set(words).isdisjoint(REPAIRED)
    return not function and set(words).isdisjoint(SHAPES)


def _words(name: str, known: Collection[str]) -> list[str]:
    """Cut a name into words in lower case, and numbers without leading zeros."""
    words = [word for run in _runs(_CON_A.sub("ConA", name)) for word in _cut_run(run, known)]
    for place, number in enumerate(words[1:]):
        if words[place] == "syto" and number in _OTHER_SYTO:
            words[place] = ""
    return words


def _runs(name: str) -> list[list[str]]:
    """Part a name into runs of letters, each cut at its capitals, and numbers."""
    runs, end = [], -1
    for part in _PART.finditer(name):
        text = part.group()
        if text.isdecimal():
            runs.append([text.lstrip("0") or "0"])
        elif part.start() == end and not runs[-1][0].isdecimal():
            runs[-1].append(text.lower())
        else:
            runs.append([text.lower()])
        end = part.end()
    return runs


def _cut_run(parts: Sequence[str], known: Collection[str]) -> Iterator[str]:
    """Yield the words of a run: as many parts together as known words make up, else one."""
    start = 0
    while start < len(parts):
        for end in range(len(parts), start, -1):
            words = _cut("".join(parts[start:end]), known)
            if words:
                yield from words
                break
        else:
            yield parts[start]
            end = start + 1
        start = end


def _cut(letters: str, known: Collection[str]) -> list[str] | None:
    """Cut letters into known words, the longest first; None where something is left over."""
    if not letters:
        return []
    for end in range(len(letters), 0, -1):
        rest = _cut(letters[end:], known) if letters[:end] in known else None
        if rest is not None:
            return [letters[:end], *rest]
    return None
