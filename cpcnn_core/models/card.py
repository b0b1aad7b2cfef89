"""The model card: everything about a model that is not its weights."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field

from cpcnn_core.errors import ChannelError, WeightsError


@dataclass(frozen=True)
class ModelCard:
    """What a model takes, what it gives, where it comes from. Plain data.

    The truth about preprocessing lives here, so that a host cannot feed a model
    wrongly without an error.

    Attributes
    ----------
    name : str
        The name in the registry, or the name given at import.
    summary : str
        One sentence for the person who chooses a model.
    channels : tuple of str
        Channel names in the order the weights expect.
    embed_dim : int
        Number of features per crop.
    architecture : str
        Key of the builder: ``efficientnet_b0``, or ``timm/`` and timm's name of a network.
    tap : str
        The layer whose spatial mean is the feature vector; ``pooled``, what feeds the
        classifier, for networks of timm.
    crop_px : int
        Side of the square crop in pixels.
    um_per_px : float or None
        Micrometres per pixel of the training images; None where nobody recorded it.
    normalizer : str
        Key of `cpcnn_core.normalize.NORMALIZERS`.
    unit : str
        ``cell`` or ``field``: what one embedding describes.
    trained : bool
        False for a network whose weights are random.
    licence, source, citation : str
    sha256 : str or None
        Hash of the weights (names, shapes and values), None where not known beforehand.
    provenance : dict of str to str
        How this file came about: the file it was imported from, its hash, versions.

    Examples
    --------
    >>> card = ModelCard("tiny", "An example.", ("DNA", "ER"), 672)
    >>> ModelCard.from_json(card.to_json()) == card
    True
    """

    name: str
    summary: str
    channels: tuple[str, ...]
    embed_dim: int
    architecture: str = "efficientnet_b0"
    tap: str = "block6a_activation"
    crop_px: int = 128
    um_per_px: float | None = None
    normalizer: str = "minmax-per-crop"
    unit: str = "cell"
    trained: bool = True
    licence: str = "unknown"
    source: str = ""
    citation: str = ""
    sha256: str | None = None
    provenance: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        different = len(set(self.channels)) == len(self.channels)
        if not self.channels or not all(self.channels) or not different:
            raise ChannelError(
                f"expected one or more different channel names, got {list(self.channels)}"
            )

    def to_json(self) -> str:
        """Return the card as one line of JSON.

        Examples
        --------
        >>> ModelCard("tiny", "An example.", ("DNA",), 3).to_json()[:16]
        '{"name": "tiny",'
        """
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read a card written by `to_json`; keys of newer versions are an error.

        Examples
        --------
        >>> ModelCard.from_json('{"name": "x"}')
        Traceback (most recent call last):
        cpcnn_core.errors.WeightsError: the model card is incomplete: summary is missing
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise WeightsError(f"expected a model card in JSON ({error})") from error
        if not isinstance(values, dict):
            raise WeightsError(f"expected a model card as a JSON object, got {text[:40]}")
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise WeightsError(
                f"the model card has entries this cpcnn does not know ({', '.join(unknown)}); "
                "upgrade with: pip install --upgrade cpcnn"
            )
        for name in ("name", "summary", "channels", "embed_dim"):
            if name not in values:
                raise WeightsError(f"the model card is incomplete: {name} is missing")
        values["channels"] = tuple(values["channels"])
        return cls(**values)
