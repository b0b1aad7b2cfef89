"""How tests share two processes (pytest-xdist), and what has to be loaded first."""

import pytest

# Before any window of napari: triton, which these bring along, crashes when it is loaded after
# Mesa's software OpenGL (two copies of LLVM in one process).
import timm  # noqa: F401

# What makes environments with real CellProfiler, or uses them: one process, and first, because
# it takes the longest.
WITH_CELLPROFILER = (
    "tests/cellprofiler_plugins/",
    "tests/cpcnn_core/hosts/",
    "tests/cpcnn_core/demo/",
)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    """Keep the tests of a file in one process: they share what is costly to make."""
    groups = {}
    for item in items:
        path = item.path.as_posix()
        with_cellprofiler = any(part in path for part in WITH_CELLPROFILER)
        groups[item] = "CellProfiler" if with_cellprofiler else path
        item.add_marker(pytest.mark.xdist_group(groups[item]))
    items.sort(key=lambda item: groups[item] != "CellProfiler")
