import collections
import re

import pytest

from cpcnn_core.errors import SiteError
from cpcnn_core.simulation.design import ScreenDesign
from cpcnn_core.simulation.layout import find_well, lay_out

DESIGN = ScreenDesign(studies=2, plates=3, wells=30, treatments=4, doses=2, shared=1)


def test_every_plate_has_every_treatment_and_dose_as_often_as_asked():
    wells = list(lay_out(DESIGN))
    assert len(wells) == 2 * 3 * 30
    for plate in {well.plate for well in wells}:
        on_it = collections.Counter(
            (well.treatment, well.dose) for well in wells if well.plate == plate
        )
        controls = on_it.pop(("DMSO", 0.0))
        assert set(on_it.values()) == {2}
        assert controls + 2 * 4 * 2 == 30
        assert {dose for _, dose in on_it} == {0.333333, 1.0}


def test_names_tell_row_and_column_as_on_the_plate():
    wells = [well for well in lay_out(DESIGN) if well.plate == "S2P3"]
    assert wells[0].name == "A01"
    assert wells[-1].name == "D06"  # 30 wells in 6 x 8: rows of 8
    for well in wells:
        letter, number = re.fullmatch(r"([A-F])(\d\d)", well.name).groups()
        assert (well.row, well.column) == (ord(letter) - ord("A"), int(number) - 1)


def test_rows_beyond_z_have_two_letters():
    names = [well.name for well in lay_out(ScreenDesign(plates=1, wells=1536, treatments=1))]
    assert names[-1] == "AF48"
    assert len(set(names)) == 1536


def test_plates_of_a_study_are_replicates_and_studies_differ():
    by_plate = collections.defaultdict(list)
    for well in lay_out(DESIGN):
        by_plate[well.plate].append(well.treatment)
    assert by_plate["S1P1"] == by_plate["S1P2"] == by_plate["S1P3"] != by_plate["S2P1"]
    both = set(by_plate["S1P1"]) & set(by_plate["S2P1"])
    assert both == {"DMSO", "T001"}


def test_a_well_is_found_by_its_names_and_a_stranger_is_refused():
    assert find_well(DESIGN, "S2P1", "B03") in list(lay_out(DESIGN))
    with pytest.raises(SiteError, match="no well E01 on a plate S1P1; it has plates S1P1 to S2P3"):
        find_well(DESIGN, "S1P1", "E01")
