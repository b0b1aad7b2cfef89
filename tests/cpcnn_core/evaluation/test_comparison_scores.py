"""The wells that are asked are the same before they are embedded as after."""

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import ProfileError
from cpcnn_core.evaluation.comparison_scores import ComparisonTask, planned_wells
from cpcnn_core.screen.screens import LoadDataScreen, LocationFiles

WELLS = ["A01", "A02", "A03", "A04"]


@pytest.fixture
def screen(tmp_path):
    rows = pd.DataFrame({"Metadata_Plate": "007", "Metadata_Well": WELLS, "Metadata_Site": "1"})
    rows["Metadata_Dose"] = ["10", "0.5", "NA", "10"]
    rows["Metadata_Treatment"] = ["DMSO", "taxol", "NA", "7157"]
    rows["FileName_DNA"] = [f"{well}.tif" for well in WELLS]
    rows["PathName_DNA"] = str(tmp_path)
    rows.to_csv(tmp_path / "load_data.csv", index=False)
    return LoadDataScreen(str(tmp_path / "load_data.csv"), LocationFiles("locations"))


def test_planned_wells_are_of_the_types_of_those_to_come(screen):
    wells = planned_wells(screen).metadata
    assert wells["Metadata_Plate"].tolist() == ["007"] * 4
    np.testing.assert_array_equal(wells["Metadata_Dose"], [10, 0.5, np.nan, 10])
    assert wells["Metadata_Treatment"].tolist() == ["DMSO", "taxol", "", "7157"]
    kept = planned_wells(screen, ["NA"]).metadata
    assert kept["Metadata_Treatment"].tolist() == ["DMSO", "taxol", "NA", "7157"]


@pytest.mark.parametrize("dose", ["10", "'10'", "10.0"])
def test_doses_choose_wells(screen, dose):
    task = ComparisonTask("Metadata_Treatment", "Treatment == 'DMSO'", where=f"Dose == {dose}")
    prepared = task.prepare(planned_wells(screen))
    assert prepared.wells.metadata["Metadata_Well"].tolist() == ["A01", "A04"]
    assert prepared.controls.tolist() == [True, False]
    assert prepared.queries.tolist() == [True, True]


def test_a_plate_map_says_what_it_does_not_know(screen, tmp_path):
    (tmp_path / "map.csv").write_text("well_position,MoA\na1,x\na2,NA\na3,nan\nA4,y\n")
    said = []
    task = ComparisonTask(
        "Metadata_MoA", "Dose == 10", platemap=str(tmp_path / "map.csv"), tell=said.append
    )
    wells = task.prepare(planned_wells(screen)).wells
    assert wells.metadata["Metadata_MoA"].tolist() == ["x", "", "", "y"]
    assert "MoA for 2 of 4 (NA, nan)" in said[0]
    kept = ComparisonTask(
        "Metadata_MoA", "Dose == 10", platemap=str(tmp_path / "map.csv"), keep_labels=("NA", "nan")
    )
    prepared = kept.prepare(planned_wells(screen, ["NA", "nan"]))
    assert prepared.wells.metadata["Metadata_MoA"].tolist() == ["x", "NA", "nan", "y"]


def test_what_is_not_there_is_one_line(screen):
    task = ComparisonTask("Metadata_Gene", "Dose == 10")
    with pytest.raises(ProfileError, match="there is no column Metadata_Gene"):
        task.prepare(planned_wells(screen))
