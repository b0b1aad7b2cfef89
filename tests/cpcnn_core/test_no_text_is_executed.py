"""No text is executed: neither by Python nor by pandas, in any of the packages."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("cpcnn_core", "napari_cpcnn", "cellprofiler_plugins")
# Networks and trees of points have methods of these names, which take arrays or nothing.
EXECUTES = ("eval", "exec", "query", "compile")
KNOWN = {
    ("napari_cpcnn/embed/cellpose_process.py", "model.eval(plane.astype(np.float32))"),
    ("cpcnn_core/simulation/population.py", "spatial.KDTree(places).query(places, 2)"),
}


def calls(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            function = node.func
            name = getattr(function, "attr", getattr(function, "id", ""))
            regular = name == "compile" and ast.unparse(function) == "re.compile"
            if name in EXECUTES and (node.args or node.keywords) and not regular:
                yield ast.unparse(node)


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_evaluates_a_text(package):
    found = {
        (path.relative_to(ROOT).as_posix(), call)
        for path in (ROOT / package).rglob("*.py")
        for call in calls(path)
    }
    assert found <= KNOWN


def test_the_search_finds_what_it_looks_for(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text(
        "frame.eval(text)\nexec(text)\nnetwork.eval()\nre.compile('a')\nframe.query(a)\n"
    )
    assert list(calls(path)) == ["frame.eval(text)", "exec(text)", "frame.query(a)"]
