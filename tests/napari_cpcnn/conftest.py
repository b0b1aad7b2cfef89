"""A real napari window; without a screen (Xvfb will do) these tests are skipped."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cpcnn_core.models.folders import cpcnn_home

pytest.importorskip("napari")


def pytest_collection_modifyitems(items):
    no_screen = sys.platform.startswith("linux") and not os.environ.get("DISPLAY")
    for item in items:
        if "tests/napari_cpcnn/" not in item.path.as_posix():
            continue
        # napari and its dependencies announce changes of their own.
        item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))
        item.add_marker(pytest.mark.filterwarnings("ignore::FutureWarning"))
        if no_screen:
            item.add_marker(pytest.mark.skip(reason="no screen: install xvfb, then tests find it"))


@pytest.fixture(scope="session")
def idle_networks():
    """The network's process that no widget needs any more, one at most, by its models' home."""
    idle = {}
    yield idle
    for child in idle.values():
        child.stop()


@pytest.fixture(autouse=True)
def kept_network(monkeypatch, idle_networks):
    """Hand the network's process from widget to widget: loading PyTorch is most of many tests.

    One that is stopped while it works ends, as in a viewer; how it starts and ends is tested by
    test_network_process.py.
    """
    from napari_cpcnn.embed import embed_panel

    class KeptNetwork(embed_panel.NetworkProcess):
        working = False

        def embed(self, request, arrays):
            kept = idle_networks.pop(cpcnn_home(), None)
            if kept is not None and kept.usable:
                self._child = kept
            self.working = True
            features = yield from super().embed(request, arrays)
            self.working = False
            while idle_networks:
                idle_networks.popitem()[1].stop()
            idle_networks[cpcnn_home()] = self._child
            return features

        def stop(self):
            if self.working:
                super().stop()

    monkeypatch.setattr(embed_panel, "NetworkProcess", KeptNetwork)


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def widget(viewer, qtbot):
    from napari_cpcnn.widget import CellPaintingWidget

    widget = CellPaintingWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Cell Painting CNN")
    yield widget
    widget.detach()
    qtbot.waitUntil(lambda: not widget.embed.running, timeout=10_000)


@pytest.fixture(scope="session")
def made_up():
    """One small field: five channels, and labels with gaps in no order."""
    random = np.random.default_rng(1)
    channels = {
        name: random.integers(100, 5000, (220, 260)).astype(np.uint16)
        for name in ("DNA", "RNA", "ER", "AGP", "Mito")
    }
    labels = np.zeros((220, 260), np.int32)
    numbers = [40, 3, 700, 12, 5, 61]
    for place, number in enumerate(numbers):
        row, col = 30 + 80 * (place // 3), 30 + 80 * (place % 3)
        labels[row : row + 30, col : col + 26 + place] = number
    return channels, labels


@pytest.fixture
def field(viewer, made_up):
    channels, labels = made_up
    for name, image in channels.items():
        viewer.add_image(image, name=name, blending="additive")
    viewer.add_labels(labels, name="cells")
    return viewer


@pytest.fixture(scope="session")
def core_features(tmp_path_factory):
    """Return a function (image, centers, model) that asks the core in another process."""
    script = Path(__file__).with_name("core_features.py")
    folder = tmp_path_factory.mktemp("core")
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def ask(image, centers, model="untrained-efficientnet-b0"):
            path = folder / f"{len(list(folder.iterdir()))}.npz"
            # That process is older than the home of a test's own models.
            home = str(cpcnn_home())
            np.savez(path, image=image, centers=centers, model=model, home=home)
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"
            return np.load(f"{path}.npy")

        yield ask
        process.stdin.close()
