"""Content of the window, drawn without a window into matplotlib's own figure."""

import os

import numpy as np
import pytest
from cellprofiler_core.setting import ValidationError
from cellprofiler_core.utilities.zmq import json_decode, json_encode
from conftest import CHANNELS, SMALL_MODEL, Bench, squares
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

SHAPE = (200, 220)
LABELS = squares(SHAPE, {n: (30 + 20 * n, 40 + 20 * n) for n in range(1, 8)})


class PlainFigure:
    """The four methods of CellProfiler's figure that are used, without wxPython."""

    def __init__(self):
        self.figure = Figure((11, 8))
        FigureCanvasAgg(self.figure)
        self.tables = {}
        self.axes = {}

    def set_subplots(self, size):
        self.figure.clf()
        self.size = size

    def subplot(self, x, y):
        columns, rows = self.size
        self.axes[x, y] = self.figure.add_subplot(rows, columns, x + columns * y + 1)
        return self.axes[x, y]

    def subplot_imshow_grayscale(self, x, y, image, title, normalize):
        axes = self.subplot(x, y)
        axes.imshow(image, cmap="gray", vmin=0, vmax=1)
        axes.set_title(title)
        return axes

    def subplot_table(self, x, y, rows, col_labels=None):
        self.tables[x, y] = rows
        self.subplot(x, y).table(cellText=rows, colLabels=col_labels)


def shown(figure=None, image_set=1, **settings):
    bench = Bench().add_images(SHAPE).add_objects(LABELS)
    bench.module.show_window = True
    for name, value in settings.items():
        getattr(bench.module, name).value = value
    if bench.module.wants_library:
        bench.module.library_directory.join_parts("Elsewhere...", os.environ["CPCNN_TEST_LIBRARY"])
    else:
        bench.use_file(SMALL_MODEL)
    workspace = bench.workspace()
    bench.module.run(workspace)
    workspace.display_data.image_set = image_set
    # As the analysis sends it from its processes to the window's.
    text, buffers = json_encode(workspace.display_data.__dict__)
    workspace.display_data.__dict__.update(json_decode(text, buffers))
    figure = PlainFigure() if figure is None else figure
    bench.module.display(workspace, figure)
    return figure, workspace.display_data


def test_crops_are_those_around_the_objects():
    figure, data = shown()
    assert data.shown == ["1", "2", "4", "5", "7"]
    assert data.crops.shape == (5 * 132, 5 * 132)
    pixels = np.random.RandomState(3)
    image = [pixels.uniform(size=SHAPE).astype(np.float32) for _ in CHANNELS]
    # Object 4 in the channel RNA; its crop is within the image.
    cut = image[1][110 - 64 : 110 + 64, 120 - 64 : 120 + 64]
    expected = (cut - cut.min()) / (cut.max() - cut.min())
    np.testing.assert_allclose(data.crops[264:392, 132:260], expected, atol=1e-6)
    labels = [text.get_text() for text in figure.axes[0, 0].get_xticklabels()]
    assert labels == list(CHANNELS)


def test_the_map_gathers_the_image_sets_that_one_window_has_seen():
    figure, _ = shown()
    shown(figure, image_set=2)
    shown(figure, image_set=2)
    dots = figure.axes[1, 0].collections
    assert [len(one.get_offsets()) for one in dots] == [7, 7]
    names = [text.get_text() for text in figure.axes[1, 0].get_legend().get_texts()]
    assert names == ["image set 1", "image set 2"]
    other, _ = shown(image_set=3)
    assert len(other.axes[1, 0].collections) == 1


def test_principal_axes_keep_the_distances_of_a_plane():
    from _cpcnn.display import principal_axes

    random = np.random.RandomState(0)
    plane = random.normal(size=(30, 2)).dot(np.linalg.qr(random.normal(size=(9, 2)))[0].T) + 5
    places = principal_axes(plane)
    plane = plane - plane.mean(axis=0)
    np.testing.assert_allclose(places.dot(places.T), plane.dot(plane.T), atol=1e-10)
    assert places[:, 0].var() > places[:, 1].var()


def test_a_library_colours_the_map_and_names_the_nearest(tmp_path):
    figure, data = shown(wants_library=True, treatment="taxol")
    assert [row[0] for row in figure.tables[1, 1]] == [row[0] for row in data.nearest]
    assert {row[0] for row in figure.tables[1, 1]} == {"taxol", "nocodazole"}
    assert data.nearest_columns == ["Nearest treatment", "Similarity", "p-value", "q-value"]
    for _, similarity, p_value, q_value in figure.tables[1, 1]:
        assert -1 <= float(similarity) <= 1
        assert 0 < float(p_value) <= float(q_value) <= 1
    colors = figure.axes[1, 0].collections[0].get_array()
    np.testing.assert_array_equal(colors, data.similarities)
    assert data.similarity_title == "like taxol"
    figure.figure.savefig(str(tmp_path / "window.png"))
    assert (tmp_path / "window.png").stat().st_size > 10000
    assert shown(wants_library=True)[1].similarity_title == "like the negative controls"


@pytest.mark.parametrize(
    ("unit", "what"),
    [("The whole image, in tiles", "tiles"), ("The whole image, shrunk to one crop", "whole")],
)
def test_whole_images_are_shown_too(unit, what):
    figure, data = shown(unit=unit)
    assert what in figure.tables[0, 1][0][1]
    assert data.crops.shape[1] == 5 * (132 if what == "tiles" else 114)


def test_nothing_measured_is_nothing_drawn():
    bench = Bench().add_images(SHAPE).add_objects(np.zeros(SHAPE, np.int32))
    bench.module.show_window = True
    workspace = bench.workspace()
    bench.module.run(workspace)
    figure = PlainFigure()
    bench.module.display(workspace, figure)
    assert (0, 0) not in figure.axes
    assert figure.tables[0, 1][0] == ["Measured", "0 Cells"]


def test_every_setting_is_explained():
    module = Bench().module
    module.wants_library.value = True
    module.model.value = "Model file"
    explained = {setting.text: setting.doc for setting in module.help_settings()}
    for setting in module.visible_settings():
        if setting.text and "image" not in setting.text:
            assert len(explained[setting.text]) > 25, setting.text
    text = module.get_help()
    for word in ("672", "10.1038/s41467-024-45999-1", "CPCNNLike_Controls", "FilterObjects"):
        assert word in text
    assert "system-message" not in text
    assert list(module.doi.values()) == ["https://doi.org/10.1038/s41467-024-45999-1"]


@pytest.mark.parametrize("threads", ["0", "-1", "two", "1.5", ""])
def test_a_number_of_threads_that_is_none(threads):
    bench = Bench()
    bench.module.threads.value = threads
    with pytest.raises(ValidationError, match="Expected Automatic or a number of threads from 1"):
        bench.module.validate_module(bench.pipeline)


def test_names_are_drawn_as_they_are(bench):
    figure, data = shown()
    data.channels = [r"$\frac{$"] * len(CHANNELS)
    data.what = "$x$"
    data.similarity_title, data.similarities = "like $z$", np.zeros(len(data.features))
    figure = PlainFigure()
    bench.module.display(Displayed(data), figure)
    figure.figure.canvas.draw()
    axes = figure.axes[0, 0]
    assert axes.get_title() == r"Examples of \$x\$"
    # Matplotlib takes the backslashes away again.
    assert axes.title._preprocess_math(axes.get_title())[0] == "Examples of $x$"


class Displayed:
    def __init__(self, data):
        self.display_data = data


def test_a_mistake_in_the_threads_is_not_remembered_once_it_is_mended():
    bench = Bench()
    bench.module.threads.value = "0"
    with pytest.raises(ValidationError, match="Expected Automatic or a number of threads"):
        bench.module.validate_module(bench.pipeline)
    assert len(bench.module.get_measurement_columns(bench.pipeline)) > 672
    bench.module.threads.value = "Automatic"
    bench.module.validate_module(bench.pipeline)
    assert len(bench.module.get_measurement_columns(bench.pipeline)) > 672
