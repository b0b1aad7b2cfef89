"""A field depends on its name alone; its labels and its table tell what is in the image."""

import dataclasses
import hashlib
import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage

from cpcnn_core.errors import SiteError
from cpcnn_core.simulation.design import FAMILIES, ScreenDesign
from cpcnn_core.simulation.field import simulate_field
from cpcnn_core.simulation.layout import lay_out
from cpcnn_core.simulation.parameters import BY_NAME, OF_CELLS
from cpcnn_core.simulation.treatments import treatments_of

SMALL = ScreenDesign(wells=6, treatments=2, sites=2, size=160, cells=5.0)


def digest(field):
    hashed = hashlib.sha256()
    for array in field[:3]:
        hashed.update(np.ascontiguousarray(array).tobytes())
    hashed.update(field.cells.to_csv(index=False).encode())
    return hashed.hexdigest()


def test_a_field_is_the_same_in_any_order_and_beside_any_others():
    names = [("S1P1", "A01", 1), ("S1P2", "B03", 2), ("S1P1", "A01", 2)]
    first = {name: digest(simulate_field(SMALL, *name)) for name in names}
    again = {name: digest(simulate_field(SMALL, *name)) for name in reversed(names)}
    more_plates = dataclasses.replace(SMALL, plates=7)
    assert again == first
    assert digest(simulate_field(more_plates, "S1P2", "B03", 2)) == first["S1P2", "B03", 2]
    assert len(set(first.values())) == 3


def test_other_causes_are_the_same_in_any_order():
    design = dataclasses.replace(SMALL, causes=tuple(FAMILIES)[1:], wells=24, treatments=21)
    treated = [well.name for well in lay_out(design) if well.plate == "S1P1"][::7]
    first = {name: digest(simulate_field(design, "S1P1", name, 1)) for name in treated}
    again = {name: digest(simulate_field(design, "S1P1", name, 1)) for name in reversed(treated)}
    assert again == first
    other = dataclasses.replace(design, seed=2)
    assert digest(simulate_field(other, "S1P1", "A01", 1)) != first["A01"]


def test_another_process_makes_the_same_bytes():
    code = (
        "from tests.cpcnn_core.simulation.test_field import *\n"
        "print(digest(simulate_field(SMALL, 'S1P2', 'A02', 1)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(simulate_field(SMALL, "S1P2", "A02", 1))


def test_classical_screens_stay_as_they_were():
    """Recorded results were made with them."""
    hashed = hashlib.sha256()
    for well in ("A01", "A02", "A03", "B01", "B02", "B03"):
        field = simulate_field(SMALL, "S1P1", well, 1)
        # Sixteens of counts: another machine may round exp and sin differently.
        hashed.update((field.image // 16).tobytes())
        hashed.update(field.cell_labels.tobytes())
    assert hashed.hexdigest() == "38ae10fd75af05a33daa0d7eb6b2747045876fe0461b8b9e8d4defea13cd4c91"


def test_another_seed_makes_another_field():
    other = dataclasses.replace(SMALL, seed=2)
    fields = [simulate_field(design, "S1P1", "A01", 1) for design in (SMALL, other)]
    assert digest(fields[0]) != digest(fields[1])


@pytest.mark.parametrize("family", FAMILIES)
def test_without_effects_a_treated_well_is_a_control(family):
    design = dataclasses.replace(SMALL, causes=(family,), cells=20.0, effect_strength=0.0)
    treated = next(well for well in lay_out(design) if well.treatment != "DMSO")
    asked = design, treated.plate, treated.name, 1
    assert digest(simulate_field(*asked)) == digest(simulate_field(*asked, effects={}))
    asked = dataclasses.replace(design, effect_strength=1.0), *asked[1:]
    assert digest(simulate_field(*asked)) != digest(simulate_field(*asked, effects={}))


def test_batches_change_no_cell():
    plain = dataclasses.replace(SMALL, batch_strength=0.0)
    loud = {"gain_DNA": 2.0, "background_ER": 900.0, "focus_um": 1.5, "vignetting": 0.5}
    one = simulate_field(plain, "S1P1", "A01", 1)
    from cpcnn_core.simulation.layout import find_well
    from cpcnn_core.simulation.technique import technique_of_well

    technique = technique_of_well(plain, find_well(plain, "S1P1", "A01")) | loud
    other = simulate_field(plain, "S1P1", "A01", 1, technique=technique)
    assert np.array_equal(one.cell_labels, other.cell_labels)
    assert one.cells.equals(other.cells)
    assert not np.array_equal(one.image, other.image)


def test_the_tables_areas_and_numbers_are_those_of_the_labels(field):
    image, labels, nuclei, cells = field()
    assert image.shape == (5, *labels.shape)
    assert (image.dtype, labels.dtype, nuclei.dtype) == (np.uint16, np.int32, np.int32)
    assert cells["number"].tolist() == list(range(1, len(cells) + 1))
    for cell in cells.itertuples():
        assert (labels == cell.number).sum() == cell.area_px
        assert (nuclei == cell.number).sum() == cell.nucleus_area_px > 0
        assert 0 <= cell.row < labels.shape[0]
        assert 0 <= cell.col < labels.shape[1]
    assert set(np.unique(labels)) == {0, *cells["number"]}


def test_every_cell_is_one_piece_around_its_nuclei(field):
    _, labels, nuclei, cells = field()
    assert np.array_equal(nuclei[nuclei > 0], labels[nuclei > 0])
    for number in cells["number"]:
        pieces, count = ndimage.label(labels == number)
        assert count == 1 or set(np.unique(pieces[nuclei == number])) == set(range(1, count + 1))


def test_nuclei_are_where_dna_is_bright(field):
    image, labels, nuclei, _ = field()
    dna = image[0].astype(float)
    cytoplasm = (labels > 0) & ~ndimage.binary_dilation(nuclei > 0, iterations=6)
    assert np.median(dna[nuclei > 0]) > 5 * np.median(dna[cytoplasm])


def test_a_nucleus_alone_has_the_area_that_the_table_says(field):
    labels = field().nucleus_labels
    cells = field().cells
    pixel_size = 0.598
    for cell in cells[(cells["state"] == "interphase") & (cells["nuclei"] == 1)].itertuples():
        box = ndimage.find_objects((labels == cell.number).astype(int))[0]
        at_border = any(
            part.start == 0 or part.stop == side
            for part, side in zip(box, labels.shape, strict=True)
        )
        around = ndimage.binary_dilation(labels == cell.number, iterations=8)
        if not at_border and set(np.unique(labels[around])) == {0, cell.number}:
            # DNA is doubled in S phase, and the nucleus grows with it.
            expected = cell.nucleus_area * math.sqrt(cell.content) / pixel_size**2
            assert cell.nucleus_area_px == pytest.approx(expected, rel=0.05)


def test_values_in_the_table_are_moved_by_what_the_treatment_says():
    design = dataclasses.replace(SMALL, doses=2, wells=8, size=200, cells=9.0)
    for well in lay_out(design):
        if well.treatment == "DMSO" or well.plate != "S1P1":
            continue
        treated = simulate_field(design, well.plate, well.name, 1).cells
        plain = simulate_field(design, well.plate, well.name, 1, effects={}).cells
        both = treated.merge(plain, on=["row", "col", "state"], suffixes=("", "_plain"))
        both = both[both["state"] == "interphase"]
        assert len(both) > 1
        one = treatments_of(design)[well.treatment]
        part = well.dose * (1 + one.half_dose) / (well.dose + one.half_dose)
        for name in OF_CELLS:
            moved = np.log(both[name] / both[f"{name}_plain"])
            expected = part * one.effects[name] * BY_NAME[name].spread
            assert moved.to_numpy() == pytest.approx(np.full(len(both), expected)), name


def test_chances_come_true_as_often_as_they_say():
    from cpcnn_core.simulation.population import grow_cells

    effects = {"rounded": 1.0, "dividing": 2.0, "multinucleate": 2.0}
    cells = [c for k in range(80) for c in grow_cells((k,), (400, 400), 0.6, 20.0, effects)]
    chance = {
        name: 1 / (1 + math.exp(-(math.log(p / (1 - p)) + moved)))
        for name, p, moved in (("rounded", 0.03, 1), ("dividing", 0.03, 2), ("multi", 0.03, 2))
    }
    alive = 1 - chance["rounded"]
    resting = alive * (1 - chance["dividing"])
    found = {
        "rounded": np.mean([c.state == "rounded" for c in cells]),
        "dividing": np.mean([c.state == "dividing" for c in cells]),
        "multi": np.mean([c.state == "interphase" and c.nuclei > 1 for c in cells]),
    }
    expected = {
        "rounded": chance["rounded"],
        "dividing": alive * chance["dividing"],
        "multi": resting * chance["multi"],
    }
    for name, p in expected.items():
        assert found[name] == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / len(cells))), name


def test_a_field_without_cells_is_a_field():
    empty = simulate_field(SMALL, "S1P1", "A01", 1, effects={"cell_count": -60.0})
    assert empty.cell_labels.max() == 0
    assert len(empty.cells) == 0
    assert "cell_area" in empty.cells.columns


def test_what_the_design_does_not_have_is_refused():
    with pytest.raises(SiteError, match="no well A09 on a plate S1P1"):
        simulate_field(SMALL, "S1P1", "A09", 1)
    for site in (0, 3):
        with pytest.raises(SiteError, match=f"no site {site}; its sites are 1 to 2"):
            simulate_field(SMALL, "S1P1", "A01", site)
