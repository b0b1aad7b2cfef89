"""Dataclasses come back from JSON as they were, and what is not theirs is refused by name."""

import dataclasses
import json

import pytest

from cpcnn_core.errors import JsonError
from cpcnn_core.io.dataclass_json import read_dataclass, write_dataclass


@dataclasses.dataclass(frozen=True)
class Disk:
    radius: float


@dataclasses.dataclass(frozen=True)
class Box:
    sides: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Drawing:
    shape: Disk | Box
    points: tuple[tuple[str, float], ...] = ()
    title: str | None = None
    filled: bool = False


def changed(path, *place, **values):
    content = json.loads(path.read_text())
    inner = content
    for name in place:
        inner = inner[name]
    inner |= values
    path.write_text(json.dumps({k: v for k, v in content.items() if v != "left out"}))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "drawing.json"
    write_dataclass(path, Drawing(Disk(2.5), (("a", 1.0), ("b", 2.0)), "Ü"))
    return path


@pytest.mark.parametrize(
    "drawing",
    [
        Drawing(Disk(2.5), (("a", 1.0), ("b", 0.1 + 0.2)), "Ü\n", filled=True),
        Drawing(Box((3, 4))),
    ],
)
def test_what_is_read_is_what_was_written(tmp_path, drawing):
    write_dataclass(tmp_path / "a.json", drawing)
    found = read_dataclass(tmp_path / "a.json", Box, Drawing)
    assert found == drawing
    assert hash(found) == hash(drawing)
    # Nothing but JSON, also for others.
    assert json.loads((tmp_path / "a.json").read_text())["filled"] is drawing.filled


@pytest.mark.parametrize(
    ("place", "values", "said"),
    [
        ((), {"titel": "x"}, "{}: unknown: titel; Drawing has filled, points, shape, title"),
        ((), {"title": "left out"}, "{}: missing: title; Drawing has filled, points, shape, title"),
        ((), {"class": "Disk"}, '{}: expected class Drawing, got "Disk"'),
        ((), {"filled": 1}, "filled of {}: expected true or false, got 1"),
        ((), {"title": 3}, "title of {}: expected a text or null, got 3"),
        ((), {"points": [["a", 1, 2]]}, 'points of {}: expected a list of 2, got ["a", 1, 2]'),
        ((), {"points": {}}, "points of {}: expected a list, got {{}}"),
        ((), {"shape": 3}, "shape of {}: expected Disk or Box, got 3"),
        (("shape",), {"class": "Star"}, 'shape of {}: expected class Box, Disk, got "Star"'),
        (("shape",), {"class": ["Disk"]}, 'shape of {}: expected class Box, Disk, got ["Disk"]'),
        (("shape",), {"radius": True}, "radius of shape of {}: expected a number, got true"),
        (("shape",), {"sides": 1}, "shape of {}: unknown: sides; Disk has radius"),
    ],
)
def test_what_does_not_belong_is_named(path, place, values, said):
    changed(path, *place, **values)
    with pytest.raises(JsonError) as error:
        read_dataclass(path, Drawing)
    assert str(error.value) == said.format(path)


def test_no_object_and_no_json(path):
    path.write_text("[1]")
    with pytest.raises(JsonError, match="expected Drawing, got"):
        read_dataclass(path, Drawing)
    path.write_text("{")
    with pytest.raises(JsonError, match="cannot be read as JSON"):
        read_dataclass(path, Drawing)
