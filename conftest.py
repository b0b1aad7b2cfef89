"""How the tests are shared out, where several processes run them (``pytest -n 2``)."""

import pytest

# What one process has to run alone: CellProfiler's environment is made once and the analysis
# uses all cores; a window takes its time from any other window.
GROUPS = {
    "cellprofiler": (
        "tests/cellprofiler_plugins/",
        "tests/cpcnn_core/hosts/",
        "tests/cpcnn_core/demo/",
    ),
    "window": ("tests/napari_cpcnn/", "napari_cpcnn/"),
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Keep the tests of a group in one process."""
    for item in items:
        path = item.path.relative_to(item.config.rootpath).as_posix()
        for group, starts in GROUPS.items():
            if path.startswith(starts):
                item.add_marker(pytest.mark.xdist_group(group))


def pytest_configure(config):
    """Let PyTorch come before any window: the other way round its LLVM and Mesa's collide."""
    config.addinivalue_line("markers", "xdist_group(name): tests that one process runs")
    import timm  # noqa: F401
