"""The measured cells of the demo: read, looked up among those alike, and drawn.

Cells that look alike to the network should be alike in what is measured without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cpcnn_core.errors import HostError
from cpcnn_core.imaging.crops import touches_border
from cpcnn_core.schema.columns import feature_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Pixels around a nucleus in which others are counted: about three cells.
SURROUNDINGS = 64
_KEY = ["ImageNumber", "ObjectNumber"]
# Neighbours of a cell, and shuffles of the placebo.
NEAREST, SHUFFLES = 10, 20
ROWS, COLUMNS = 6, 8
# Of the colours: the few smallest and largest values would take most of the range.
PERCENTILES = (2, 98)


class Cells(NamedTuple):
    """The measured cells, n of them, in the order of CellProfiler's table.

    Attributes
    ----------
    features : ndarray of shape (n, d), float
    field : ndarray of shape (n,), int
        From 1.
    centers : ndarray of shape (n, 2), float
        Of the nuclei, as (row, col).
    known : dict of str to ndarray of shape (n,)
        What is known of each cell without the network, by what it is.
    fields, classical : int
        How many fields, and measurements beside the features.
    """

    features: np.ndarray
    field: np.ndarray
    centers: np.ndarray
    known: dict[str, np.ndarray]
    fields: int
    classical: int


def summarize(folder: str | Path, dim: int) -> Cells:
    """Read the cells and nuclei of ExportToSpreadsheet.

    Parameters
    ----------
    folder : str or Path
        With ``Cells.csv`` and ``Nuclei.csv``.
    dim : int
        Number of deep features that every cell must have.

    Returns
    -------
    Cells

    Raises
    ------
    HostError
        Features, values or nuclei are missing.
    """
    import pandas as pd

    csv = Path(folder) / "Cells.csv"
    table = pd.read_csv(csv, float_precision="round_trip")
    names = feature_names(dim)
    missing = [name for name in names if name not in table.columns]
    if missing or table[names].isna().to_numpy().any():
        what = f"the columns {missing[0]} and on" if missing else "values of some cells"
        raise HostError(f"{csv} lacks {what}; look at cellprofiler.log beside it")
    # A cell has the number of its nucleus.
    nuclei = pd.read_csv(Path(folder) / "Nuclei.csv").set_index(_KEY)
    keys = pd.MultiIndex.from_frame(table[_KEY])
    if not keys.isin(nuclei.index).all():
        raise HostError(f"{csv} has cells without a nucleus; look at cellprofiler.log beside it")
    nuclei = nuclei.loc[keys]
    field = table["ImageNumber"].to_numpy()
    centers = nuclei[["Location_Center_Y", "Location_Center_X"]].to_numpy()
    known = {
        f"nuclei within {SURROUNDINGS} px": _crowding(centers, field),
        "the nucleus's area (px)": nuclei["AreaShape_Area"].to_numpy(float),
    }
    others = [c for c in table.columns if c not in (*names, *_KEY)]
    return Cells(
        table[names].to_numpy(), field, centers, known, table["ImageNumber"].nunique(), len(others)
    )


def draw_cells(cells: Cells, images: Sequence[Path], crop_px: int, out: str | Path) -> Path:
    """Draw crops, ordered along the map's first axis, and the map twice, coloured by what is known.

    Parameters
    ----------
    cells : Cells
    images : sequence of Path
        One RGB image per field, in the order of the fields.
    crop_px : int
        Side of the crops in pixels.
    out : str or Path
        PNG file to write.

    Returns
    -------
    Path
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 5), layout="constrained", facecolor="white")
    crops_side, *map_sides = figure.subplots(1, 1 + len(cells.known), width_ratios=(13, 10, 10))
    where = cell_map(cells.features)
    chosen = _spread_along(where[:, 0], _whole_crops(cells, images, crop_px))
    crops_side.imshow(_montage(cells, images, crop_px, chosen))
    crops_side.set_axis_off()
    crops_side.set_title(
        f"{len(chosen)} of {len(cells.features)} cells (crops of {crop_px} px), left to right,\n"
        "top to bottom along the map's first axis",
        fontsize=11,
    )
    for side, (name, values) in zip(map_sides, cells.known.items(), strict=True):
        _draw_map(side, where, values, chosen)
        found, shuffled = neighbor_agreement(cells.features, cells.field, values)
        side.set_title(
            f"The map, coloured by {name};\ntold from similar cells: Spearman {found:.2f} "
            f"(shuffled: {shuffled:.2f})",
            fontsize=11,
        )
    map_sides[0].set_ylabel("second principal component")
    figure.savefig(out, dpi=110)
    return Path(out)


def cell_map(features: np.ndarray) -> np.ndarray:
    """Place cells on a plane: principal components of their directions.

    Parameters
    ----------
    features : ndarray of shape (n, d), float

    Returns
    -------
    ndarray of shape (n, 2), float64
        Profiles are compared by cosine, so every cell is scaled to length one
        first; then every feature is standardised. A constant one counts for nothing.

    Examples
    --------
    >>> cells = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
    >>> first, same, other = cell_map(cells)[:, 0].round(6).tolist()
    >>> first == same, first == other
    (True, False)
    """
    left, scales, _ = np.linalg.svd(standardized(features), full_matrices=False)
    result: np.ndarray = left[:, :2] * scales[:2]
    return result


def neighbor_agreement(
    features: np.ndarray, field: np.ndarray, values: np.ndarray
) -> tuple[float, float]:
    """Tell a cell's value from those of the cells most like it in other fields.

    Parameters
    ----------
    features : ndarray of shape (n, d), float
    field : ndarray of shape (n,)
        Two or more fields. Cells of a field have their light, and their treatment, in common:
        neighbours are of other fields, and ranks are those within a field.
    values : ndarray of shape (n,), float
        What is known of each cell without the features.

    Returns
    -------
    found : float
        Spearman's correlation of the values with the mean of the ten most similar cells of other
        fields, the mean over fields.
    shuffled : float
        The largest of 20 that are found so after the values of each field are shuffled.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> features, field = random.normal(size=(200, 3)), np.repeat([1, 2], 100)
    >>> found, shuffled = neighbor_agreement(features, field, features[:, 0])
    >>> found > 0.5 > shuffled
    True
    """
    directions = standardized(features)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    directions = directions / np.where(lengths > 0, lengths, 1)
    similarity = directions @ directions.T
    similarity[field[:, np.newaxis] == field] = -np.inf
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :NEAREST]
    random = np.random.default_rng(0)
    placebo = [
        _agreement(nearest, field, _shuffled(values, field, random)) for _ in range(SHUFFLES)
    ]
    return _agreement(nearest, field, values), max(placebo)


def standardized(features: np.ndarray) -> np.ndarray:
    """Return the directions of cells, every feature with mean 0 and deviation 1.

    Examples
    --------
    >>> standardized(np.array([[1.0, 0.0], [0.0, 5.0]])).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    directions = features / np.where(lengths > 0, lengths, 1)
    centred = directions - directions.mean(axis=0)
    spread = centred.std(axis=0)
    result: np.ndarray = centred / np.where(spread > 0, spread, 1)
    return result


def _crowding(centers: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Count the other nuclei around each."""
    from scipy.spatial import cKDTree

    counts = np.zeros(len(centers))
    for one in np.unique(field):
        mine = centers[field == one]
        around = cKDTree(mine).query_ball_point(mine, SURROUNDINGS, return_length=True)
        counts[field == one] = around - 1
    return counts


def _agreement(nearest: np.ndarray, field: np.ndarray, values: np.ndarray) -> float:
    from scipy.stats import spearmanr

    told = values[nearest].mean(axis=1)
    each = [
        spearmanr(told[field == one], values[field == one]).statistic for one in np.unique(field)
    ]
    return float(np.mean(each))


def _shuffled(values: np.ndarray, field: np.ndarray, random: np.random.Generator) -> np.ndarray:
    result = values.copy()
    for one in np.unique(field):
        result[field == one] = random.permutation(values[field == one])
    return result


def _draw_map(side: Axes, where: np.ndarray, values: np.ndarray, chosen: np.ndarray) -> None:
    low, high = np.percentile(values, PERCENTILES)
    x, y = where.T
    points = side.scatter(x, y, s=14, lw=0, c=values, cmap="viridis", vmin=low, vmax=high)
    side.scatter(x[chosen], y[chosen], s=30, fc="none", ec="black", lw=0.7, label="in the montage")
    side.set(xlabel="first principal component", xticks=[], yticks=[])
    side.spines[["top", "right"]].set_visible(False)
    side.figure.colorbar(points, ax=side, fraction=0.05, extend="both")


def _whole_crops(cells: Cells, images: Sequence[Path], crop_px: int) -> np.ndarray:
    from matplotlib.image import imread

    shape = imread(images[0]).shape[:2]
    return np.flatnonzero(~touches_border(cells.centers, shape, crop_px))


def _spread_along(axis: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Choose cells at even steps from one end of the axis to the other."""
    ordered = candidates[np.argsort(axis[candidates])]
    steps = np.linspace(0, len(ordered) - 1, min(ROWS * COLUMNS, len(ordered)))
    result: np.ndarray = ordered[steps.round().astype(int)]
    return result


def _montage(cells: Cells, images: Sequence[Path], crop_px: int, chosen: np.ndarray) -> np.ndarray:
    from matplotlib.image import imread

    fields = {field: imread(path) for field, path in enumerate(images, start=1)}
    gap = 2
    step = crop_px + gap
    sheet = np.full((ROWS * step - gap, COLUMNS * step - gap, 3), 255, np.uint8)
    for place, cell in enumerate(chosen):
        top, left = (place // COLUMNS) * step, (place % COLUMNS) * step
        row, col = (cells.centers[cell] - crop_px / 2).round().astype(int)
        crop = fields[cells.field[cell]][row : row + crop_px, col : col + crop_px, :3]
        # Dim microscopy images are shown as bright as they go.
        bright = crop.astype(float) / max(np.percentile(crop, 99.8), 1)
        sheet[top : top + crop_px, left : left + crop_px] = (255 * bright.clip(0, 1)).astype(
            np.uint8
        )
    return sheet
