"""Which treatment is in which well of which plate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from cpcnn_core.errors import SiteError
from cpcnn_core.simulation.design import ScreenDesign
from cpcnn_core.simulation.seeds import stream
from cpcnn_core.simulation.treatments import CONTROL, doses_of, study_treatments


@dataclass(frozen=True)
class Well:
    """One well.

    Attributes
    ----------
    study : int
        From 0.
    plate, name : str
        Such as ``S1P1`` and ``A01``.
    row, column : int
        From 0.
    treatment : str
    dose : float
        Relative to the highest; 0 for a control.
    """

    study: int
    plate: str
    name: str
    row: int
    column: int
    treatment: str
    dose: float

    @property
    def study_name(self) -> str:
        """Such as ``S1``."""
        return f"S{self.study + 1}"


def lay_out(design: ScreenDesign) -> Iterator[Well]:
    """Yield all wells, plate by plate, row by row.

    Plates of a study are laid out alike, as replicate plates are; studies differ.

    Examples
    --------
    >>> wells = list(lay_out(ScreenDesign(plates=1, wells=6, treatments=4)))
    >>> [(well.plate, well.name, well.treatment) for well in wells[1:3]]
    [('S1P1', 'A02', 'DMSO'), ('S1P1', 'A03', 'T001')]
    """
    _, columns = design.plate_format
    for study in range(design.studies):
        filled = _filling(design, study)
        for plate in range(design.plates):
            for place, (treatment, dose) in enumerate(filled):
                row, column = divmod(place, columns)
                name = f"{_letters(row)}{column + 1:02d}"
                yield Well(study, f"S{study + 1}P{plate + 1}", name, row, column, treatment, dose)


def find_well(design: ScreenDesign, plate: str, well: str) -> Well:
    """Return one well by its names.

    Raises
    ------
    SiteError
        The design has no such plate or well.

    Examples
    --------
    >>> find_well(ScreenDesign(), "S1P2", "B03").column
    2
    """
    wells = _by_name(design)
    if (plate, well) not in wells:
        plates = list(dict.fromkeys(plate for plate, _ in wells))
        names = [name for of, name in wells if of == plates[0]]
        raise SiteError(
            f"the design has no well {well} on a plate {plate}; it has plates {plates[0]} to "
            f"{plates[-1]}, with wells {names[0]} to {names[-1]}"
        )
    return wells[plate, well]


@lru_cache(maxsize=8)
def _by_name(design: ScreenDesign) -> dict[tuple[str, str], Well]:
    return {(well.plate, well.name): well for well in lay_out(design)}


def _filling(design: ScreenDesign, study: int) -> list[tuple[str, float]]:
    """Return treatment and dose of every well, in an order of chance."""
    filled = [
        (treatment, dose)
        for treatment in study_treatments(design, study)
        for dose in doses_of(design)
        for _ in range(design.replicates_per_plate)
    ]
    filled += [(CONTROL, 0.0)] * (design.wells - len(filled))
    order = stream(design.seed, "layout", study).permutation(len(filled))
    return [filled[place] for place in order]


def _letters(row: int) -> str:
    """Return a row's name: A to Z, then AA to AF."""
    letter = chr(ord("A") + row % 26)
    return letter if row < 26 else chr(ord("A") + row // 26 - 1) + letter
