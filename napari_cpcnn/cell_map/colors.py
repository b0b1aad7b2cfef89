"""Colours of cells by what is known of them: a name or a number each."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Rgb = tuple[int, int, int]

# Wong, Nature Methods 8, 441 (2011): told apart by the colour-blind as well. Without black.
DISTINCT = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
# viridis without its ends, which are lost on a dark and on a light background.
RAMP = (
    *("#414487", "#3b528b", "#355f8d", "#2a788e", "#21918c", "#22a884"),
    *("#44bf70", "#7ad151", "#bddf26"),
)
OTHER_RGB, MISSING_RGB = (128, 128, 128), (184, 184, 184)
OTHER, MISSING = "other", "missing"
LOWEST, HIGHEST = 1, 99
LONGEST_NAME = 28
LIGHT_INK, DARK_INK = (240, 241, 242), (42, 42, 44)


@dataclass(frozen=True)
class CategoryLegend:
    """Categories and their colours.

    Attributes
    ----------
    names : list of k str
        The most frequent first; `OTHER` and `MISSING`, where there are any, at the end.
    colors : ndarray of shape (k, 3), uint8
    entries : ndarray of shape (n,), int8
        Which of the names each value belongs to.
    """

    names: list[str]
    colors: np.ndarray
    entries: np.ndarray


@dataclass(frozen=True)
class NumberLegend:
    """The numbers at the two ends of the ramp; NaN where there are none."""

    low: float
    high: float


Legend = CategoryLegend | NumberLegend


def colors_of(values: pd.Series | np.ndarray) -> tuple[np.ndarray, Legend]:
    """Give every value a colour.

    Parameters
    ----------
    values : pandas.Series or ndarray of shape (n,)
        Numbers run along a ramp, from their 1st to their 99th percentile; texts, truth values
        and categories are told apart, the most frequent ones in colours of their own.

    Returns
    -------
    rgb : ndarray of shape (n, 3), uint8
    legend : CategoryLegend or NumberLegend

    Examples
    --------
    >>> rgb, legend = colors_of(np.array(["DMSO", "taxol", "DMSO", ""]))
    >>> legend.names, legend.entries.tolist()
    (['DMSO', 'taxol', 'missing'], [0, 1, 0, 2])
    >>> rgb[0].tolist()
    [0, 114, 178]
    >>> colors_of(np.array([1.0, 2.0, 3.0]))[1]
    NumberLegend(low=1.02, high=2.98)
    """
    import pandas as pd

    values = pd.Series(values)
    if _is_number(values):
        numbers = pd.to_numeric(values).to_numpy(np.float64, na_value=np.nan)
        return _number_colors(numbers)
    return _category_colors(values)


def ramp(fractions: np.ndarray) -> np.ndarray:
    """Return the ramp's colours (n, 3), uint8, at fractions (n,) from 0 to 1; NaN is missing.

    Examples
    --------
    >>> ramp(np.array([0.0, np.nan])).tolist()
    [[65, 68, 135], [184, 184, 184]]
    """
    table = _ramp_table()
    known = np.isfinite(fractions)
    at = np.where(known, fractions, 0)
    rgb: np.ndarray = table[np.rint(np.clip(at, 0, 1) * (len(table) - 1)).astype(np.uint8)]
    rgb[~known] = MISSING_RGB
    return rgb


def ink_on(background: Rgb) -> Rgb:
    """Return a light or a dark colour, whichever can be read on the background.

    Examples
    --------
    >>> ink_on((38, 41, 48))
    (240, 241, 242)
    """
    red, green, blue = background
    return LIGHT_INK if 0.299 * red + 0.587 * green + 0.114 * blue < 128 else DARK_INK


def legend_html(legend: Legend, text: Rgb) -> str:
    """Write a legend as Qt's rich text; each category is a link to its number.

    Examples
    --------
    >>> one = CategoryLegend(["DMSO"], np.zeros((1, 3), np.uint8), np.zeros(9, np.int8))
    >>> legend_html(one, (255, 255, 255))
    '<a href="0" style="text-decoration: none; color: #ffffff"><span
     style="color: #000000">■</span>&nbsp;DMSO&nbsp;9</a>'
    """
    if isinstance(legend, NumberLegend):
        if np.isnan(legend.low):
            return "no values"
        cells = "".join(
            f'<td width="5" bgcolor="{_code(rgb)}"></td>' for rgb in ramp(np.linspace(0, 1, 24))
        )
        ends = [f"<td>&nbsp;{end:.4g}&nbsp;</td>" for end in (legend.low, legend.high)]
        return f'<table cellspacing="0"><tr>{ends[0]}{cells}{ends[1]}</tr></table>'
    counts = np.bincount(legend.entries, minlength=len(legend.names))
    style = f"text-decoration: none; color: {_code(text)}"
    entries = []
    for number, (name, rgb) in enumerate(zip(legend.names, legend.colors, strict=True)):
        short = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
        label = escape(f"{short} {counts[number]:,}").replace(" ", "&nbsp;")
        square = f'<span style="color: {_code(rgb)}">■</span>'
        entries.append(f'<a href="{number}" style="{style}">{square}&nbsp;{label}</a>')
    return "&nbsp;&nbsp; ".join(entries)


def _is_number(values: pd.Series) -> bool:
    from pandas.api.types import infer_dtype, is_bool_dtype, is_numeric_dtype

    if values.dtype == object:
        return infer_dtype(values, skipna=True) in ("integer", "floating", "mixed-integer-float")
    return is_numeric_dtype(values) and not is_bool_dtype(values)


def _number_colors(numbers: np.ndarray) -> tuple[np.ndarray, NumberLegend]:
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return ramp(np.full(len(numbers), np.nan)), NumberLegend(np.nan, np.nan)
    low, high = (float(end) for end in np.percentile(finite, [LOWEST, HIGHEST]))
    span = high - low
    fractions = (np.clip(numbers, low, high) - low) / span if span else numbers * 0 + 0.5
    return ramp(fractions), NumberLegend(low, high)


def _category_colors(values: pd.Series) -> tuple[np.ndarray, CategoryLegend]:
    import pandas as pd

    codes, found = pd.factorize(values, use_na_sentinel=True)
    texts = np.array([str(value) for value in found], object)
    # 1 and "1", or blanks: what reads the same is the same.
    texts_codes, names = pd.factorize(np.array([text.strip() for text in texts], object))
    codes = np.append(texts_codes, -1)[codes]
    empty = np.flatnonzero(np.asarray(names) == "")
    codes[np.isin(codes, empty)] = -1
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    order = sorted(np.flatnonzero(counts), key=lambda code: (-counts[code], names[code]))
    shown, rest = order[: len(DISTINCT)], order[len(DISTINCT) :]
    # One more than there are codes: -1, a missing value, takes the last.
    entry_of = np.full(len(names) + 1, len(shown) + bool(rest), np.int8)
    entry_of[rest] = len(shown)
    entry_of[shown] = np.arange(len(shown))
    colors = [_rgb(color) for color in DISTINCT[: len(shown)]]
    legend = [str(names[code]) for code in shown]
    if rest:
        legend, colors = [*legend, OTHER], [*colors, OTHER_RGB]
    if (codes < 0).any():
        legend, colors = [*legend, MISSING], [*colors, MISSING_RGB]
    table = np.array(colors, np.uint8).reshape(-1, 3)
    entries = entry_of[codes]
    return table[entries], CategoryLegend(legend, table, entries)


def _ramp_table() -> np.ndarray:
    anchors = np.array([_rgb(color) for color in RAMP], np.float64)
    at = np.linspace(0, len(anchors) - 1, 256)
    channels = [np.interp(at, np.arange(len(anchors)), channel) for channel in anchors.T]
    result: np.ndarray = np.rint(np.stack(channels, axis=1)).astype(np.uint8)
    return result


def _code(rgb: Rgb | np.ndarray) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def _rgb(color: str) -> Rgb:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
