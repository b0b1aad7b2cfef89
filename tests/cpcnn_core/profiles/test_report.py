"""The report opens without a network, and holds what was measured."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cpcnn_core.profiles.aggregate import aggregate
from cpcnn_core.profiles.confounders import confounders
from cpcnn_core.profiles.evaluation import evaluate_treatments, sweep_lambda
from cpcnn_core.profiles.report import write_report
from cpcnn_core.tables.profiles import Profiles

BY = "Metadata_Treatment"


class Page(HTMLParser):
    """What a browser would fetch, and the text it would show."""

    def __init__(self, text):
        super().__init__()
        self.sources, self.shown = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.shown.append(data)


@pytest.fixture
def screen(wells):
    controls = (wells.metadata[BY] == "DMSO@0").to_numpy()
    return wells, controls, aggregate(wells.select(~controls), [BY], "mean")


def scores(wells, controls):
    return {
        "profiles": "wells.parquet",
        "made_by": {"model": "m", "correction": "sphering", "lambda": 0.5},
        "wells": len(wells.metadata),
        "controls": int(controls.sum()),
        "replicates": {"wells": 9, "mean_average_precision": 0.12345},
    }


def test_everything_is_inside(screen, inputs, tmp_path):
    wells, controls, treatments = screen
    label = dict(zip(inputs["annot_treatment"], inputs["annot_moa"], strict=True))
    labels = [str(label.get(name, "")) for name in treatments.metadata[BY]]
    sweep = sweep_lambda(wells, controls, BY, [0.1, 1.0]).to_dict("records")
    found = scores(wells, controls) | {
        "treatments": evaluate_treatments(treatments.features, labels),
        "confounders": confounders(wells, controls, BY),
        "sweep": [row | {"lambda": None} if np.isnan(row["lambda"]) else row for row in sweep],
    }
    write_report(tmp_path / "r.html", found, wells, controls, treatments, BY, labels)
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    # Curve, sweep, map, and four plates.
    assert len(page.sources) == 7
    for source in page.sources:
        data = re.fullmatch(r"data:image/png;base64,(.+)", source).group(1)
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"))
        assert pixels.std() > 5
    shown = " ".join(page.shown)
    for text in ("0.123", "sphering, lambda 0.5", "516, 36", "plate read from controls"):
        assert text in shown
    measured = found["confounders"]["plate_from_controls"]["balanced_accuracy"]
    assert f"{measured:.3f}" in shown


def test_names_are_shown_as_they_are_and_strange_wells_are_said(tmp_path):
    rows = pd.DataFrame({BY: ["<b>bold</b>", "a & b", "c"], "Metadata_Plate": "P1"})
    rows["Metadata_Well"] = "well 1", "well 2", "well 3"
    wells = Profiles(np.eye(3) + 0.1, rows, list("xyz"))
    nothing = np.zeros(3, bool)
    write_report(tmp_path / "r.html", scores(wells, nothing), wells, nothing, wells, BY)
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    shown = "".join(page.shown)
    assert "<b>bold</b>" in shown
    assert "a & b" in shown
    assert "there are no plate maps" in shown
    assert len(page.sources) == 1


@pytest.mark.parametrize("count", [1, 2])
def test_few_treatments_have_no_map(tmp_path, count):
    rows = pd.DataFrame({BY: list("ab"[:count]), "Metadata_Plate": "P1", "Metadata_Well": "AB02"})
    wells = Profiles(np.eye(3)[:count] + 0.1, rows, list("xyz"))
    nothing = np.zeros(count, bool)
    write_report(tmp_path / "r.html", scores(wells, nothing), wells, nothing, wells, BY)
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert len(page.sources) == 1
    assert ("Nearest treatments" in page.shown) == (count == 2)
