"""Names are drawn as they are, whatever Matplotlib would make of them."""

import io
from html.parser import HTMLParser
from types import MappingProxyType

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import LogNorm, to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread

from cpcnn_core.evaluation.comparison_report import _draw
from cpcnn_core.evaluation.report_figures import figure, plate_map, shown_name, treatment_map
from cpcnn_core.evaluation.report_page import write_page
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.user_messages import printable

# A formula, one that Matplotlib cannot read, dollars in pairs and alone, a comment of TeX.
NAMES = [r"$x^2$", r"$\frac{$", "a $ b", "$5 and $6", r"\$5", r"a\\$b$", "50 % \\input{x}", "＝1"]  # noqa: RUF001


def pixels(picture):
    return imread(io.BytesIO(picture.png))


def drawn(names, **options):
    """Draw names below each other."""

    def draw(axes):
        for place, name in enumerate(names):
            axes.text(0, 1 - place / len(names), name, **options)

    return pixels(figure("", draw, (4, 3)))


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


def hostile_names():
    return [
        *NAMES,
        "_hidden",
        "a\x00b",
        "two\nlines",
        "</title><script>alert(1)</script>",
        "x" * 99,
    ]


class Svg(HTMLParser):
    """Collect elements, and the texts of titles and of text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.texts, self._in = [], {"title": [], "text": []}, None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._in = tag
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_endtag(self, tag):
        self._in = None

    def handle_data(self, data):
        if self._in in self.texts:
            self.texts[self._in][-1] += data


def test_a_map_says_the_name_of_every_treatment(tmp_path):
    names = hostile_names()
    labels = ["kinase", "", "kinase", "</text>", *[""] * (len(names) - 4)]
    rows = pd.DataFrame({"Metadata_Treatment": names})
    profiles = Profiles(np.random.default_rng(0).normal(size=(len(names), 5)), rows, list("abcde"))
    block = treatment_map(profiles, "Metadata_Treatment", labels)
    write_page(tmp_path / "m.html", "Map", [block])
    page = Svg(tmp_path / "m.html")
    expected = [
        printable(f"{name}: {label}" if label else name)
        for name, label in zip(names, labels, strict=True)
    ]
    assert sorted(page.texts["title"][1:]) == sorted(expected)
    assert page.texts["text"] == ["kinase", "</text>", "component 1", "component 2"]
    assert "script" not in [tag for tag, _ in page.tags]
    # The places are those of the components, computed another way, but for scale and sign.
    directions = profiles.features / np.linalg.norm(profiles.features, axis=1, keepdims=True)
    scaled = (directions - directions.mean(axis=0)) / directions.std(axis=0)
    u, size, _ = np.linalg.svd(scaled, full_matrices=False)
    of_name = {point.title: (point.x, point.y) for point in block.points}
    found = np.array([of_name[title] for title in expected])
    for axis in (0, 1):
        assert abs(np.corrcoef(found[:, axis], u[:, axis] * size[axis])[0, 1]) > 1 - 1e-9
    assert found.min(axis=0).tolist() == [0, 0]
    assert found.max(axis=0).tolist() == [1, 1]


def test_a_plate_says_the_name_and_value_of_every_well(tmp_path):
    names = hostile_names()
    values = np.geomspace(0.5, 4, len(names))
    places = [(number // 5, number % 5) for number in range(len(names))]
    plate = plate_map(NAMES[1], values, places, names, (32, 48), np.array([1.0, 2.0]))
    write_page(tmp_path / "p.html", "Plate", [plate])
    page = Svg(tmp_path / "p.html")
    assert page.texts["title"][1:] == [
        printable(f"{name}: {value:.2f}") for name, value in zip(names, values, strict=True)
    ]
    # A letter for every third row; the last one of 1536 wells is AF.
    assert page.texts["text"][:12] == [NAMES[1], *"ADGJMPSVY", "AB", "AE"]
    # The darkest and the brightest colour beyond the limits, and between them those of the map.
    colors = [well.color for well in plate.wells]
    norm = LogNorm(1, 2, clip=True)
    assert colors == [to_hex(mpl.colormaps["viridis"](norm(value))) for value in values]
    assert (colors[0], colors[-1]) == ("#440154", "#fde725")


def test_the_models_of_a_comparison():
    found = {"mean_average_precision": 0.5, "interval": None, "chance_average_precision": 0.1}

    class Evaluated:
        scores = MappingProxyType({"replicates": found})

    class Result:
        name, evaluated = NAMES[1], (Evaluated, Evaluated)

    axes = Figure().add_subplot()
    _draw([Result, Result], "replicates")(axes)
    assert axes.get_yticklabels()[0].get_text() == shown_name(NAMES[1])
