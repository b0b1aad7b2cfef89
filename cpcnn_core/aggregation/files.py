"""A learned aggregation in a file: what it was trained on, how it did, and its weights.

Layout: safetensors. Header entry ``cpcnn_aggregation`` is the card, as JSON;
``cpcnn_aggregation_format`` the version. Tensors are float32: ``scale`` (d,), ``components``
(k, d), ``spread`` (k,), ``hidden`` (k, h), ``bias`` (h,), ``output`` (h, k).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from cpcnn_core.aggregation.fit import AggregationSettings
from cpcnn_core.aggregation.judge import Judgement
from cpcnn_core.aggregation.set_aggregation import CellSpace, SetAggregation
from cpcnn_core.errors import JsonError, ModelNotFoundError, ProfileError, WeightsError
from cpcnn_core.io.dataclass_json import as_content, from_content
from cpcnn_core.io.json_files import parse_json
from cpcnn_core.models.weights import weights_sha256, write_tensors
from cpcnn_core.schema.columns import PLATE
from cpcnn_core.schema.origin import Origin, aligned, find_differences, say
from cpcnn_core.schema.profiles import Profiles

FORMAT_VERSION = "1"
_FORMAT, _CARD = "cpcnn_aggregation_format", "cpcnn_aggregation"
_AGAIN = "train it again, or get the file again"
Fact = str | int | float | bool | None | tuple[str, ...]


@dataclass(frozen=True)
class AggregationCard:
    """What a learned aggregation is, and what it was trained on.

    Attributes
    ----------
    feature_names : tuple of d str
    origin : dict
        What made the features, of `cpcnn_core.schema.origin`: the model, its settings.
    inputs : tuple of str
        SHA-256 of every table of cells, then of the plate map where there was one.
    by, controls : str
        The column of treatments; the expression that chose the controls.
    where : str
        The expression that chose the wells; empty for all.
    treatments, plates : tuple of str
        That were learned from.
    wells, cells : int
        How many of each.
    settings : AggregationSettings
    judgements, placebo : tuple of Judgement
        Of what was held out; the same with treatments shuffled.
    versions : dict
        Of cpcnn, numpy and torch.
    sha256 : str
        Of the weights.
    """

    feature_names: tuple[str, ...]
    origin: dict[str, Fact]
    inputs: tuple[str, ...]
    by: str
    controls: str
    where: str
    treatments: tuple[str, ...]
    plates: tuple[str, ...]
    wells: int
    cells: int
    settings: AggregationSettings
    judgements: tuple[Judgement, ...]
    placebo: tuple[Judgement, ...]
    versions: dict[str, str]
    sha256: str = ""


def save_aggregation(
    path: str | Path, card: AggregationCard, aggregation: SetAggregation
) -> AggregationCard:
    """Write an aggregation; equal ones are equal bytes, and appear when they are complete.

    Returns
    -------
    AggregationCard
        As written, with the hash of the weights.
    """
    space = aggregation.space
    tensors = {
        "scale": space.scale,
        "components": space.components,
        "spread": space.spread,
        "hidden": aggregation.hidden,
        "bias": aggregation.bias,
        "output": aggregation.output,
    }
    card = replace(card, sha256=weights_sha256(tensors))
    text = json.dumps(as_content(card), sort_keys=True)
    write_tensors(path, tensors, {_FORMAT: FORMAT_VERSION, _CARD: text})
    return card


def read_aggregation(path: str | Path) -> tuple[AggregationCard, SetAggregation]:
    """Read what `save_aggregation` wrote.

    Raises
    ------
    ModelNotFoundError
        There is no such file.
    WeightsError
        It is another kind of file, of a later version, altered or damaged.

    Examples
    --------
    >>> read_aggregation("nowhere.safetensors")
    Traceback (most recent call last):
    cpcnn_core.errors.ModelNotFoundError: there is no aggregation nowhere.safetensors; ...
    """
    path = Path(path)
    if not path.is_file():
        raise ModelNotFoundError(
            f"there is no aggregation {path}; make one with: cpcnn aggregation train"
        )
    try:
        with safe_open(str(path), framework="np") as file:
            card = _card_in(path, file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsError(
            f"{path} is not a complete safetensors file ({error}); {_AGAIN}"
        ) from error
    _check_tensors(path, card, tensors)
    space = CellSpace(tensors["scale"], tensors["components"], tensors["spread"])
    hidden, bias, output = tensors["hidden"], tensors["bias"], tensors["output"]
    return card, SetAggregation(space, hidden, bias, output, card.settings.strength)


def fit_features(card: AggregationCard, wells: Profiles) -> Profiles:
    """Return wells with their features in the order, and under the names, of an aggregation.

    Raises
    ------
    ProfileError
        They are of another model, or were made otherwise.
    """
    expected = Origin(card.feature_names, card.origin)
    found = find_differences(expected, wells)
    if found:
        raise ProfileError(
            "the aggregation was trained on other embeddings than these; of the two, "
            f"{say(found[0])}: embed the cells as it expects, or train one on them (cpcnn "
            "aggregation train)"
        )
    return aligned(wells, expected)[0]


def told_if_learned_from(card: AggregationCard, wells: Profiles) -> list[str]:
    """Return a sentence where an aggregation was trained on these wells' plates or treatments.

    Parameters
    ----------
    card : AggregationCard
    wells : Profiles

    Returns
    -------
    list of str
        Empty where nothing of them was seen.
    """
    seen = np.isin(wells.texts(PLATE), card.plates) if PLATE in wells.metadata.columns else False
    if card.by in wells.metadata.columns:
        seen = seen & np.isin(wells.texts(card.by), card.treatments)
    count = int(np.sum(seen))
    if not count:
        return []
    text = (
        f"{count} of {len(wells.metadata)} wells may be among those that the aggregation was "
        "trained on: that they find their replicates, and p-values of their treatments, prove "
        "nothing"
    )
    return [text]


def _card_in(path: Path, header: dict[str, str]) -> AggregationCard:
    if _CARD not in header:
        raise WeightsError(
            f"expected a learned aggregation in {path}, which cpcnn aggregation train writes; "
            f"there is {'a network' if 'cpcnn_card' in header else 'no card of one'}"
        )
    if header.get(_FORMAT) != FORMAT_VERSION:
        raise WeightsError(
            f"{path} has format {header.get(_FORMAT)!r}, this cpcnn reads {FORMAT_VERSION!r}; "
            "upgrade with: pip install --upgrade cpcnn"
        )
    try:
        card: Any = from_content(parse_json(header[_CARD]), AggregationCard, f"the card of {path}")
    except (ValueError, JsonError) as error:
        raise WeightsError(f"{error}; {_AGAIN}") from error
    result: AggregationCard = card
    return result


def _check_tensors(path: Path, card: AggregationCard, tensors: dict[str, np.ndarray]) -> None:
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    count = found.get("spread", (0,))[0]
    dim, hidden = len(card.feature_names), card.settings.hidden
    expected = {
        "scale": (dim,),
        "components": (count, dim),
        "spread": (count,),
        "hidden": (count, hidden),
        "bias": (hidden,),
        "output": (hidden, count),
    }
    if found != expected:
        raise WeightsError(f"expected tensors {expected} in {path}, got {found}; {_AGAIN}")
    if not all(
        value.dtype == np.float32 and np.isfinite(value).all() for value in tensors.values()
    ):
        raise WeightsError(f"expected finite float32 numbers in {path}; {_AGAIN}")
    sha256 = weights_sha256(tensors)
    if sha256 != card.sha256:
        raise WeightsError(
            f"{path} has been altered: its weights have the sha256 {sha256}, its card says "
            f"{card.sha256}; {_AGAIN}"
        )
