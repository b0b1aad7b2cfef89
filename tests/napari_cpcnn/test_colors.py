"""Colours of values: who gets which."""

import numpy as np
import pandas as pd
import pytest

from napari_cpcnn.cell_map.colors import (
    DISTINCT,
    MISSING,
    MISSING_RGB,
    OTHER,
    OTHER_RGB,
    CategoryLegend,
    NumberLegend,
    colors_of,
    ink_on,
    legend_html,
    ramp,
)

WONG = [tuple(bytes.fromhex(color[1:])) for color in DISTINCT]


def test_most_frequent_category_comes_first_and_ties_by_name():
    rgb, legend = colors_of(pd.Series(["b", "a", "c", "c", "c", "b", "a"]))
    assert legend.names == ["c", "a", "b"]
    assert [tuple(color) for color in rgb[:3]] == [WONG[2], WONG[1], WONG[0]]
    assert rgb.dtype == np.uint8


def test_every_value_has_the_colour_of_its_entry():
    rng = np.random.default_rng(0)
    values = rng.choice([f"t{n}" for n in range(12)] + ["", None, " "], 500)
    rgb, legend = colors_of(values)
    texts = ["" if value is None else value.strip() for value in values]
    frequent = sorted(set(texts) - {""}, key=lambda text: (-texts.count(text), text))
    for row, text in enumerate(texts):
        if not text:
            expected, name = MISSING_RGB, MISSING
        elif frequent.index(text) < len(WONG):
            expected, name = WONG[frequent.index(text)], text
        else:
            expected, name = OTHER_RGB, OTHER
        assert tuple(rgb[row]) == expected
        assert legend.names[legend.entries[row]] == name
    assert legend.names == [*frequent[:7], OTHER, MISSING]


@pytest.mark.parametrize(
    "values",
    [
        pd.Series(["x", None, "y"], dtype="category"),
        pd.Series(["x", pd.NA, "y"], dtype="string"),
        pd.Series(["x", np.nan, "y"], dtype=object),
        np.array(["x", "", "y"]),
    ],
)
def test_texts_of_every_kind(values):
    legend = colors_of(values)[1]
    assert legend.names == ["x", "y", MISSING]
    assert legend.entries.tolist() == [0, 2, 1]


def test_truth_values_are_categories():
    assert colors_of(np.array([True, False, True]))[1].names == ["True", "False"]


@pytest.mark.parametrize(
    "values",
    [
        np.arange(101, dtype=np.float32),
        pd.Series(range(101)),
        pd.Series(range(101), dtype=object),
        pd.Series(range(101), dtype="Int64"),
    ],
)
def test_numbers_run_between_percentiles(values):
    rgb, legend = colors_of(values)
    assert legend == NumberLegend(1, 99)
    assert (rgb[0] == rgb[1]).all()
    assert (rgb[99] == rgb[100]).all()
    assert (rgb[50] == ramp(np.array([0.5]))[0]).all()
    # It grows lighter all the way.
    assert (np.diff(rgb[1:100:5].astype(int) @ [299, 587, 114]) > 0).all()


def test_missing_and_infinite_numbers():
    rgb, legend = colors_of(pd.Series([1.0, np.nan, 3.0, np.inf, None]))
    assert tuple(rgb[1]) == tuple(rgb[4]) == MISSING_RGB
    assert (rgb[3] == rgb[2]).all()
    assert (legend.low, legend.high) == (1.02, 2.98)


def test_equal_numbers_are_in_the_middle():
    rgb, legend = colors_of(np.array([4, 4]))
    assert (rgb == ramp(np.array([0.5]))).all()
    assert legend == NumberLegend(4, 4)


def test_no_values():
    rgb, legend = colors_of(np.array([np.nan, np.nan]))
    assert tuple(rgb[0]) == MISSING_RGB
    assert legend_html(legend, (0, 0, 0)) == "no values"
    rgb, legend = colors_of(pd.Series([], dtype=str))
    assert rgb.shape == (0, 3)
    assert legend.names == []


def test_legend_escapes_and_shortens_names():
    table = np.zeros((2, 3), np.uint8)
    legend = CategoryLegend(["<b> & co", "x" * 50], table, np.array([0, 1, 1], np.int8))
    text = legend_html(legend, (1, 2, 3))
    assert "&lt;b&gt;&nbsp;&amp;&nbsp;co&nbsp;1" in text
    assert "x" * 27 + "…&nbsp;2" in text
    assert 'href="1"' in text
    assert "#010203" in text


def test_legend_of_numbers_tells_both_ends():
    text = legend_html(NumberLegend(-0.5, 12.25), (0, 0, 0))
    assert text.index("-0.5") < text.index("bgcolor") < text.index("12.25")


@pytest.mark.parametrize("background", [(38, 41, 48), (239, 235, 233), (0, 0, 0), (255, 255, 255)])
def test_ink_can_be_read(background):
    assert abs(np.mean(ink_on(background)) - np.mean(background)) > 120
