"""The report opens without a network, and holds what was measured."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cpcnn_core.evaluation.evaluation import CELL_COUNT_ALONE, Evaluation, evaluate_profiles
from cpcnn_core.evaluation.report import write_report
from cpcnn_core.profiles.corrected_wells import CorrectedWells, as_they_are
from cpcnn_core.profiles.correction import fit_correction
from cpcnn_core.schema.profiles import Profiles

BY = "Metadata_Treatment"


class Page(HTMLParser):
    """Collect what a browser would fetch, and the text it would show."""

    def __init__(self, text):
        super().__init__()
        self.sources, self.shown, self.drawings = [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.drawings += tag == "svg"
        self.sources += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.shown.append(data)


def page_of(evaluation, folder):
    write_report(folder / "r.html", evaluation, "wells.parquet")
    return Page((folder / "r.html").read_text(encoding="utf-8"))


def test_everything_is_inside(wells, inputs, tmp_path):
    controls = (wells.metadata[BY] == "DMSO@0").to_numpy()
    wells.metadata["Metadata_CellCount"] = np.arange(len(wells.metadata)) % 97 + 3
    annotations = dict(zip(inputs["annot_treatment"], inputs["annot_moa"].tolist(), strict=True))
    correction = fit_correction(wells, controls, "sphering", regularization=0.5)
    corrected = CorrectedWells(correction.transform(wells), wells, correction)
    evaluation = evaluate_profiles(
        wells,
        BY,
        controls=controls,
        annotations=annotations,
        sweep=True,
        paper=True,
        baselines={"W": corrected},
    )
    page = page_of(evaluation, tmp_path)
    # Curve, sweep and placebo; the map and four plates are drawn in the page itself.
    assert len(page.sources) == 3
    assert page.drawings == 5
    for source in page.sources:
        data = re.fullmatch(r"data:image/png;base64,(.+)", source).group(1)
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"))
        assert pixels.std() > 5
    shown = " ".join(page.shown)
    scores = evaluation.scores
    for text in ("sphering, lambda 0.5", "516, 36", "plate read from controls", CELL_COUNT_ALONE):
        assert text in shown
    for number in (
        scores["replicates"]["mean_average_precision"],
        scores["confounders"]["plate_from_controls"]["balanced_accuracy"],
        scores["baselines"]["W"]["replicates"]["mean_average_precision"],
        scores["baselines"]["W"]["confounders"]["plate_from_controls"]["balanced_accuracy"],
        scores["baselines"][CELL_COUNT_ALONE]["treatments"]["mean_average_precision"],
        scores["activity"]["by_treatment"][0]["mean_average_precision"],
        scores["activity"]["by_treatment"][0]["mean_cosine"],
        scores["placebo"]["activity"]["share"],
        scores["paper"]["folds_of_enrichment"],
    ):
        assert f"{number:.3f}" in shown
    assert scores["placebo"]["verdict"] in shown
    # As JSON the same numbers come back.
    assert json.loads(json.dumps(scores)) == scores
    # Of corrected wells every plate is shown before, too.
    after = evaluate_profiles(corrected, BY, controls=controls)
    page = page_of(after, tmp_path)
    # A map, and two of each plate.
    assert page.drawings == 9
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert text.count(', before correction"') == text.count(', corrected"') == 4


def test_why_there_are_no_p_values_is_said(wells, tmp_path):
    controls = (wells.metadata[BY] == "DMSO@0").to_numpy()
    corrected = fit_correction(wells, controls, "sphering", regularization=0.5).transform(wells)
    evaluation = evaluate_profiles(corrected, BY, controls=controls)
    shown = " ".join(page_of(evaluation, tmp_path).shown)
    assert "P-values need the wells as they were before the correction" in shown
    assert "cannot be told" in shown
    assert "placebo" not in evaluation.scores
    assert evaluation.scores["confounders"]["plate_from_controls"] is None
    assert json.loads(json.dumps(evaluation.scores)) == evaluation.scores


def found_nothing(wells):
    """Treatments without replicates cannot be evaluated, but shown."""
    scores = {
        "made_by": {},
        "wells": len(wells.metadata),
        "controls": 0,
        "replicates": dict.fromkeys(("wells", "of_wells", "treatments", "of_treatments"), 0)
        | dict.fromkeys(("on_other_plates", "interval", "above_chance"))
        | {"mean_average_precision": 0.5, "chance_average_precision": 0.25},
    }
    none = np.zeros(len(wells.metadata), bool)
    return Evaluation(scores, as_they_are(wells), none, wells, BY, None)


def test_names_are_shown_as_they_are_and_strange_wells_are_said(tmp_path):
    rows = pd.DataFrame({BY: ["<b>bold</b>", "a & b", "c"], "Metadata_Plate": "P1"})
    rows["Metadata_Well"] = "well 1", "well 2", "well 3"
    wells = Profiles(np.eye(3) + 0.1, rows, list("xyz"))
    page = page_of(found_nothing(wells), tmp_path)
    shown = "".join(page.shown)
    assert "<b>bold</b>" in shown
    assert "a & b" in shown
    assert "there are no plate maps" in shown
    assert page.drawings == 1


@pytest.mark.parametrize("count", [1, 2])
def test_few_treatments_have_no_map(tmp_path, count):
    rows = pd.DataFrame({BY: list("ab"[:count]), "Metadata_Plate": "P1", "Metadata_Well": "AB02"})
    wells = Profiles(np.eye(3)[:count] + 0.1, rows, list("xyz"))
    page = page_of(found_nothing(wells), tmp_path)
    assert page.drawings == 1
    assert ("Nearest treatments" in page.shown) == (count == 2)
