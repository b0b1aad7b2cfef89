"""The demo before CellProfiler runs: whose folder it may take, and what is missing."""

import sys

import pytest

from cpcnn_core.demo.run import run_demo
from cpcnn_core.errors import HostError


def test_a_folder_with_other_files_is_left_as_it_is(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(HostError, match="holds other files; name another folder with --out"):
        run_demo(tmp_path, sys.executable)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_a_python_without_cellprofiler_is_named(tmp_path):
    with pytest.raises(HostError, match="has no CellProfiler; make one with: cpcnn cellprofiler"):
        run_demo(tmp_path / "out", sys.executable)


def test_a_folder_of_an_earlier_demo_is_replaced(tmp_path):
    out = tmp_path / "out"
    for _ in range(2):
        with pytest.raises(HostError, match="has no CellProfiler"):
            run_demo(out, sys.executable)
        assert [path.name for path in out.iterdir()] == ["made_by_cpcnn_demo.txt"]
        (out / "Cells.csv").write_text("old")
