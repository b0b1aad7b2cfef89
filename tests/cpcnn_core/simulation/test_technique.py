import dataclasses

import numpy as np
import pytest

from cpcnn_core.simulation.design import ScreenDesign
from cpcnn_core.simulation.layout import lay_out
from cpcnn_core.simulation.technique import FACTORS, technique_of_plate, technique_of_well

MANY = ScreenDesign(studies=150, plates=2, wells=2, treatments=1)


def logs_of(design, name):
    """Return the logarithm of a factor, of shape (studies, plates)."""
    first = [well for well in lay_out(design) if well.name == "A01"]
    values = [technique_of_plate(design, well)[name] / FACTORS[name].typical for well in first]
    return np.log(values).reshape(design.studies, design.plates)


@pytest.mark.parametrize("name", ["gain_ER", "background_Mito", "focus_um", "density", "noise"])
def test_plates_and_studies_differ_by_their_own_spreads(name):
    logs = logs_of(MANY, name)
    within = np.sqrt(((logs[:, 0] - logs[:, 1]) ** 2).mean() / 2)
    # The mean of two plates has half of their variance.
    between = np.sqrt(logs.mean(axis=1).var(ddof=1) - within**2 / 2)
    assert within == pytest.approx(FACTORS[name].plate, rel=0.2)
    assert between == pytest.approx(FACTORS[name].study, rel=0.2)


def test_batch_strength_is_a_factor_on_the_logarithm():
    for name in ("gain_DNA", "focus_um", "bleed_through"):
        full, half = (
            logs_of(dataclasses.replace(MANY, studies=3, batch_strength=strength), name)
            for strength in (1.0, 0.5)
        )
        assert half == pytest.approx(full / 2)


def test_without_batches_every_well_is_typical():
    design = ScreenDesign(studies=2, batch_strength=0.0)
    for well in lay_out(design):
        assert technique_of_well(design, well) == {
            name: pytest.approx(factor.typical) for name, factor in FACTORS.items()
        }


def test_wells_on_the_edge_have_fewer_and_brighter_cells():
    design = ScreenDesign(studies=1, plates=24, wells=96, treatments=1)
    edge, inner = [], []
    for well in lay_out(design):
        own, plate = technique_of_well(design, well), technique_of_plate(design, well)
        ratios = np.log([own[name] / plate[name] for name in ("density", "gain_RNA", "gain_ER")])
        is_edge = well.name[0] in "AH" or well.name[1:] in ("01", "12")
        (edge if is_edge else inner).append(ratios)
    # Mean of |z| is sqrt(2 / pi).
    expected = 0.12 * np.sqrt(2 / np.pi) * np.array([-1, 0.5, 0.5])
    assert np.mean(edge, axis=0) - np.mean(inner, axis=0) == pytest.approx(expected, abs=0.035)


def test_studies_have_their_own_style_whatever_the_number_of_plates():
    few, many = (ScreenDesign(studies=2, plates=plates, treatments=1) for plates in (1, 5))
    by_name = [{w.plate + w.name: technique_of_well(d, w) for w in lay_out(d)} for d in (few, many)]
    for name, technique in by_name[0].items():
        assert by_name[1][name] == technique
