"""The module's own tests, run by pytest inside CellProfiler's Pythons."""

import subprocess
import sys
from pathlib import Path

import pytest

from cpcnn_core.hosts.headless import headless_environ

TOOLS = ("pytest", "hypothesis")
# One test of every room of the module; what the workers do is the same on both.
ON_PYTHON_38 = (
    "test_settings.py",
    "test_columns.py",
    "test_models.py",
    "test_fuzz.py",
    "test_treatments.py",
    "test_display.py",
)
INSIDE = Path(__file__).parents[1] / "inside_cellprofiler"


def run_inside(python, environ, tmp_path, *files):
    """Run test files in that Python, with a pytest that is not installed there."""
    pytest_folder = tmp_path / "pytest"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--target", pytest_folder, *TOOLS],
        check=True,
        capture_output=True,
    )
    done = subprocess.run(
        [
            *(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore"),
            *("--rootdir", INSIDE, "--confcutdir", INSIDE, "-c", tmp_path / "none.ini", *files),
        ],
        cwd=INSIDE,
        env={
            **environ,
            "PYTHONPATH": str(pytest_folder),
            "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path / "hypothesis"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
    sys.stdout.write(done.stdout)


@pytest.fixture
def inside_environ(
    plugins,
    model_file,
    small_model_file,
    two_channel_model_file,
    bag_model_file,
    library_folder,
    tmp_path,
):
    (tmp_path / "none.ini").write_text("")
    return {
        **headless_environ(),
        "CPCNN_HOME": str(tmp_path / "home"),
        "CPCNN_TEST_PLUGINS": str(plugins),
        "CPCNN_TEST_MODEL": str(model_file),
        "CPCNN_TEST_SMALL_MODEL": str(small_model_file),
        "CPCNN_TEST_OTHER_MODEL": str(two_channel_model_file),
        "CPCNN_TEST_BAG_MODEL": str(bag_model_file),
        "CPCNN_TEST_LIBRARY": str(library_folder),
    }


def test_inside_cellprofiler(cellprofiler_python, inside_environ, tmp_path):
    run_inside(cellprofiler_python, inside_environ, tmp_path)


def test_inside_cellprofiler_on_python_38(cellprofiler_python38, inside_environ, tmp_path):
    run_inside(cellprofiler_python38, inside_environ, tmp_path, *ON_PYTHON_38)
