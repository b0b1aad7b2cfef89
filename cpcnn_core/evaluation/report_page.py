"""The page of every report: one HTML file that opens without a network, made of blocks.

The template escapes every value: names of plates and treatments are shown letter for letter.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from cpcnn_core.io.atomic import write_atomically


@dataclass(frozen=True)
class Heading:
    """A heading; the page's own has the level 1."""

    text: str
    level: int = 2
    kind: ClassVar[str] = "heading"


@dataclass(frozen=True)
class Note:
    """A paragraph that explains, in grey."""

    text: str
    kind: ClassVar[str] = "note"


@dataclass(frozen=True)
class Table:
    """A table; numbers are aligned right, those with a point get three decimals."""

    rows: Sequence[Sequence[object]]
    head: Sequence[str] = ()
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Picture:
    """A figure as a PNG; `width` in % of the page, 0 for its own."""

    title: str
    png: bytes
    width: int = 0
    kind: ClassVar[str] = "picture"

    @property
    def base64(self) -> str:
        """The PNG, as a page embeds it."""
        return base64.b64encode(self.png).decode()


@dataclass(frozen=True)
class Point:
    """A point of a `Scatter`: x and y from 0 to 1, and what it says under the mouse."""

    x: float
    y: float
    color: str
    title: str
    radius: float = 4


@dataclass(frozen=True)
class Scatter:
    """Points that tell their names under the mouse; `legend` maps texts to colours."""

    title: str
    points: Sequence[Point]
    legend: Mapping[str, str]
    x_label: str
    y_label: str
    kind: ClassVar[str] = "scatter"


@dataclass(frozen=True)
class Well:
    """A well of a `PlateMap`: row and column from 0, and what it says under the mouse."""

    row: int
    column: int
    color: str
    title: str


@dataclass(frozen=True)
class PlateMap:
    """A plate whose wells tell their names and values under the mouse.

    `scale` are the colours from `low` to `high`, `width` is in % of the page.
    """

    title: str
    rows: int
    columns: int
    wells: Sequence[Well]
    scale: Sequence[str]
    low: float
    high: float
    width: int = 46
    kind: ClassVar[str] = "plate"

    def row_name(self, row: int) -> str:
        """Name a row as plates do: A to Z, then AA."""
        return chr(65 + row) if row < 26 else f"A{chr(39 + row)}"


Block = Heading | Note | Table | Picture | Scatter | PlateMap


def write_page(path: str | Path, title: str, blocks: Sequence[Block]) -> None:
    """Write a page of some blocks.

    Parameters
    ----------
    path : str or Path
    title : str
    blocks : sequence of Block

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_page(f"{folder}/page.html", "A", [Note("none < all"), Table([("a", 0.5)])])
    ...     print(Path(folder, "page.html").read_text().partition("<body>")[2])
    <BLANKLINE>
    <p class="note">none &lt; all</p>
    <table>
    <tr><td>a</td><td class="number">0.500</td></tr>
    </table>
    </body>
    </html>
    """
    environment = Environment(
        loader=PackageLoader("cpcnn_core.evaluation"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["shown"] = _shown
    environment.tests["number"] = lambda value: isinstance(value, float | int | np.number)
    page = environment.get_template("report.html").render(title=title, blocks=blocks)
    write_atomically(path, lambda place: place.write_text(page, encoding="utf-8"))


def _shown(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float | np.floating) else str(value)
