"""What has to be loaded before everything else, which tests begin, and what examples begin with.

The examples in docstrings run as tests. Each begins in an empty folder, which is the current one,
with no models of this user. What takes many lines to make is there already, where an example names
it (`OBJECTS`):

``wells``
    Uncorrected profiles of two plates with 24 wells each: twelve of DMSO and four of each of three
    treatments.
``controls``
    Which of these wells are DMSO.
``project``
    A DeepProfiler project in the folder ``project``: five channels, four sites, 17 cells on two
    of them.
``crop_sites``, ``crop_settings``
    The sites of that project, whose crops are not stored yet, and how they are to be.
``store``
    The crops of the project's cells, in the folder ``crops``.
"""

import os
import re
import shutil
from pathlib import Path

import pytest

from cpcnn_core.threads import let_threads_wait

# Several processes test at once on few cores. One thread each adds in the same order on every
# machine; tests of more threads say how many.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
let_threads_wait()

import numpy as np
import pandas as pd

# Before any window of napari: triton, which these bring along, crashes when it is loaded after
# Mesa's software OpenGL (two copies of LLVM in one process).
import timm  # noqa: F401

LONGEST = "tests/cellprofiler_plugins/"
PROJECT = Path(__file__).parent / "tests" / "data" / "deepprofiler_project"


def pytest_collection_modifyitems(items):
    """Begin with what takes longest, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: LONGEST not in item.path.as_posix())


@pytest.fixture(autouse=True)
def surroundings_of_examples(request):
    """Give the examples of a docstring a folder of their own, and the objects that they name."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    folder = request.getfixturevalue("tmp_path")
    monkeypatch = request.getfixturevalue("monkeypatch")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CPCNN_HOME", str(folder.with_name(f"{folder.name} home")))
    words = {w for e in request.node.dtest.examples for w in re.findall(r"\w+", e.source)}
    namespace = request.getfixturevalue("doctest_namespace")
    # One for all examples of a run.
    namespace.clear()
    namespace |= {name: make() for name, make in OBJECTS.items() if name in words}


def make_wells():
    """Make profiles of wells, with what their treatments and plates do."""
    from cpcnn_core.schema.profiles import Profiles

    treatments = ["DMSO"] * 3 + ["nocodazole", "taxol", "JQ1"]
    rows = [
        (plate, f"{row}{column:02d}", treatment)
        for plate in ("P1", "P2")
        for row in "ABCD"
        for column, treatment in enumerate(treatments, start=1)
    ]
    names = ["Metadata_Plate", "Metadata_Well", "Metadata_Treatment"]
    metadata = pd.DataFrame(rows, columns=names)
    features = np.random.default_rng(0).normal(size=(len(rows), 8))
    # What each treatment does, and the plates' difference.
    for feature, treatment in enumerate(treatments[3:]):
        features[metadata["Metadata_Treatment"] == treatment, feature] += 4
    features[metadata["Metadata_Plate"] == "P2", -1] += 3
    return Profiles(features, metadata, [f"Cells_CPCNN_{number:03d}" for number in range(8)])


def make_controls():
    """Say which of these wells are DMSO."""
    return make_wells().texts("Metadata_Treatment") == "DMSO"


def make_project():
    """Copy a DeepProfiler project here."""
    from cpcnn_core.io.deepprofiler import read_project

    shutil.copytree(PROJECT / "inputs", "project/inputs")
    return read_project("project")


def open_project():
    """Return the sites of a DeepProfiler project, and the settings of their crops."""
    from cpcnn_core.crop_store.image_sites import open_images
    from cpcnn_core.screen.screens import DeepProfilerScreen

    if not Path("project").exists():
        make_project()
    return open_images(DeepProfilerScreen("project"), ())[:2]


def make_store():
    """Store the crops of a DeepProfiler project."""
    from cpcnn_core.crop_store.collect import collect_index
    from cpcnn_core.crop_store.run import store_crops
    from cpcnn_core.crop_store.store import open_crops

    sites, settings = open_project()
    store_crops(sites, "crops", settings)
    collect_index(sites, "crops", settings)
    return open_crops("crops")


OBJECTS = {
    "wells": make_wells,
    "controls": make_controls,
    "project": make_project,
    "crop_sites": lambda: open_project()[0],
    "crop_settings": lambda: open_project()[1],
    "store": make_store,
}
