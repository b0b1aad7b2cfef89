"""Notices about a screen's images, given before they are read, in one sentence each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from cpcnn_core.readers.sites import ImageFile, Site


def illumination_notice(sites: Sequence[Site], channels: Sequence[str]) -> str:
    """Say which channels are divided by illumination functions, and in how many sites.

    Parameters
    ----------
    sites : sequence of Site
    channels : sequence of str

    Returns
    -------
    str
        One sentence, without a full stop.

    Examples
    --------
    >>> from pathlib import Path
    >>> files = {"DNA": ImageFile(Path("a"), None, Path("i.npy")), "ER": ImageFile(Path("b"))}
    >>> illumination_notice([Site({}, files, lambda: None)], ["DNA", "ER"])
    'DNA is divided by illumination functions; ER is not'
    >>> illumination_notice([Site({}, files, lambda: None)], ["ER"])
    'no illumination functions: pixels are taken as stored'
    """
    divided, never = [], []
    for channel in channels:
        found = [image.illumination is not None for image in _images(sites, channel)]
        if not any(found):
            never.append(channel)
        elif all(found):
            divided.append(channel)
        else:
            divided.append(f"{channel} (in {sum(found)} of {len(found)} sites)")
    sentence = "no illumination functions: pixels are taken as stored"
    if divided:
        sentence = f"{_are(divided)} divided by illumination functions"
        sentence += f"; {_are(never)} not" if never else ""
    unfit = dict.fromkeys(name for site in sites for name in site.unfit_illumination)
    if unfit:
        sentence += f"; not used, as no image of the table fits: {', '.join(unfit)}"
    return sentence


def same_file_notices(sites: Sequence[Site], channels: Sequence[str]) -> list[str]:
    """Say which channels are one and the same image, and in how many rows.

    Parameters
    ----------
    sites : sequence of Site
    channels : sequence of str

    Returns
    -------
    list of str
        A sentence for each set of channels; usually none.

    Examples
    --------
    >>> from pathlib import Path
    >>> files = dict.fromkeys(("AGP", "Mito"), ImageFile(Path("a.tif")))
    >>> same_file_notices([Site({}, files, lambda: None)], ["DNA", "AGP", "Mito"])
    ['AGP and Mito are the same file in 1 of 1 rows; a different image is expected in each']
    """
    found: Counter[tuple[str, ...]] = Counter()
    for site in sites:
        same = defaultdict(list)
        for channel in channels:
            for image in _images([site], channel):
                same[image.path, image.page or 0, image.series or 0].append(channel)
        found.update(tuple(names) for names in same.values() if len(names) > 1)
    return [
        f"{', '.join(names[:-1])} and {names[-1]} are the same file in {rows} of {len(sites)} "
        "rows; a different image is expected in each"
        for names, rows in found.items()
    ]


def _images(sites: Sequence[Site], channel: str) -> Iterator[ImageFile]:
    for site in sites:
        image = site.images.get(channel)
        if image is not None and not image.error:
            yield image


def _are(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"
