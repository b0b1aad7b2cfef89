"""What has to be loaded before everything else, and which tests begin."""

from cpcnn_core.threads import let_threads_wait

# Several processes test at once on few cores.
let_threads_wait()

# Before any window of napari: triton, which these bring along, crashes when it is loaded after
# Mesa's software OpenGL (two copies of LLVM in one process).
import timm  # noqa: F401

LONGEST = "tests/cellprofiler_plugins/"


def pytest_collection_modifyitems(items):
    """Begin with what takes longest, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: LONGEST not in item.path.as_posix())
