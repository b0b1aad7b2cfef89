"""A report's page: one HTML file, everything inside, that opens without a network."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cpcnn_core.atomic import write_atomically

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2329; max-width: 1080px; margin: 2em auto;
  padding: 0 1em; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2.2em; }
table { border-collapse: collapse; } td, th { padding: .25em 1.2em .25em 0; text-align: left;
  border-bottom: 1px solid #e3e6e9; } td.n, th.n { text-align: right; }
img { max-width: 100%; } p.note { color: #5a646e; max-width: 46em; }
"""


def write_page(path: str | Path, title: str, parts: Sequence[str]) -> None:
    """Write a page of some parts, each a piece of HTML.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_page(f"{folder}/page.html", "A & B", [note_as_html("none < all")])
    ...     Path(folder, "page.html").read_text()[-53:]
    "<body><p class='note'>none &lt; all</p></body></html>"
    """
    page = (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{html.escape(title)}"
        f"</title><style>{STYLE}</style><body>{''.join(parts)}</body></html>"
    )
    write_atomically(path, lambda place: place.write_text(page, encoding="utf-8"))


def table_as_html(rows: Sequence[Sequence[object]], head: Sequence[str] = ()) -> str:
    """Return a table; numbers are aligned right, those with a point get three decimals.

    Examples
    --------
    >>> table_as_html([("a < b", 0.5)])
    '<table><tr><td>a &lt; b</td><td class=n>0.500</td></tr></table>'
    """

    def cell(tag: str, value: object) -> str:
        number = isinstance(value, float | int | np.number)
        text = f"{value:.3f}" if isinstance(value, float | np.floating) else str(value)
        return f"<{tag}{' class=n' if number else ''}>{html.escape(text)}</{tag}>"

    lines = [[cell("th", value) for value in head]] if head else []
    lines += [[cell("td", value) for value in row] for row in rows]
    body = "".join(["<tr>" + "".join(line) + "</tr>" for line in lines])
    return f"<table>{body}</table>"


def note_as_html(text: str) -> str:
    """Return a paragraph in the grey of notes.

    Examples
    --------
    >>> note_as_html("none < all")
    "<p class='note'>none &lt; all</p>"
    """
    return f"<p class='note'>{html.escape(text)}</p>"
