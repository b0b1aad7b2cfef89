"""Which sites a run has to do: its shard, less what is done already."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

import cpcnn_core
from cpcnn_core.errors import SiteError
from cpcnn_core.imaging.scale import scale_notice, zoom_of
from cpcnn_core.io.deepprofiler_npz import read_site
from cpcnn_core.io.sites import Site
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.verification import NOT_VERIFIED
from cpcnn_core.schema.columns import feature_names
from cpcnn_core.screen.examination import UNREADABLE, UNRECORDED, Record, is_record
from cpcnn_core.screen.site_names import require_names

FEATURES_FOLDER = "features"

T = TypeVar("T")


class Keyed(Protocol):
    """Anything with a place in a screen: plate, well and site."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Plate, well and site."""


@dataclass(frozen=True)
class Settings:
    """The settings that the features of a run depend on, beside the images.

    Attributes
    ----------
    card : ModelCard
    mask_neighbors : bool
    compartment : str
        Whose features they are called in the tables.
    precision : str
        ``float32`` or ``mixed``.
    um_per_px : float, optional
        Micrometres per pixel of all images; see `of` where sites differ.
    weights : str
        Whether the model's weights are verified, for the tables: features do not depend on it.

    Examples
    --------
    >>> card = ModelCard("tiny", "An example.", ("DNA",), 3, sha256="ab")
    >>> Settings(card).provenance()["model_sha256"]
    'ab'
    """

    card: ModelCard
    mask_neighbors: bool = False
    compartment: str = "Cells"
    precision: str = "float32"
    um_per_px: float | None = None
    weights: str = NOT_VERIFIED

    def of(self, site: Site) -> Settings:
        """Return what the features of this site depend on: its own scale."""
        return dataclasses.replace(self, um_per_px=site.um_per_px)

    def feature_names(self) -> list[str]:
        """Return what the features are called in the tables."""
        card = self.card
        return feature_names(card.embed_dim, card.prefix, self.compartment)

    def provenance(self) -> dict[str, str]:
        """Return what every file of the run says about how it was made."""
        card = self.card
        scale = {}
        if self.um_per_px is not None:
            # Only then: files that were made before there were scales stay done.
            zoom = zoom_of(card.um_per_px, self.um_per_px)
            scale = {"um_per_px": str(self.um_per_px), "zoom": str(zoom)}
        return {
            "model": card.name,
            "model_sha256": card.sha256 or "",
            "channels": ",".join(card.channels),
            "layer": card.tap,
            "crop_px": str(card.crop_px),
            "normalizer": card.normalizer,
            "mask_neighbors": str(self.mask_neighbors),
            "precision": self.precision,
            **scale,
            "cpcnn": cpcnn_core.__version__,
        }


def scale_notices(card: ModelCard, sites: Sequence[Site]) -> list[str]:
    """Say in sentences which images are resampled for the model, and why others are not.

    Parameters
    ----------
    card : ModelCard
    sites : sequence of Site

    Returns
    -------
    list of str
        Empty where no scale is known, or all have the model's.

    Raises
    ------
    ImageError
        A scale that cannot be the images'.

    Examples
    --------
    >>> card = ModelCard("tiny", "An example.", ("DNA",), 3, um_per_px=0.65)
    >>> scale_notices(card, [Site({}, {}, lambda: None)])
    ['tiny was trained at 0.65 µm per pixel, and the scale of 1 of 1 sites is unknown: they ...']
    """
    counts = Counter(site.um_per_px for site in sites)
    unknown = counts.pop(None, 0)
    if card.um_per_px is None:
        why = f"the scale at which {card.name} was trained is unknown: images are not resampled"
        return [why] if counts else []
    scales = sorted(scale for scale in counts if scale is not None)
    notices = [scale_notice(card, um_per_px) for um_per_px in scales]
    if unknown:
        notices.append(
            f"{card.name} was trained at {card.um_per_px:g} µm per pixel, and the scale of "
            f"{unknown} of {len(sites)} sites is unknown: they are not resampled; give it with "
            "--um-per-px"
        )
    return [notice for notice in notices if notice]


def parse_shard(text: str) -> tuple[int, int]:
    """Read ``I/N``, the I-th of N parts, counted from 1.

    Examples
    --------
    >>> parse_shard("2/10")
    (2, 10)
    >>> parse_shard("0/10")
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: expected a shard I/N with I from 1 to N, got '0/10'
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    part, parts = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= part <= parts:
        raise SiteError(f"expected a shard I/N with I from 1 to N, got {text!r}")
    return part, parts


def shard_of(sites: Sequence[T], part: int, parts: int) -> list[T]:
    """Return the part-th of ``parts`` parts: every parts-th site.

    Examples
    --------
    >>> shard_of(["a", "b", "c", "d", "e"], 2, 2)
    ['b', 'd']
    """
    return list(sites[part - 1 :: parts])


def site_file(
    out: str | Path, site: Keyed, folder: str = FEATURES_FOLDER, suffix: str = ".npz"
) -> Path:
    """Return where a site's features are, in DeepProfiler's layout, or what else it has.

    Examples
    --------
    >>> site = Site({"Plate": "P1", "Well": "A01", "Site": "3"}, {}, lambda: None)
    >>> site_file("out", site).as_posix()
    'out/features/P1/A01/3.npz'
    """
    require_names([site.key])
    plate, well, number = site.key
    return Path(out) / folder / plate / well / f"{number}{suffix}"


def site_record(path: str | Path, provenance: Mapping[str, str]) -> Record | str:
    """Return what a site's file says it was made from, or why it says nothing of use.

    Parameters
    ----------
    path : str or Path
    provenance : mapping of str to str
        Model and settings that it must be made with.

    Returns
    -------
    Record or str
        The text is empty where there is no file.

    Examples
    --------
    >>> site_record("nowhere.npz", {})
    ''
    """
    try:
        moment = Path(path).stat().st_mtime_ns
        # Whole, with the features: damage must not be noticed only when plates are collected.
        table = read_site(path)
    except FileNotFoundError:
        return ""
    except (OSError, SiteError):
        return UNREADABLE
    there, wanted = table.provenance, dict(provenance)
    others = [name for name in {**there, **wanted} if there.get(name) != wanted.get(name)]
    if others:
        return f"the settings are others ({', '.join(others)})"
    if not is_record(table.inputs):
        return UNRECORDED
    locations = table.locations.astype(np.float64, copy=False)
    return Record(
        table.inputs,
        table.object_numbers,
        locations,
        table.image_number,
        moment,
        table.metadata,
    )
