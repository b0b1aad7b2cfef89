"""What a package index shows and what a wheel holds: the scripts of .ci that see to both."""

import importlib.util
import re
import zipfile
from pathlib import Path

import pytest

import cpcnn_core

PROJECT = Path(__file__).parents[1]


def script(name):
    spec = importlib.util.spec_from_file_location(name, PROJECT / ".ci" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_and_pictures_of_the_readme_lead_into_the_repository():
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    url = "https://forge.example/lab/cpcnn/"
    page = script("absolute_links").absolute(readme, url, "v1")
    assert "](https://forge.example/lab/cpcnn/raw/v1/docs/images/demo_cells.png)" in page
    assert "](https://forge.example/lab/cpcnn/blob/v1/docs/cellprofiler.md)" in page
    assert "](https://cellprofiler.org)" in page
    assert not re.findall(r"\]\((?!https?:)[^)]+\)", page)


def test_links_keep_their_anchors_and_a_dead_one_is_an_error(tmp_path):
    absolute = script("absolute_links").absolute
    (tmp_path / "a.md").touch()
    page = absolute(
        "[a](a.md#b), [b](#b), [c](mailto:c@d.example)", "https://x.example", "1", tmp_path
    )
    assert page == "[a](https://x.example/blob/1/a.md#b), [b](#b), [c](mailto:c@d.example)"
    with pytest.raises(FileNotFoundError, match=r"links to gone\.md"):
        absolute("[a](gone.md)", "https://x.example", "1", tmp_path)


@pytest.fixture
def project(tmp_path):
    for name in ("cpcnn_core/a.py", "cpcnn_core/cards/a.toml", "napari_cpcnn/napari.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "cpcnn_core/__pycache__").mkdir()
    (tmp_path / "cpcnn_core/__pycache__/a.pyc").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("packed", "found"),
    [
        (["cpcnn_core/a.py", "cpcnn_core/cards/a.toml", "napari_cpcnn/napari.yaml"], []),
        (
            ["cpcnn_core/a.py", "cpcnn_core/b.py", "napari_cpcnn/napari.yaml"],
            ["cpcnn_core/cards/a.toml is not in the wheel", "cpcnn_core/b.py is only in the wheel"],
        ),
    ],
)
def test_a_wheel_is_compared_with_the_source_tree(project, packed, found):
    wheel = project / "cpcnn-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in [*packed, "cpcnn-1.dist-info/METADATA"]:
            archive.writestr(name, "")
    assert script("check_wheel").differences(wheel, project) == found


def test_the_reference_page_has_every_public_name():
    page = (PROJECT / "docs/reference.md").read_text(encoding="utf-8")
    listed = re.findall(r"^::: (\S+)$", page, re.MULTILINE)
    public = {f"{getattr(cpcnn_core, name).__module__}.{name}": name for name in cpcnn_core.__all__}
    assert sorted(listed) == sorted(public)
