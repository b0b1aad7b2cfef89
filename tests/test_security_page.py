"""SECURITY.md lists every place that starts programs, loads code, opens archives or connects."""

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PACKAGES = ("cpcnn_core", "napari_cpcnn", "cellprofiler_plugins")
# What a program can do by these, by the heading under which it is explained.
CALLS = {
    "Where programs are started": {
        *("subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_call"),
        *("subprocess.check_output", "os.system", "os.popen", "os.execv", "os.startfile"),
        *("os.posix_spawn", "pty.spawn", "QProcess", "runpy.run_module", "runpy.run_path"),
    },
    "Where code is loaded by name, or other libraries are": {
        *("import_module", "exec_module"),
        *("runpy.run_module", "entry_points", "WinDLL", "windll", "CDLL", "torch.load"),
        *("pickle.load", "pickle.loads", "joblib.load", "yaml.load"),
    },
    "Archives, HDF5, databases and the network": {
        *("ZipFile", "tarfile.open", "h5py.File", "sqlite3.connect", "urlopen", "urlretrieve"),
        *("requests.get", "pooch.retrieve", "pooch.create", "hf_hub_download", "hf_hub_url"),
        *("socket.socket", "socket.create_connection", "shutil.unpack_archive"),
    },
}
# Methods of others are called so, too.
BUILTINS = {"eval", "exec", "compile", "__import__"}


def names_in(node):
    """Every dotted name of some code, as it is written; what only tells types is passed over."""
    if isinstance(node, ast.Attribute | ast.Name):
        yield ast.unparse(node)
    for field, value in ast.iter_fields(node):
        if field not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from names_in(child)


def does(source, calls):
    for name in names_in(ast.parse(source)):
        parts = name.split(".")
        if any(".".join(parts[start:]) in calls for start in range(len(parts))):
            return True
    return False


def test_nothing_is_evaluated():
    for path, source in sources():
        assert not BUILTINS & set(names_in(ast.parse(source))), path


def sources():
    for package in PACKAGES:
        for path in sorted((PROJECT / package).rglob("*.py")):
            yield path.relative_to(PROJECT).as_posix(), path.read_text(encoding="utf-8")


def listed(heading):
    text = (PROJECT / "SECURITY.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `(\S+\.py)` \|", section, re.MULTILINE))


@pytest.mark.parametrize("heading", CALLS)
def test_the_page_lists_what_the_code_does(heading):
    found = {path for path, source in sources() if does(source, CALLS[heading])}
    assert listed(heading) == found


@pytest.mark.parametrize(
    "line",
    [
        "import subprocess\nsubprocess.Popen(['x'])",
        "import os\nos.system('x')",
        "start = subprocess.run",
        "importlib.import_module(name)",
        "with zipfile.ZipFile(path) as archive: pass",
    ],
)
def test_the_check_finds_what_it_looks_for(line):
    assert any(does(line, calls) for calls in CALLS.values())
    harmless = "def read(file: h5py.File) -> zipfile.ZipFile:\n    return values.run()"
    assert not any(does(harmless, calls) for calls in CALLS.values())
