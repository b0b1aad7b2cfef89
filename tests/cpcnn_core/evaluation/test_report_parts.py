"""Names are drawn as they are, whatever Matplotlib would make of them."""

import base64
import io
import re
from types import MappingProxyType

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from cpcnn_core.evaluation.comparison_report import _draw
from cpcnn_core.evaluation.report_parts import draw_map, draw_plate, figure_as_html, shown_name
from cpcnn_core.schema.profiles import Profiles

# A formula, one that Matplotlib cannot read, dollars in pairs and alone, a comment of TeX.
NAMES = [r"$x^2$", r"$\frac{$", "a $ b", "$5 and $6", r"\$5", r"a\\$b$", "50 % \\input{x}", "＝1"]  # noqa: RUF001


def pixels(html):
    data = re.search("base64,([^']+)'", html)[1]
    return imread(io.BytesIO(base64.b64decode(data)))


def drawn(names, **options):
    """Draw names below each other."""

    def draw(axes):
        for place, name in enumerate(names):
            axes.text(0, 1 - place / len(names), name, **options)

    return pixels(figure_as_html("", draw, (4, 3)))


def test_names_are_drawn_letter_for_letter():
    expected = drawn(NAMES, parse_math=False)
    assert (drawn([shown_name(name) for name in NAMES]) == expected).all()


def test_such_names_would_be_formulas():
    assert not np.array_equal(drawn(NAMES[:1]), drawn(NAMES[:1], parse_math=False))
    with pytest.raises(ValueError, match="Expected"):
        drawn(NAMES)


def test_a_users_tex_is_not_for_names():
    with mpl.rc_context({"text.usetex": True}):
        assert drawn([r"\input{x}"]).std() > 0


def test_the_title_of_a_plate():
    plate = draw_plate(np.eye(8, 12) + 1, NAMES[1], np.array([1.0, 2.0]))
    assert pixels(figure_as_html("", plate, (4.6, 2.9))).std() > 0


def test_the_legend_of_a_map():
    names = [NAMES[1], "_hidden", "a\x00b", "two\nlines", "＝1"]  # noqa: RUF001
    rows = pd.DataFrame({"Metadata_Treatment": names})
    wells = Profiles(np.eye(5, dtype=np.float32), rows, [f"CPCNN_{n:03d}" for n in range(5)])
    draw = draw_map(wells, names)
    assert pixels(figure_as_html("", draw, (9, 5.4))).std() > 0
    axes = Figure().add_subplot()
    draw(axes)
    legend = {text.get_text() for text in axes.get_legend().get_texts()}
    assert legend == {shown_name(name) for name in names}


def test_the_models_of_a_comparison():
    found = {"mean_average_precision": 0.5, "interval": None, "chance_average_precision": 0.1}

    class Evaluated:
        scores = MappingProxyType({"replicates": found})

    class Result:
        name, evaluated = NAMES[1], (Evaluated, Evaluated)

    axes = Figure().add_subplot()
    _draw([Result, Result], "replicates")(axes)
    assert axes.get_yticklabels()[0].get_text() == shown_name(NAMES[1])
