"""The design of a virtual screen, as plain values."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass

from cpcnn_core.errors import SiteError

# Raised with every change that gives other pixels or other truth for an equal design.
RENDERER = 1
# (rows, columns) of the plates that are sold.
PLATE_FORMATS = ((2, 3), (3, 4), (4, 6), (6, 8), (8, 12), (16, 24), (32, 48))
# Families of causes, and how many mechanisms each has.
FAMILIES = {
    "classical": 14,
    "textures": 4,
    "organelles": 7,
    "arrangement": 6,
    "subpopulations": 6,
}
# The fraction of a plate's wells that treatments take when replicates are not given.
TREATED_FRACTION = 0.75
_WHOLE = ("studies", "plates", "wells", "sites", "treatments", "doses", "size")
_POSITIVE = ("cells", "pixel_size")
_STRENGTHS = ("effect_strength", "batch_strength")


@dataclass(frozen=True)
class ScreenDesign:
    """The size of a virtual screen, and how strong treatments and batches are in it.

    Attributes
    ----------
    studies : int
        Each has treatments and a technical style of its own.
    plates : int
        Of every study; replicates of each other.
    wells : int
        Of every plate, filled row by row in the smallest plate that has that many.
    sites : int
        Fields of every well.
    treatments : int
        Of every study.
    mechanisms : int, optional
        Different mechanisms of all treatments. Default: half as many as treatments, at
        most as many as `causes` have.
    shared : int, optional
        Treatments that every study has. Default: half of them.
    doses : int
        Levels of each treatment, each a third of the one above.
    replicates : int, optional
        Wells of a treatment and dose on every plate; the other wells are controls.
        Default: what fits into three quarters of the plate.
    seed : int
        Every other screen of the same design has another.
    size : int
        Height and width of a field in pixels.
    cells : float
        Expected number in an untreated field.
    pixel_size : float
        Micrometres per pixel. The default is that of a 20x objective with binning 2.
    effect_strength : float
        Factor on everything that treatments do; 0 makes them controls.
    batch_strength : float
        Factor on everything that tells studies, plates and wells apart.
    causes : tuple of str
        Families that the mechanisms are taken from in turn, of `FAMILIES`: ``classical``
        (sizes, shapes, numbers, intensities); ``textures``, ``organelles`` and
        ``arrangement`` (the same amounts in other patterns); ``subpopulations`` (strong
        effects in a few cells of a well).

    Raises
    ------
    SiteError
        Values that make no screen.

    Examples
    --------
    >>> design = ScreenDesign(plates=2, wells=24, treatments=8)
    >>> design.replicates_per_plate, design.plate_format
    (2, (4, 6))
    >>> ScreenDesign(wells=6, treatments=8)
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: 8 treatments x 1 doses x 1 replicates need more ...
    """

    studies: int = 1
    plates: int = 2
    wells: int = 24
    sites: int = 1
    treatments: int = 8
    mechanisms: int | None = None
    shared: int | None = None
    doses: int = 1
    replicates: int | None = None
    seed: int = 1
    size: int = 520
    cells: float = 40.0
    pixel_size: float = 0.598
    effect_strength: float = 1.0
    batch_strength: float = 1.0
    causes: tuple[str, ...] = ("classical",)

    def __post_init__(self) -> None:
        for name in _WHOLE:
            _require(name, getattr(self, name), "a whole number from 1", int, 1)
        for name in ("mechanisms", "shared", "replicates"):
            if getattr(self, name) is not None:
                least = 0 if name == "shared" else 1
                _require(name, getattr(self, name), f"a whole number from {least}", int, least)
        for name in _POSITIVE:
            _require(name, getattr(self, name), "a number above 0", (int, float), 1e-9)
        for name in _STRENGTHS:
            _require(name, getattr(self, name), "a number from 0", (int, float), 0)
        for name in (*_POSITIVE, *_STRENGTHS):
            # 40 and 40.0 are the same screen, and have the same hash.
            object.__setattr__(self, name, float(getattr(self, name)))
        _require("seed", self.seed, "a whole number from 0", int, 0)
        self._refuse_unknown_causes()
        # In the order of FAMILIES: the same causes are the same screen.
        object.__setattr__(self, "causes", tuple(name for name in FAMILIES if name in self.causes))
        self._refuse_what_does_not_fit()

    def _refuse_unknown_causes(self) -> None:
        named = not isinstance(self.causes, str) and len(self.causes) > 0
        if not named or not set(self.causes) <= set(FAMILIES):
            raise SiteError(
                f"causes are {self.causes!r}; expected one or more of {', '.join(FAMILIES)}"
            )

    def _refuse_what_does_not_fit(self) -> None:
        most = math.prod(PLATE_FORMATS[-1])
        if self.wells > most:
            raise SiteError(f"wells is {self.wells}; the largest plate has {most}")
        if self.shared is not None and self.shared > self.treatments:
            raise SiteError(
                f"shared is {self.shared}, more than the {self.treatments} treatments of a study"
            )
        if self.mechanisms is not None and self.mechanisms > self.mechanism_limit:
            raise SiteError(
                f"mechanisms is {self.mechanisms}; the causes {', '.join(self.causes)} have "
                f"{self.mechanism_limit}"
            )
        replicates = self.replicates or 1
        if self.treatments * self.doses * replicates >= self.wells:
            raise SiteError(
                f"{self.treatments} treatments x {self.doses} doses x {replicates} replicates need "
                f"more than {self.wells} wells, one of which has to be a control; ask for more "
                "wells or for less on them"
            )

    @property
    def plate_format(self) -> tuple[int, int]:
        """Rows and columns of the plate."""
        return next(grid for grid in PLATE_FORMATS if math.prod(grid) >= self.wells)

    @property
    def replicates_per_plate(self) -> int:
        """Wells of a treatment and dose on every plate."""
        if self.replicates is not None:
            return self.replicates
        return max(1, int(TREATED_FRACTION * self.wells) // (self.treatments * self.doses))

    @property
    def shared_treatments(self) -> int:
        """Treatments that all studies have."""
        return self.treatments // 2 if self.shared is None else self.shared

    @property
    def all_treatments(self) -> int:
        """Different treatments in all studies together."""
        return self.treatments + (self.studies - 1) * (self.treatments - self.shared_treatments)

    @property
    def mechanism_limit(self) -> int:
        """Mechanisms that the causes have together."""
        return sum(FAMILIES[name] for name in self.causes)

    @property
    def mechanism_number(self) -> int:
        """Different mechanisms in all studies together."""
        number = self.mechanisms or min(self.mechanism_limit, math.ceil(self.all_treatments / 2))
        return min(number, self.all_treatments)

    def values(self) -> dict[str, int | float | list[str] | None]:
        """Return everything that the pixels depend on, the renderer's version among it."""
        return {"renderer": RENDERER, **dataclasses.asdict(self), "causes": list(self.causes)}

    @property
    def sha256(self) -> str:
        """The hash of `values`: equal for equal screens."""
        return hashlib.sha256(json.dumps(self.values(), sort_keys=True).encode()).hexdigest()


def _require(
    name: str,
    value: object,
    expected: str,
    kind: type[int] | tuple[type[int], type[float]],
    least: float,
) -> None:
    if isinstance(value, bool) or not isinstance(value, kind):
        fits = False
    else:
        fits = math.isfinite(value) and value >= least
    if not fits:
        raise SiteError(f"{name} is {value!r}; expected {expected}")
