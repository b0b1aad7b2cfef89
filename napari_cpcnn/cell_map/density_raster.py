"""Points to pixels: dots where there are few, a density where there are many."""

from __future__ import annotations

import numpy as np

from napari_cpcnn.cell_map.colors import Rgb, ink_on

View = tuple[float, float, float, float]
Size = tuple[int, int]

# With more points than this in view, dots would hide each other.
MANY = 50_000
SMALLEST_RADIUS, LARGEST_RADIUS = 1.6, 5.0
# How much of a colour is left of cells that are not selected, and of a lone cell in a density.
DIMMED, FAINTEST = 0.3, 0.45
LEVELS = 8
RING_GAP = 6
NO_OWNER = -1


def draw_map(
    positions: np.ndarray,
    view: View,
    size: Size,
    colors: np.ndarray,
    selected: np.ndarray | None = None,
    picked: int | None = None,
    background: Rgb = (0, 0, 0),
    scale: float = 1.0,
) -> np.ndarray:
    """Draw what suits the number of points in view: dots, the fewer the bigger, or a density.

    Parameters
    ----------
    positions, view, size, colors, selected, picked, background
        As in `draw_points`.
    scale : float
        Pixels of the screen per pixel that a program counts.

    Returns
    -------
    ndarray of shape (h, w, 4), uint8

    Examples
    --------
    >>> one = np.zeros((1, 2), np.float32)
    >>> draw_map(one, (-1, -1, 1, 1), (9, 9), np.full((1, 3), 7, np.uint8))[4, 4].tolist()
    [7, 7, 7, 255]
    """
    count = int(_inside(positions, view).sum())
    best = 0.3 * np.sqrt(size[0] * size[1] / max(count, 1))
    radius = float(np.clip(best, SMALLEST_RADIUS * scale, LARGEST_RADIUS * scale))
    if count <= MANY:
        return draw_points(
            positions, view, size, colors, radius, selected, picked, background, scale
        )
    picture = draw_density(positions, view, size, colors, selected, background, scale)
    if picked is not None:
        _ring(picture, positions[picked], view, radius, ink_on(background), scale)
    return picture


def draw_points(
    positions: np.ndarray,
    view: View,
    size: Size,
    colors: np.ndarray,
    radius: float,
    selected: np.ndarray | None = None,
    picked: int | None = None,
    background: Rgb = (0, 0, 0),
    scale: float = 1.0,
) -> np.ndarray:
    """Draw a dot for every point; later points are drawn over earlier ones.

    Parameters
    ----------
    positions : ndarray of shape (n, 2), float32
        A point that is not finite is not drawn.
    view : tuple of 4 float
        x0, y0, x1, y1; row 0 of the picture begins at y0, column 0 at x0.
    size : tuple of 2 int
        Height and width in pixels.
    colors : ndarray of shape (n, 3), uint8
    radius : float
        In pixels.
    selected : ndarray of shape (n,), bool, optional
        If any is selected: they come on top and a little bigger, the others are dimmed.
    picked : int, optional
        The point with a ring around it.
    background : tuple of 3 int
    scale : float
        As in `draw_map`.

    Returns
    -------
    ndarray of shape (h, w, 4), uint8
        Opaque.

    Examples
    --------
    >>> picture = draw_points(
    ...     np.array([[0.5, 0.5]], np.float32), (0, 0, 5, 5), (5, 5),
    ...     np.array([[9, 9, 9]], np.uint8), radius=1,
    ... )
    >>> picture[:3, :3, 0]
    array([[9, 4, 0],
           [4, 1, 0],
           [0, 0, 0]], dtype=uint8)
    """
    picture = _blank(size, background)
    margin = int(np.ceil(radius + scale))
    rows, places = _places(positions, view, size, margin)
    if selected is None or not selected.any():
        _dots(picture, places, colors[rows], radius, margin)
    else:
        chosen = selected[rows]
        _dots(picture, places[~chosen], colors[rows[~chosen]], radius, margin, DIMMED)
        _dots(picture, places[chosen], colors[rows[chosen]], radius + 0.5 * scale, margin)
    if picked is not None:
        _ring(picture, positions[picked], view, radius, ink_on(background), scale)
    return picture


def draw_density(
    positions: np.ndarray,
    view: View,
    size: Size,
    colors: np.ndarray,
    selected: np.ndarray | None = None,
    background: Rgb = (0, 0, 0),
    scale: float = 1.0,
) -> np.ndarray:
    """Draw the density of points in their mean colour, the stronger the more there are.

    The strength grows with the logarithm of the count, and counts are spread over the eight
    pixels around, so that a lone point is seen; further on a screen of finer pixels.

    Parameters
    ----------
    positions, view, size, colors, selected, background, scale
        As in `draw_points`.

    Returns
    -------
    ndarray of shape (h, w, 4), uint8

    Examples
    --------
    >>> where = np.full((100, 2), 1.5, np.float32)
    >>> white = np.full((100, 3), 255, np.uint8)
    >>> draw_density(where, (0, 0, 3, 3), (3, 3), white)[..., 0]
    array([[213, 234, 213],
           [234, 255, 234],
           [213, 234, 213]], dtype=uint8)
    """
    picture = _blank(size, background)
    rows, places = _places(positions, view, size, 0)
    if selected is None or not selected.any():
        _haze(picture, places, colors[rows], 1, scale)
    else:
        chosen = selected[rows]
        _haze(picture, places[~chosen], colors[rows[~chosen]], DIMMED, scale)
        _haze(picture, places[chosen], colors[rows[chosen]], 1, scale)
    return picture


def nearest_point(positions: np.ndarray, at: tuple[float, float], within: float) -> int | None:
    """Return the row of the point (n, 2) closest to a place, or None if none is close enough.

    Examples
    --------
    >>> nearest_point(np.array([[0.0, 0.0], [3.0, 4.0]]), at=(3, 3), within=2)
    1
    """
    across, along = (np.abs(positions[:, axis] - at[axis]) for axis in (0, 1))
    near = np.flatnonzero((across <= within) & (along <= within))
    distances = np.hypot(across[near], along[near])
    if not len(near) or distances.min() > within:
        return None
    return int(near[distances.argmin()])


def inside_polygon(positions: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Tell which points (n, 2) are inside a polygon (k, 2), which is closed automatically.

    Examples
    --------
    >>> triangle = np.array([[0, 0], [4, 0], [0, 4]])
    >>> inside_polygon(np.array([[1.0, 1.0], [3.0, 3.0], [9.0, 9.0]]), triangle)
    array([ True, False, False])
    """
    from matplotlib.path import Path

    mask = np.zeros(len(positions), bool)
    if len(polygon) < 3:
        return mask
    (x0, y0), (x1, y1) = np.min(polygon, axis=0), np.max(polygon, axis=0)
    rows = np.flatnonzero(_inside(positions, (x0, y0, x1, y1)))
    mask[rows] = Path(polygon).contains_points(positions[rows])
    return mask


def _inside(positions: np.ndarray, view: View) -> np.ndarray:
    x0, y0, x1, y1 = view
    x, y = positions[:, 0], positions[:, 1]
    return (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)


def _blank(size: Size, background: Rgb) -> np.ndarray:
    return np.full((*size, 4), (*background, 255), np.uint8)


def _places(
    positions: np.ndarray, view: View, size: Size, margin: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the points that are seen and their pixel in a picture with a margin."""
    # Plain floats keep float32 positions float32.
    (x0, y0, x1, y1), (height, width) = map(float, view), size
    column = (positions[:, 0] - x0) * (width / (x1 - x0)) + margin
    line = (positions[:, 1] - y0) * (height / (y1 - y0)) + margin
    wide, high = width + 2 * margin, height + 2 * margin
    rows = np.flatnonzero((column >= 0) & (column < wide) & (line >= 0) & (line < high))
    places = line[rows].astype(np.int32) * np.int32(wide) + column[rows].astype(np.int32)
    return rows, places


def _dots(
    picture: np.ndarray,
    places: np.ndarray,
    colors: np.ndarray,
    radius: float,
    margin: int,
    strength: float = 1,
) -> None:
    """Draw dots: each pixel is the point's that covers it most, the last one of equals."""
    if not len(places):
        return
    high, wide = picture.shape[0] + 2 * margin, picture.shape[1] + 2 * margin
    last = np.zeros(high * wide, np.int32)
    numbers = np.arange(len(places), dtype=np.int32)
    last[places] = numbers
    # Now no two are in the same pixel, and a shifted assignment cannot lose one.
    seen = np.flatnonzero(last[places] == numbers)
    places, numbers = places[seen], numbers[seen]
    # A dot reaches over the margin's edge into the line above or below: harmless, it is cut off.
    owners = np.full(high * wide, NO_OWNER, np.int32)
    count = np.int32(len(colors))
    for down, right, level in _disc(radius):
        at = np.clip(places + np.int32(down * wide + right), 0, high * wide - 1)
        owners[at] = np.maximum(owners[at], numbers + (level - 1) * count)
    owners = owners.reshape(high, wide)[margin:-margin, margin:-margin]
    covered = owners >= 0
    levels, number = np.divmod(owners[covered], count)
    cover = (levels[:, None] + np.float32(1)) / LEVELS * np.float32(strength)
    picture[covered, :3] = _mix(picture[covered, :3], colors[number], cover)


def _disc(radius: float) -> list[tuple[int, int, int]]:
    """Return the pixels of a dot, from its middle, and how many eighths of each it covers."""
    reach = range(-int(np.ceil(radius)), int(np.ceil(radius)) + 1)
    covered = [
        (down, right, radius + 0.5 - np.hypot(down, right)) for down in reach for right in reach
    ]
    levels = [(down, right, round(LEVELS * min(part, 1))) for down, right, part in covered]
    return [(down, right, level) for down, right, level in levels if level > 0]


def _haze(
    picture: np.ndarray, places: np.ndarray, colors: np.ndarray, strength: float, scale: float
) -> None:
    if not len(places):
        return
    height, width = picture.shape[:2]

    def spread(weights: np.ndarray | None = None) -> np.ndarray:
        sums = np.bincount(places, weights, minlength=height * width)
        image = sums.reshape(height, width).astype(np.float32)
        # Finer pixels hold fewer points each: those of more pixels around count together.
        for _ in range(max(1, round(scale))):
            image = _blur(image)
        return image

    counts = spread()
    covered = counts > 0
    counts = counts[covered]
    sums = [spread(channel)[covered] for channel in colors.T]
    mean = np.stack(sums, axis=1) / counts[:, None]
    # The fullest pixels may be so full that all others would look empty.
    full = max(float(np.percentile(counts, 99.5)), np.e)
    more = np.minimum(np.log(np.maximum(counts, 1)) / np.log(full), 1)
    alpha = strength * (FAINTEST * np.minimum(counts, 1) + (1 - FAINTEST) * more)
    picture[covered, :3] = _mix(picture[covered, :3], mean, alpha[:, None])


def _blur(image: np.ndarray) -> np.ndarray:
    """Spread every pixel over its neighbours: all of it in the middle, a half, a quarter."""
    lines = image.copy()
    lines[1:] += image[:-1] / 2
    lines[:-1] += image[1:] / 2
    both = lines.copy()
    both[:, 1:] += lines[:, :-1] / 2
    both[:, :-1] += lines[:, 1:] / 2
    return both


def _ring(
    picture: np.ndarray, at: np.ndarray, view: View, radius: float, ink: Rgb, scale: float
) -> None:
    (x0, y0, x1, y1), (height, width) = view, picture.shape[:2]
    column = (at[0] - x0) * (width / (x1 - x0)) - 0.5
    line = (at[1] - y0) * (height / (y1 - y0)) - 0.5
    if not np.isfinite([column, line]).all():
        return
    ring = radius + RING_GAP * scale
    outer = ring + scale + 1
    top, bottom = (int(np.clip(line + side * outer, 0, height)) for side in (-1, 1.5))
    left, right = (int(np.clip(column + side * outer, 0, width)) for side in (-1, 1.5))
    lines, columns = np.mgrid[top:bottom, left:right]
    off = np.abs(np.hypot(lines - line, columns - column) - ring)
    part = picture[top:bottom, left:right, :3]
    part[:] = _mix(part, np.array(ink), np.clip(scale + 0.5 - off, 0, 1)[..., None])


def _mix(under: np.ndarray, over: np.ndarray, strength: np.ndarray | float) -> np.ndarray:
    mixed = under + (over.astype(np.float32) - under) * strength
    result: np.ndarray = np.rint(mixed).astype(np.uint8)
    return result
