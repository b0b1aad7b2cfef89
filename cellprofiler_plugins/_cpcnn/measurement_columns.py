"""Names of the measurements, and the objects that they belong to.

With the model's own name CPCNN and objects Cells::

    Cells       CPCNN_000 ...                 the features
    Cells       CPCNNLike_Controls            1 at the negative controls, less away from them
    Cells       CPCNNLike_Treatment           cosine with the chosen treatment
    Image       CPCNNNearest_Treatment1_Cells, CPCNNNearest_Similarity1_Cells,
                CPCNNNearest_PValue1_Cells, CPCNNNearest_QValue1_Cells, ...
    Image       CPCNNNearest_LikeControls_Cells
    Experiment  CPCNN_Model_Cells, CPCNN_Library_Cells, CPCNN_PValues_Cells

The features have a first part of their own, so that ``Cells_CPCNN_*`` are they alone.

CellProfiler lists columns at every repaint, before a run, and in each of its processes, so
nothing here asks the worker. It also keeps a list for as long as no setting changes: a run
without a window lists them before any module can look at its files, and exports that list.
So columns follow from the settings, and from files that are as they were:

-  The model's part is in its card, which this module reads from the model's own file. Networks
   that have none, or none before their first use, are in `WITHOUT_FILE`.
-  What a library holds only the worker can tell. Its answer is kept in a hidden setting (one of
   `LIBRARY_HOLDS`), which `settings.check` renews before a run, and so CellProfiler's list.

A model whose card only the worker can read is refused before the run, by `checks.check`.
"""

from __future__ import annotations

import functools
import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence

from .request import IMAGE
from .worker_python import cpcnn_home

if TYPE_CHECKING:
    from .request import LibraryRequest, MeasurementRequest

# CellProfiler's own words, which a test compares; without it this file can be read all the same.
EXPERIMENT = "Experiment"
FLOAT, TEXT, TREATMENT_NAME = "float", "varchar", "varchar(255)"

VALID_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9]{0,11}")
# What the worker says of a treatment that an image is like, and what it is called here.
TOLD = {"treatment": "Treatment", "similarity": "Similarity"}
TOLD_WITH_P_VALUES = {**TOLD, "p_value": "PValue", "q_value": "QValue"}

NOT_ASKED, NO_CONTROLS = "Not asked yet", "No controls"
CONTROLS, P_VALUES = "Controls", "Controls and p-values"
# Of a library that was not asked yet, only those columns are listed that every library gives.
LIBRARY_HOLDS = (NOT_ASKED, NO_CONTROLS, CONTROLS, P_VALUES)

MODEL_SUFFIX = ".safetensors"
# A card has 8 MiB at most, which quotes in JSON may double; longer headers are no model's.
MAX_HEADER_BYTES = 32 * 2**20
# As in ``cpcnn_core.models.card_schema``.
MAX_FEATURES, CARD_PREFIX = 100_000, re.compile(r"[A-Za-z][A-Za-z0-9]{0,39}")
FIXED_MODE, ONE_BY_ONE = "fixed", ("bag", "rgb")


@dataclass(frozen=True)
class CardFacts:
    """What a model's card says about names: see ``cpcnn_core.models.card.ModelCard``."""

    prefix: str
    embed_dim: int
    channel_count: int
    channel_mode: str

    @classmethod
    def from_card(cls, card: dict[str, Any]) -> CardFacts:
        """Take them from a card, which may be anybody's; a ValueError where it is none."""
        prefix, embed_dim = card.get("prefix", "CPCNN"), card["embed_dim"]
        if not isinstance(embed_dim, int) or not 0 < embed_dim <= MAX_FEATURES:
            raise ValueError("expected 1 to %d features, got %r" % (MAX_FEATURES, embed_dim))
        if not CARD_PREFIX.fullmatch(prefix) or not card["channels"]:
            raise ValueError("expected a prefix of letters and digits, and channels")
        mode = card.get("channel_mode", FIXED_MODE)
        return cls(prefix, embed_dim, len(card["channels"]), mode)

    def feature_count(self, chosen: Sequence[str] | None) -> int:
        """Return how many features there are of the chosen channels (None: all); 0 for none.

        As ``ModelCard.with_channels``: a model that looks at its channels one by one has
        features of each, and the published kind takes all channels or nothing.
        """
        if chosen is None:
            return self.embed_dim
        if not chosen or self.channel_mode == FIXED_MODE:
            return 0
        if self.channel_mode in ONE_BY_ONE:
            return self.embed_dim // self.channel_count * len(chosen)
        return self.embed_dim


# By name; a test compares them with the core's cards.
WITHOUT_FILE = {
    "imagenet-efficientnet-lite0": CardFacts("ImageNetLite", 6400, 5, "rgb"),
    "untrained-efficientnet-b0": CardFacts("CPCNN", 672, 5, FIXED_MODE),
    "untrained-resnet18": CardFacts("UntrainedRN", 2560, 5, "bag"),
}


def known_card(model: str) -> CardFacts | None:
    """Return what the card of a model says about names; None where it cannot be read.

    `model` is a name or a path, as the worker takes it.
    """
    is_path = os.path.dirname(model) or model.lower().endswith(MODEL_SUFFIX)
    path = model if is_path else os.path.join(str(cpcnn_home()), "models", model + MODEL_SUFFIX)
    try:
        # No pipe and no device: they would be waited for.
        if os.path.isfile(path):
            state = os.stat(path)
            return _card_in(path, (state.st_mtime_ns, state.st_size))
    except (OSError, ValueError):  # ValueError: the path has a character that none can have
        pass
    return None if is_path else WITHOUT_FILE.get(model)


@functools.lru_cache(maxsize=32)
def _card_in(path: str, state: tuple[int, int]) -> CardFacts | None:
    """Read the card in the header of a model file; `state` is when it was changed, and its size.

    Layout of safetensors: uint64 little endian, the length of the header; the header in JSON,
    whose entry ``__metadata__`` has our card as a text in JSON.
    """
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= min(state[1], MAX_HEADER_BYTES):
                return None
            header = json.loads(file.read(length).decode("utf-8"))
        return CardFacts.from_card(json.loads(header["__metadata__"]["cpcnn_card"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # the worker says what is wrong with it


@dataclass(frozen=True)
class Names:
    """Names of one module's measurements.

    Attributes
    ----------
    first : str
        The first part of them all.
    owner : str
        Whose the features are: a kind of objects, or the image.
    """

    first: str
    owner: str

    @classmethod
    def of(cls, request: MeasurementRequest, card_prefix: str) -> Names:
        """Return those of a module; `card_prefix` is the model's own first part."""
        return cls(card_prefix if request.prefix is None else request.prefix, request.owner)

    def features(self, count: int) -> list[str]:
        """Name that many features, so that they sort in order, as ``feature_names`` does."""
        width = max(3, len(str(count - 1)))
        return ["%s_%0*d" % (self.first, width, number) for number in range(count)]

    def like(self, what: str) -> str:
        """Name the similarity of objects to the Controls or the Treatment."""
        return "%sLike_%s" % (self.first, what)

    def nearest(self, what: str, rank: int | None = None) -> str:
        """Name what is said of an image's nearest treatments, or of the one of some rank."""
        return "%sNearest_%s%s_%s" % (self.first, what, rank or "", self.owner)

    def record(self, what: str) -> str:
        """Name what is recorded once for the run: the Model, its Weights, the Library, ..."""
        return "%s_%s_%s" % (self.first, what, self.owner)


def first_part(request: MeasurementRequest) -> str | None:
    """Return the first part of a module's names; None while the model is unknown."""
    if request.prefix is not None:
        return request.prefix
    card = known_card(request.model)
    return None if card is None else card.prefix


def told(*, p_values: bool) -> dict[str, str]:
    """Return what is said of the nearest treatments: {worker's name: our name}."""
    return TOLD_WITH_P_VALUES if p_values else TOLD


def library_holds(described: dict[str, Any]) -> str:
    """Return the one of `LIBRARY_HOLDS` that the worker's description of a library means."""
    if described["has_p_values"]:
        return P_VALUES
    return CONTROLS if described["controls"] else NO_CONTROLS


def features(request: MeasurementRequest) -> list[str]:
    """Name the features; none while the model is unknown."""
    card = known_card(request.model)
    if card is None:
        return []
    return Names.of(request, card.prefix).features(card.feature_count(request.chosen_channels))


def columns(request: MeasurementRequest) -> list[tuple[str, str, str]]:
    """List all measurements as (whose, name, type); none while the model is unknown."""
    first, named = first_part(request), features(request)
    if first is None or not named:
        return []
    names, records = Names(first, request.owner), ["Model", "Weights"]
    found = [(names.owner, name, FLOAT) for name in named]
    if request.library is not None:
        found += _library_columns(request.library, names, of_objects=request.of_objects)
        records += ["Library", "PValues"]
    return found + [(EXPERIMENT, names.record(what), TEXT) for what in records]


def _library_columns(
    library: LibraryRequest, names: Names, *, of_objects: bool
) -> list[tuple[str, str, str]]:
    controls, p_values = library.holds in (CONTROLS, P_VALUES), library.holds == P_VALUES
    found = []
    if of_objects and controls:
        found.append((names.owner, names.like("Controls"), FLOAT))
    if of_objects and library.treatment is not None:
        found.append((names.owner, names.like("Treatment"), FLOAT))
    for rank in range(1, library.neighbor_count + 1):
        for what in told(p_values=p_values).values():
            kind = TREATMENT_NAME if what == "Treatment" else FLOAT
            found.append((IMAGE, names.nearest(what, rank), kind))
    if controls:
        found.append((IMAGE, names.nearest("LikeControls"), FLOAT))
    return found


def categories(request: MeasurementRequest, object_name: str) -> list[str]:
    """List the first parts of the names of an object's or the image's measurements."""
    names = [name for whose, name, _ in columns(request) if whose == object_name]
    return list(dict.fromkeys(name.split("_")[0] for name in names))


def measurements(request: MeasurementRequest, object_name: str, category: str) -> list[str]:
    """List the names of an object's or the image's measurements, without that first part."""
    start = category + "_"
    return [
        name[len(start) :]
        for whose, name, _ in columns(request)
        if whose == object_name and name.startswith(start)
    ]
